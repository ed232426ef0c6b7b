//! What a client is doing. Plain data.

/// A client's connections and requests at one moment, and what it has counted since it was made.
///
/// Gauges tell of now, counters of all the time. From [`HttpClient::stats`](crate::HttpClient::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Agents, each with connections of its own, those of blocking callers included
    /// ([`agents`](crate::HttpClientBuilder::agents)): gauge.
    pub agents: usize,
    /// Connections that are open: gauge.
    pub open: usize,
    /// Those of them that no request uses: gauge.
    pub idle: usize,
    /// Requests in flight, those whose responses are still being read included: gauge.
    pub in_flight: usize,
    /// Those of them that wait for a connection: gauge.
    pub waiting: usize,
    /// Transfers that were started; each attempt and each hop of a redirect is one: counter.
    pub started: u64,
    /// Transfers that ended with a complete response: counter.
    pub completed: u64,
    /// Transfers that failed: counter. Those that were ended by the caller are in neither.
    pub failed: u64,
    /// Complete transfers that used a connection which was open before: counter.
    pub reused: u64,
}
