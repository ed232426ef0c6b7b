//! What a script does, as events for those who watch its job; and the marks of its requests. Sends nothing.

use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::UnboundedSender;

use crate::hex;
use crate::queue::{EventKind, JobId, NewEvent, now};
use crate::script::{Observer, RequestTrace, Write};
use crate::telemetry::{Answer, Telemetry};

/// Watches one run.
pub(super) struct Watch {
    id: JobId,
    trace: Trace,
    telemetry: Telemetry,
    /// Not bounded here: the sandbox bounds what a script prints and how often it asks.
    events: UnboundedSender<NewEvent>,
    output: Mutex<String>,
}

impl Watch {
    pub(super) fn new(
        id: JobId,
        parent: Option<&str>,
        telemetry: Telemetry,
        events: UnboundedSender<NewEvent>,
    ) -> Self {
        Self { id, trace: Trace::new(parent), telemetry, events, output: Mutex::default() }
    }

    /// What was printed.
    pub(super) fn output(&self) -> String {
        std::mem::take(&mut *self.output.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, kind: EventKind, data: Value) {
        // Where nobody takes it, the job is not ours any more.
        let _ = self.events.send(NewEvent { kind, at: now(), data });
    }
}

impl Observer for Watch {
    fn print(&self, text: &str) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.push_str(text);
        output.push('\n');
        drop(output);
        self.tell(EventKind::Log, json!({ "text": text }));
    }

    fn debug(&self, text: &str) {
        self.tell(EventKind::Log, json!({ "text": text, "debug": true }));
    }

    fn request(&self, trace: &RequestTrace) {
        let result = match &trace.result {
            Ok(100..=199) => "1xx",
            Ok(200..=299) => "2xx",
            Ok(300..=399) => "3xx",
            Ok(400..=499) => "4xx",
            Ok(_) => "5xx",
            Err(_) => "failed",
        };
        self.telemetry.requests.get_or_create(&Answer { result }).inc();
        self.telemetry.received.inc_by(trace.bytes);
        self.tell(EventKind::Http, described(trace));
    }

    fn idempotency_key(&self, write: &Write<'_>) -> Option<String> {
        let mut hash = Sha256::new();
        for part in [write.method.as_str().as_bytes(), write.url.as_bytes(), write.body.unwrap_or_default()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let hash = hex::encode(&hash.finalize()[..12]);
        Some(format!("marmot-{}-{}-{hash}", self.id, write.number))
    }

    fn trace_parent(&self) -> Option<String> {
        self.trace.child()
    }
}

/// A request, as those who watch see it: times in milliseconds, from the beginning of the run.
fn described(trace: &RequestTrace) -> Value {
    let ms = |time: std::time::Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let mut event = json!({
        "method": trace.method,
        "url": trace.url,
        "start_ms": ms(trace.start),
        "duration_ms": ms(trace.time),
        "bytes": trace.bytes,
    });
    match &trace.result {
        Ok(status) => event["status"] = (*status).into(),
        Err(why) => event["error"] = why.as_str().into(),
    }
    if let Some(there) = &trace.redirected_to {
        event["redirected_to"] = there.as_str().into();
    }
    if let Some(metrics) = &trace.metrics {
        event["phases"] = json!({
            "name_lookup_ms": ms(metrics.name_lookup),
            "connect_ms": ms(metrics.connect),
            "secure_connect_ms": ms(metrics.secure_connect),
            "first_byte_ms": ms(metrics.time_to_first_byte),
            "total_ms": ms(metrics.total),
        });
    }
    event
}

/// The trace that a job belongs to (W3C Trace Context).
struct Trace {
    /// 32 hexadecimal digits.
    id: String,
    flags: String,
}

impl Trace {
    /// The trace of the parent, or one of its own.
    fn new(parent: Option<&str>) -> Self {
        let mut parts = parent.unwrap_or_default().split('-');
        let (_version, id, _span, flags) = (parts.next(), parts.next(), parts.next(), parts.next());
        match (id, flags) {
            (Some(id), Some(flags)) if id.len() == 32 && flags.len() == 2 => {
                Self { id: id.to_owned(), flags: flags.to_owned() }
            }
            _ => Self { id: random(16).unwrap_or_default(), flags: "00".into() },
        }
    }

    /// What a request carries: a span of its own.
    fn child(&self) -> Option<String> {
        let span = random(8)?;
        (!self.id.is_empty()).then(|| format!("00-{}-{span}-{}", self.id, self.flags))
    }
}

/// So many random bytes, as hexadecimal digits. The first is not zero, as no id of a trace may be all zeros.
fn random(bytes: usize) -> Option<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random[..bytes]).ok()?;
    random[0] |= 1;
    Some(hex::encode(&random[..bytes]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    fn key(id: JobId, write: &Write<'_>) -> String {
        let (events, _) = tokio::sync::mpsc::unbounded_channel();
        Watch::new(id, None, Telemetry::new(), events).idempotency_key(write).unwrap()
    }

    #[test]
    fn keys_are_those_of_the_job_the_write_and_its_number() {
        let (one, other) = (JobId::new(), JobId::new());
        let post = |number, url| Write { number, method: &Method::POST, url, body: Some(b"x") };
        let first = key(one, &post(1, "http://a/"));
        assert_eq!(first, key(one, &post(1, "http://a/")));
        assert!(first.len() <= 255);
        assert_ne!(first, key(other, &post(1, "http://a/")));
        assert_ne!(first, key(one, &post(2, "http://a/")));
        assert_ne!(first, key(one, &post(1, "http://b/")));
        assert_ne!(first, key(one, &Write { body: Some(b"y"), ..post(1, "http://a/") }));
    }

    #[test]
    fn requests_belong_to_the_trace_of_their_job() {
        let trace = Trace::new(Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        let (one, two) = (trace.child().unwrap(), trace.child().unwrap());
        assert!(one.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && one.ends_with("-01") && one.len() == 55);
        assert_ne!(one, two);
        let own = Trace::new(None).child().unwrap();
        assert!(own.len() == 55 && own != Trace::new(None).child().unwrap());
    }
}
