//! Spans of requests: OpenTelemetry's names, and no secrets.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use marmot::config::{RedirectPolicy, RetryPolicy};
use marmot::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::alone::is_alone;
use crate::support::Server;

/// Keeps the fields of all spans.
#[derive(Clone, Default)]
struct Keeper {
    /// The fields of all events.
    said: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
    spans: Arc<Mutex<BTreeMap<u64, BTreeMap<String, String>>>>,
    next: Arc<AtomicU64>,
}

struct Into<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Into<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl Subscriber for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("marmot")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.next.fetch_add(1, SeqCst) + 1;
        let mut fields = BTreeMap::new();
        span.record(&mut Into(&mut fields));
        self.spans.lock().unwrap().insert(id, fields);
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        if let Some(fields) = self.spans.lock().unwrap().get_mut(&span.into_u64()) {
            values.record(&mut Into(fields));
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Into(&mut fields));
        self.said.lock().unwrap().push(fields);
    }

    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Keeper {
    /// Runs `act` and returns the spans of it, in order.
    fn watch(&self, act: impl FnOnce()) -> Vec<BTreeMap<String, String>> {
        tracing::subscriber::with_default(self.clone(), act);
        std::mem::take(&mut *self.spans.lock().unwrap()).into_values().collect()
    }
}

#[test]
fn a_span_carries_the_fields_of_opentelemetry() {
    let server = Server::faults();
    let client = HttpClient::builder().redirect_policy(RedirectPolicy::Follow).build().unwrap();
    let port = server.addr().port().to_string();
    let spans = Keeper::default().watch(|| {
        client.get(server.url("/redirect/1")).unwrap().consume().unwrap();
    });
    assert_eq!(spans.len(), 2, "one for each hop: {spans:?}");
    let last = &spans[1];
    for (name, value) in [
        ("otel.name", "GET"),
        ("otel.kind", "client"),
        ("http.request.method", "GET"),
        ("http.request.resend_count", "1"),
        ("http.response.status_code", "200"),
        ("url.scheme", "http"),
        ("server.address", "127.0.0.1"),
        ("server.port", port.as_str()),
        ("network.peer.address", "127.0.0.1"),
        ("network.peer.port", port.as_str()),
        ("network.protocol.name", "http"),
        ("network.protocol.version", "1.1"),
    ] {
        assert_eq!(last.get(name).map(String::as_str), Some(value), "{name} in {last:?}");
    }
    assert_eq!(last["url.full"], server.url("/get"));
    assert!(!last.contains_key("error.type"));
}

#[test]
fn errors_have_their_type_and_secrets_do_not_show() {
    let server = Server::faults();
    let client = HttpClient::builder().url_credentials(true).bearer_auth("c4nary").build().unwrap();
    let url = server.url("/status/404?page=1&api_key=c4nary&sig=c4nary").replace("//", "//anna:c4nary@");
    let spans = Keeper::default().watch(|| {
        client.get(url).unwrap().consume().unwrap();
        let _ = client.get("http://127.0.0.1:1/?access_token=c4nary");
    });
    assert_eq!((spans[0]["error.type"].as_str(), spans[0]["otel.status_code"].as_str()), ("404", "ERROR"));
    assert!(spans[0]["url.full"].ends_with("/status/404?page=1&api_key=REDACTED&sig=REDACTED"), "{spans:?}");
    assert_eq!(spans[1]["error.type"], "connection_failed");
    assert!(!format!("{spans:?}").contains("c4nary"), "{spans:?}");
}

#[test]
fn events_show_no_secrets_either() {
    // The agent's thread sees the subscriber of the process only.
    if !is_alone("tracing::events_show_no_secrets_either") {
        return;
    }
    let server = Server::start(|request, responder| match request.path() {
        "/busy" => responder.send(503, &[("Set-Cookie", "session=c4nary")], b""),
        "/away" => responder.send(302, &[("Location", "http://anna:c4nary@127.0.0.1:1/?api_key=c4nary")], b""),
        _ => responder.send(302, &[("Location", "http://anna:c4nary@[/?key=c4nary")], b""),
    });
    let client = HttpClient::builder()
        .url_credentials(true)
        .basic_auth("anna", "c4nary")
        .default_header("x-api-key", "c4nary")
        .redirect_policy(RedirectPolicy::Follow)
        .retry(RetryPolicy::new().backoff(Duration::ZERO, Duration::ZERO))
        .build()
        .unwrap();
    let keeper = Keeper::default();
    tracing::subscriber::set_global_default(keeper.clone()).unwrap();
    for path in ["/busy", "/away", "/odd"] {
        let url = server.url(&format!("{path}?access_token=c4nary&sig=c4nary")).replace("//", "//anna:c4nary@");
        let _ = client.get(url);
    }
    let spans = keeper.spans.lock().unwrap();
    let said = keeper.said.lock().unwrap();
    assert!(said.iter().any(|fields| fields.contains_key("wait")) && said.len() > 5, "{said:?}");
    assert!(!format!("{said:?}{spans:?}").contains("c4nary"), "{said:?}{spans:?}");
}
