//! The object that a script gets for an API: maps of maps, with a function pointer for each operation. Knows no formats.
//!
//! Rhai calls a property of a map as a method if it is a function pointer, and before it looks for a function of that
//! name, so that operations may be named as the methods of maps are. The pointers name a function that is registered
//! here, with what they are about as its first argument. Called as a method it gets the map before that, called as a
//! function it does not; its parameters' types tell which.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use http::header::ACCEPT;
use rhai::{Dynamic, Engine, FnPtr, Map, Module, NativeCallContext, Position};

use super::client::Client;
use super::failure::Problem;
use super::operation::Operation;
use super::{Space, Thrown, failure};

/// The most operations of an API.
pub(super) const MAX_OPERATIONS: usize = 5_000;
/// What an API is asked for, unless its headers say otherwise.
const TYPES: &str = "application/json, */*;q=0.8";
/// The function that all methods are.
const CALL: &str = "call_operation";

/// An API: who asks, and what goes with each request.
pub(super) struct Api {
    client: Client,
    query: Vec<String>,
    title: String,
}

impl Api {
    /// An API that a client with these options asks. The query, keys for example, goes with each request; the title is
    /// what its help begins with.
    pub(super) fn new(client: &Client, mut options: Map, query: Vec<String>, title: String) -> Result<Self, Problem> {
        let headers = options.entry("headers".into()).or_insert_with(|| Map::new().into());
        if let Some(mut headers) = headers.write_lock::<Map>()
            && !headers.keys().any(|name| name.eq_ignore_ascii_case(ACCEPT.as_str()))
        {
            headers.insert(ACCEPT.as_str().into(), TYPES.into());
        }
        Ok(Self { client: client.derive(&options)?, query, title })
    }

    /// The object for a script.
    pub(super) fn object(self, group: &Group) -> Map {
        group.object(&Arc::new(self))
    }
}

/// The operations of an API, by the names that they are found under.
#[derive(Default)]
pub(super) struct Group(BTreeMap<String, Node>);

enum Node {
    Operation(Arc<Operation>),
    Group(Group),
}

impl Group {
    pub(super) fn add(&mut self, name: &str, operation: Operation) {
        self.0.insert(name.to_owned(), Node::Operation(Arc::new(operation)));
    }

    pub(super) fn add_group(&mut self, name: &str, group: Self) {
        self.0.insert(name.to_owned(), Node::Group(group));
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All operations in it.
    fn operations(&self) -> Vec<Arc<Operation>> {
        let all = self.0.values().flat_map(|node| match node {
            Node::Operation(operation) => vec![operation.clone()],
            Node::Group(group) => group.operations(),
        });
        all.collect()
    }

    fn object(&self, api: &Arc<Api>) -> Map {
        let help = Bound::Help { api: api.clone(), operations: self.operations().into() };
        let mut object = Map::from_iter([("help".into(), help.pointer())]);
        let call = |operation: &Arc<Operation>, later| {
            Bound::Call { api: api.clone(), operation: operation.clone(), later }.pointer()
        };
        // What a description names itself takes the place of what comes with it.
        for (name, node) in &self.0 {
            if let Node::Operation(operation) = node {
                object.insert(format!("{name}_async").into(), call(operation, true));
            }
        }
        for (name, node) in &self.0 {
            let value = match node {
                Node::Operation(operation) => call(operation, false),
                Node::Group(group) => group.object(api).into(),
            };
            object.insert(name.into(), value);
        }
        object
    }
}

/// Whether a script can say `object.name`, and `object.name()`.
pub(super) fn is_callable(name: &str) -> bool {
    // The language takes these for itself, whatever the object holds.
    const TAKEN: [&str; 3] = ["call", "curry", "is_shared"];
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && name.len() <= 100;
    is_name && !TAKEN.contains(&name) && Engine::new_raw().compile_expression(format!("it.{name}()")).is_ok()
}

/// What a method is about.
#[derive(Clone)]
enum Bound {
    Call { api: Arc<Api>, operation: Arc<Operation>, later: bool },
    Help { api: Arc<Api>, operations: Arc<[Arc<Operation>]> },
}

impl Bound {
    fn pointer(self) -> Dynamic {
        let mut pointer = FnPtr::new(CALL).expect("the name of a function");
        pointer.add_curry(Dynamic::from(self));
        pointer.into()
    }

    fn call(&self, at: Position, given: Option<Dynamic>) -> Result<Dynamic, Thrown> {
        match self {
            Self::Call { api, operation, later } => {
                let options = operation.request(given, &api.query).map_err(Problem::Invalid);
                let spec = options.and_then(|options| api.client.spec_of(&options));
                let spec = spec.map_err(|problem| problem.about(&operation.name));
                api.client.make_with(at, spec, *later, operation.answer.finish())
            }
            Self::Help { api, operations } => {
                let mut text = format!("{}\n", api.title);
                for operation in operations.iter() {
                    let _ = write!(text, "\n{}", operation.help());
                }
                Ok(text.into())
            }
        }
    }

    fn too_many(&self, at: Position) -> Thrown {
        let name = match self {
            Self::Call { operation, .. } => &operation.name,
            Self::Help { .. } => "help",
        };
        failure::invalid(&format!("{name}: it takes one argument, a map of parameters"), at)
    }
}

pub(super) fn register_type(module: &mut Module) {
    module.set_custom_type::<Bound>("Operation");
    let space = Space::Plain;
    space.function(CALL).set_into_module(module, |ctx: NativeCallContext, _: &mut Map, bound: Bound| {
        bound.call(ctx.call_position(), None)
    });
    let with_given = |ctx: NativeCallContext, _: &mut Map, bound: Bound, given: Dynamic| {
        bound.call(ctx.call_position(), Some(given))
    };
    space.function(CALL).set_into_module(module, with_given);
    let with_more = |ctx: NativeCallContext, _: &mut Map, bound: Bound, _: Dynamic, _: Dynamic| {
        Err::<Dynamic, _>(bound.too_many(ctx.call_position()))
    };
    space.function(CALL).set_into_module(module, with_more);
    space
        .function(CALL)
        .set_into_module(module, |ctx: NativeCallContext, bound: &mut Bound| bound.call(ctx.call_position(), None));
    space.function(CALL).set_into_module(module, |ctx: NativeCallContext, bound: &mut Bound, given: Dynamic| {
        bound.call(ctx.call_position(), Some(given))
    });
    // Maps print what they hold by this.
    space.function("to_debug").set_into_module(module, |pointer: &mut FnPtr| -> Result<String, Thrown> {
        Ok(match pointer.curry().first().and_then(|bound| bound.read_lock::<Bound>()).as_deref() {
            Some(Bound::Call { operation, .. }) => format!("{} {}", operation.method, operation.path.as_str()),
            Some(Bound::Help { .. }) => "help".into(),
            None => pointer.to_string(),
        })
    });
}
