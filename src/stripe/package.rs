//! The functions that scripts call. Each makes its request with the configuration of the run and waits as long as the
//! script may.

use std::sync::Arc;
use std::time::SystemTime;

use http::Method;
use rhai::{Array, Blob, Dynamic, INT, ImmutableString, Map, Module, NativeCallContext, Position};
use serde_json::Value;
use zeroize::Zeroizing;

use super::builder::{self, Builder, Type};
use super::client::Client;
use super::config::Config;
use super::error::StripeError;
use super::object::{self, Object};
use super::params::Params;
use super::resource::{self, Action, Resource};
use super::webhook;
use crate::script::secret::Secret;
use crate::script::{self, ScriptEngine, Space, Thrown, failure, run, spec, value};

/// The most entries of a list that a script gets unless it says otherwise.
const LIMIT: usize = 1000;

/// Gives the scripts of an engine the functions of [this module](super). Their requests are made with the engine's client.
///
/// With a key in the configuration, scripts need no `configure_stripe`; one that calls it has its own key from then on, to
/// the end of its run, and the rest of this configuration where it names nothing else.
///
/// # Errors
///
/// What is wrong with the configuration.
///
/// # Examples
///
/// ```
/// use marmot::script::ScriptEngine;
/// use marmot::stripe::{self, Config};
///
/// let mut engine = ScriptEngine::new();
/// stripe::register(&mut engine, Config::new().key("sk_test_4711"))?;
/// engine.compile("pay.rhai", r#"new_payment_intent().amount(2999).currency("usd").create()"#)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn register(engine: &mut ScriptEngine, config: Config) -> Result<(), StripeError> {
    config.check()?;
    let http = engine.client().clone();
    let client = if config.has_key() { Some(Client::with(http.clone(), &config)?) } else { None };
    let package = Package(Arc::new(Inner { http, config, client }));
    engine.engine_mut().register_global_module(module(&package).into());
    Ok(())
}

/// What the host program has set.
#[derive(Clone)]
struct Package(Arc<Inner>);

struct Inner {
    http: script::Client,
    config: Config,
    /// What scripts use that configure nothing.
    client: Option<Client>,
}

impl Package {
    /// The run's client, or the host's.
    fn client(&self, at: Position) -> Result<Client, Thrown> {
        let client = run::kept::<Client>().or_else(|| self.0.client.clone());
        client.ok_or_else(|| {
            let message = "Stripe has no key yet: call `configure_stripe(key)` first, or have the program set one";
            failure::invalid(message, at)
        })
    }

    /// Waits for what is asked of Stripe.
    fn ask<T>(&self, at: Position, ask: impl AsyncFnOnce(&Client) -> Result<T, StripeError>) -> Result<T, Thrown> {
        let client = self.client(at)?;
        run::wait(client.http(), || ask(&client))?.map_err(|error| thrown(&error, at))
    }

    /// One request, and the object that it is answered with.
    fn call(&self, at: Position, method: &Method, path: &[&str], params: &Params) -> Result<Dynamic, Thrown> {
        let answer = self.ask(at, async |client| client.call(method, path, params).await)?;
        object(answer, at)
    }

    fn list(&self, at: Position, resource: &Resource, options: &Map) -> Result<Array, Thrown> {
        let mut params = params_of(options, at)?;
        let limit = match params.take("limit").map(|limit| limit.parse()) {
            None => LIMIT,
            Some(Ok(limit)) => limit,
            Some(Err(_)) => return Err(failure::invalid("`limit` is a whole number of 0 or more", at)),
        };
        let entries = self.ask(at, async |client| client.pages(&[resource.path], &params, limit).await)?;
        entries.into_iter().map(|entry| object(entry, at)).collect()
    }

    fn act(
        &self,
        at: Position,
        resource: &Resource,
        action: &Action,
        id: &str,
        options: &Map,
    ) -> Result<Dynamic, Thrown> {
        let params = params_of(options, at)?;
        match action.segment {
            Some(segment) => self.call(at, &Method::POST, &[resource.path, id, segment], &params),
            None => self.call(at, &Method::DELETE, &[resource.path, id], &params),
        }
    }

