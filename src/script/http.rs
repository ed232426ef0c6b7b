//! The functions that scripts call. Each makes a request on the client and waits as long as the script may.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use rhai::{
    Array, Blob, Dynamic, EvalAltResult, FLOAT, FuncRegistration, INT, ImmutableString, Map, Module, NativeCallContext,
    Position, Shared, def_package,
};
use url::Url;

use super::engine::{Listener, RequestTrace};
use super::{failure, run, value};
use crate::body::AsyncBody;
use crate::client::{HttpClient, ResponseExt};
use crate::config::{Configurable, RedirectPolicy, RequestConfig};
use crate::error::Error;
use crate::handler::Metrics;

/// The time a script's request may take unless it says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The redirects a script's request follows unless it says otherwise.
const REDIRECTS: u32 = 10;
/// The most bytes of a response that are kept unless the script says otherwise.
const MAX_SIZE: u64 = 64 << 20;

type Thrown = Box<EvalAltResult>;

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
    module(Client::new(client))
}

/// The client of an engine, and who listens to what it does.
#[derive(Clone)]
pub(super) struct Client {
    client: HttpClient,
    trace: Option<Listener>,
}

impl Client {
    pub(super) fn new(client: HttpClient) -> Self {
        Self { client, trace: None }
    }

    pub(super) fn with_trace(mut self, trace: Listener) -> Self {
        self.trace = Some(trace);
        self
    }

    fn call(&self, at: Position, spec: Spec) -> Result<Reply, Thrown> {
        let max_size = spec.max_size;
        let request = spec.into_request().map_err(|message| failure::invalid(&message, at))?;
        let told = self.trace.as_ref().map(|listener| (listener, trace_of(&request)));
        let result = run::wait(&self.client, async {
            let mut response = self.client.send_async(request).await?;
            let body = response.body_mut().collect(max_size).await.map_err(|error| match response.effective_uri() {
                Some(uri) => error.with_url(uri),
                None => error,
            })?;
            Ok::<_, Error>(Reply::new(response.map(|_| ()), body))
        });
        if let Some((listener, mut trace)) = told {
            match &result {
                Ok(Ok(reply)) => {
                    trace.redirected_to = Some(reply.url()).filter(|url| *url != trace.url);
                    trace.result = Ok(reply.0.status.as_u16());
                    trace.metrics = reply.0.metrics;
                    trace.bytes = reply.0.body.len() as u64;
                }
                Ok(Err(error)) => {
                    trace.redirected_to = error.url().map(str::to_owned).filter(|url| *url != trace.url);
                    trace.result = Err(error.chain());
                }
                Err(_) => {}
            }
            listener(&trace);
        }
        result?.map_err(|error| failure::thrown(&error, at))
    }
}

/// What is told of a request of which nothing came.
fn trace_of(request: &Request<AsyncBody>) -> RequestTrace {
    RequestTrace {
        method: request.method().to_string(),
        url: crate::secret::without_credentials(request.uri()),
        redirected_to: None,
        result: Err("ended".into()),
        metrics: None,
        bytes: 0,
    }
}

/// A request as a script describes it.
struct Spec {
    method: Method,
    url: String,
    headers: HeaderMap,
    query: Vec<(String, String)>,
    body: Option<(Vec<u8>, &'static str)>,
    timeout: Duration,
    redirects: u32,
    max_size: u64,
    auth: Option<Auth>,
}

enum Auth {
    Basic(String, String),
    Bearer(String),
}

const OPTIONS: &[&str] =
    &["method", "url", "headers", "query", "body", "json", "form", "timeout", "auth", "redirects", "max_size"];

impl Spec {
    fn new(method: Method, url: &str) -> Self {
        Self {
            method,
            url: url.to_owned(),
            headers: HeaderMap::new(),
            query: Vec::new(),
            body: None,
            timeout: TIMEOUT,
            redirects: REDIRECTS,
            max_size: MAX_SIZE,
            auth: None,
        }
    }

    /// Everything in one map, as for `http_request`.
    fn from_map(options: &Map) -> Result<Self, String> {
        let method = match options.get("method") {
            None => Method::GET,
            Some(name) => text(name, "method")?.to_ascii_uppercase().parse().map_err(|_| "`method` is not a method")?,
        };
        let url = text(options.get("url").ok_or("the option `url` is missing")?, "url")?;
        let mut spec = Self::new(method, &url);
        spec.apply(options, &["method", "url"])?;
        Ok(spec)
    }

