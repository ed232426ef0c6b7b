//! A look at a script without running it: its syntax, and what it names but nobody has defined. Sends nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, Engine, FnNamespace, Module, OptimizationLevel, ParseError, ParseErrorType, Position, Scope};

use super::contents::{Call, Contents, is_name};
use super::engine::ScriptEngine;
use super::failure::Place;

/// The most findings of a kind: each variable takes another look at the whole script.
const MOST: usize = 100;

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// It fails whenever it is reached.
    Error,
    /// It fails unless the script does something that cannot be seen without running it.
    Warning,
}

/// Something that is wrong with a script.
#[derive(Clone, Debug)]
pub struct Finding {
    severity: Severity,
    message: String,
    hint: Option<String>,
    place: Place,
}

impl Finding {
    /// How sure it is.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What is wrong, in one line, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What may have been meant, in one line.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The line of the script, from 1.
    pub fn line(&self) -> Option<usize> {
        self.place.line
    }

    /// The column in that line, from 1, in characters.
    pub fn column(&self) -> Option<usize> {
        self.place.column
    }

    /// The finding with the line of code, a caret below the place, and the hint, in several lines without an end of line.
    pub fn render(&self) -> String {
        let label = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut text = self.place.render(&format!("{label}: {}", self.message));
        if let Some(hint) = &self.hint {
            let margin = self.place.line.unwrap_or_default().to_string().len();
            text.push_str(&format!("\n{} = hint: {hint}", " ".repeat(margin)));
        }
        text
    }
}

impl ScriptEngine {
    /// Looks for mistakes in a script without running it: its syntax, functions and modules that do not exist, wrong
    /// numbers of arguments, and variables that nobody defines. The name is shown in what is found; `constants` are the
    /// names of those that the script will be given. Sorted by place; of a variable only the first place is reported, and
    /// no more than 100 of the variables and 100 of the calls.
    ///
    /// A wrong syntax hides everything else. Types are not looked at. A method that no type has may be a function in a map,
    /// so that it is a warning only.
    ///
    /// ```
    /// use marmot::script::ScriptEngine;
    ///
    /// let findings = ScriptEngine::new().check("hello", "let reply = htp_get(URL);", &["URL"]);
    /// assert_eq!(findings[0].message(), "there is no function `htp_get`");
    /// assert_eq!(findings[0].hint(), Some("did you mean `http_get`?"));
    /// ```
    pub fn check(&self, name: &str, source: &str, constants: &[&str]) -> Vec<Finding> {
        let place = |at| Place::new(at, name, source);
        let mut findings = match look(self.engine(), source, constants) {
            Ok(findings) => findings,
            Err(ParseError(kind, at)) => vec![Found::error(at, kind.to_string())],
        };
        findings.sort_by_key(|found| found.at);
        let render =
            |Found { at, severity, message, hint }: Found| Finding { severity, message, hint, place: place(at) };
        findings.into_iter().map(render).collect()
    }
}

/// A finding that has not been given its line of code.
#[derive(Clone)]
struct Found {
    at: Position,
    severity: Severity,
    message: String,
    hint: Option<String>,
}

impl Found {
    fn error(at: Position, message: String) -> Self {
        Self { at, severity: Severity::Error, message, hint: None }
    }

    fn hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }
}

fn look(engine: &Engine, source: &str, constants: &[&str]) -> Result<Vec<Found>, ParseError> {
    let parsed = engine.compile(source)?;
    let known = Known::of(engine);
    let (undefined, strict) = undefined(engine, &known, source, constants);
    let script = Contents::of(&strict.unwrap_or(parsed));
    let mut judged = BTreeMap::new();
    let calls = script.calls.iter().filter_map(|call| {
        let verdict = judged.entry(call.what()).or_insert_with(|| known.judge(call, &script));
        verdict.as_ref().map(|found| Found { at: call.at, ..found.clone() })
    });
    let variables = undefined.into_iter().filter_map(|(kind, at)| script.judge(kind, at, &known));
    Ok(variables.chain(calls.take(MOST)).collect())
}

