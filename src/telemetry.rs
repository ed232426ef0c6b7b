//! What a service counts: metrics as Prometheus and OpenMetrics have them. Decides nothing.

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Seconds, from a millisecond to ten minutes.
const SECONDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];

/// The metrics of a process. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Telemetry {
    /// Jobs by how they ended.
    pub(crate) ended: Family<Ended, Counter>,
    /// From the time when a job could run to its delivery.
    pub(crate) wait: Histogram,
    /// From its delivery to its end.
    pub(crate) run: Histogram,
    /// Deliveries of jobs that were delivered before.
    pub(crate) redeliveries: Counter,
    /// Requests of scripts, by their result.
    pub(crate) requests: Family<Answer, Counter>,
    /// Bytes that scripts received.
    pub(crate) received: Counter,
    /// Connections, by kind.
    pub(crate) connections: Family<Connection, Gauge>,
    /// Calls, by method and by the code of the error.
    pub(crate) calls: Family<Call, Counter>,
    /// What was turned away before it was a call.
    pub(crate) refused: Family<Refused, Counter>,
    /// What the queue holds.
    pub(crate) queue: Queue,
    registry: std::sync::Arc<Registry>,
}

/// What the queue holds, when it was asked last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    pub(crate) waiting: Gauge,
    pub(crate) delayed: Gauge,
    pub(crate) running: Gauge,
    pub(crate) dead: Gauge,
    pub(crate) workers: Gauge,
    pub(crate) oldest_ms: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Ended {
    pub(crate) state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Answer {
    /// `2xx` to `5xx`, or `failed`.
    pub(crate) result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Connection {
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "a worker alone has no connections"))]
pub(crate) enum Kind {
    Http,
    WebSocket,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    /// 0 where it succeeded.
    pub(crate) code: i32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Refused {
    pub(crate) why: &'static str,
}

impl Telemetry {
    /// All at zero.
    pub fn new() -> Self {
        let histogram = || Histogram::new(SECONDS);
        let mut this = Self {
            ended: Family::default(),
            wait: histogram(),
            run: histogram(),
            redeliveries: Counter::default(),
            requests: Family::default(),
            received: Counter::default(),
            connections: Family::default(),
            calls: Family::default(),
            refused: Family::default(),
            queue: Queue::default(),
            registry: std::sync::Arc::default(),
        };
        let mut registry = Registry::with_prefix("marmot");
        registry.register("jobs", "Jobs that have ended in this process, by state", this.ended.clone());
        registry.register_with_unit("job_wait", "Time that jobs have waited", Unit::Seconds, this.wait.clone());
        registry.register_with_unit("job_run", "Time that jobs have run", Unit::Seconds, this.run.clone());
        registry.register("redeliveries", "Jobs that were delivered again", this.redeliveries.clone());
        registry.register("http_requests", "Requests of scripts, by result", this.requests.clone());
        registry.register_with_unit("http_received", "Received by scripts", Unit::Bytes, this.received.clone());
        registry.register("connections", "Open connections", this.connections.clone());
        registry.register("calls", "Calls, by method and error code", this.calls.clone());
        registry.register("refused", "Connections and messages that were refused", this.refused.clone());
        let queue = &this.queue;
        for (name, help, gauge) in [
            ("queue_waiting", "Jobs that could run", &queue.waiting),
            ("queue_delayed", "Jobs whose time has not come", &queue.delayed),
            ("queue_running", "Jobs that run", &queue.running),
            ("queue_dead", "Dead letters", &queue.dead),
            ("queue_oldest_milliseconds", "How long the oldest job has waited", &queue.oldest_ms),
            ("workers", "Workers that live", &queue.workers),
        ] {
            registry.register(name, help, gauge.clone());
        }
        this.registry = registry.into();
        this
    }

    /// All of them, as text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}
