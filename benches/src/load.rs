//! The work of one slice, where it goes, and what became of its requests. Sends nothing.

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

pub const MIB: u64 = 1 << 20;

pub type Failure = Box<dyn Error + Send + Sync>;

/// Where servers are.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// `http://host:port`
    pub plain: Option<String>,
    /// `https://host:port`
    pub tls: Option<String>,
    /// A certificate to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The length of what `/small` answers.
    pub small: u64,
}

impl Origins {
    pub fn plain(&self, path: &str) -> Option<Load> {
        Some(Load::new(format!("{}{path}", self.plain.as_ref()?)))
    }

    fn tls(&self, path: &str) -> Option<Load> {
        Some(Load { ca: self.ca.clone(), ..Load::new(format!("{}{path}", self.tls.as_ref()?)) })
    }

    pub fn small(&self) -> Option<Load> {
        Some(Load { length: self.small, ..self.plain("/small")? })
    }

    pub fn small_tls(&self) -> Option<Load> {
        Some(Load { length: self.small, ..self.tls("/small")? })
    }

    pub fn stream(&self, length: u64) -> Option<Load> {
        Some(Load { verb: Verb::Discard, length, ..self.plain(&format!("/stream/{length}"))? })
    }

    pub fn stream_tls(&self, length: u64) -> Option<Load> {
        Some(Load { verb: Verb::Discard, length, ..self.tls(&format!("/stream/{length}"))? })
    }

    pub fn wait(&self, lanes: usize, hold: u64) -> Option<Load> {
        let waiting = self.plain(&format!("/wait/{hold}"))?;
        Some(Load { lanes, requests: lanes, length: self.small, hold, ..waiting })
    }
}

/// What a request does with the bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    /// GET, into memory.
    Fetch,
    /// GET, thrown away as it arrives.
    Discard,
    /// POST from memory.
    Upload,
}

/// The work of one slice: fixed, so that slices compare. Travels to child processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    pub verb: Verb,
    pub url: String,
    /// A certificate to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// HTTP/1.1 even where TLS could negotiate HTTP/2.
    pub http1: bool,
    /// How many requests are under way at once: futures or threads.
    pub lanes: usize,
    /// In all lanes together; a multiple of `lanes`.
    pub requests: usize,
    /// What a request must report: the length of the body that it received, or that the server says it received.
    pub length: u64,
    /// A new client for each request.
    pub fresh: bool,
    /// A single lane on a runtime of many threads is polled by the caller's thread, as by `#[tokio::main]`.
    pub on_main: bool,
    /// Threads that drive the transfers of a client which can have several: marmot's agents, or the workers of its runtime.
    /// Zero is the default of each.
    pub threads: usize,
    /// Milliseconds that the server lets a request wait; none if zero.
    pub hold: u64,
    /// If set, requests that fail are counted and fail nothing else.
    #[serde(skip)]
    pub tally: Option<Arc<Tally>>,
}

#[derive(Debug, Default)]
pub struct Tally {
    pub answers: AtomicUsize,
    pub errors: AtomicUsize,
}

impl Load {
    fn new(url: String) -> Self {
        Self {
            verb: Verb::Fetch,
            url,
            ca: None,
            http1: false,
            lanes: 1,
            requests: 1,
            length: 0,
            fresh: false,
            on_main: false,
            threads: 0,
            hold: 0,
            tally: None,
        }
    }

    /// The least work that opens every connection which a slice needs; for requests that wait, the first one.
    pub fn warm_up(&self) -> Self {
        if self.hold == 0 {
            return Self { requests: self.lanes, ..self.clone() };
        }
        let url = self.url.replace(&format!("/wait/{}", self.hold), "/wait/1");
        Self { url, lanes: 1, requests: 1, hold: 1, tally: None, ..self.clone() }
    }

    pub fn bytes(&self) -> u64 {
        self.length * self.requests as u64
    }

    /// What an upload sends, written once: each peer borrows it or copies it as its own API has it.
    pub fn body(&self) -> &'static [u8] {
        static BODY: OnceLock<&'static [u8]> = OnceLock::new();
        match self.verb {
            Verb::Upload => &BODY.get_or_init(|| Vec::leak(vec![b'u'; 64 * MIB as usize]))[..self.length as usize],
            Verb::Fetch | Verb::Discard => &[],
        }
    }

    /// Takes the end of a request. Fails the run of a peer that did not read what it should have read.
    pub fn settle<E: Into<Failure>>(&self, result: Result<u64, E>) -> Result<(), Failure> {
        let result = match result {
            Ok(got) if got == self.length => Ok(()),
            Ok(got) => Err(format!("{got} bytes instead of {}", self.length).into()),
            Err(error) => Err(error.into()),
        };
        let Some(tally) = &self.tally else { return result };
        let counter = if result.is_ok() { &tally.answers } else { &tally.errors };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
