//! What this process has: memory, threads, descriptors. Sends nothing and changes nothing.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use marmot_bench::results::Cell;

/// What one moment is described by, in the order of [`Usage::cells`].
pub const COLUMNS: [&str; 4] = ["resident KiB", "allocated KiB", "threads", "descriptors"];

#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub resident: u64,
    /// What the program and libcurl hold of `malloc`, in KiB: without what was given back to it and is kept for later.
    pub allocated: u64,
    pub threads: u64,
    pub descriptors: u64,
}

impl Usage {
    pub fn now() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            number.ok_or_else(|| io::Error::other(format!("no {name} in /proc/self/status")))
        };
        // SAFETY: takes nothing and returns a plain structure.
        let heap = unsafe { libc::mallinfo2() };
        Ok(Self {
            resident: field("VmRSS:")?,
            allocated: (heap.uordblks + heap.hblkhd) as u64 / 1024,
            threads: field("Threads:")?,
            // Less the one that reads the directory.
            descriptors: fs::read_dir("/proc/self/fd")?.count() as u64 - 1,
        })
    }

    /// Waits for what goes by itself: until there is no more than `before` and what is `allowed`, or the time is over. Does
    /// not wait for `malloc` to give memory back.
    pub fn settled(before: Self, allowed: Self, limit: Duration) -> io::Result<Self> {
        let end = Instant::now() + limit;
        loop {
            let now = Self::now()?;
            if (Self { resident: 0, ..now }).grown(before, allowed).is_empty() || Instant::now() > end {
                return Ok(now);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn cells(self) -> [Cell; 4] {
        [self.resident, self.allocated, self.threads, self.descriptors].map(|figure| (figure as f64).into())
    }

    /// What there is more of than in `before`, beyond what is allowed.
    pub fn grown(self, before: Self, allowed: Self) -> Vec<String> {
        let of = |usage: Self| [usage.resident, usage.allocated, usage.threads, usage.descriptors];
        let all = COLUMNS.into_iter().zip(of(self)).zip(of(before)).zip(of(allowed));
        let grown = all.filter(|(((_, now), before), allowed)| *now > before + allowed);
        grown
            .map(|(((name, now), before), allowed)| {
                format!("{name}: {now}, before {before}, and only {allowed} more are allowed")
            })
            .collect()
    }
}
