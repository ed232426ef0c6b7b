//! The asynchronous client: a request, tried as often as is allowed, and its answer. Knows no resource of Stripe's.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::config::{Config, Settled};
use super::error::StripeError;
use super::params::Params;
use crate::body::AsyncBody;
use crate::client::{HttpClient, retry_after, sleep};
use crate::config::{Outcome, RedirectPolicy, Repeatable, RequestConfig};
use crate::error::Error;
use crate::script::{self, Reply};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const STRIPE_VERSION: HeaderName = HeaderName::from_static("stripe-version");
/// By which Stripe says whether to try again, whatever the status.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("stripe-should-retry");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// The most bytes of an answer that are kept.
const MAX_SIZE: u64 = 64 << 20;
/// The most entries that Stripe puts on a page.
const PAGE: usize = 100;

/// A client of Stripe's API. Clones are the same client.
///
/// A path is given by its segments below `/v1`, each of which is escaped, so that an id cannot lead elsewhere.
///
/// # Examples
///
/// ```no_run
/// use marmot::HttpClient;
/// use marmot::stripe::{Client, Config, Params};
///
/// # async fn example(key: String) -> Result<(), Box<dyn std::error::Error>> {
/// #[derive(serde::Deserialize)]
/// struct Intent {
///     id: String,
///     status: String,
/// }
///
/// let stripe = Client::new(HttpClient::new()?, &Config::new().key(key))?;
/// let params = Params::new().set("amount", 2999).set("currency", "usd").idempotency_key("order-6735");
/// let intent: Intent = stripe.post(&["payment_intents"], &params).await?;
/// let intent: Intent = stripe.post(&["payment_intents", &intent.id, "cancel"], &Params::new()).await?;
/// assert_eq!(intent.status, "canceled");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: script::Client,
    settled: Settled,
}

impl Client {
    /// A client that sends its requests with another one, of which it uses connections, proxies, egress policy and default
    /// headers, but neither credentials, cookies, redirects nor retries.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration; the key is never in the message.
    pub fn new(http: HttpClient, config: &Config) -> Result<Self, StripeError> {
        Self::with(script::Client::of(http), config)
    }

    pub(super) fn with(http: script::Client, config: &Config) -> Result<Self, StripeError> {
        Ok(Self(Arc::new(Inner { http, settled: config.settle()? })))
    }

    pub(super) fn http(&self) -> &HttpClient {
        self.0.http.http()
    }

