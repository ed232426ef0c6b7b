//! GraphQL over HTTP: a query and its variables go out, its data or its errors come back. Knows no schema.

use http::Method;
use http::header::ACCEPT;
use rhai::{Array, Dynamic, Map, Module, NativeCallContext, Position};

use super::client::Client;
use super::failure::Problem;
use super::promise::Outcome;
use super::reply::Reply;
use super::spec::{Spec, text};
use super::{Space, answer, failure};

/// The types of a response, the newer one first (GraphQL over HTTP, 4.1).
const TYPES: &str = "application/graphql-response+json, application/json";

impl Client {
    fn query<'a>(
        &'a self,
        url: &'a str,
        query: &str,
        variables: &Dynamic,
        options: Option<&Map>,
    ) -> Result<Spec<'a>, Problem> {
        let mut body = Map::from_iter([("query".into(), query.into())]);
        if !variables.is_unit() {
            if !variables.is_map() {
                return Err(format!("the variables are a map, not {}", variables.type_name()).into());
            }
            body.insert("variables".into(), variables.clone());
        }
        let mut options = options.cloned().unwrap_or_default();
        if let Some(name) = options.remove("operation_name").filter(|name| !name.is_unit()) {
            body.insert("operationName".into(), text(&name, "operation_name")?.into());
        }
        let headers = options.entry("headers".into()).or_insert_with(|| Map::new().into());
        if let Some(mut headers) = headers.write_lock::<Map>()
            && !headers.keys().any(|name| name.eq_ignore_ascii_case(ACCEPT.as_str()))
        {
            headers.insert(ACCEPT.as_str().into(), TYPES.into());
        }
        self.spec(&Method::POST, url, Some(&body.into()), Some(&options))
    }
}

/// The data of a response.
fn data(reply: Reply, at: Position) -> Outcome {
    let json = reply.json();
    let mut map = match json.map(Dynamic::try_cast::<Map>) {
        Ok(Some(map)) if map.contains_key("data") || map.contains_key("errors") => map,
        // Something before the server has answered.
        _ => {
            return Err(answer::refusal(&reply, at).unwrap_or_else(|| failure::described(&reply.is_not("GraphQL"), at)));
        }
    };
    let data = map.remove("data").unwrap_or_default();
    let errors = map.remove("errors").and_then(Dynamic::try_cast::<Array>).unwrap_or_default();
    let Some(first) = errors.first() else {
        return answer::refusal(&reply, at).map_or(Ok(data), Err);
    };
    let message = first.read_lock::<Map>().and_then(|error| error.get("message").map(ToString::to_string));
    let message = message.unwrap_or_else(|| "the server gives no reason".into());
    let mut thrown = failure::describe("graphql", &message, Some(&reply.url()), at);
    thrown.insert("status".into(), i64::from(reply.status().as_u16()).into());
    thrown.insert("errors".into(), errors.into());
    thrown.insert("data".into(), data);
    Err(thrown.into())
}

/// `graphql`, and `http::graphql`.
pub(super) fn register(module: &mut Module, client: &Client, space: Space) {
    let space = if matches!(space, Space::Http) { space } else { Space::Plain };
    for (name, later) in TWINS {
        let own = client.clone();
        space.function(name).set_into_module(module, move |ctx: NativeCallContext, url: &str, query: &str| {
            own.make_with(ctx.call_position(), own.query(url, query, &Dynamic::UNIT, None), later, data)
        });
        let own = client.clone();
        let with_variables = move |ctx: NativeCallContext, url: &str, query: &str, variables: Dynamic| {
            own.make_with(ctx.call_position(), own.query(url, query, &variables, None), later, data)
        };
        space.function(name).set_into_module(module, with_variables);
        let own = client.clone();
        let with_options = move |ctx: NativeCallContext, url: &str, query: &str, variables: Dynamic, options: Map| {
            own.make_with(ctx.call_position(), own.query(url, query, &variables, Some(&options)), later, data)
        };
        space.function(name).set_into_module(module, with_options);
    }
}

/// The methods of a client.
pub(super) fn register_type(module: &mut Module) {
    let space = Space::Plain;
    for (name, later) in TWINS {
        let plain = move |ctx: NativeCallContext, own: &mut Client, path: &str, query: &str| {
            own.make_with(ctx.call_position(), own.query(path, query, &Dynamic::UNIT, None), later, data)
        };
        space.function(name).set_into_module(module, plain);
        let with_variables =
            move |ctx: NativeCallContext, own: &mut Client, path: &str, query: &str, variables: Dynamic| {
                own.make_with(ctx.call_position(), own.query(path, query, &variables, None), later, data)
            };
        space.function(name).set_into_module(module, with_variables);
        let with_options = move |ctx: NativeCallContext,
                                 own: &mut Client,
                                 path: &str,
                                 query: &str,
                                 variables: Dynamic,
                                 options: Map| {
            own.make_with(ctx.call_position(), own.query(path, query, &variables, Some(&options)), later, data)
        };
        space.function(name).set_into_module(module, with_options);
    }
}

const TWINS: [(&str, bool); 2] = [("graphql", false), ("graphql_async", true)];