    /// Takes a configuration for the rest of the run.
    fn configure(&self, given: &Dynamic) -> Result<(), String> {
        let mut config = self.0.config.clone();
        let mut key = None;
        if let Some(options) = given.read_lock::<Map>() {
            for (name, given) in options.iter() {
                match name.as_str() {
                    "key" => key = Some(given.clone()),
                    "base_url" => config = config.base_url(text(given, name)?),
                    "timeout" => config = config.timeout(spec::seconds(given, name)?),
                    "max_attempts" => {
                        let attempts = given.as_int().ok().and_then(|attempts| u32::try_from(attempts).ok());
                        config = config.max_attempts(attempts.ok_or("`max_attempts` is a whole number from 1 to 10")?);
                    }
                    other => return Err(spec::unknown(other, &["key", "base_url", "timeout", "max_attempts"])),
                }
            }
        } else {
            key = Some(given.clone());
        }
        // Never the host's key: it is not for a base that a script chooses.
        let key = key.ok_or("`configure_stripe` takes a key, or a map with a `key`")?;
        let key = key_of(&key, |secret| secret.reveal_for(&config.base_uri().map_err(|error| error.to_string())?))?;
        let client = Client::with(self.0.http.clone(), &config.key_in(key)).map_err(|error| error.to_string())?;
        if run::keep(client) {
            Ok(())
        } else {
            Err("`configure_stripe` is for scripts that a `Script` runs: its configuration ends with the run".into())
        }
    }
}

/// A key as a script has it: a text, or a secret, which is asked for its text in its own way.
fn key_of(
    given: &Dynamic,
    reveal: impl Fn(&Secret) -> Result<Zeroizing<String>, String>,
) -> Result<Zeroizing<String>, String> {
    if let Some(secret) = given.read_lock::<Secret>() {
        return reveal(&secret);
    }
    match given.read_lock::<ImmutableString>() {
        Some(text) => Ok(Zeroizing::new(text.to_string())),
        None if given.is_unit() => {
            Err("the key is a text or a secret, and nothing was given: is the variable set?".into())
        }
        None => Err(format!("the key is a text or a secret, not {}", given.type_name())),
    }
}

fn text(given: &Dynamic, what: &str) -> Result<String, String> {
    given.clone().into_string().map_err(|other| format!("`{what}` is a text, not {other}"))
}

fn params_of(options: &Map, at: Position) -> Result<Params, Thrown> {
    let mut params = Params::new();
    params.put_all(options).map_err(|message| failure::invalid(&message, at))?;
    Ok(params)
}

fn object(answer: Value, at: Position) -> Result<Dynamic, Thrown> {
    Object::of(answer).map_err(|message| failure::invalid(&message, at))
}

fn id(given: &Dynamic, at: Position) -> Result<String, Thrown> {
    let message = || format!("an object or its id is wanted, not {given}, of type {}", given.type_name());
    object::reference(given).ok_or_else(|| failure::invalid(&message(), at))
}

/// What a script is thrown.
fn thrown(error: &StripeError, at: Position) -> Thrown {
    if error.is_invalid_argument() {
        return failure::invalid(error.message(), at);
    }
    let mut map = failure::describe("stripe", error.message(), None, at);
    let text = |text: Option<&str>| text.map_or(Dynamic::UNIT, |text| text.to_owned().into());
    map.insert("type".into(), text(Some(error.error_type())));
    map.insert("code".into(), text(error.code()));
    map.insert("param".into(), text(error.param()));
    map.insert("decline_code".into(), text(error.decline_code()));
    map.insert("request_id".into(), text(error.request_id()));
    map.insert("idempotency_key".into(), text(error.idempotency_key()));
    map.insert("status".into(), error.status().map_or(Dynamic::UNIT, |status| INT::from(status).into()));
    failure::again(map.into(), at)
}

