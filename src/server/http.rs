//! What is where: paths, who may ask for them, and what they answer. Listens nowhere.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Extension, Path, Query, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use serde::Deserialize;
use tokio::sync::watch;

use super::auth::{self, ALONE};
use super::listen::Place;
use super::methods::{Caller, Service};
use super::{code, console, hook, protocol, session};
use crate::telemetry::{Connection, Kind, Refused};

/// What all paths share.
#[derive(Clone)]
struct Shared {
    service: Arc<Service>,
    stopping: watch::Receiver<bool>,
    scheme: &'static str,
}

/// All paths.
pub(super) fn router(service: Arc<Service>, stopping: watch::Receiver<bool>, over_tls: bool) -> Router {
    let most = service.options.message_size;
    let shared = Shared { service, stopping, scheme: if over_tls { "https" } else { "http" } };
    Router::new()
        .route("/ws", get(websocket))
        .route("/ws/", get(websocket))
        .route("/rpc", post(rpc))
        .route("/hooks/{name}", post(webhook))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .merge(console::routes())
        .layer(middleware::from_fn_with_state(shared.clone(), guard))
        .layer(DefaultBodyLimit::max(most))
        .with_state(shared)
}

/// What holds for all paths: who may see pages of what origin, and what browsers are told about them.
async fn guard(State(shared): State<Shared>, request: Request<Body>, next: Next) -> Response {
    let options = &shared.service.options;
    let refuse = |why: &'static str, text: &'static str| {
        shared.service.telemetry.refused.get_or_create(&Refused { why }).inc();
        (StatusCode::FORBIDDEN, text).into_response()
    };
    // Webhooks come from anywhere, and are signed.
    if !request.uri().path().starts_with("/hooks/") {
        if !auth::is_welcome(request.headers(), shared.scheme, &options.origins) {
            return refuse(
                "origin",
                "pages of this origin may not connect; the server's `origins` lists those that may\n",
            );
        }
        if options.tokens.is_none() && !auth::is_local_host(request.headers()) {
            return refuse("host", "without tokens, the server is for this machine only, under the name `localhost`\n");
        }
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[derive(Deserialize)]
struct Ticket {
    ticket: Option<String>,
}

impl Shared {
    /// Who calls, by their token or ticket.
    fn caller(&self, headers: &HeaderMap, ticket: Option<&str>, from: SocketAddr) -> Result<Caller, Box<Response>> {
        let tenant = match &self.service.options.tokens {
            None => Some(ALONE.to_owned()),
            Some(tokens) => match (auth::bearer(headers), ticket) {
                (Some(token), _) => tokens.tenant(token).map(str::to_owned),
                (None, Some(ticket)) => self.service.tickets.redeem(ticket, Instant::now()),
                (None, None) => None,
            },
        };
        let Some(tenant) = tenant else {
            self.service.telemetry.refused.get_or_create(&Refused { why: "token" }).inc();
            // Only those who are wrong are counted, so that nobody can be kept out by others.
            if self.service.wrong.check_key(&network(from.ip())).is_err() {
                let later = (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")], "too many wrong tokens\n");
                return Err(later.into_response().into());
            }
            let message = "a token is needed: `Authorization: Bearer TOKEN`";
            let answer =
                protocol::answer(jsonrpsee_types::Id::Null, Err(code::error(code::AUTHENTICATION, message, None)));
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"marmot\""), (header::CONTENT_TYPE, JSON)];
            return Err((StatusCode::UNAUTHORIZED, challenge, answer).into_response().into());
        };
        let trace = headers.get(TRACE_PARENT).and_then(|value| value.to_str().ok());
        Ok(Caller { tenant, trace_parent: trace.filter(|trace| is_trace_parent(trace)).map(str::to_owned) })
    }
}

/// What belongs to one customer of a provider: an address, or a network of version 6 (RFC 6177), who has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

const JSON: &str = "application/json";
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Whether that is a `traceparent` of the version that is known (W3C Trace Context, 3.2).
fn is_trace_parent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    matches!(parts[..], ["00", id, span, flags]
        if hex(id, 32) && hex(span, 16) && hex(flags, 2) && !zero(id) && !zero(span))
}

