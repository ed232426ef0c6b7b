//! The list of peers: names, how to make each ready. No client's code in here.

mod hyper;
mod isahc;
mod marmot;
mod raw;
mod raw_easy;
mod raw_poll;
mod raw_sock;
mod reqwest;
mod script;
mod ureq;

use marmot_bench::load::Load;

use crate::drive::{Executor, Outcome, Slice, asynchronous, blocking};

pub struct Peer {
    pub name: &'static str,
    /// Makes the client, ready for its first slice of this load or of one like it.
    pub start: fn(&Load) -> Outcome<Slice>,
}

impl Peer {
    /// Makes the client, and its connections.
    pub fn warm(&self, load: &Load) -> Outcome<Slice> {
        let mut slice = (self.start)(load)?;
        // One of them first: only then a server is known to speak HTTP/2, and many would be opened otherwise.
        slice(&Load { lanes: 1, requests: 1, ..load.warm_up() })?;
        slice(&load.warm_up())?;
        Ok(slice)
    }
}

/// In the order of the tables.
pub const ALL: &[Peer] = &[
    Peer { name: "raw-easy", start: raw_easy::start },
    Peer { name: "raw-poll", start: |load| raw::start::<raw_poll::Poll>(load, None) },
    Peer { name: "raw-poll-512k", start: |load| raw::start::<raw_poll::Poll>(load, Some(512 << 10)) },
    Peer { name: "raw-sock", start: |load| raw::start::<raw_sock::Sock>(load, None) },
    Peer { name: "hyper", start: |load| asynchronous::<hyper::Hyper>(load, Executor::tokio_one()?) },
    Peer { name: "hyper-mt", start: |load| asynchronous::<hyper::Hyper>(load, Executor::tokio_many(load)?) },
    Peer { name: "reqwest-mt", start: |load| asynchronous::<reqwest::Async>(load, Executor::tokio_many(load)?) },
    Peer { name: "reqwest-mt-task", start: |load| asynchronous::<reqwest::Async>(load, Executor::tokio_tasks(load)?) },
    Peer { name: "reqwest-ct", start: |load| asynchronous::<reqwest::Async>(load, Executor::tokio_one()?) },
    Peer { name: "reqwest-blocking", start: blocking::<reqwest::Blocking> },
    Peer { name: "ureq", start: blocking::<ureq::Ureq> },
    Peer { name: "isahc", start: |load| asynchronous::<isahc::Isahc>(load, Executor::Plain) },
    Peer { name: "isahc-blocking", start: blocking::<isahc::Isahc> },
    Peer { name: "marmot", start: |load| asynchronous::<marmot::Marmot>(load, Executor::Own) },
    Peer { name: "marmot-apart", start: |load| asynchronous::<marmot::Marmot>(load, Executor::Plain) },
    Peer { name: "marmot-blocking", start: blocking::<marmot::Marmot> },
    Peer { name: "marmot-as-script", start: blocking::<marmot::AsScript> },
    Peer { name: "marmot-rounds", start: |load| asynchronous::<marmot::AsScript>(load, Executor::Rounds) },
    Peer { name: "marmot-script", start: script::start },
];

pub fn find(name: &str) -> Option<&'static Peer> {
    ALL.iter().find(|peer| peer.name == name)
}

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