    /// Applies options, but those in `elsewhere`, which the caller has read.
    fn apply(&mut self, options: &Map, elsewhere: &[&str]) -> Result<(), String> {
        for (name, given) in options {
            match name.as_str() {
                name if elsewhere.contains(&name) => {}
                "headers" => self.set_headers(given)?,
                "query" => self.query = pairs(given, "query")?,
                "body" => self.set_body(given)?,
                "json" => self.put_body((value::to_json(given)?.into_bytes(), "application/json"))?,
                "form" => {
                    let mut form = url::form_urlencoded::Serializer::new(String::new());
                    form.extend_pairs(pairs(given, "form")?);
                    self.put_body((form.finish().into_bytes(), "application/x-www-form-urlencoded"))?;
                }
                "timeout" => self.timeout = seconds(given, "timeout")?,
                "redirects" => {
                    self.redirects = u32::try_from(int(given, "redirects")?).map_err(|_| "`redirects` is negative")?
                }
                "max_size" => {
                    self.max_size = u64::try_from(int(given, "max_size")?).map_err(|_| "`max_size` is negative")?
                }
                "auth" => self.auth = Some(auth(given)?),
                own @ ("method" | "url") => {
                    return Err(format!("`{own}` is given by the call itself, not as an option"));
                }
                other => return Err(unknown_option(other)),
            }
        }
        Ok(())
    }

    fn set_body(&mut self, given: &Dynamic) -> Result<(), String> {
        if given.is_unit() {
            return Ok(());
        }
        let body = if let Some(text) = given.read_lock::<ImmutableString>() {
            (text.as_bytes().to_vec(), "text/plain; charset=utf-8")
        } else if let Some(blob) = given.read_lock::<Blob>() {
            (blob.clone(), "application/octet-stream")
        } else if given.is_map() || given.is_array() {
            (value::to_json(given)?.into_bytes(), "application/json")
        } else {
            return Err(format!("a body is a string, a blob, a map or an array, not {}", given.type_name()));
        };
        self.put_body(body)
    }

