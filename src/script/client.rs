//! Clients of scripts, and how a request of one is made: its description becomes a request, its response a reply.

use std::sync::Arc;

use http::{Method, Request, Uri};
use rhai::{Dynamic, Map, Module, NativeCallContext, Position};

use super::engine::{Listener, RequestTrace};
use super::promise::Promise;
use super::reply::Reply;
use super::spec::{Auth, Spec, Usual, header_map, text, unknown};
use super::{Space, Thrown, failure, run};
use crate::body::AsyncBody;
use crate::client::{HttpClient, HttpClientBuilder, ResponseExt};
use crate::config::{Configurable, Proxy, RetryPolicy};
use crate::error::Error;
use crate::secret;

/// A client with what its requests have in common, and who listens to what it does.
#[derive(Clone)]
pub(crate) struct Client(Arc<Inner>);

struct Inner {
    http: HttpClient,
    trace: Option<Listener>,
    /// What the paths of its requests are added to. Without a slash at the end.
    base: Option<Uri>,
    usual: Usual,
}

impl Client {
    pub(crate) fn new(http: HttpClient) -> Self {
        Self::with(http, None)
    }

    pub(super) fn with(http: HttpClient, trace: Option<Listener>) -> Self {
        Self(Arc::new(Inner { http, trace, base: None, usual: Usual::default() }))
    }

    pub(crate) fn http(&self) -> &HttpClient {
        &self.0.http
    }

    /// A client of a script's own, with the settings of this one where it names none.
    fn derive(&self, options: &Map) -> Result<Self, String> {
        let mut builder = self.0.http.to_builder();
        let mut usual = self.0.usual.clone();
        let mut base = None;
        let mut cookies = true;
        for (name, given) in options {
            match name.as_str() {
                "base_url" => base = Some(base_of(&text(given, "base_url")?)?),
                "headers" => builder = with_headers(builder, given)?,
                "auth" => {
                    builder = match Auth::of(given)? {
                        Auth::Basic(user, password) => builder.basic_auth(user, password),
                        Auth::Bearer(token) => builder.bearer_auth(token),
                    }
                }
                "retries" => {
                    let most = given.as_int().ok().and_then(|most| u32::try_from(most).ok());
                    let most = most.ok_or("`retries` is a whole number of 0 or more")?;
                    builder =
                        builder.retry((most > 0).then(|| RetryPolicy::new().max_attempts(most.saturating_add(1))));
                }
                "proxy" => builder = builder.proxy(Proxy::all(text(given, "proxy")?)),
                "user_agent" => builder = builder.user_agent(text(given, "user_agent")?),
                "cookies" => cookies = given.as_bool().map_err(|other| format!("`cookies` is a bool, not {other}"))?,
                name if usual.set(name, given)? => {}
                other => return Err(unknown(other, OPTIONS)),
            }
        }
        if cookies {
            builder = builder.cookies();
        }
        let http = builder.build().map_err(|error| error.chain())?;
        Ok(Self(Arc::new(Inner { http, trace: self.0.trace.clone(), base, usual })))
    }

    /// A request of this client.
    pub(super) fn spec(
        &self,
        method: &Method,
        url: &str,
        body: Option<&Dynamic>,
        options: Option<&Map>,
    ) -> Result<Spec, String> {
        let mut spec = Spec::new(method.clone(), self.address(url)?, self.0.usual.clone());
        if let Some(body) = body {
            spec.set_body(body)?;
        }
        if let Some(options) = options {
            spec.apply(options, &[])?;
        }
        Ok(spec)
    }

    /// A request of this client, all of it in one map.
    pub(super) fn spec_of(&self, options: &Map) -> Result<Spec, String> {
        let method = match options.get("method") {
            None => Method::GET,
            Some(name) => text(name, "method")?.to_ascii_uppercase().parse().map_err(|_| "`method` is not a method")?,
        };
        let url = text(options.get("url").ok_or("the option `url` is missing")?, "url")?;
        let mut spec = Spec::new(method, self.address(&url)?, self.0.usual.clone());
        spec.apply(options, &["method", "url"])?;
        Ok(spec)
    }

    /// The URL of a request: its own, or the base with a path added. The base's headers and credentials are for nobody
    /// else, so another origin is refused.
    fn address(&self, url: &str) -> Result<String, String> {
        let Some(base) = &self.0.base else { return Ok(url.to_owned()) };
        if !url.contains("://") {
            return Ok(format!("{}/{}", base.to_string().trim_end_matches('/'), url.trim_start_matches('/')));
        }
        let same =
            url.parse::<Uri>().is_ok_and(|url| url.scheme() == base.scheme() && url.authority() == base.authority());
        if same { Ok(url.to_owned()) } else { Err(format!("this client is for {base} only, and `{url}` is elsewhere")) }
    }

    /// Makes a request and waits for its response, or, if that is to be done later, starts it and gives a promise.
    pub(super) fn make(&self, at: Position, spec: Result<Spec, String>, later: bool) -> Result<Dynamic, Thrown> {
        if later { self.start(at, spec).map(Dynamic::from) } else { self.call(at, spec).map(Dynamic::from) }
    }

    fn call(&self, at: Position, spec: Result<Spec, String>) -> Result<Reply, Thrown> {
        let (request, max_size) = prepare(spec, at)?;
        run::wait(&self.0.http, || self.send(request, max_size))?.map_err(|error| failure::thrown(&error, at))
    }

    /// Starts a request.
    pub(super) fn start(&self, at: Position, spec: Result<Spec, String>) -> Result<Promise, Thrown> {
        let (request, max_size) = prepare(spec, at)?;
        let reply = self.send(request, max_size);
        Ok(Promise::start(&run::current(), async move {
            reply.await.map(Dynamic::from).map_err(|error| failure::described(&error, at))
        }))
    }

