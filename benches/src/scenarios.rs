//! What is measured: the scenarios and the work of one slice. Knows no peer and runs nothing.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use marmot_bench::server;

const MIB: u64 = 1 << 20;

/// How many requests B keeps going at once.
const AT_ONCE: usize = 64;

/// How many threads share the client in H.
const THREADS: usize = 16;

/// The letters are those of the table of goals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    A,
    ABlocking,
    B,
    D,
    DVec,
    E,
    F,
    H,
}

/// What a request does with the bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET, into memory.
    Fetch,
    /// GET, thrown away as it arrives.
    Discard,
    /// POST from memory.
    Upload,
}

/// The figure that a scenario is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Microseconds per request: less is better.
    Latency,
    /// Megabytes (10^6) per second: more is better.
    Throughput,
}

/// The work of one slice: fixed, so that slices compare.
#[derive(Clone, Debug)]
pub struct Load {
    pub verb: Verb,
    pub url: String,
    /// How many requests are under way at once: futures or threads.
    pub lanes: usize,
    /// In all lanes together; a multiple of `lanes`.
    pub requests: usize,
    /// What a request must report: the length of the body that it received, or that the server says it received.
    pub length: u64,
    pub upload: &'static [u8],
    /// A new client for each request.
    pub fresh: bool,
}

impl Scenario {
    pub const ALL: [Self; 8] = [Self::A, Self::ABlocking, Self::B, Self::D, Self::DVec, Self::E, Self::F, Self::H];

    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::ABlocking => "A-blocking",
            Self::B => "B",
            Self::D => "D",
            Self::DVec => "D-vec",
            Self::E => "E",
            Self::F => "F",
            Self::H => "H",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::A => "sequential small GET over one connection, async",
            Self::ABlocking => "sequential small GET over one connection, blocking",
            Self::B => "64 small GETs at once, HTTP/1.1",
            Self::D => "one large body streamed and discarded",
            Self::DVec => "64 MiB into memory",
            Self::E => "64 MiB uploads from memory",
            Self::F => "new client, first plain request, drop",
            Self::H => "16 threads share one blocking client",
        }
    }

    pub fn figure(self) -> Figure {
        match self {
            Self::D | Self::DVec | Self::E => Figure::Throughput,
            Self::A | Self::ABlocking | Self::B | Self::F | Self::H => Figure::Latency,
        }
    }

    /// The raw loop that the goals of this scenario compare with.
    pub fn raw(self) -> &'static str {
        match self {
            Self::A | Self::B | Self::DVec => "raw-poll",
            Self::ABlocking | Self::H => "raw-easy",
            Self::D | Self::E => "raw-poll-512k",
            Self::F => "raw-sock",
        }
    }

    /// Whether the peak of the memory is a part of the result.
    pub fn measures_memory(self) -> bool {
        matches!(self, Self::DVec | Self::E)
    }

    /// The work of one slice. `base` is the server's `http://host:port`.
    ///
    /// Sized so that a slice takes 0.2 to 0.5 s in the short version. Clients of reqwest read the system's certificates
    /// when they are made, so F gives that peer a tenth of the work; figures are per request.
    pub fn load(self, peer: &str, base: &str, long: bool) -> Load {
        let small = Load {
            verb: Verb::Fetch,
            url: format!("{base}/small"),
            lanes: 1,
            requests: 0,
            length: server::SMALL.len() as u64,
            upload: &[],
            fresh: false,
        };
        let double = 1 + usize::from(long);
        match self {
            Self::A | Self::ABlocking => Load { requests: 5_000 * double, ..small },
            Self::B => Load { lanes: AT_ONCE, requests: AT_ONCE * 160 * double, ..small },
            Self::H => Load { lanes: THREADS, requests: THREADS * 500 * double, ..small },
            Self::F if peer.starts_with("reqwest") => Load { requests: 40, fresh: true, ..small },
            Self::F => Load { requests: 400, fresh: true, ..small },
            Self::D => {
                let length = if long { 1024 * MIB } else { 512 * MIB };
                Load { verb: Verb::Discard, requests: 1, length, url: format!("{base}/stream/{length}"), ..small }
            }
            Self::DVec => {
                let length = 64 * MIB;
                Load { requests: 3 * double, length, url: format!("{base}/stream/{length}"), ..small }
            }
            Self::E => Load {
                verb: Verb::Upload,
                requests: if long { 16 } else { 4 },
                length: upload().len() as u64,
                url: format!("{base}/upload"),
                upload: upload(),
                ..small
            },
        }
    }
}

impl Load {
    /// The least work that opens every connection which a slice needs.
    pub fn warm_up(&self) -> Self {
        Self { requests: self.lanes, ..self.clone() }
    }

    pub fn bytes(&self) -> u64 {
        self.length * self.requests as u64
    }
}

/// The 64 MiB that E sends, written once: each peer borrows them or copies them as its own API has it.
fn upload() -> &'static [u8] {
    static BODY: OnceLock<&'static [u8]> = OnceLock::new();
    BODY.get_or_init(|| Vec::leak(vec![b'u'; 64 << 20]))
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scenario| scenario.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| format!("unknown scenario {name}"))
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