    fn put_body(&mut self, body: (Vec<u8>, &'static str)) -> Result<(), String> {
        match self.body.replace(body) {
            None => Ok(()),
            Some(_) => Err("more than one of `body`, `json` and `form`".into()),
        }
    }

    fn set_headers(&mut self, given: &Dynamic) -> Result<(), String> {
        for (name, value) in pairs(given, "headers")? {
            let header = HeaderName::try_from(&name).map_err(|_| format!("`{name}` is not the name of a header"))?;
            let value = HeaderValue::try_from(value.as_bytes())
                .map_err(|_| format!("the value of the header `{name}` holds a line break or control character"))?;
            self.headers.append(header, value);
        }
        Ok(())
    }

    fn into_request(self) -> Result<Request<AsyncBody>, String> {
        let uri = uri(&self.url, &self.query)?;
        let redirects = match self.redirects {
            0 => RedirectPolicy::None,
            most => RedirectPolicy::Limit(most),
        };
        let mut request = Request::builder().method(self.method).uri(uri).extension(RequestConfig {
            timeout: Some(Some(self.timeout)),
            metrics: Some(true),
            redirect_policy: Some(redirects),
            ..RequestConfig::default()
        });
        request = match self.auth {
            Some(Auth::Basic(user, password)) => request.basic_auth(user, password),
            Some(Auth::Bearer(token)) => request.bearer_auth(token),
            None => request,
        };
        let (body, content_type) = match self.body {
            Some((bytes, content_type)) => (AsyncBody::from(bytes), Some(content_type)),
            None => (AsyncBody::empty(), None),
        };
        let mut request = request.body(body).map_err(|error| format!("the request cannot be made: {error}"))?;
        if let Some(error) = request.extensions().get::<RequestConfig>().and_then(|config| config.invalid.as_ref()) {
            return Err(error.chain());
        }
        *request.headers_mut() = self.headers;
        if let Some(content_type) = content_type {
            request.headers_mut().entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
        }
        Ok(request)
    }
}

/// A URL as a person writes it, with the parameters of its query that are given apart.
fn uri(text: &str, query: &[(String, String)]) -> Result<Uri, String> {
    // RFC 3986, appendix A, but for the fragment: such a URL needs no escapes.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&()*+,;=%".contains(&byte);
    if query.is_empty()
        && text.bytes().all(is_plain)
        && let Ok(uri) = Uri::try_from(text)
        && uri.authority().is_some()
    {
        return Ok(uri);
    }
    let mut url = Url::parse(text).map_err(|error| match error {
        url::ParseError::RelativeUrlWithoutBase => format!("`{text}` is not an absolute URL"),
        error => format!("`{text}` is not a URL: {error}"),
    })?;
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url.set_fragment(None);
    Uri::try_from(String::from(url)).map_err(|error| format!("`{text}` is not a URL: {error}"))
}

fn unknown_option(name: &str) -> String {
    let like = OPTIONS.iter().find(|option| {
        let beginning: String = name.chars().take(3).collect();
        option.starts_with(&beginning) || name.trim_end_matches('s') == option.trim_end_matches('s')
    });
    match like {
        Some(option) => format!("there is no option `{name}`; did you mean `{option}`?"),
        None => format!("there is no option `{name}`; there are {}", OPTIONS.join(", ")),
    }
}

fn text(given: &Dynamic, what: &str) -> Result<String, String> {
    match given.read_lock::<ImmutableString>() {
        Some(text) => Ok(text.to_string()),
        None => Err(format!("`{what}` is a string, not {}", given.type_name())),
    }
}

fn int(given: &Dynamic, what: &str) -> Result<INT, String> {
    given.as_int().map_err(|other| format!("`{what}` is a whole number, not {other}"))
}

fn seconds(given: &Dynamic, what: &str) -> Result<Duration, String> {
    let seconds = given.as_float().or_else(|_| given.as_int().map(|int| int as FLOAT));
    let seconds = seconds.map_err(|other| format!("`{what}` is a number of seconds, not {other}"))?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(|| format!("`{what}` is a number of seconds above zero, not {seconds}"))
}

/// A map of names to values; an array of values repeats its name, `()` leaves it out.
fn pairs(given: &Dynamic, what: &str) -> Result<Vec<(String, String)>, String> {
    let map = given.read_lock::<Map>().ok_or_else(|| format!("`{what}` is a map, not {}", given.type_name()))?;
    let mut pairs = Vec::new();
    for (name, value) in map.iter() {
        match value.read_lock::<Array>() {
            Some(values) => {
                for value in values.iter() {
                    pairs.push((name.to_string(), scalar(value, name)?));
                }
            }
            None if value.is_unit() => {}
            None => pairs.push((name.to_string(), scalar(value, name)?)),
        }
    }
    Ok(pairs)
}

fn scalar(value: &Dynamic, name: &str) -> Result<String, String> {
    let simple = value.is_string()
        || value.is_int()
        || value.is_float()
        || value.is_bool()
        || value.is_decimal()
        || value.is_char();
    if simple {
        Ok(value.to_string())
    } else {
        Err(format!("the value of `{name}` is a string, a number or a bool, not {}", value.type_name()))
    }
}

fn auth(given: &Dynamic) -> Result<Auth, String> {
    let map = given.read_lock::<Map>().ok_or("`auth` is a map: #{user, password} or #{bearer}")?;
    let get = |name: &str| map.get(name).map(|value| text(value, name)).transpose();
    match (get("user")?, get("password")?, get("bearer")?) {
        (Some(user), password, None) => Ok(Auth::Basic(user, password.unwrap_or_default())),
        (None, None, Some(token)) => Ok(Auth::Bearer(token)),
        _ => Err("`auth` is #{user, password} or #{bearer}".into()),
    }
}

/// A response, whole.
#[derive(Clone)]
pub(super) struct Reply(Arc<ReplyParts>);

struct ReplyParts {
    status: StatusCode,
    url: Option<Uri>,
    version: Version,
    headers: HeaderMap,
    body: Vec<u8>,
    metrics: Option<Metrics>,
}

impl Reply {
    fn new(response: Response<()>, body: Vec<u8>) -> Self {
        Self(Arc::new(ReplyParts {
            status: response.status(),
            url: response.effective_uri().cloned(),
            version: response.version(),
            metrics: response.metrics(),
            headers: response.into_parts().0.headers,
            body,
        }))
    }

    /// Where the response came from, after redirects.
    fn url(&self) -> String {
        self.0.url.as_ref().map(crate::secret::without_credentials).unwrap_or_default()
    }

    fn text(&self) -> Result<String, Error> {
        crate::client::decode_text(self.0.body.clone(), &self.0.headers)
    }

