//! A request as a script describes it, by arguments and a map of options, and what it becomes. Sends nothing.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use rhai::{Array, Blob, Dynamic, FLOAT, INT, ImmutableString, Map};
use url::Url;
use zeroize::Zeroizing;

use super::failure::Problem;
use super::host::Host;
use super::secret::{Kept, Secret};
use super::value;
use crate::body::multipart::{Form, Part};
use crate::body::{AsyncBody, Body};
use crate::config::{Configurable, RedirectPolicy, RequestConfig};
use crate::secret::{Concealed, secret_value};

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
    /// Those that the client sends with each request.
    pub(super) secrets: Vec<Arc<Kept>>,
}

impl Default for Usual {
    fn default() -> Self {
        Self { timeout: TIMEOUT, redirects: REDIRECTS, max_size: MAX_SIZE, secrets: Vec::new() }
    }
}

impl Usual {
    /// What a client's requests have so that these hold for them.
    pub(super) fn settings(&self) -> RequestConfig {
        let redirects = match self.redirects {
            0 => RedirectPolicy::None,
            most => RedirectPolicy::Limit(most),
        };
        RequestConfig {
            metrics: Some(true),
            redirect_policy: Some(redirects),
            timeout: Some(Some(self.timeout)),
            ..RequestConfig::default()
        }
    }

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
pub(super) struct Spec<'a> {
    host: &'a Host,
    method: Method,
    url: Cow<'a, str>,
    /// Owned if it has limits of its own, other than those of its client.
    usual: Cow<'a, Usual>,
    /// Most requests have nothing of that, and are moved a few times.
    more: Option<Box<More>>,
}

/// What a request has beside a method and a URL.
#[derive(Default)]
struct More {
    headers: HeaderMap,
    query: Vec<Pair>,
    body: Option<(AsyncBody, HeaderValue)>,
    auth: Option<Auth>,
    /// Those in its headers, and those in its body.
    secrets: Vec<Arc<Kept>>,
    secrets_in_body: Vec<Arc<Kept>>,
}

pub(super) enum Auth {
    Basic(String, Zeroizing<String>),
    Bearer(Zeroizing<String>),
}

const OPTIONS: &[&str] = &[
    "method",
    "url",
    "headers",
    "query",
    "body",
    "json",
    "form",
    "multipart",
    "file",
    "timeout",
    "auth",
    "redirects",
    "max_size",
];

/// The kinds of a body that is not given by the call itself.
const BODIES: &str = "`body`, `json`, `form`, `multipart` and `file`";

