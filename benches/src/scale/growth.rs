//! Does the same thing again and again, and looks whether something grows. Takes no time.

use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::poll_immediate;
use marmot::{AsyncReadResponseExt, HttpClient, ReadResponseExt};

use crate::process::Usage;
use crate::{Found, Outcome};

/// What there may be more of than after the first part: what `malloc` splits and keeps, and a thread that waits a few
/// seconds for another agent to run.
const ALLOWED: Usage = Usage { resident: 1024, allocated: 128, threads: 1, descriptors: 0 };
/// The same after 10,000 at once. Some hundred bytes for each are kept by every agent, until the client is dropped; and
/// agents have descriptors of their own.
const ALLOWED_OF_MANY: Usage = Usage { resident: 4096, allocated: 4096, descriptors: 32, ..ALLOWED };
/// How long what was dropped may take to go.
const PATIENCE: Duration = Duration::from_secs(30);

/// 100,000 requests on one client, one after the other.
pub fn in_a_row(base: &str, blocking: bool) -> Outcome<Found> {
    let url = format!("{base}/small");
    let client = HttpClient::new()?;
    let mut found = Found::new(if blocking { "Requests in a row, blocking" } else { "Requests in a row, async" });
    let mut first = None;
    for part in 1..=10 {
        for _ in 0..10_000 {
            if blocking {
                client.get(&url)?.bytes()?;
            } else {
                block_on(async { client.get_async(&url).await?.bytes().await })?;
            }
        }
        let usage = Usage::now()?;
        found.judge(part * 10_000, usage, *first.get_or_insert(usage), ALLOWED);
    }
    Ok(found)
}

/// 1,000 clients, each of them made, used for one request and dropped.
pub fn clients(base: &str) -> Outcome<Found> {
    let url = format!("{base}/small");
    let mut found = Found::new("Clients, each made, used once and dropped");
    let before = Usage::now()?;
    let mut first = None;
    for part in 1..=10 {
        for _ in 0..100 {
            HttpClient::new()?.get(&url)?.bytes()?;
        }
        // Dropping waits for nothing.
        let usage = Usage::settled(before, ALLOWED, PATIENCE)?;
        let first = *first.get_or_insert(Usage { threads: before.threads, ..usage });
        found.judge(part * 100, usage, first, ALLOWED);
    }
    Ok(found)
}

/// 10,000 requests that wait at once and are dropped, several times.
pub fn cancelled(base: &str) -> Outcome<Found> {
    const WAITING: usize = 10_000;
    rlimit::increase_nofile_limit(u64::MAX)?;
    let mut found = Found::new("10,000 requests that wait at once, cancelled by dropping their futures");
    let before = Usage::now()?;
    let client = HttpClient::new()?;
    client.get(format!("{base}/small"))?.bytes()?;
    let one = Usage::now()?;
    found.row("one request", one);
    let url = format!("{base}/wait/600000");
    for round in 1..=5 {
        let mut waiting: Vec<_> = (0..WAITING).map(|_| client.get_async(&url)).collect();
        while client.stats().open < WAITING {
            if let Some(result) = waiting.iter_mut().find_map(|future| block_on(poll_immediate(future))) {
                return Err(
                    format!("an answer that was not due: {:?}", result.map(|response| response.status())).into()
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
        found.row(format!("round {round}, all waiting"), Usage::now()?);
        drop(waiting);
        let usage = Usage::settled(one, ALLOWED_OF_MANY, PATIENCE)?;
        // How much of what is free `malloc` keeps from the system is its own affair.
        let before = Usage { resident: usage.resident, ..one };
        found.judge(format!("round {round}, all dropped"), usage, before, ALLOWED_OF_MANY);
    }
    drop(client);
    // Also until there is no thread left, whose memory `malloc` would keep apart.
    Usage::settled(before, Usage { threads: 0, ..ALLOWED }, PATIENCE)?;
    // SAFETY: gives free memory back to the system, and touches none that is in use.
    unsafe { libc::malloc_trim(0) };
    found.judge("client dropped", Usage::now()?, one, ALLOWED_OF_MANY);
    Ok(found)
}
