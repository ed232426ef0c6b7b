//! What is measured: the scenarios, who takes part in each, and the work of one slice. Runs nothing.

use crate::load::{Load, MIB, Origins, Verb};

/// How long the server lets 1,000 wait, and 10,000, in milliseconds.
const HOLD: [u64; 2] = [2_000, 6_000];

/// One table. A new one is an entry in [`ALL`] and nothing else.
pub struct Scenario {
    /// As on the command line, and of its files.
    pub name: &'static str,
    pub title: &'static str,
    /// The title in a picture of all scenarios.
    pub short: &'static str,
    pub figure: Figure,
    /// The raw loop that others are compared with.
    pub raw: &'static str,
    pub cores: Cores,
    /// Groups of names of peers.
    pub peers: &'static [&'static [&'static str]],
    /// Of the short version, on the server for it. `None` if there is none.
    load: fn(&Origins) -> Option<Load>,
    /// How many times the work of the short version the long one does.
    long: usize,
}

const ASYNC: &[&str] =
    &["raw-poll", "raw-sock", "hyper", "reqwest-mt", "reqwest-ct", "isahc", "marmot", "marmot-apart"];
const BLOCKING: &[&str] = &["raw-easy", "reqwest-blocking", "ureq", "isahc-blocking", "marmot-blocking"];
const BULK: &[&str] = &[
    "raw-poll",
    "hyper",
    "reqwest-mt",
    "reqwest-ct",
    "reqwest-blocking",
    "isahc",
    "isahc-blocking",
    "marmot",
    "marmot-apart",
    "marmot-blocking",
];
const LARGE_BUFFER: &[&str] = &["raw-poll-512k"];

/// In the order of the report.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "A",
        title: "sequential small GET over one connection, async",
        short: "one by one",
        figure: Figure::Latency,
        cores: Cores::One,
        raw: "raw-poll",
        peers: &[ASYNC, &["reqwest-mt-task"]],
        // A lane of a runtime with many threads can be on the caller's thread or on a worker: here both are shown.
        load: |to| Some(Load { requests: 2_000, on_main: true, ..to.small()? }),
        long: 3,
    },
    Scenario {
        name: "A-blocking",
        title: "sequential small GET over one connection, blocking",
        short: "the same, blocking",
        figure: Figure::Latency,
        cores: Cores::One,
        raw: "raw-easy",
        peers: &[BLOCKING],
        load: |to| Some(Load { requests: 2_000, ..to.small()? }),
        long: 3,
    },
    Scenario {
        name: "A-far",
        title: "as A and A-blocking, with the server on another core",
        short: "one by one, two cores",
        figure: Figure::Latency,
        cores: Cores::Apart,
        raw: "raw-poll",
        peers: &[ASYNC, &["reqwest-mt-task"], BLOCKING],
        load: |to| Some(Load { requests: 1_000, on_main: true, ..to.small()? }),
        long: 3,
    },
    Scenario {
        name: "B",
        title: "64 small GETs at once, HTTP/1.1",
        short: "64 at once",
        figure: Figure::Latency,
        cores: Cores::All,
        raw: "raw-poll",
        peers: &[ASYNC],
        load: |to| Some(Load { lanes: 64, requests: 64 * 100, ..to.small()? }),
        long: 3,
    },
    Scenario {
        name: "C",
        title: "100 streams at once on one HTTP/2 connection over TLS",
        short: "100 on HTTP/2",
        figure: Figure::Latency,
        cores: Cores::All,
        raw: "raw-poll",
        peers: &[ASYNC],
        load: |to| Some(Load { lanes: 100, requests: 100 * 40, ..to.small_tls()? }),
        long: 3,
    },
    Scenario {
        name: "D",
        title: "one large body streamed and discarded",
        short: "download",
        figure: Figure::Throughput,
        cores: Cores::All,
        raw: "raw-poll-512k",
        peers: &[BULK, LARGE_BUFFER, &["ureq"]],
        load: |to| to.stream(512 * MIB),
        long: 2,
    },
    Scenario {
        name: "D-vec",
        title: "64 MiB into memory",
        short: "into memory",
        figure: Figure::Throughput,
        cores: Cores::All,
        raw: "raw-poll",
        peers: &[BULK, &["ureq"]],
        load: |to| Some(Load { verb: Verb::Fetch, requests: 8, ..to.stream(64 * MIB)? }),
        long: 2,
    },
    Scenario {
        name: "D-tls",
        title: "one large body streamed and discarded, HTTP/1.1 over TLS",
        short: "download, TLS",
        figure: Figure::Throughput,
        cores: Cores::All,
        raw: "raw-poll-512k",
        peers: &[BULK, LARGE_BUFFER, &["ureq"]],
        load: |to| Some(Load { http1: true, ..to.stream_tls(128 * MIB)? }),
        long: 4,
    },
    Scenario {
        name: "D-h2",
        title: "one large body streamed and discarded, HTTP/2 over TLS",
        short: "download, HTTP/2",
        figure: Figure::Throughput,
        cores: Cores::All,
        raw: "raw-poll-512k",
        peers: &[BULK, LARGE_BUFFER],
        load: |to| to.stream_tls(128 * MIB),
        long: 4,
    },
    Scenario {
        name: "E",
        title: "64 MiB uploads from memory",
        short: "upload",
        figure: Figure::Throughput,
        cores: Cores::All,
        raw: "raw-poll-512k",
        peers: &[BULK, LARGE_BUFFER, &["ureq"]],
        load: |to| Some(Load { verb: Verb::Upload, length: 64 * MIB, requests: 3, ..to.plain("/upload")? }),
        long: 4,
    },
    Scenario {
        name: "F",
        title: "new client, first plain request, drop",
        short: "new client",
        figure: Figure::Latency,
        cores: Cores::One,
        raw: "raw-sock",
        peers: &[BULK, &["raw-sock", "ureq"]],
        load: |to| Some(Load { requests: 200, fresh: true, ..to.small()? }),
        long: 1,
    },
    Scenario {
        name: "G-1000",
        title: "1,000 requests wait at once, for 2 s",
        short: "1,000 wait, memory",
        figure: Figure::Waiting,
        cores: Cores::All,
        raw: "raw-poll",
        peers: &[ASYNC, &["hyper-mt"]],
        load: |to| to.wait(1_000, HOLD[0]),
        long: 1,
    },
    Scenario {
        name: "G-10000",
        title: "10,000 requests wait at once, for 6 s",
        short: "10,000 wait, memory",
        figure: Figure::Waiting,
        cores: Cores::All,
        raw: "raw-poll",
        peers: &[ASYNC, &["hyper-mt"]],
        load: |to| to.wait(10_000, HOLD[1]),
        long: 1,
    },
    Scenario {
        name: "H",
        title: "16 threads share one blocking client",
        short: "16 threads",
        figure: Figure::Latency,
        cores: Cores::All,
        raw: "raw-easy",
        peers: &[BLOCKING],
        load: |to| Some(Load { lanes: 16, requests: 16 * 300, ..to.small()? }),
        long: 3,
    },
    Scenario {
        name: "S",
        title: "`http_get` in a loop in a script, beside the same request from Rust",
        short: "script",
        figure: Figure::Latency,
        cores: Cores::One,
        raw: "raw-easy",
        peers: &[&["raw-easy", "marmot-blocking", "marmot-as-script", "marmot-script"]],
        load: |to| Some(Load { requests: 1_000, ..to.small()? }),
        long: 3,
    },
    Scenario {
        name: "S-all",
        title: "64 at once by `http_all` in a script, beside 64 at once from Rust",
        short: "64 in a script",
        figure: Figure::Latency,
        cores: Cores::All,
        raw: "raw-poll",
        peers: &[&["raw-poll", "marmot", "marmot-rounds", "marmot-script"]],
        load: |to| Some(Load { lanes: 64, requests: 64 * 100, ..to.small()? }),
        long: 3,
    },
];

pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name.eq_ignore_ascii_case(name))
}

impl Scenario {
    pub fn has(&self, peer: &str) -> bool {
        self.peers.iter().any(|group| group.contains(&peer))
    }

    /// The work of one slice of a peer, which takes 0.1 to 0.5 s in the short version. `None` if there is no server for it.
    pub fn load(&self, peer: &str, origins: &Origins, long: bool) -> Option<Load> {
        let mut load = (self.load)(origins)?;
        if long {
            load.requests *= self.long;
        }
        // Clients of reqwest read the system's certificates when they are made: a tenth of the work takes them as long.
        if load.fresh && peer.starts_with("reqwest") {
            load.requests /= 10;
        }
        Some(load)
    }
}

/// Where clients and server run, if the server is the own one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    /// Where the system puts them.
    All,
    /// On one core: for work of which never two parts can be done at once, so that it does not matter where the system
    /// happens to put them.
    One,
    /// The server on a core of its own.
    Apart,
}

/// What a scenario is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Microseconds per request.
    Latency,
    /// Megabytes (10^6) per second.
    Throughput,
    /// KiB per request that waits.
    Waiting,
}