/// The functions of an engine: where, under which name, with how many arguments.
struct Known(BTreeMap<String, BTreeMap<String, BTreeSet<usize>>>);

impl Known {
    fn of(engine: &Engine) -> Self {
        let list = |info: rhai::FuncInfo| {
            let function = info.metadata;
            let everywhere = matches!(function.namespace, FnNamespace::Global);
            is_name(&function.name)
                .then(|| (info.namespace.to_string(), function.name.to_string(), function.num_params, everywhere))
        };
        let mut known = Self(BTreeMap::new());
        for (module, name, arguments, everywhere) in engine.collect_fn_metadata(None, list, true) {
            if everywhere {
                known.add("", &name, arguments);
            }
            known.add(&module, &name, arguments);
        }
        known
    }

    fn add(&mut self, module: &str, name: &str, arguments: usize) {
        self.0.entry(module.to_owned()).or_default().entry(name.to_owned()).or_default().insert(arguments);
    }

    fn modules(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter_map(|module| module.split("::").next()).filter(|module| !module.is_empty())
    }

    fn arguments(&self, module: &str, name: &str) -> BTreeSet<usize> {
        self.0.get(module).and_then(|functions| functions.get(name)).cloned().unwrap_or_default()
    }

    /// What is wrong with a call.
    fn judge(&self, call: &Call, script: &Contents) -> Option<Found> {
        let Call { module, name, .. } = call;
        let given = call.arguments;
        let root = module.split("::").next().unwrap_or_default();
        if KEYWORDS.contains(&name.as_str())
            || script.asked.contains(name)
            || script.imports.contains(root)
            || root == "global"
            || (!root.is_empty() && !self.modules().any(|module| module == root))
        {
            return None;
        }
        let mut takes = self.arguments(module, name);
        if call.method {
            // What stands before the dot is an argument of a native function, and `this` for one of the script.
            takes = takes.into_iter().filter_map(|count| count.checked_sub(1)).collect();
        }
        if module.is_empty() {
            takes.extend(script.functions.get(name).into_iter().flatten());
        }
        if takes.contains(&given) || (call.method && (script.fields.contains(name) || script.may_describe(name))) {
            return None;
        }
        let full = if module.is_empty() { name.clone() } else { format!("{module}::{name}") };
        let severity = if call.method { Severity::Warning } else { Severity::Error };
        let found = |message, hint| Some(Found { severity, hint, ..Found::error(call.at, message) });
        if takes.is_empty() {
            let kind = if call.method { "no type has a method" } else { "there is no function" };
            let hint = if script.is_variable(name) && !call.method && module.is_empty() {
                Some(format!("`{name}` is a variable: call the function in it with `{name}.call(...)`"))
            } else {
                self.like(call, script)
            };
            return found(format!("{kind} `{full}`"), hint);
        }
        found(format!("`{full}` takes {}, not {given}", counts(&takes)), None)
    }

    /// What may have been meant by a call.
    fn like(&self, call: &Call, script: &Contents) -> Option<String> {
        let Call { module, name, .. } = call;
        let elsewhere = self.0.iter().filter(|(other, functions)| *other != module && functions.contains_key(name));
        if let Some((other, _)) = elsewhere.into_iter().next().filter(|_| !call.method) {
            return Some(if other.is_empty() {
                format!("`{name}` is not in a module: call it without `{module}::`")
            } else {
                format!("there is `{other}::{name}`")
            });
        }
        let here = self.0.get(module).into_iter().flat_map(BTreeMap::keys);
        let own = script.functions.keys().filter(|_| module.is_empty());
        let name = similar(name, here.chain(own).map(String::as_str))?;
        Some(if module.is_empty() { meant(name) } else { meant(&format!("{module}::{name}")) })
    }
}

/// What the language itself makes of a call, with any number of arguments.
const KEYWORDS: &[&str] =
    &["Fn", "call", "curry", "eval", "is_def_fn", "is_def_var", "is_shared", "print", "debug", "type_of"];

