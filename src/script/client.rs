//! Clients of scripts, and how a request of one is made: its description becomes a request, its response a reply.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use http::{Method, Request, Response, Uri};
use rhai::{Dynamic, Map, Module, NativeCallContext, Position};

use super::failure::{self, Problem};
use super::host::{Host, Listener, RequestTrace};
use super::meter::{Ended, Slot, stopped};
use super::observer::{self, Observer};
use super::promise::{Outcome, Promise};
use super::reply::Reply;
use super::secret::Kept;
use super::spec::{Auth, Spec, Usual, header_map, text, unknown};
use super::{Space, Thrown, run, steps};
use crate::body::AsyncBody;
use crate::body::exchange::too_large;
use crate::client::{HttpClient, HttpClientBuilder, ResponseExt};
use crate::config::{Configurable, Proxy, RetryPolicy};
use crate::error::{Error, ErrorKind};
use crate::secret::{self, Concealed};

/// A client with what its requests have in common, and who listens to what it does.
#[derive(Clone)]
pub(crate) struct Client(Arc<Inner>);

struct Inner {
    http: HttpClient,
    /// The same client, whose requests have what is usual.
    with_usual: HttpClient,
    host: Arc<Host>,
    /// What the paths of its requests are added to. Without a slash at the end.
    base: Option<Uri>,
    usual: Usual,
}

/// What a script gets for a response, or is thrown.
pub(super) type Finish = fn(Reply, Position) -> Outcome;

impl Client {
    pub(super) fn new(http: HttpClient, host: Arc<Host>) -> Self {
        Self::assemble(http, host, None, Usual::default())
    }

    fn assemble(http: HttpClient, host: Arc<Host>, base: Option<Uri>, usual: Usual) -> Self {
        let with_usual = http.with_settings(usual.settings());
        Self(Arc::new(Inner { http, with_usual, host, base, usual }))
    }

    /// A client of the program's own, outside of scripts.
    #[cfg(feature = "stripe")]
    pub(crate) fn of(http: HttpClient) -> Self {
        Self::new(http, Arc::default())
    }

    /// What the engine's clients have in common.
    pub(super) fn host(&self) -> &Arc<Host> {
        &self.0.host
    }

    pub(crate) fn http(&self) -> &HttpClient {
        &self.0.http
    }

    /// A client of a script's own, with the settings of this one where it names none.
    pub(super) fn derive(&self, options: &Map) -> Result<Self, Problem> {
        let mut builder = self.0.http.to_builder();
        let mut usual = self.0.usual.clone();
        let mut secrets = Vec::new();
        let mut base = None;
        let mut cookies = true;
        for (name, given) in options {
            match name.as_str() {
                "base_url" => base = Some(base_of(&text(given, "base_url")?)?),
                "headers" => builder = with_headers(builder, given, &mut secrets)?,
                "auth" => {
                    builder = match Auth::of(given, &mut secrets)? {
                        Auth::Basic(user, password) => builder.basic_auth(user, password.as_str()),
                        Auth::Bearer(token) => builder.bearer_auth(token.as_str()),
                    }
                }
                "retries" => {
                    let most = given.as_int().ok().and_then(|most| u32::try_from(most).ok());
                    let most = most.ok_or("`retries` is a whole number of 0 or more")?;
                    builder =
                        builder.retry((most > 0).then(|| RetryPolicy::new().max_attempts(most.saturating_add(1))));
                }
                "proxy" => {
                    let proxy = text(given, "proxy")?;
                    self.0.host.sandbox.check_proxy().map_err(|denied| Problem::denied(&denied, &proxy))?;
                    builder = builder.proxy(Proxy::all(proxy));
                }
                "user_agent" => builder = builder.user_agent(text(given, "user_agent")?),
                "cookies" => cookies = given.as_bool().map_err(|other| format!("`cookies` is a bool, not {other}"))?,
                name if usual.set(name, given)? => {}
                other => return Err(unknown(other, OPTIONS).into()),
            }
        }
        check_secrets(&secrets, base.as_ref())?;
        usual.secrets.extend(secrets);
        if cookies {
            builder = builder.cookies();
        }
        let http = builder.build().map_err(|error| error.chain())?;
        Ok(Self::assemble(http, self.0.host.clone(), base, usual))
    }