async fn websocket(
    State(shared): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Extension(connection): Extension<Place>,
    Query(query): Query<Ticket>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let caller = match shared.caller(&headers, query.ticket.as_deref(), from) {
        Ok(caller) => caller,
        Err(response) => return *response,
    };
    let options = &shared.service.options;
    let Some(place) = shared.service.census.enter(&caller.tenant, options.sessions_per_tenant) else {
        shared.service.telemetry.refused.get_or_create(&Refused { why: "sessions" }).inc();
        let text = "this tenant has as many WebSockets as it may\n";
        return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "5")], text).into_response();
    };
    let most = options.message_size;
    let (service, stopping) = (shared.service.clone(), shared.stopping.clone());
    upgrade
        .max_message_size(most)
        .max_frame_size(most)
        // Small for those who are idle; it grows with what is sent.
        .read_buffer_size(4 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(options.outgoing.saturating_add(64 << 10))
        .on_upgrade(async move |socket| {
            let _places = (place, connection);
            let open = service.telemetry.connections.get_or_create_owned(&Connection { kind: Kind::WebSocket });
            open.inc();
            session::serve(socket, service, caller, stopping).await;
            open.dec();
        })
}

async fn rpc(
    State(shared): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let caller = match shared.caller(&headers, None, from) {
        Ok(caller) => caller,
        Err(response) => return *response,
    };
    // Pages of other origins may send plain text without being asked for leave first, but not JSON.
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(JSON) {
        let text = "the body of a call is `Content-Type: application/json`\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
    }
    let body = match read(&shared, body).await {
        Ok(body) => body,
        Err(response) => return *response,
    };
    match shared.service.answer(&caller, None, &body).await {
        Some(answer) => ([(header::CONTENT_TYPE, JSON)], answer).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// A whole body, within its size and time.
async fn read(shared: &Shared, body: Body) -> Result<axum::body::Bytes, Box<Response>> {
    let options = &shared.service.options;
    let whole = axum::body::to_bytes(body, options.message_size);
    match tokio::time::timeout(options.patience, whole).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => {
            Err((StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {} bytes\n", options.message_size))
                .into_response()
                .into())
        }
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body took too long\n").into_response().into()),
    }
}

async fn webhook(State(shared): State<Shared>, Path(name): Path<String>, headers: HeaderMap, body: Body) -> Response {
    let body = match read(&shared, body).await {
        Ok(body) => body,
        Err(response) => return *response,
    };
    let (status, answer) = hook::take(&shared.service, &name, &headers, &body).await;
    (status, [(header::CONTENT_TYPE, JSON)], answer.to_string()).into_response()
}

/// Whether new work is taken: not while the server stops, or cannot reach its queue.
async fn ready(State(shared): State<Shared>) -> Response {
    if *shared.stopping.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    let stats = tokio::time::timeout(Duration::from_secs(2), shared.service.queue.stats(None)).await;
    match stats {
        Ok(Ok(_)) => "ready\n".into_response(),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the queue does not answer\n").into_response(),
    }
}

/// The metrics, for those who have a token.
async fn metrics(
    State(shared): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if let Err(response) = shared.caller(&headers, None, from) {
        return *response;
    }
    let (queue, gauges) = (&shared.service.queue, &shared.service.telemetry.queue);
    let (stats, workers) = (queue.stats(None).await, queue.workers().await);
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    if let (Ok(stats), Ok(workers)) = (stats, workers) {
        gauges.waiting.set(number(stats.waiting));
        gauges.delayed.set(number(stats.delayed));
        gauges.running.set(number(stats.running));
        gauges.dead.set(number(stats.dead));
        gauges.oldest_ms.set(number(stats.oldest_ms));
        gauges.workers.set(number(workers.len() as u64));
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], shared.service.telemetry.render()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::"));
        assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    #[test]
    fn a_trace_is_taken_as_the_standard_has_it_or_not_at_all() {
        assert!(is_trace_parent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nX: y",
        ] {
            assert!(!is_trace_parent(wrong), "{wrong}");
        }
    }
}