impl<'a> Spec<'a> {
    pub(super) fn new(host: &'a Host, method: Method, url: Cow<'a, str>, usual: &'a Usual) -> Result<Self, Problem> {
        if let Err(denied) = host.sandbox.check_method(&method) {
            return Err(Problem::denied(&denied, method.as_str()));
        }
        Ok(Self { host, method, url, usual: Cow::Borrowed(usual), more: None })
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// The most bytes of the response.
    pub(super) fn max_size(&self) -> u64 {
        self.usual.max_size
    }

    /// Applies options, but those in `elsewhere`, which the caller has read.
    pub(super) fn apply(&mut self, options: &Map, elsewhere: &[&str]) -> Result<(), Problem> {
        for (name, given) in options {
            match name.as_str() {
                name if elsewhere.contains(&name) => {}
                "headers" => {
                    let more = self.more();
                    more.headers = header_map(given, &mut more.secrets)?;
                }
                "query" => self.more().query = pairs(given, "query", None)?,
                "body" => self.set_body(given)?,
                "json" => self.set_json(given)?,
                "form" => {
                    let mut form = url::form_urlencoded::Serializer::new(String::new());
                    for pair in pairs(given, "form", Some(&mut self.more().secrets_in_body))? {
                        form.append_pair(&pair.name, &pair.value);
                    }
                    let form = form.finish();
                    let form = self.more().bytes(form.into_bytes());
                    self.put_body(form, "application/x-www-form-urlencoded")?;
                }
                "multipart" => self.set_multipart(given)?,
                "file" => {
                    let path = text(given, "file")?;
                    let part = self.file(&path)?;
                    self.put_body(part.into(), "application/octet-stream")?;
                }
                "auth" => {
                    let more = self.more();
                    more.auth = Some(Auth::of(given, &mut more.secrets)?);
                }
                name if self.usual.to_mut().set(name, given)? => {}
                own @ ("method" | "url") => {
                    return Err(format!("`{own}` is given by the call itself, not as an option").into());
                }
                other => return Err(unknown(other, OPTIONS).into()),
            }
        }
        Ok(())
    }

    pub(super) fn set_body(&mut self, given: &Dynamic) -> Result<(), Problem> {
        if given.is_unit() {
            return Ok(());
        }
        if let Some(text) = given.read_lock::<ImmutableString>() {
            return self.put_body(text.as_bytes().to_vec().into(), "text/plain; charset=utf-8");
        }
        if let Some(blob) = given.read_lock::<Blob>() {
            return self.put_body(blob.clone().into(), "application/octet-stream");
        }
        if given.is_map() || given.is_array() {
            return self.set_json(given);
        }
        Err(format!("a body is a string, a blob, a map or an array, not {}", given.type_name()).into())
    }

    fn set_json(&mut self, given: &Dynamic) -> Result<(), Problem> {
        let more = self.more();
        let json = value::to_json_with_secrets(given, &mut more.secrets_in_body)?;
        let json = more.bytes(json.into_bytes());
        self.put_body(json, "application/json")
    }

    /// Fields of a form with files: a map, or an array of names and values where their order counts.
    fn set_multipart(&mut self, given: &Dynamic) -> Result<(), Problem> {
        let mut form = Form::new();
        if let Some(fields) = given.read_lock::<Map>() {
            for (name, value) in fields.iter() {
                form = form.part(name, self.part(name, value)?);
            }
        } else if let Some(fields) = given.read_lock::<Array>() {
            for field in fields.iter() {
                let pair = field.read_lock::<Array>();
                let Some([name, value]) = pair.as_ref().map(|pair| pair.as_slice()) else {
                    return Err("each item of the array `multipart` is an array of a name and a value".into());
                };
                let name = text(name, "the name of a field")?;
                form = form.part(&name, self.part(&name, value)?);
            }
        } else {
            return Err(format!("`multipart` is a map or an array, not {}", given.type_name()).into());
        }
        let content_type = form.content_type();
        self.put_typed(form.into(), content_type)
    }

    fn part(&mut self, name: &str, value: &Dynamic) -> Result<Part, Problem> {
        if let Some(blob) = value.read_lock::<Blob>() {
            return Ok(Part::bytes(blob.clone()));
        }
        let Some(described) = value.read_lock::<Map>() else {
            return Ok(Part::text(text_of(value, name, Some(&mut self.more().secrets_in_body))?.as_str()));
        };
        let mut part = match (described.get("file"), described.get("content")) {
            (Some(path), None) => {
                let path = text(path, "file")?;
                let part = Part::new(self.file(&path)?);
                match Path::new(&path).file_name() {
                    Some(own) => part.file_name(own.to_string_lossy()),
                    None => part,
                }
            }
            (None, Some(content)) => match content.read_lock::<Blob>() {
                Some(blob) => Part::bytes(blob.clone()),
                None => Part::text(text(content, "content")?),
            },
            _ => return Err(format!("the part `{name}` has either a `file` or a `content`").into()),
        };
        for (option, value) in described.iter() {
            match option.as_str() {
                "file" | "content" => {}
                "name" => part = part.file_name(text(value, "name")?),
                "type" => part = part.content_type(text(value, "type")?).map_err(|error| error.chain())?,
                other => return Err(unknown(other, &["file", "content", "name", "type"]).into()),
            }
        }
        Ok(part)
    }

    /// A file that the sandbox lets scripts read.
    fn file(&self, path: &str) -> Result<Body, Problem> {
        let real =
            self.host.sandbox.check_readable(Path::new(path)).map_err(|denied| Problem::denied(&denied, path))?;
        Body::from_path(&real).map_err(|error| format!("the file `{path}`: {error}").into())
    }

    fn put_body(&mut self, body: AsyncBody, content_type: &'static str) -> Result<(), Problem> {
        self.put_typed(body, HeaderValue::from_static(content_type))
    }

    fn put_typed(&mut self, body: AsyncBody, content_type: HeaderValue) -> Result<(), Problem> {
        match self.more().body.replace((body, content_type)) {
            None => Ok(()),
            Some(_) => Err(format!("more than one of {BODIES}").into()),
        }
    }

    /// The request. Its time limit is for all of it. Without limits of its own it is for the client's [`Usual::settings`].
    #[inline]
    pub(super) fn into_request(self) -> Result<Request<AsyncBody>, Problem> {
        let limited = matches!(self.usual, Cow::Owned(_));
        let tells = self.more.as_ref().is_some_and(|more| !more.secrets_in_body.is_empty());
        let settings = (limited || tells).then(|| self.usual.settings());
        self.into_request_with(settings)
    }

    /// The request. Its response may go on for ever; the time limit is for its head.
    pub(super) fn into_endless_request(self) -> Result<Request<AsyncBody>, Problem> {
        let limit = Some(self.usual.timeout);
        let settings = RequestConfig { timeout: Some(None), response_timeout: Some(limit), ..self.usual.settings() };
        self.into_request_with(Some(settings))
    }

    #[inline]
    fn into_request_with(self, settings: Option<RequestConfig>) -> Result<Request<AsyncBody>, Problem> {
        let uri = uri(&self.url, self.more.as_ref().map_or(&[], |more| &more.query))?;
        let mut concealed = Concealed::default();
        let own = self.more.iter().flat_map(|more| more.secrets.iter().chain(&more.secrets_in_body));
        for kept in self.usual.secrets.iter().chain(own) {
            kept.check(&uri).map_err(|message| Problem::secret(message, kept.name()))?;
            kept.conceal(&mut concealed);
        }
        // Not by the builder, which moves all of it in each step.
        let mut request = Request::new(AsyncBody::empty());
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        if let Some(settings) = settings {
            request.extensions_mut().insert(settings);
        }
        if let Some(more) = self.more {
            request = more.add_to(request, &mut concealed)?;
        }
        if !concealed.is_empty() {
            request.extensions_mut().insert(concealed);
        }
        Ok(request)
    }
}

impl More {
    /// Bytes of a body; overwritten after use if there is a secret among them.
    fn bytes(&self, bytes: Vec<u8>) -> AsyncBody {
        if self.secrets_in_body.is_empty() {
            return bytes.into();
        }
        Bytes::from_owner(Zeroizing::new(bytes)).into()
    }

