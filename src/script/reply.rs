//! A response in a script: whole, in memory. Sends nothing.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, HeaderName, HeaderValue, LINK};
use http::{Response, StatusCode, Uri, Version};
use rhai::{Array, Blob, Dynamic, INT, Map, Module, NativeCallContext, Position};

use super::{Space, Thrown, failure, links, value};
use crate::client::{ResponseExt, retry_after};
use crate::error::{Error, ErrorKind};
use crate::handler::Metrics;
use crate::secret::Concealed;

/// A response, whole.
#[derive(Clone)]
pub(crate) struct Reply(Arc<ReplyParts>);

struct ReplyParts {
    status: StatusCode,
    url: Option<Uri>,
    version: Version,
    headers: HeaderMap,
    body: Vec<u8>,
    metrics: Option<Metrics>,
}

impl Reply {
    /// What the server says back of the request's secrets is not for the script.
    #[inline]
    pub(super) fn new(mut response: Response<()>, mut body: Vec<u8>, concealed: &Concealed) -> Self {
        if !concealed.is_empty() {
            if let Cow::Owned(clean) = concealed.scrub(&body) {
                body = clean;
            }
            for value in response.headers_mut().values_mut() {
                if let Cow::Owned(clean) = concealed.scrub(value.as_bytes()) {
                    *value = HeaderValue::try_from(clean).unwrap_or(HeaderValue::from_static("[secret]"));
                }
            }
        }
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
    pub(super) fn url(&self) -> String {
        self.0.url.as_ref().map(crate::secret::without_credentials).unwrap_or_default()
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// The value of a header, if it is text.
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.0.headers.get(name)?.to_str().ok()
    }

    pub(super) fn text(&self) -> Result<String, Error> {
        crate::client::decode_text(self.0.body.clone(), &self.0.headers)
    }

    pub(super) fn json(&self) -> Result<Dynamic, Error> {
        let bytes = self.0.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.0.body);
        value::from_json(bytes).map_err(|message| self.is_not(&format!("JSON: {message}")))
    }

    /// The error for a body that is not what it should be.
    pub(super) fn is_not(&self, what: &str) -> Error {
        let detail = format!("not {what}; it begins {:?}", beginning(&self.0.body));
        let error = Error::new(ErrorKind::InvalidResponseBody).with_detail(detail);
        match &self.0.url {
            Some(url) => error.with_url(url),
            None => error,
        }
    }

    /// What `raise()` throws, if the status is one of 400 and above.
    pub(super) fn refusal(&self, at: Position) -> Option<Map> {
        let status = self.0.status;
        let failed = status.is_client_error() || status.is_server_error();
        let reason = status.canonical_reason().unwrap_or_default();
        failed.then(|| failure::status(status.as_u16(), reason, &self.url(), at))
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    pub(super) fn metrics(&self) -> Option<Metrics> {
        self.0.metrics
    }

    #[cfg(feature = "stripe")]
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// Bytes of the body.
    pub(super) fn length(&self) -> u64 {
        self.0.body.len() as u64
    }

    fn links(&self) -> Map {
        let values = self.0.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        links::by_relation(values, &self.url())
    }

    /// Whole seconds: a part of one is waited for as well.
    fn retry_after(&self) -> Dynamic {
        let seconds = |wait: Duration| wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
        retry_after(&self.0.headers, SystemTime::now())
            .map_or(Dynamic::UNIT, |wait| INT::try_from(seconds(wait)).unwrap_or(INT::MAX).into())
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
struct Headers(Arc<ReplyParts>);

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

pub(super) fn register(module: &mut Module) {
    replies(module);
    headers(module);
}

fn replies(module: &mut Module) {
    module.set_custom_type::<Reply>("Response");
    module.set_getter_fn("status", |reply: &mut Reply| Ok(INT::from(reply.0.status.as_u16())));
    module.set_getter_fn("ok", |reply: &mut Reply| Ok(reply.0.status.is_success()));
    module.set_getter_fn("url", |reply: &mut Reply| Ok(reply.url()));
    module.set_getter_fn("version", |reply: &mut Reply| Ok(format!("{:?}", reply.0.version)));
    module.set_getter_fn("headers", |reply: &mut Reply| Ok(Headers(reply.0.clone())));
    module.set_getter_fn("links", |reply: &mut Reply| Ok(reply.links()));
    module.set_getter_fn("retry_after", |reply: &mut Reply| Ok(reply.retry_after()));
    module.set_getter_fn("timings", |reply: &mut Reply| Ok(reply.timings()));
    Space::Plain.function("text").set_into_module(module, |ctx: NativeCallContext, reply: &mut Reply| {
        reply.text().map_err(|error| failure::thrown(&error, ctx.call_position()))
    });
    Space::Plain.function("json").set_into_module(module, |ctx: NativeCallContext, reply: &mut Reply| {
        reply.json().map_err(|error| failure::thrown(&error, ctx.call_position()))
    });
    Space::Plain
        .function("blob")
        .set_into_module(module, |reply: &mut Reply| -> Result<Blob, Thrown> { Ok(reply.0.body.clone()) });
    Space::Plain.function("raise").set_into_module(
        module,
        |ctx: NativeCallContext, reply: &mut Reply| -> Result<Reply, Thrown> {
            let at = ctx.call_position();
            if let Some(refusal) = reply.refusal(at) {
                return Err(failure::again(refusal.into(), at));
            }
            Ok(reply.clone())
        },
    );
    for name in ["to_string", "to_debug"] {
        Space::Plain.function(name).set_into_module(module, |reply: &mut Reply| -> Result<String, Thrown> {
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
    Space::Plain
        .function("get")
        .set_into_module(module, |headers: &mut Headers, name: &str| -> Result<Dynamic, Thrown> {
            Ok(headers.get(name))
        });
    Space::Plain
        .function("get_all")
        .set_into_module(module, |headers: &mut Headers, name: &str| -> Result<Array, Thrown> {
            Ok(headers.get_all(name))
        });
    Space::Plain
        .function("contains")
        .set_into_module(module, |headers: &mut Headers, name: &str| -> Result<bool, Thrown> {
            Ok(headers.0.headers.contains_key(name))
        });
    Space::Plain
        .function("keys")
        .set_into_module(module, |headers: &mut Headers| -> Result<Array, Thrown> { Ok(headers.keys()) });
    Space::Plain.function("len").set_into_module(module, |headers: &mut Headers| -> Result<INT, Thrown> {
        Ok(INT::try_from(headers.0.headers.len()).unwrap_or(INT::MAX))
    });
    for name in ["to_string", "to_debug"] {
        Space::Plain.function(name).set_into_module(module, |headers: &mut Headers| -> Result<String, Thrown> {
            let mut text = String::new();
            for (name, value) in &headers.0.headers {
                let _ = writeln!(text, "{name}: {}", header_text(value));
            }
            Ok(text.trim_end().to_owned())
        });
    }
}