    /// A request of this client.
    pub(super) fn spec<'a>(
        &'a self,
        method: &Method,
        url: &'a str,
        body: Option<&Dynamic>,
        options: Option<&Map>,
    ) -> Result<Spec<'a>, Problem> {
        let mut spec = self.new_spec(method.clone(), url.into())?;
        if let Some(body) = body {
            spec.set_body(body)?;
        }
        if let Some(options) = options {
            spec.apply(options, &[])?;
        }
        Ok(spec)
    }

    /// A request of this client, all of it in one map.
    pub(super) fn spec_of(&self, options: &Map) -> Result<Spec<'_>, Problem> {
        let method = match options.get("method") {
            None => Method::GET,
            Some(name) => text(name, "method")?.to_ascii_uppercase().parse().map_err(|_| "`method` is not a method")?,
        };
        let url = text(options.get("url").ok_or("the option `url` is missing")?, "url")?;
        let mut spec = self.new_spec(method, url.into())?;
        spec.apply(options, &["method", "url"])?;
        Ok(spec)
    }

    fn new_spec<'a>(&'a self, method: Method, url: Cow<'a, str>) -> Result<Spec<'a>, Problem> {
        Spec::new(&self.0.host, method, self.address(url)?, &self.0.usual)
    }

    /// The URL of a request: its own, or the base with a path added. The base's headers and credentials are for nobody
    /// else, so another origin is refused.
    fn address<'a>(&self, url: Cow<'a, str>) -> Result<Cow<'a, str>, String> {
        let Some(base) = &self.0.base else { return Ok(url) };
        if !has_scheme(&url) {
            let path = url.trim_start_matches('/');
            return Ok(format!("{}/{path}", base.to_string().trim_end_matches('/')).into());
        }
        let same =
            url.parse::<Uri>().is_ok_and(|url| url.scheme() == base.scheme() && url.authority() == base.authority());
        if same { Ok(url) } else { Err(format!("this client is for {base} only, and `{url}` is elsewhere")) }
    }

    /// Makes a request and waits for its response, or, if that is to be done later, starts it and gives a promise.
    #[inline]
    pub(super) fn make(&self, at: Position, spec: Result<Spec<'_>, Problem>, later: bool) -> Result<Dynamic, Thrown> {
        self.make_with(at, spec, later, |reply, _| Ok(Dynamic::from(reply)))
    }

    /// As `make`. What the script gets is what `finish` makes of the response.
    #[inline]
    pub(super) fn make_with(
        &self,
        at: Position,
        spec: Result<Spec<'_>, Problem>,
        later: bool,
        finish: Finish,
    ) -> Result<Dynamic, Thrown> {
        if later {
            return self.start_with(at, spec, finish).map(Dynamic::from);
        }
        finish(self.call(at, spec)?, at).map_err(|thrown| failure::again(thrown, at))
    }

    /// Makes a request and waits for its response.
    #[inline]
    pub(super) fn call(&self, at: Position, spec: Result<Spec<'_>, Problem>) -> Result<Reply, Thrown> {
        let (request, max_size) = prepare(spec, at)?;
        run::wait(&self.0.http, || self.send(request, max_size))?.map_err(|error| failure::thrown(&error, at))
    }

    /// Starts a request.
    pub(super) fn start(&self, at: Position, spec: Result<Spec<'_>, Problem>) -> Result<Promise, Thrown> {
        self.start_with(at, spec, |reply, _| Ok(Dynamic::from(reply)))
    }

    fn start_with(&self, at: Position, spec: Result<Spec<'_>, Problem>, finish: Finish) -> Result<Promise, Thrown> {
        let (request, max_size) = prepare(spec, at)?;
        // Boxed here: each future around it would hold it twice.
        let reply = Box::pin(self.send(request, max_size));
        Ok(Promise::start(&run::current(), async move {
            match reply.await {
                Ok(reply) => steps::counted(|| finish(reply, at)),
                Err(error) => Err(failure::described(&error, at)),
            }
        }))
    }

    /// Starts a request; the future has all of its response.
    #[inline]
    pub(crate) fn send(
        &self,
        mut request: Request<AsyncBody>,
        max_size: u64,
    ) -> impl Future<Output = Result<Reply, Error>> + Send + use<> {
        let telling = Telling::new(&request, self.0.host.listener.as_ref());
        let concealed = request.extensions().get::<Concealed>().cloned().unwrap_or_default();
        let denied = self.0.host.sandbox.check_method(request.method());
        let denied = denied.map_err(|denied| Error::new(ErrorKind::EgressDenied).with_detail(denied.message));
        let slot = denied.and_then(|()| begin(&mut request).map_err(|ended| stopped(&ended)));
        let response = slot.map(|slot| (slot, self.0.with_usual.send_async(request)));
        async move {
            let result = async {
                let (slot, response) = response?;
                let mut response = response.await?;
                let body =
                    whole(&mut response, max_size, slot).await.map_err(|error| match response.effective_uri() {
                        Some(uri) => error.with_url(uri),
                        None => error,
                    })?;
                steps::count(body.len());
                Ok(Reply::new(response.map(|_| ()), body, &concealed))
            }
            .await;
            if let Some(mut telling) = telling {
                telling.learn(&result);
            }
            result
        }
    }
}