impl Contents {
    /// Whether an object of an API may have such a method.
    fn may_describe(&self, name: &str) -> bool {
        let calls = |function| self.calls.iter().any(|call| call.module == "http" && call.name == function);
        // The operations of a file cannot be known here; those of a map are among its names.
        calls("openapi")
            || calls("api")
                && (name == "help"
                    || !self.fields.contains("resources")
                    || name.strip_suffix("_async").is_some_and(|operation| self.fields.contains(operation)))
    }

    /// What to make of the language's own complaint about a name.
    fn judge(&self, kind: ParseErrorType, at: Position, known: &Known) -> Option<Found> {
        match kind {
            ParseErrorType::VariableUndefined(name) if self.asked.contains(&name) => None,
            ParseErrorType::VariableUndefined(name) => {
                let hint = if self.variables.contains(&name) {
                    Some(format!(
                        "`{name}` is defined elsewhere, but not visible here; a function sees its arguments only"
                    ))
                } else if known.0.get("").is_some_and(|functions| functions.contains_key(&name)) {
                    Some(format!("`{name}` is a function; `Fn(\"{name}\")` is a value that holds it"))
                } else {
                    similar(&name, self.variables.union(&self.captured).map(String::as_str)).map(meant)
                };
                let severity = if self.is_dynamic { Severity::Warning } else { Severity::Error };
                let message = format!("there is no variable `{name}`");
                Some(Found { severity, ..Found::error(at, message).hint(hint) })
            }
            ParseErrorType::ModuleUndefined(name) => {
                let hint = similar(&name, known.modules()).map(meant);
                Some(Found::error(at, format!("there is no module `{name}`")).hint(hint))
            }
            _ => None,
        }
    }
}

/// What the language's strict mode complains of, one name after another, and the script as it has parsed it in the end.
/// Nothing is left out of that, unlike of what is meant to run.
fn undefined(
    engine: &Engine,
    known: &Known,
    source: &str,
    constants: &[&str],
) -> (Vec<(ParseErrorType, Position)>, Option<AST>) {
    let mut strict = Engine::new_raw();
    strict.set_strict_variables(true).set_optimization_level(OptimizationLevel::None);
    strict.set_max_expr_depths(engine.max_expr_depth(), engine.max_function_expr_depth());
    for module in known.modules() {
        strict.register_static_module(module, Module::new().into());
    }
    let mut scope = Scope::new();
    for name in constants {
        scope.push_constant(*name, ());
    }
    let mut found = Vec::new();
    loop {
        let ParseError(kind, at) = match strict.compile_with_scope(&scope, source) {
            Ok(script) => return (found, Some(script)),
            Err(error) => error,
        };
        match &*kind {
            ParseErrorType::VariableUndefined(name) if !scope.contains(name) => {
                scope.push(name.clone(), ());
            }
            ParseErrorType::ModuleUndefined(name) => {
                strict.register_static_module(name.clone(), Module::new().into());
            }
            // The engine has a syntax of its own, which only itself can parse.
            _ => return (found, None),
        }
        found.push((*kind, at));
        if found.len() == MOST {
            return (found, None);
        }
    }
}

/// As in "1, 2 or 3 arguments".
fn counts(counts: &BTreeSet<usize>) -> String {
    let mut words: Vec<_> = counts.iter().map(ToString::to_string).collect();
    let last = words.pop().unwrap_or_default();
    let plural = if last == "1" { "" } else { "s" };
    if words.is_empty() {
        format!("{last} argument{plural}")
    } else {
        format!("{} or {last} argument{plural}", words.join(", "))
    }
}

fn meant(name: &str) -> String {
    format!("did you mean `{name}`?")
}

/// The name that is most like another, if any is.
fn similar<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // One slip in three letters.
    let length = name.chars().count();
    let most = length.div_ceil(3).min(3);
    let names = names.filter(|other| other.chars().count().abs_diff(length) <= most);
    let distances = names.map(|other| (strsim::osa_distance(name, other), other));
    let alike = distances.filter(|(distance, _)| *distance > 0 && *distance <= most);
    let common = |other: &str| name.chars().zip(other.chars()).take_while(|(own, other)| own == other).count();
    alike.min_by_key(|(distance, other)| (*distance, Reverse(common(other)))).map(|(_, other)| other)
}
