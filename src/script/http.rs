//! The functions that scripts call. Each makes a request on a client and waits as long as the script may, or starts it and
//! gives a promise of its response.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use rhai::{Dynamic, FLOAT, INT, Map, Module, NativeCallContext, Position, def_package};

use super::client::{self, Client, verbs};
use super::failure::Problem;
use super::{
    Space, api, download, failure, graphql, object, openapi, promise, reply, run, secret, stream, value, websocket,
};
use crate::client::HttpClient;

def_package! {
    /// The HTTP functions on the shared default client, for any engine.
    ///
    /// For a client of your own see [`http_module`].
    pub HttpPackage(module) {
        module.combine(http_module(HttpClient::shared().clone()));
    }
}

/// The HTTP functions on a client, to be registered with [`rhai::Engine::register_global_module`].
pub fn http_module(client: HttpClient) -> Module {
    module(&Client::new(client, Arc::default()))
}

pub(super) fn module(client: &Client) -> Module {
    let mut built = Module::new();
    let module = &mut built;
    requests(module, client, Space::Global);
    promise::register(module, client, Space::Global);
    stream::register(module, client, Space::Global);
    download::register(module, client, Space::Global);
    websocket::register(module, client, Space::Global);
    graphql::register(module, client, Space::Global);
    promise::register_type(module);
    client::register_type(module);
    stream::register_type(module);
    download::register_type(module);
    websocket::register_type(module);
    graphql::register_type(module);
    object::register_type(module);
    reply::register(module);
    secret::register(module, &client.host().secrets);
    helpers(module, client);
    built
}

/// The module `http`: the same functions without their prefix, and those that make clients.
pub(super) fn namespace(client: &Client) -> Module {
    let mut built = Module::new();
    requests(&mut built, client, Space::Http);
    promise::register(&mut built, client, Space::Http);
    stream::register(&mut built, client, Space::Http);
    download::register(&mut built, client, Space::Http);
    websocket::register(&mut built, client, Space::Http);
    graphql::register(&mut built, client, Space::Http);
    client::register(&mut built, client);
    api::register(&mut built, client);
    openapi::register(&mut built, client);
    built
}

fn requests(module: &mut Module, client: &Client, space: Space) {
    for (name, method, later) in verbs(&[Method::GET, Method::HEAD, Method::DELETE]) {
        let (own, called) = (client.clone(), method.clone());
        space.function(&name).set_into_module(module, move |ctx: NativeCallContext, url: &str| {
            own.make(ctx.call_position(), own.spec(&called, url, None, None), later)
        });
        let own = client.clone();
        space.function(&name).set_into_module(module, move |ctx: NativeCallContext, url: &str, options: Map| {
            own.make(ctx.call_position(), own.spec(&method, url, None, Some(&options)), later)
        });
    }
    for (name, method, later) in verbs(&[Method::POST, Method::PUT, Method::PATCH]) {
        let (own, called) = (client.clone(), method.clone());
        space.function(&name).set_into_module(module, move |ctx: NativeCallContext, url: &str, body: Dynamic| {
            own.make(ctx.call_position(), own.spec(&called, url, Some(&body), None), later)
        });
        let own = client.clone();
        let with_both = move |ctx: NativeCallContext, url: &str, body: Dynamic, options: Map| {
            own.make(ctx.call_position(), own.spec(&method, url, Some(&body), Some(&options)), later)
        };
        space.function(&name).set_into_module(module, with_both);
    }
    for (name, later) in [("request", false), ("request_async", true)] {
        let own = client.clone();
        space.function(name).set_into_module(module, move |ctx: NativeCallContext, options: Map| {
            own.make(ctx.call_position(), own.spec_of(&options), later)
        });
    }
}

fn helpers(module: &mut Module, client: &Client) {
    let host = client.host().clone();
    let variable = move |name: &str, at: Position| {
        let allowed = host.sandbox.check_variable(name).map_err(|denied| Problem::denied(&denied, name).thrown(at));
        allowed.map(|()| host.variables.as_ref().and_then(|variables| variables(name)))
    };
    let with_default = variable.clone();
    Space::Plain.function("env").set_into_module(module, move |ctx: NativeCallContext, name: &str| {
        variable(name, ctx.call_position()).map(|value| value.map_or(Dynamic::UNIT, Dynamic::from))
    });
    Space::Plain.function("env").set_into_module(module, move |ctx: NativeCallContext, name: &str, default: &str| {
        with_default(name, ctx.call_position()).map(|value| value.unwrap_or_else(|| default.to_owned()))
    });
    Space::Plain.function("parse_json").set_into_module(module, |ctx: NativeCallContext, text: &str| {
        value::from_json(text.as_bytes())
            .map_err(|message| failure::invalid(&format!("not JSON: {message}"), ctx.call_position()))
    });
    Space::Plain.function("to_json").set_into_module(module, |ctx: NativeCallContext, given: Dynamic| {
        value::to_json(&given).map_err(|message| failure::invalid(&message, ctx.call_position()))
    });
    Space::Plain.function("to_json").set_into_module(module, |ctx: NativeCallContext, given: &mut Map| {
        value::to_json(&Dynamic::from(given.clone())).map_err(|message| failure::invalid(&message, ctx.call_position()))
    });
    // In place of the language's own, which sleep past every limit.
    Space::Plain
        .function("sleep")
        .set_into_module(module, |seconds: INT| run::sleep(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))));
    Space::Plain.function("sleep").set_into_module(module, |seconds: FLOAT| {
        run::sleep(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
    });
}
