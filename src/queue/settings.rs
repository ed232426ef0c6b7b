//! The limits and times of a queue: plain data.

use std::time::Duration;

/// What a queue keeps to. All processes that share a queue should have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How long a lease lasts. Default: 30 s. Workers renew it when a third of that has passed.
    pub lease: Duration,
    /// The most jobs of a tenant that wait, delayed ones among them. Default: 10,000.
    pub waiting_per_tenant: u64,
    /// The most jobs that wait. Default: 100,000.
    pub waiting: u64,
    /// The most jobs of a tenant that run at once. Default: 16.
    pub running_per_tenant: u64,
    /// How long an outcome is kept. Default: a day.
    pub keep: Duration,
    /// The most jobs of a tenant that are kept after their end. Default: 10,000.
    pub kept_per_tenant: u64,
    /// The most bytes of a tenant's jobs that the memory queue keeps after their end, roughly. Default: 256 MiB.
    pub kept_bytes_per_tenant: u64,
    /// How long an idempotency key is remembered. Default: a day.
    pub remember: Duration,
    /// The most bytes of a job: script, arguments and all. Default: 256 KiB.
    pub job_size: usize,
    /// The most bytes of a value, as JSON. Default: 1 MiB. A larger one is left out of the outcome, which says so.
    pub value_size: usize,
    /// The most events that are kept of a job. Default: 1,000.
    pub events: usize,
    /// The most bytes of events that are kept of a job. Default: 1 MiB.
    pub event_bytes: usize,
    /// The most records of a kind that a tenant has. Default: 1,000.
    pub records: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self {
            lease: Duration::from_secs(30),
            waiting_per_tenant: 10_000,
            waiting: 100_000,
            running_per_tenant: 16,
            keep: day,
            kept_per_tenant: 10_000,
            kept_bytes_per_tenant: 256 << 20,
            remember: day,
            job_size: 256 << 10,
            value_size: 1 << 20,
            events: 1_000,
            event_bytes: 1 << 20,
            records: 1_000,
        }
    }
}