    fn timings(&self) -> Map {
        let Metrics {
            name_lookup,
            connect,
            secure_connect,
            transfer_start,
            time_to_first_byte,
            total,
            uploaded,
            downloaded,
        } = self.0.metrics.unwrap_or_default();
        let micros = |time: Duration| Dynamic::from(INT::try_from(time.as_micros()).unwrap_or(INT::MAX));
        let bytes = |count: u64| Dynamic::from(INT::try_from(count).unwrap_or(INT::MAX));
        Map::from_iter([
            ("name_lookup".into(), micros(name_lookup)),
            ("connect".into(), micros(connect)),
            ("secure_connect".into(), micros(secure_connect)),
            ("transfer_start".into(), micros(transfer_start)),
            ("first_byte".into(), micros(time_to_first_byte)),
            ("total".into(), micros(total)),
            ("uploaded".into(), bytes(uploaded)),
            ("downloaded".into(), bytes(downloaded)),
        ])
    }
}

/// The headers of a response.
#[derive(Clone)]
struct Headers(Shared<ReplyParts>);

impl Headers {
    fn get(&self, name: &str) -> Dynamic {
        self.0.headers.get(name).map_or(Dynamic::UNIT, header_text)
    }

    fn get_all(&self, name: &str) -> Array {
        self.0.headers.get_all(name).iter().map(header_text).collect()
    }

    fn keys(&self) -> Array {
        self.0.headers.keys().map(|name| name.as_str().into()).collect()
    }
}

/// Headers are Latin-1 by heritage (RFC 9110 5.5); most that go beyond ASCII are UTF-8 today.
fn header_text(value: &HeaderValue) -> Dynamic {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.into(),
        Err(_) => value.as_bytes().iter().map(|byte| char::from(*byte)).collect::<String>().into(),
    }
}

/// Registers a function under a name; it may be called on constants and its result is never folded away.
macro_rules! function {
    ($module:ident, $name:expr, $function:expr) => {
        FuncRegistration::new($name)
            .in_global_namespace()
            .with_purity(true)
            .with_volatility(true)
            .set_into_module($module, $function)
    };
}

pub(super) fn module(client: Client) -> Module {
    let mut built = Module::new();
    let module = &mut built;
    requests(module, &client);
    replies(module);
    headers(module);
    helpers(module);
    built
}

fn requests(module: &mut Module, client: &Client) {
    for (name, method) in [("http_get", Method::GET), ("http_head", Method::HEAD), ("http_delete", Method::DELETE)] {
        let (own, own_method) = (client.clone(), method.clone());
        function!(module, name, move |ctx: NativeCallContext, url: &str| {
            own.call(ctx.call_position(), Spec::new(own_method.clone(), url))
        });
        let own = client.clone();
        function!(module, name, move |ctx: NativeCallContext, url: &str, options: Map| {
            let at = ctx.call_position();
            let mut spec = Spec::new(method.clone(), url);
            spec.apply(&options, &[]).map_err(|message| failure::invalid(&message, at))?;
            own.call(at, spec)
        });
    }
    for (name, method) in [("http_post", Method::POST), ("http_put", Method::PUT), ("http_patch", Method::PATCH)] {
        let (own, own_method) = (client.clone(), method.clone());
        function!(module, name, move |ctx: NativeCallContext, url: &str, body: Dynamic| {
            let at = ctx.call_position();
            let mut spec = Spec::new(own_method.clone(), url);
            spec.set_body(&body).map_err(|message| failure::invalid(&message, at))?;
            own.call(at, spec)
        });
        let own = client.clone();
        function!(module, name, move |ctx: NativeCallContext, url: &str, body: Dynamic, options: Map| {
            let at = ctx.call_position();
            let mut spec = Spec::new(method.clone(), url);
            spec.set_body(&body)
                .and_then(|()| spec.apply(&options, &[]))
                .map_err(|message| failure::invalid(&message, at))?;
            own.call(at, spec)
        });
    }
    let own = client.clone();
    function!(module, "http_request", move |ctx: NativeCallContext, options: Map| {
        let at = ctx.call_position();
        let spec = Spec::from_map(&options).map_err(|message| failure::invalid(&message, at))?;
        own.call(at, spec)
    });
}

fn replies(module: &mut Module) {
    module.set_custom_type::<Reply>("Response");
    module.set_getter_fn("status", |reply: &mut Reply| Ok(INT::from(reply.0.status.as_u16())));
    module.set_getter_fn("ok", |reply: &mut Reply| Ok(reply.0.status.is_success()));
    module.set_getter_fn("url", |reply: &mut Reply| Ok(reply.url()));
    module.set_getter_fn("version", |reply: &mut Reply| Ok(format!("{:?}", reply.0.version)));
    module.set_getter_fn("headers", |reply: &mut Reply| Ok(Headers(reply.0.clone())));
    module.set_getter_fn("timings", |reply: &mut Reply| Ok(reply.timings()));
    function!(module, "text", |ctx: NativeCallContext, reply: &mut Reply| {
        reply.text().map_err(|error| failure::thrown(&error, ctx.call_position()))
    });
    function!(module, "json", |ctx: NativeCallContext, reply: &mut Reply| {
        let bytes = reply.0.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&reply.0.body);
        value::from_json(bytes).map_err(|message| {
            let error = Error::new(crate::error::ErrorKind::InvalidResponseBody)
                .with_detail(format!("not JSON: {message}; it begins {:?}", beginning(&reply.0.body)));
            let error = match &reply.0.url {
                Some(url) => error.with_url(url),
                None => error,
            };
            failure::thrown(&error, ctx.call_position())
        })
    });
    function!(module, "blob", |reply: &mut Reply| -> Result<Blob, Thrown> { Ok(reply.0.body.clone()) });
    function!(module, "raise", |ctx: NativeCallContext, reply: &mut Reply| -> Result<Reply, Thrown> {
        let status = reply.0.status;
        if status.is_client_error() || status.is_server_error() {
            let reason = status.canonical_reason().unwrap_or_default();
            return Err(failure::status(status.as_u16(), reason, &reply.url(), ctx.call_position()));
        }
        Ok(reply.clone())
    });
    for name in ["to_string", "to_debug"] {
        function!(module, name, |reply: &mut Reply| -> Result<String, Thrown> {
            let ReplyParts { version, status, body, .. } = &*reply.0;
            Ok(format!("{version:?} {status} ({} bytes from {})", body.len(), reply.url()))
        });
    }
}

