//! The list of peers: names, scenarios, how to make each ready. No client's code in here.

mod hyper;
mod isahc;
mod marmot;
mod raw;
mod raw_easy;
mod raw_poll;
mod raw_sock;
mod reqwest;
mod ureq;

use crate::drive::{Executor, Outcome, Slice, asynchronous, blocking};
use crate::scenarios::Scenario;

pub struct Peer {
    pub name: &'static str,
    pub scenarios: &'static [Scenario],
    /// Makes the client, ready for its first slice.
    pub start: fn() -> Outcome<Slice>,
}

const ASYNC: &[Scenario] = &[Scenario::A, Scenario::B, Scenario::D, Scenario::DVec, Scenario::E, Scenario::F];

/// For a client of many threads: F compares the making of the client, where the runtime changes nothing.
const ASYNC_MANY: &[Scenario] = &[Scenario::A, Scenario::B, Scenario::D, Scenario::DVec, Scenario::E];

const BLOCKING: &[Scenario] =
    &[Scenario::ABlocking, Scenario::D, Scenario::DVec, Scenario::E, Scenario::F, Scenario::H];

/// In the order of the tables.
pub const PEERS: &[Peer] = &[
    Peer { name: "raw-easy", scenarios: &[Scenario::ABlocking, Scenario::H], start: raw_easy::start },
    Peer { name: "raw-poll", scenarios: ASYNC, start: || raw::start::<raw_poll::Poll>(None) },
    Peer {
        name: "raw-poll-512k",
        scenarios: &[Scenario::D, Scenario::E],
        start: || raw::start::<raw_poll::Poll>(Some(512 << 10)),
    },
    Peer {
        name: "raw-sock",
        scenarios: &[Scenario::A, Scenario::B, Scenario::F],
        start: || raw::start::<raw_sock::Sock>(None),
    },
    Peer { name: "hyper", scenarios: ASYNC, start: || asynchronous::<hyper::Hyper>(Executor::tokio_one()?) },
    Peer {
        name: "reqwest-mt",
        scenarios: ASYNC_MANY,
        start: || asynchronous::<reqwest::Async>(Executor::tokio_many()?),
    },
    Peer { name: "reqwest-ct", scenarios: ASYNC, start: || asynchronous::<reqwest::Async>(Executor::tokio_one()?) },
    Peer { name: "reqwest-blocking", scenarios: BLOCKING, start: blocking::<reqwest::Blocking> },
    Peer { name: "ureq", scenarios: BLOCKING, start: blocking::<ureq::Ureq> },
    Peer { name: "isahc", scenarios: ASYNC, start: || asynchronous::<isahc::Isahc>(Executor::Plain) },
    Peer { name: "isahc-blocking", scenarios: BLOCKING, start: blocking::<isahc::Isahc> },
    Peer { name: "marmot", scenarios: ASYNC, start: || asynchronous::<marmot::Marmot>(Executor::Plain) },
    Peer { name: "marmot-blocking", scenarios: BLOCKING, start: blocking::<marmot::Marmot> },
];

/// Reads to the end through a buffer of 64 KiB, and answers how much that was: for the blocking clients whose bodies
/// are readers, so that none pays for the smaller buffer of `std::io::copy`.
fn drain(mut reader: impl std::io::Read) -> Outcome<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0;
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(total),
            read => total += read as u64,
        }
    }
}