/// Counts and marks a request that is about to be sent. A body of unknown length counts nothing.
#[inline]
pub(super) fn begin(request: &mut Request<AsyncBody>) -> Result<Slot, Ended> {
    observer::mark(request);
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let uri = request.uri();
    let url =
        uri.path().len() + uri.query().map_or(0, str::len) + uri.authority().map_or(0, |host| host.as_str().len());
    run::current().meter.begin((headers + url) as u64 + request.body().len().unwrap_or(0))
}

/// The whole body, counted as it comes where that is limited.
async fn whole(response: &mut Response<AsyncBody>, max_size: u64, slot: Slot) -> Result<Vec<u8>, Error> {
    if !slot.meter().watches_receiving() {
        let body = response.body_mut().collect(max_size).await?;
        let _unlimited = slot.meter().receive(body.len() as u64, 0);
        return Ok(body);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.body_mut().next().await.transpose()? {
        let so_far = (body.len() + chunk.len()) as u64;
        if so_far > max_size {
            return Err(too_large(max_size));
        }
        slot.meter().receive(chunk.len() as u64, so_far).map_err(|ended| stopped(&ended))?;
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The options of `http::client`.
pub(super) const OPTIONS: &[&str] =
    &["base_url", "headers", "auth", "timeout", "retries", "redirects", "max_size", "proxy", "user_agent", "cookies"];

#[inline]
fn prepare(spec: Result<Spec<'_>, Problem>, at: Position) -> Result<(Request<AsyncBody>, u64), Thrown> {
    let made = spec.map(|spec| (spec.max_size(), spec.into_request()));
    match made {
        Ok((max_size, Ok(request))) => Ok((request, max_size)),
        Ok((_, Err(problem))) | Err(problem) => Err(problem.thrown(at)),
    }
}

/// Whether a URL is whole: a path may hold another one in its query.
fn has_scheme(url: &str) -> bool {
    let is_scheme = |scheme: &str| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    url.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme))
}

/// Secrets of a client go to the origin of its base, so there has to be one.
fn check_secrets(secrets: &[Arc<Kept>], base: Option<&Uri>) -> Result<(), Problem> {
    for kept in secrets {
        let Some(base) = base else {
            let message = "a client with a secret needs a `base_url`: the secret is sent there and nowhere else";
            return Err(Problem::secret(message.into(), kept.name()));
        };
        kept.check(base).map_err(|message| Problem::secret(message, kept.name()))?;
    }
    Ok(())
}

fn base_of(text: &str) -> Result<Uri, String> {
    let uri = crate::client::parse_url(text).map_err(|error| format!("`base_url`: {}", error.chain()))?;
    if uri.query().is_some() {
        return Err("`base_url` has a query; give it with each request".into());
    }
    Ok(uri)
}

/// Headers of a client are for its servers: none of them follows a redirect to another origin.
fn with_headers(
    mut builder: HttpClientBuilder,
    given: &Dynamic,
    secrets: &mut Vec<Arc<Kept>>,
) -> Result<HttpClientBuilder, String> {
    let headers = header_map(given, secrets)?;
    let names: Vec<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
    for (name, value) in &headers {
        builder = builder.default_header(name, value);
    }
    Ok(builder.secret_headers(names))
}

/// Tells the listener of a request, at the latest when nobody waits for it any more.
struct Telling {
    listener: Option<Listener>,
    observer: Option<Arc<dyn Observer>>,
    trace: RequestTrace,
    began: Instant,
}

impl Telling {
    fn new(request: &Request<AsyncBody>, listener: Option<&Listener>) -> Option<Box<Self>> {
        let run = run::current();
        if listener.is_none() && run.observer.is_none() {
            return None;
        }
        let trace = RequestTrace {
            method: request.method().to_string(),
            url: secret::without_credentials(request.uri()),
            redirected_to: None,
            result: Err("ended".into()),
            metrics: None,
            bytes: 0,
            start: run.age(),
            time: Duration::ZERO,
        };
        let observer = run.observer.clone();
        Some(Box::new(Self { listener: listener.cloned(), observer, trace, began: Instant::now() }))
    }

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
        self.trace.time = self.began.elapsed();
        if let Some(listener) = &self.listener {
            listener(&self.trace);
        }
        if let Some(observer) = &self.observer {
            observer.request(&self.trace);
        }
    }
}

/// `http::client`.
pub(super) fn register(module: &mut Module, client: &Client) {
    let own = client.clone();
    Space::Http.function("client").set_into_module(module, move |ctx: NativeCallContext, options: Map| {
        own.derive(&options).map_err(|problem| problem.thrown(ctx.call_position()))
    });
    let own = client.clone();
    Space::Http.function("client").set_into_module(module, move |ctx: NativeCallContext| {
        own.derive(&Map::new()).map_err(|problem| problem.thrown(ctx.call_position()))
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