fn beginning(body: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(&body[..body.len().min(160)]).chars().take(40).collect();
    if text.len() < body.len() { format!("{text}…") } else { text }
}

fn headers(module: &mut Module) {
    module.set_custom_type::<Headers>("Headers");
    module.set_indexer_get_fn(|headers: &mut Headers, name: &str| Ok(headers.get(name)));
    function!(module, "get", |headers: &mut Headers, name: &str| -> Result<Dynamic, Thrown> { Ok(headers.get(name)) });
    function!(module, "get_all", |headers: &mut Headers, name: &str| -> Result<Array, Thrown> {
        Ok(headers.get_all(name))
    });
    function!(module, "contains", |headers: &mut Headers, name: &str| -> Result<bool, Thrown> {
        Ok(headers.0.headers.contains_key(name))
    });
    function!(module, "keys", |headers: &mut Headers| -> Result<Array, Thrown> { Ok(headers.keys()) });
    function!(module, "len", |headers: &mut Headers| -> Result<INT, Thrown> {
        Ok(INT::try_from(headers.0.headers.len()).unwrap_or(INT::MAX))
    });
    for name in ["to_string", "to_debug"] {
        function!(module, name, |headers: &mut Headers| -> Result<String, Thrown> {
            let mut text = String::new();
            for (name, value) in &headers.0.headers {
                let _ = writeln!(text, "{name}: {}", header_text(value));
            }
            Ok(text.trim_end().to_owned())
        });
    }
}

fn helpers(module: &mut Module) {
    function!(module, "parse_json", |ctx: NativeCallContext, text: &str| {
        value::from_json(text.as_bytes())
            .map_err(|message| failure::invalid(&format!("not JSON: {message}"), ctx.call_position()))
    });
    function!(module, "to_json", |ctx: NativeCallContext, given: Dynamic| {
        value::to_json(&given).map_err(|message| failure::invalid(&message, ctx.call_position()))
    });
    function!(module, "to_json", |ctx: NativeCallContext, given: &mut Map| {
        value::to_json(&Dynamic::from(given.clone())).map_err(|message| failure::invalid(&message, ctx.call_position()))
    });
    // In place of the language's own, which sleep past every limit.
    function!(module, "sleep", |seconds: INT| run::sleep(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))));
    function!(module, "sleep", |seconds: FLOAT| {
        run::sleep(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
    });
}