    fn add_to(self, mut request: Request<AsyncBody>, concealed: &mut Concealed) -> Result<Request<AsyncBody>, Problem> {
        *request.headers_mut() = self.headers;
        if let Some((body, content_type)) = self.body {
            *request.body_mut() = body;
            request.headers_mut().entry(CONTENT_TYPE).or_insert(content_type);
        }
        if let Some(settings) = request.extensions_mut().get_mut::<RequestConfig>() {
            for kept in &self.secrets_in_body {
                // A redirect may ask for the body again.
                settings.egress = kept.egress().clone().merged_over(&settings.egress);
            }
        }
        match self.auth {
            Some(Auth::Basic(user, password)) => {
                if !concealed.is_empty() {
                    concealed.add(&basic(&user, &password), "[secret credentials]");
                }
                request = request.basic_auth(user, password.as_str());
            }
            Some(Auth::Bearer(token)) => request = request.bearer_auth(token.as_str()),
            None => {}
        }
        match request.extensions().get::<RequestConfig>().and_then(|config| config.invalid.as_ref()) {
            Some(error) => Err(error.chain().into()),
            None => Ok(request),
        }
    }
}

/// The credentials as they are sent (RFC 7617).
fn basic(user: &str, password: &str) -> Zeroizing<String> {
    use base64::Engine as _;
    let both = Zeroizing::new(format!("{user}:{password}"));
    Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(both.as_bytes()))
}

/// RFC 3986, appendix A, but for the fragment.
const NEEDS_NO_ESCAPE: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        plain[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"-._~:/?[]@!$&()*+,;=%";
    let mut mark = 0;
    while mark < marks.len() {
        plain[marks[mark] as usize] = true;
        mark += 1;
    }
    plain
};