fn module(package: &Package) -> Module {
    let mut built = Module::new();
    let module = &mut built;
    let own = package.clone();
    Space::Plain.function("configure_stripe").set_into_module(module, move |ctx: NativeCallContext, given: Dynamic| {
        own.configure(&given).map_err(|message| failure::invalid(&message, ctx.call_position()))
    });
    creating::<builder::Product>(module, package);
    creating::<builder::Price>(module, package);
    creating::<builder::Customer>(module, package);
    creating::<builder::Coupon>(module, package);
    creating::<builder::Subscription>(module, package);
    creating::<builder::PaymentIntent>(module, package);
    builder::register_special(module);
    for resource in resource::RESOURCES {
        reading(module, package, resource);
        acting(module, package, resource);
    }
    object::register(module);
    methods(module, package);
    any_path(module, package);
    webhooks(module);
    built
}

/// `new_product()` and its builder.
fn creating<T: Type>(module: &mut Module, package: &Package) {
    let name = format!("new_{}", T::RESOURCE.object);
    Space::Plain.function(&name).set_into_module(module, || -> Result<Builder<T>, Thrown> { Ok(Builder::default()) });
    builder::register::<T>(module);
    let own = package.clone();
    let create = move |ctx: NativeCallContext, builder: &mut Builder<T>| {
        own.call(ctx.call_position(), &Method::POST, &[T::RESOURCE.path], &builder.params)
    };
    Space::Plain.function("create").set_into_module(module, create);
}

/// `get_product(id)`, `list_products(options)`, `update_product(id, changes)`.
fn reading(module: &mut Module, package: &Package, resource: &'static Resource) {
    let function = |verb: &str, end: &str| Space::Plain.function(&format!("{verb}_{}{end}", resource.object));
    let own = package.clone();
    function("get", "").set_into_module(module, move |ctx: NativeCallContext, given: Dynamic| {
        let at = ctx.call_position();
        own.call(at, &Method::GET, &[resource.path, &id(&given, at)?], &Params::new())
    });
    let own = package.clone();
    function("list", "s")
        .set_into_module(module, move |ctx: NativeCallContext| own.list(ctx.call_position(), resource, &Map::new()));
    let own = package.clone();
    function("list", "s").set_into_module(module, move |ctx: NativeCallContext, options: Map| {
        own.list(ctx.call_position(), resource, &options)
    });
    let own = package.clone();
    function("update", "").set_into_module(module, move |ctx: NativeCallContext, given: Dynamic, changes: Map| {
        let at = ctx.call_position();
        own.call(at, &Method::POST, &[resource.path, &id(&given, at)?], &params_of(&changes, at)?)
    });
}

/// `delete_product(id)`, `confirm_payment_intent(id, options)` and so on.
fn acting(module: &mut Module, package: &Package, resource: &'static Resource) {
    for action in resource.actions {
        let name = format!("{}_{}", action.name, resource.object);
        let own = package.clone();
        Space::Plain.function(&name).set_into_module(module, move |ctx: NativeCallContext, given: Dynamic| {
            let at = ctx.call_position();
            own.act(at, resource, action, &id(&given, at)?, &Map::new())
        });
        let own = package.clone();
        let with_options = move |ctx: NativeCallContext, given: Dynamic, options: Map| {
            let at = ctx.call_position();
            own.act(at, resource, action, &id(&given, at)?, &options)
        };
        Space::Plain.function(&name).set_into_module(module, with_options);
    }
}

