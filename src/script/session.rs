//! A conversation with the engine: inputs that run one after another and see what the earlier ones have left. Reads no input.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rhai::{AST, Dynamic, Engine, EvalAltResult, LexError, ParseError, ParseErrorType, Position, Scope};

use super::engine::{self, ScriptEngine};
use super::failure::ScriptError;
use super::meter::Meter;
use super::run::{Run, Running};
use super::sandbox::Limits;
use crate::client::CancelToken;

/// Runs inputs one after another, on the thread that has made it. Variables, functions and promises stay from one to the
/// next.
///
/// # Examples
///
/// ```
/// use marmot::script::ScriptEngine;
///
/// let engine = ScriptEngine::new();
/// let mut session = engine.session();
/// session.eval("first", "let words = [\"hay\"]; fn twice(x) { x * 2 }", None)?;
/// let value = session.eval("second", "twice(words.len())", None)?;
/// assert_eq!(value.as_int(), Ok(2));
/// # Ok::<(), marmot::script::ScriptError>(())
/// ```
pub struct Session<'a> {
    engine: &'a Engine,
    /// Of each input.
    limits: &'a Limits,
    scope: Scope<'static>,
    /// How many of the scope were there before the first input.
    given: usize,
    functions: AST,
    /// The input that has defined a function, by its name.
    sources: HashMap<String, Rc<Source>>,
    run: Run,
    time_limit: Option<Duration>,
}

/// The name and the text of an input.
struct Source(String, String);

impl ScriptEngine {
    /// A session without variables.
    pub fn session(&self) -> Session<'_> {
        Session {
            engine: self.engine(),
            limits: self.limits(),
            scope: Scope::new(),
            given: 0,
            functions: AST::empty(),
            sources: HashMap::new(),
            run: Run::unlimited(),
            time_limit: None,
        }
    }
}

impl Session<'_> {
    /// The most time that each input may run, waits for the network included; the budgets of a sandbox are those of each
    /// input as well. Default: unlimited.
    #[must_use]
    pub fn time_limit(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.time_limit = limit.into();
        self
    }

    /// A constant that all inputs see. [`clear`](Self::clear) leaves it.
    #[must_use]
    pub fn constant(mut self, name: &str, value: impl Into<Dynamic>) -> Self {
        self.scope.push_constant_dynamic(name, value.into());
        self.given = self.scope.len();
        self
    }

    /// Runs an input on this thread and returns its last value. The name is shown in errors. The token ends the input, also
    /// while it waits for the network; the session goes on.
    ///
    /// # Errors
    ///
    /// What the input did not catch, and its limits. What it has defined until then stays defined.
    pub fn eval(
        &mut self,
        name: &str,
        source: &str,
        cancel: impl Into<Option<CancelToken>>,
    ) -> Result<Dynamic, ScriptError> {
        let ast = self.engine.compile(source).map_err(|error| ScriptError::parse(&error, name, source))?;
        let input = Rc::new(Source(name.to_owned(), source.to_owned()));
        for function in ast.iter_functions() {
            self.sources.insert(function.name.to_owned(), input.clone());
        }
        let ast = self.functions.merge(&ast);
        self.functions = ast.clone_functions_only();
        let limits = self.limits;
        let time_limit = [self.time_limit, limits.time].into_iter().flatten().min();
        engine::on_large_stack(limits, || {
            let meter = Arc::new(Meter::new(limits.clone()));
            let _running = Running::resume(&self.run, time_limit, cancel.into(), meter);
            engine::evaluate(self.engine, &mut self.scope, &ast, |error| {
                // A line within a function is one of the input that has defined it.
                let Source(name, source) =
                    innermost(&error).and_then(|name| self.sources.get(name)).unwrap_or(&input).as_ref();
                ScriptError::runtime(*error, limits, name, source)
            })
        })
    }

    /// Whether a text is all of an input: not so if a block, a bracket, a string between backticks, a comment or an operator
    /// at its end waits for more. What is wrong in other ways is complete; [`eval`](Self::eval) says what is wrong.
    pub fn is_complete(&self, source: &str) -> bool {
        match self.engine.compile(source) {
            // An unfinished string is wrong at its beginning; only one between backticks goes on, or one whose line does.
            Err(ParseError(kind, at)) if matches!(*kind, ParseErrorType::BadInput(LexError::UnterminatedString)) => {
                !source.trim_end().ends_with('\\') && place_of_error(self.engine, &format!("{source}`")) == Some(at)
            }
            // An error at the end of the text moves with the end.
            Err(ParseError(_, at)) => place_of_error(self.engine, &format!("{source}\n")) == Some(at),
            // The bracket is wrong everywhere but in a comment.
            Ok(_) => place_of_error(self.engine, &format!("{source}\n)")).is_some(),
        }
    }

    /// Waits for a future, and goes on with the promises of the session meanwhile.
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        self.run.wait(future)
    }

    /// The variables and constants that an input would see, in the order of their names.
    pub fn variables(&self) -> Vec<(&str, &Dynamic)> {
        let mut variables: Vec<_> = self.scope.iter_raw().map(|(name, _, value)| (name, value)).collect();
        // The last of a name hides the others.
        variables.reverse();
        variables.sort_by_key(|(name, _)| *name);
        variables.dedup_by_key(|(name, _)| *name);
        variables
    }

    /// The functions that inputs have defined: name and parameters, in order.
    pub fn functions(&self) -> Vec<(&str, Vec<&str>)> {
        let named = self.functions.iter_functions().filter(|function| !function.name.contains('$'));
        let mut functions: Vec<_> = named.map(|function| (function.name, function.params)).collect();
        functions.sort();
        functions
    }

    /// Forgets variables and functions, and cancels what is under way.
    pub fn clear(&mut self) {
        engine::on_large_stack(self.limits, || self.scope.rewind(self.given));
        self.functions = AST::empty();
        self.sources.clear();
        self.run = Run::unlimited();
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let scope = std::mem::take(&mut self.scope);
        engine::on_large_stack(self.limits, || drop(scope));
    }
}

impl fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

fn place_of_error(engine: &Engine, source: &str) -> Option<Position> {
    engine.compile(source).err().map(|ParseError(_, at)| at)
}

/// The function of a script that has failed, the innermost.
fn innermost(error: &EvalAltResult) -> Option<&str> {
    match error {
        EvalAltResult::ErrorInFunctionCall(name, _, inner, _) => Some(innermost(inner).unwrap_or(name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_inputs_are_told_from_wrong_ones() {
        let engine = ScriptEngine::new();
        let session = engine.session();
        for more in [
            "fn f() {",
            "let x = [1,",
            "#{ a: 1",
            "foo(",
            "1 +",
            "let x =",
            "`text",
            "`a ${",
            "`a ${1} b",
            "/* comment",
            "if true { 1 } else {",
            "let f = |x| {",
            "\"abc\\",
            "fn f() {\n  let x = \"}\";",
            "http_get(`x`, #{",
            "a.",
        ] {
            assert!(!session.is_complete(more), "{more}");
            assert!(!session.is_complete(&format!("{more}\n")), "{more}");
        }
        for whole in [
            "",
            "  ",
            "1",
            "let x = 1;",
            "fn f() {}",
            "`text`",
            "\"abc",
            "let x = )",
            "]",
            "// comment",
            "/* comment */ 1",
            "\"/*\"",
            "let 1x",
            "if x { 1 }",
            "'a",
            "}",
        ] {
            assert!(session.is_complete(whole), "{whole}");
        }
    }
}
