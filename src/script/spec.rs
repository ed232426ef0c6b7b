//! A request as a script describes it, by arguments and a map of options, and what it becomes. Sends nothing.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use rhai::{Array, Blob, Dynamic, FLOAT, INT, ImmutableString, Map};
use url::Url;

use super::value;
use crate::body::AsyncBody;
use crate::config::{Configurable, RedirectPolicy, RequestConfig};

/// The time a script's request may take unless it says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The redirects a script's request follows unless it says otherwise.
const REDIRECTS: u32 = 10;
/// The most bytes of a response that are kept unless the script says otherwise.
const MAX_SIZE: u64 = 64 << 20;

/// What requests have in common unless they say otherwise.
#[derive(Clone)]
pub(super) struct Usual {
    timeout: Duration,
    redirects: u32,
    max_size: u64,
}

impl Default for Usual {
    fn default() -> Self {
        Self { timeout: TIMEOUT, redirects: REDIRECTS, max_size: MAX_SIZE }
    }
}

impl Usual {
    /// Applies an option, if it is one of these.
    pub(super) fn set(&mut self, name: &str, given: &Dynamic) -> Result<bool, String> {
        match name {
            "timeout" => self.timeout = seconds(given, name)?,
            "redirects" => self.redirects = natural(given, name)?,
            "max_size" => self.max_size = natural(given, name)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A request as a script describes it.
pub(super) struct Spec {
    method: Method,
    url: String,
    headers: HeaderMap,
    query: Vec<(String, String)>,
    body: Option<(Vec<u8>, &'static str)>,
    usual: Usual,
    auth: Option<Auth>,
}

pub(super) enum Auth {
    Basic(String, String),
    Bearer(String),
}

const OPTIONS: &[&str] =
    &["method", "url", "headers", "query", "body", "json", "form", "timeout", "auth", "redirects", "max_size"];

impl Spec {
    pub(super) fn new(method: Method, url: String, usual: Usual) -> Self {
        Self { method, url, headers: HeaderMap::new(), query: Vec::new(), body: None, usual, auth: None }
    }

    /// The most bytes of the response.
    pub(super) fn max_size(&self) -> u64 {
        self.usual.max_size
    }

    /// Applies options, but those in `elsewhere`, which the caller has read.
    pub(super) fn apply(&mut self, options: &Map, elsewhere: &[&str]) -> Result<(), String> {
        for (name, given) in options {
            match name.as_str() {
                name if elsewhere.contains(&name) => {}
                "headers" => self.headers = header_map(given)?,
                "query" => self.query = pairs(given, "query")?,
                "body" => self.set_body(given)?,
                "json" => self.put_body((value::to_json(given)?.into_bytes(), "application/json"))?,
                "form" => {
                    let mut form = url::form_urlencoded::Serializer::new(String::new());
                    form.extend_pairs(pairs(given, "form")?);
                    self.put_body((form.finish().into_bytes(), "application/x-www-form-urlencoded"))?;
                }
                "auth" => self.auth = Some(Auth::of(given)?),
                name if self.usual.set(name, given)? => {}
                own @ ("method" | "url") => {
                    return Err(format!("`{own}` is given by the call itself, not as an option"));
                }
                other => return Err(unknown(other, OPTIONS)),
            }
        }
        Ok(())
    }

    pub(super) fn set_body(&mut self, given: &Dynamic) -> Result<(), String> {
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

    /// The request. Its time limit is for all of it.
    pub(super) fn into_request(self) -> Result<Request<AsyncBody>, String> {
        let limit = Some(self.usual.timeout);
        self.into_request_with(RequestConfig { timeout: Some(limit), ..RequestConfig::default() })
    }

    /// The request. Its response may go on for ever; the time limit is for its head.
    pub(super) fn into_endless_request(self) -> Result<Request<AsyncBody>, String> {
        let limit = Some(self.usual.timeout);
        self.into_request_with(RequestConfig {
            timeout: Some(None),
            response_timeout: Some(limit),
            ..RequestConfig::default()
        })
    }

    fn into_request_with(self, limits: RequestConfig) -> Result<Request<AsyncBody>, String> {
        let uri = uri(&self.url, &self.query)?;
        let redirects = match self.usual.redirects {
            0 => RedirectPolicy::None,
            most => RedirectPolicy::Limit(most),
        };
        let mut request = Request::builder().method(self.method).uri(uri).extension(RequestConfig {
            metrics: Some(true),
            redirect_policy: Some(redirects),
            ..limits
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

/// The message for an option that is none of those.
pub(crate) fn unknown(name: &str, options: &[&str]) -> String {
    let beginning: String = name.chars().take(3).collect();
    let is_like =
        |option: &&&str| option.starts_with(&beginning) || name.trim_end_matches('s') == option.trim_end_matches('s');
    match options.iter().find(is_like) {
        Some(option) => format!("there is no option `{name}`; did you mean `{option}`?"),
        None => format!("there is no option `{name}`; there are {}", options.join(", ")),
    }
}

pub(super) fn text(given: &Dynamic, what: &str) -> Result<String, String> {
    match given.read_lock::<ImmutableString>() {
        Some(text) => Ok(text.to_string()),
        None => Err(format!("`{what}` is a string, not {}", given.type_name())),
    }
}

fn natural<N: TryFrom<INT>>(given: &Dynamic, what: &str) -> Result<N, String> {
    let int = given.as_int().map_err(|other| format!("`{what}` is a whole number, not {other}"))?;
    N::try_from(int).map_err(|_| format!("`{what}` is {}", if int < 0 { "negative" } else { "too large" }))
}

pub(crate) fn seconds(given: &Dynamic, what: &str) -> Result<Duration, String> {
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

impl Auth {
    pub(super) fn of(given: &Dynamic) -> Result<Self, String> {
        let map = given.read_lock::<Map>().ok_or("`auth` is a map: #{user, password} or #{bearer}")?;
        let get = |name: &str| map.get(name).map(|value| text(value, name)).transpose();
        match (get("user")?, get("password")?, get("bearer")?) {
            (Some(user), password, None) => Ok(Self::Basic(user, password.unwrap_or_default())),
            (None, None, Some(token)) => Ok(Self::Bearer(token)),
            _ => Err("`auth` is #{user, password} or #{bearer}".into()),
        }
    }
}

/// Headers of a map.
pub(super) fn header_map(given: &Dynamic) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(given, "headers")? {
        let header = HeaderName::try_from(&name).map_err(|_| format!("`{name}` is not the name of a header"))?;
        let value = HeaderValue::try_from(value.as_bytes())
            .map_err(|_| format!("the value of the header `{name}` holds a line break or control character"))?;
        headers.append(header, value);
    }
    Ok(headers)
}