/// The same as methods of objects.
fn methods(module: &mut Module, package: &Package) {
    let resource_of = |object: &Object, at: Position| {
        let unknown = || format!("there is no such method of a {}", object.kind());
        resource::named(&object.kind()).ok_or_else(|| failure::invalid(&unknown(), at))
    };
    let own = package.clone();
    Space::Plain.function("refresh").set_into_module(module, move |ctx: NativeCallContext, object: &mut Object| {
        let at = ctx.call_position();
        own.call(at, &Method::GET, &[resource_of(object, at)?.path, object.id()], &Params::new())
    });
    let own = package.clone();
    let update = move |ctx: NativeCallContext, object: &mut Object, changes: Map| {
        let at = ctx.call_position();
        own.call(at, &Method::POST, &[resource_of(object, at)?.path, object.id()], &params_of(&changes, at)?)
    };
    Space::Plain.function("update").set_into_module(module, update);
    for name in ["delete", "confirm", "capture", "cancel"] {
        let action_of = move |object: &Object, at: Position| {
            let resource = resource_of(object, at)?;
            let unknown = || format!("a {} has no method `{name}`", resource.object);
            Ok::<_, Thrown>((resource, resource.action(name).ok_or_else(|| failure::invalid(&unknown(), at))?))
        };
        let own = package.clone();
        Space::Plain.function(name).set_into_module(module, move |ctx: NativeCallContext, object: &mut Object| {
            let at = ctx.call_position();
            let (resource, action) = action_of(object, at)?;
            own.act(at, resource, action, object.id(), &Map::new())
        });
        let own = package.clone();
        let with_options = move |ctx: NativeCallContext, object: &mut Object, options: Map| {
            let at = ctx.call_position();
            let (resource, action) = action_of(object, at)?;
            own.act(at, resource, action, object.id(), &options)
        };
        Space::Plain.function(name).set_into_module(module, with_options);
    }
}

/// `stripe_get(path)` and its relatives, for all that has no word of its own.
fn any_path(module: &mut Module, package: &Package) {
    fn segments(path: &str) -> Vec<&str> {
        let path = path.trim_start_matches('/');
        path.strip_prefix("v1/").unwrap_or(path).split('/').collect()
    }
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let name = format!("stripe_{}", method.as_str().to_ascii_lowercase());
        let (own, verb) = (package.clone(), method.clone());
        Space::Plain.function(&name).set_into_module(module, move |ctx: NativeCallContext, path: &str| {
            own.call(ctx.call_position(), &verb, &segments(path), &Params::new())
        });
        let own = package.clone();
        let with_params = move |ctx: NativeCallContext, path: &str, params: Map| {
            let at = ctx.call_position();
            own.call(at, &method, &segments(path), &params_of(&params, at)?)
        };
        Space::Plain.function(&name).set_into_module(module, with_params);
    }
}

/// `stripe_webhook(payload, header, secrets, tolerance)`.
fn webhooks(module: &mut Module) {
    let usual = |ctx: NativeCallContext, payload: Dynamic, header: &str, secrets: Dynamic| {
        event(&payload, header, &secrets, webhook::TOLERANCE, ctx.call_position())
    };
    Space::Plain.function("stripe_webhook").set_into_module(module, usual);
    let within = |ctx: NativeCallContext, payload: Dynamic, header: &str, secrets: Dynamic, tolerance: Dynamic| {
        let at = ctx.call_position();
        let tolerance = spec::seconds(&tolerance, "tolerance").map_err(|message| failure::invalid(&message, at))?;
        event(&payload, header, &secrets, tolerance, at)
    };
    Space::Plain.function("stripe_webhook").set_into_module(module, within);
}

/// A key that signatures are checked by, which is sent nowhere.
fn signing_key(given: &Dynamic) -> Result<Zeroizing<String>, String> {
    key_of(given, |secret| Ok(secret.reveal()))
}

fn event(
    payload: &Dynamic,
    header: &str,
    secrets: &Dynamic,
    tolerance: std::time::Duration,
    at: Position,
) -> Result<Dynamic, Thrown> {
    let invalid = |message: String| failure::invalid(&message, at);
    let bytes = match payload.read_lock::<Blob>() {
        Some(blob) => blob.clone(),
        None => text(payload, "payload").map_err(invalid)?.into_bytes(),
    };
    let secrets: Vec<_> = match secrets.read_lock::<Array>() {
        Some(several) => several.iter().map(signing_key).collect::<Result<_, _>>(),
        None => signing_key(secrets).map(|secret| vec![secret]),
    }
    .map_err(invalid)?;
    let secrets: Vec<&str> = secrets.iter().map(|secret| secret.as_str()).collect();
    webhook::verify(&bytes, header, &secrets, tolerance, SystemTime::now())
        .map_err(|error| failure::again(failure::describe("signature", &error.to_string(), None, at).into(), at))?;
    value::from_json(&bytes).map_err(|message| invalid(format!("the payload is not JSON: {message}")))
}