/// A URL as a person writes it, with the parameters of its query that are given apart.
fn uri(text: &str, query: &[Pair]) -> Result<Uri, String> {
    // RFC 3986, appendix A, but for the fragment: such a URL needs no escapes.
    if query.is_empty()
        && text.bytes().all(|byte| NEEDS_NO_ESCAPE[usize::from(byte)])
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
        url.query_pairs_mut().extend_pairs(query.iter().map(|pair| (&pair.name, pair.value.as_str())));
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

/// A name with its value.
struct Pair {
    name: String,
    value: Zeroizing<String>,
    secret: bool,
}

/// A map of names to values; an array of values repeats its name, `()` leaves it out. Secrets are added to the list, if
/// there is one.
fn pairs(given: &Dynamic, what: &str, mut secrets: Option<&mut Vec<Arc<Kept>>>) -> Result<Vec<Pair>, String> {
    let map = given.read_lock::<Map>().ok_or_else(|| format!("`{what}` is a map, not {}", given.type_name()))?;
    let mut pairs = Vec::new();
    for (name, value) in map.iter() {
        let mut add = |value: &Dynamic| {
            let secret = value.is::<Secret>();
            let value = text_of(value, name, secrets.as_deref_mut())?;
            pairs.push(Pair { name: name.to_string(), value, secret });
            Ok::<_, String>(())
        };
        match value.read_lock::<Array>() {
            Some(values) => values.iter().try_for_each(add)?,
            None if value.is_unit() => {}
            None => add(value)?,
        }
    }
    Ok(pairs)
}

fn text_of(value: &Dynamic, name: &str, secrets: Option<&mut Vec<Arc<Kept>>>) -> Result<Zeroizing<String>, String> {
    if let Some(secret) = value.read_lock::<Secret>() {
        let secrets = secrets.ok_or_else(|| {
            format!(
                "`{name}`: a secret cannot be part of a URL, which is seen by many; put it into a header or the body"
            )
        })?;
        secrets.push(secret.kept().clone());
        return Ok(secret.reveal());
    }
    scalar(value)
        .map(Into::into)
        .ok_or_else(|| format!("the value of `{name}` is a string, a number or a bool, not {}", value.type_name()))
}

/// The text of a single value.
pub(super) fn scalar(value: &Dynamic) -> Option<String> {
    let simple = value.is_string()
        || value.is_int()
        || value.is_float()
        || value.is_bool()
        || value.is_decimal()
        || value.is_char();
    simple.then(|| value.to_string())
}

impl Auth {
    pub(super) fn of(given: &Dynamic, secrets: &mut Vec<Arc<Kept>>) -> Result<Self, String> {
        const FORMS: &str = "`auth` is #{user, password} or #{bearer}";
        let map = given.read_lock::<Map>().ok_or(FORMS)?;
        let mut get = |name: &str| map.get(name).map(|value| credential(value, name, secrets)).transpose();
        match (get("user")?, get("password")?, get("bearer")?) {
            (Some(user), password, None) => Ok(Self::Basic(user.to_string(), password.unwrap_or_default())),
            (None, None, Some(token)) => Ok(Self::Bearer(token)),
            _ => Err(FORMS.into()),
        }
    }
}

fn credential(value: &Dynamic, name: &str, secrets: &mut Vec<Arc<Kept>>) -> Result<Zeroizing<String>, String> {
    if value.is::<Secret>() { text_of(value, name, Some(secrets)) } else { text(value, name).map(Into::into) }
}

/// Headers of a map.
pub(super) fn header_map(given: &Dynamic, secrets: &mut Vec<Arc<Kept>>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for Pair { name, value, secret } in pairs(given, "headers", Some(secrets))? {
        let header = HeaderName::try_from(&name).map_err(|_| format!("`{name}` is not the name of a header"))?;
        let bytes = Zeroizing::new(value.as_bytes().to_vec());
        let sensitive = secret || header == AUTHORIZATION;
        let value = if sensitive { secret_value(bytes) } else { HeaderValue::try_from(bytes.as_slice()) };
        let value =
            value.map_err(|_| format!("the value of the header `{name}` holds a line break or control character"))?;
        headers.append(header, value);
    }
    Ok(headers)
}