    /// Starts a request; the future has all of its response.
    pub(crate) fn send(
        &self,
        request: Request<AsyncBody>,
        max_size: u64,
    ) -> impl Future<Output = Result<Reply, Error>> + Send + use<> {
        let telling = self.0.trace.clone().map(|listener| Telling { trace: trace_of(&request), listener });
        let response = self.0.http.send_async(request);
        async move {
            let result = async {
                let mut response = response.await?;
                let body =
                    response.body_mut().collect(max_size).await.map_err(|error| match response.effective_uri() {
                        Some(uri) => error.with_url(uri),
                        None => error,
                    })?;
                Ok(Reply::new(response.map(|_| ()), body))
            }
            .await;
            if let Some(mut telling) = telling {
                telling.learn(&result);
            }
            result
        }
    }
}

const OPTIONS: &[&str] =
    &["base_url", "headers", "auth", "timeout", "retries", "redirects", "max_size", "proxy", "user_agent", "cookies"];

fn prepare(spec: Result<Spec, String>, at: Position) -> Result<(Request<AsyncBody>, u64), Thrown> {
    let spec = spec.map_err(|message| failure::invalid(&message, at))?;
    let max_size = spec.max_size();
    let request = spec.into_request().map_err(|message| failure::invalid(&message, at))?;
    Ok((request, max_size))
}

fn base_of(text: &str) -> Result<Uri, String> {
    let uri = crate::client::parse_url(text).map_err(|error| format!("`base_url`: {}", error.chain()))?;
    if uri.query().is_some() {
        return Err("`base_url` has a query; give it with each request".into());
    }
    Ok(uri)
}

/// Headers of a client are for its servers: none of them follows a redirect to another origin.
fn with_headers(mut builder: HttpClientBuilder, given: &Dynamic) -> Result<HttpClientBuilder, String> {
    let headers = header_map(given)?;
    let names: Vec<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
    for (name, value) in &headers {
        builder = builder.default_header(name, value);
    }
    Ok(builder.secret_headers(names))
}

/// Tells the listener of a request, at the latest when nobody waits for it any more.
struct Telling {
    listener: Listener,
    trace: RequestTrace,
}

impl Telling {
    fn learn(&mut self, result: &Result<Reply, Error>) {
        let trace = &mut self.trace;
        match result {
            Ok(reply) => {
                trace.redirected_to = Some(reply.url()).filter(|url| *url != trace.url);
                trace.result = Ok(reply.status().as_u16());
                trace.metrics = reply.metrics();
                trace.bytes = reply.length();
            }
            Err(error) => {
                trace.redirected_to = error.url().map(str::to_owned).filter(|url| *url != trace.url);
                trace.result = Err(error.chain());
            }
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        (self.listener)(&self.trace);
    }
}

/// What is told of a request of which nothing came.
fn trace_of(request: &Request<AsyncBody>) -> RequestTrace {
    RequestTrace {
        method: request.method().to_string(),
        url: secret::without_credentials(request.uri()),
        redirected_to: None,
        result: Err("ended".into()),
        metrics: None,
        bytes: 0,
    }
}

/// `http::client`.
pub(super) fn register(module: &mut Module, client: &Client) {
    let own = client.clone();
    Space::Http.function("client").set_into_module(module, move |ctx: NativeCallContext, options: Map| {
        own.derive(&options).map_err(|message| failure::invalid(&message, ctx.call_position()))
    });
    let own = client.clone();
    Space::Http.function("client").set_into_module(module, move |ctx: NativeCallContext| {
        own.derive(&Map::new()).map_err(|message| failure::invalid(&message, ctx.call_position()))
    });
}

/// The methods of a client.
pub(super) fn register_type(module: &mut Module) {
    module.set_custom_type::<Client>("Client");
    let space = Space::Plain;
    for (name, method, later) in verbs(&[Method::GET, Method::HEAD, Method::DELETE]) {
        let called = method.clone();
        space.function(&name).set_into_module(module, move |ctx: NativeCallContext, own: &mut Client, path: &str| {
            own.make(ctx.call_position(), own.spec(&called, path, None, None), later)
        });
        let with_options = move |ctx: NativeCallContext, own: &mut Client, path: &str, options: Map| {
            own.make(ctx.call_position(), own.spec(&method, path, None, Some(&options)), later)
        };
        space.function(&name).set_into_module(module, with_options);
    }
    for (name, method, later) in verbs(&[Method::POST, Method::PUT, Method::PATCH]) {
        let called = method.clone();
        let with_body = move |ctx: NativeCallContext, own: &mut Client, path: &str, body: Dynamic| {
            own.make(ctx.call_position(), own.spec(&called, path, Some(&body), None), later)
        };
        space.function(&name).set_into_module(module, with_body);
        let with_both = move |ctx: NativeCallContext, own: &mut Client, path: &str, body: Dynamic, options: Map| {
            own.make(ctx.call_position(), own.spec(&method, path, Some(&body), Some(&options)), later)
        };
        space.function(&name).set_into_module(module, with_both);
    }
    for (name, later) in [("request", false), ("request_async", true)] {
        space.function(name).set_into_module(module, move |ctx: NativeCallContext, own: &mut Client, options: Map| {
            own.make(ctx.call_position(), own.spec_of(&options), later)
        });
    }
}

/// The names of functions for methods: each that waits, and its twin that does not.
pub(super) fn verbs(methods: &[Method]) -> impl Iterator<Item = (String, Method, bool)> {
    methods.iter().flat_map(|method| {
        let verb = method.as_str().to_ascii_lowercase();
        [(verb.clone(), method.clone(), false), (format!("{verb}_async"), method.clone(), true)]
    })
}