    /// Reads an object.
    ///
    /// # Errors
    ///
    /// Stripe's answer, or why there is none, after as many attempts as the configuration allows.
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &Params) -> Result<T, StripeError> {
        self.call(&Method::GET, path, query).await.and_then(into)
    }

    /// Creates or changes something.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn post<T: DeserializeOwned>(&self, path: &[&str], params: &Params) -> Result<T, StripeError> {
        self.call(&Method::POST, path, params).await.and_then(into)
    }

    /// Deletes or cancels something.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn delete<T: DeserializeOwned>(&self, path: &[&str], params: &Params) -> Result<T, StripeError> {
        self.call(&Method::DELETE, path, params).await.and_then(into)
    }

    /// The first `limit` entries of a list, over as many pages as that takes.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn list<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &Params,
        limit: usize,
    ) -> Result<Vec<T>, StripeError> {
        self.pages(path, query, limit).await?.into_iter().map(into).collect()
    }

    pub(super) async fn pages(&self, path: &[&str], query: &Params, limit: usize) -> Result<Vec<Value>, StripeError> {
        let mut found = Vec::new();
        let mut query = query.clone();
        while found.len() < limit {
            query = query.set("limit", (limit - found.len()).min(PAGE));
            let mut page = self.call(&Method::GET, path, &query).await?;
            let more = page["has_more"] == true;
            let Value::Array(entries) = page["data"].take() else {
                return Err(StripeError::malformed(http::StatusCode::OK, "a list has no `data`"));
            };
            let last = entries.last().and_then(|entry| entry["id"].as_str()).map(str::to_owned);
            found.extend(entries);
            match last {
                Some(last) if more => query = query.set("starting_after", last),
                _ => break,
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Sends a request until there is an answer to keep.
    pub(super) async fn call(&self, method: &Method, path: &[&str], params: &Params) -> Result<Value, StripeError> {
        let policy = &self.0.settled.policy;
        let key = match *method {
            Method::GET => None,
            _ => {
                let url = self.uri(path, "")?.to_string();
                let form = params.encode();
                Some(params.key_to_send(|| script::observer::key(method, &url, Some(form.as_bytes())))?)
            }
        };
        let request = || self.request(method, path, params, key.as_deref());
        policy.begin();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let result = self.0.http.send(request()?, MAX_SIZE).await;
            let Some(wait) = self.wait_before_next(attempts, &result) else {
                return self.read(result).map_err(|error| error.with_idempotency_key(key.as_deref()));
            };
            drop(result);
            sleep(wait).await;
        }
    }

    fn request(
        &self,
        method: &Method,
        path: &[&str],
        params: &Params,
        key: Option<&str>,
    ) -> Result<Request<AsyncBody>, StripeError> {
        let Settled { authorization, version, timeout, .. } = &self.0.settled;
        let has_body = method == Method::POST;
        let form = params.encode();
        let uri = self.uri(path, if has_body { "" } else { &form })?;
        let body = if has_body { AsyncBody::from(form) } else { AsyncBody::empty() };
        let mut request = Request::new(body);
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, authorization.clone());
        headers.insert(STRIPE_VERSION, version.clone());
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        if let Some(key) = key {
            let key =
                HeaderValue::from_str(key).map_err(|_| StripeError::invalid("the idempotency key is no header"))?;
            headers.insert(IDEMPOTENCY_KEY, key);
        }
        request.extensions_mut().insert(self.0.settled.concealed.clone());
        // Of the client's own settings, those that would send this request elsewhere, more often, or with what is not for
        // Stripe. Its credentials yield to the header.
        request.extensions_mut().insert(RequestConfig {
            timeout: Some(Some(*timeout)),
            retry: Some(None),
            redirect_policy: Some(RedirectPolicy::None),
            cookie_jar: Some(None),
            metrics: Some(true),
            ..RequestConfig::default()
        });
        Ok(request)
    }

    fn uri(&self, path: &[&str], query: &str) -> Result<Uri, StripeError> {
        // Those of dots are not escaped: they would lead upwards.
        if let Some(segment) = path.iter().find(|segment| matches!(**segment, "" | "." | "..") || segment.len() > 255) {
            return Err(StripeError::invalid(format!("{segment:?} is no id")));
        }
        let mut url = self.0.settled.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        Uri::try_from(url.as_str()).map_err(|error| StripeError::invalid(format!("{url} is no URL: {error}")))
    }

    /// How long to wait before the next attempt, if there is to be one. With its key a write may be sent again at any
    /// time; that includes one whose answer broke off.
    fn wait_before_next(&self, attempts: u32, result: &Result<Reply, Error>) -> Option<std::time::Duration> {
        let mut policy = self.0.settled.policy.clone();
        let outcome = match result {
            Ok(reply) => {
                match reply.headers().get(SHOULD_RETRY).map(HeaderValue::as_bytes) {
                    Some(b"false") => return None,
                    Some(b"true") => policy = policy.statuses([reply.status().as_u16()]),
                    _ => {}
                }
                let retry_after = retry_after(reply.headers(), SystemTime::now());
                Outcome::Status { status: reply.status(), retry_after }
            }
            Err(error) => Outcome::Failed { unsent: error.is_unsent(), may_pass: error.may_pass() },
        };
        let repeatable = Repeatable { idempotent: true, rewindable: true };
        policy.decide(attempts, repeatable, outcome, fastrand::f64())
    }

    fn read(&self, result: Result<Reply, Error>) -> Result<Value, StripeError> {
        let reply = result.map_err(StripeError::connection)?;
        let status = reply.status();
        let error = if status.is_success() {
            match serde_json::from_slice(reply.body()) {
                Ok(value) => return Ok(value),
                Err(error) => StripeError::malformed(status, &error.to_string()),
            }
        } else {
            // A server may say the key that it does not like.
            let text = String::from_utf8_lossy(reply.body());
            StripeError::answered(status, &text.replace(self.key(), "REDACTED"))
        };
        Err(error.with_request_id(text(reply.headers(), &REQUEST_ID)))
    }

    fn key(&self) -> &str {
        let header = self.0.settled.authorization.to_str().unwrap_or_default();
        header.strip_prefix("Bearer ").unwrap_or(header)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// What the caller wants to have of it.
fn into<T: DeserializeOwned>(value: Value) -> Result<T, StripeError> {
    serde_json::from_value(value).map_err(|error| StripeError::malformed(http::StatusCode::OK, &error.to_string()))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settled { base, version, .. } = &self.0.settled;
        f.debug_struct("Client").field("base", &base.as_str()).field("version", version).finish_non_exhaustive()
    }
}
