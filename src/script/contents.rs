//! What a script defines and calls, as its syntax tree tells. Judges nothing of it.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTNode, Expr, FnCallExpr, Map, Position, Stmt};

/// A call of a function.
pub(super) struct Call {
    pub(super) at: Position,
    /// With `::` between its parts; empty for none.
    pub(super) module: String,
    pub(super) name: String,
    pub(super) arguments: usize,
    /// Whether something stands before it, with a dot.
    pub(super) method: bool,
}

impl Call {
    /// What tells it from calls of other functions, or in other ways.
    pub(super) fn what(&self) -> (&str, &str, usize, bool) {
        (&self.module, &self.name, self.arguments, self.method)
    }
}

/// What a script defines and uses.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) calls: Vec<Call>,
    pub(super) functions: BTreeMap<String, BTreeSet<usize>>,
    pub(super) variables: BTreeSet<String>,
    /// The parameters of closures, what they capture included.
    pub(super) captured: BTreeSet<String>,
    pub(super) imports: BTreeSet<String>,
    /// The names of values in maps.
    pub(super) fields: BTreeSet<String>,
    /// What the script itself asks for before it uses it, by `is_def_fn` or `is_def_var`.
    pub(super) asked: BTreeSet<String>,
    /// Variables may come into being in ways that nobody can see: by `eval`, or by a call with the variables of the caller.
    pub(super) is_dynamic: bool,
}

impl Contents {
    pub(super) fn of(script: &AST) -> Self {
        let mut contents = Self::default();
        for function in script.iter_functions() {
            contents.functions.entry(function.name.to_owned()).or_default().insert(function.params.len());
            let names = if is_name(function.name) { &mut contents.variables } else { &mut contents.captured };
            names.extend(function.params.into_iter().map(str::to_owned));
        }
        script.walk(&mut |path| contents.visit(path));
        contents
    }

    /// Takes note of the last node of a path; always true, to go on.
    fn visit(&mut self, path: &[ASTNode]) -> bool {
        match path.last() {
            Some(ASTNode::Stmt(statement)) => self.statement(statement),
            Some(ASTNode::Expr(expression)) => self.expression(expression),
            _ => {}
        }
        true
    }

    fn statement(&mut self, statement: &Stmt) {
        match statement {
            Stmt::Var(variable, ..) => self.define(&variable.0.name),
            Stmt::For(parts, _) => {
                self.define(&parts.0.name);
                if let Some(counter) = &parts.1 {
                    self.define(&counter.name);
                }
            }
            Stmt::TryCatch(parts, _) => {
                if let Expr::Variable(variable, ..) = &parts.expr {
                    self.define(&variable.1);
                }
            }
            Stmt::Import(parts, _) => {
                self.imports.insert(parts.1.name.to_string());
            }
            Stmt::Assignment(parts) => {
                parts.1.lhs.walk(&mut Vec::new(), &mut |path| {
                    match path.last() {
                        Some(ASTNode::Expr(Expr::Property(property, _))) => self.fields.insert(property.2.to_string()),
                        Some(ASTNode::Expr(Expr::StringConstant(name, _))) => self.fields.insert(name.to_string()),
                        _ => true,
                    };
                    true
                });
            }
            Stmt::FnCall(call, at) => self.call(call, *at, false),
            // The walk leaves this out.
            Stmt::BreakLoop(Some(value), ..) => {
                value.walk(&mut Vec::new(), &mut |path| self.visit(path));
            }
            _ => {}
        }
    }

    fn expression(&mut self, expression: &Expr) {
        match expression {
            Expr::FnCall(call, at) => self.call(call, *at, false),
            Expr::MethodCall(call, at) => self.call(call, *at, true),
            Expr::Map(entries, _) => self.fields.extend(entries.1.keys().map(ToString::to_string)),
            Expr::DynamicConstant(value, _) => {
                if let Some(map) = value.read_lock::<Map>() {
                    self.fields.extend(map.keys().map(ToString::to_string));
                }
            }
            _ => {}
        }
    }

    fn call(&mut self, call: &FnCallExpr, at: Position, method: bool) {
        if call.op_token.is_some() || !is_name(&call.name) {
            return;
        }
        if let ("is_def_fn" | "is_def_var", Some(Expr::StringConstant(name, _))) =
            (call.name.as_str(), call.args.first())
        {
            self.asked.insert(name.to_string());
        }
        self.is_dynamic |= call.name == "eval" || call.capture_parent_scope;
        let at = if call.namespace.is_empty() { at } else { call.namespace.position() };
        let module = call.namespace.to_string();
        self.calls.push(Call { at, module, name: call.name.to_string(), arguments: call.args.len(), method });
    }

    pub(super) fn is_variable(&self, name: &str) -> bool {
        self.variables.contains(name) || self.captured.contains(name)
    }

    fn define(&mut self, name: &str) {
        self.variables.insert(name.to_owned());
    }
}

/// Operators, and what stands for properties and closures, are no names.
pub(super) fn is_name(name: &str) -> bool {
    name.chars().all(|char| char.is_alphanumeric() || char == '_') && !name.starts_with(|char: char| char.is_numeric())
}
