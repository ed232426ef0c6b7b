//! Rounds: starts the server, runs the peers in turn and takes the time, the CPU and the memory. Computes no statistics
//! and prints no result.

use std::error::Error;
use std::io;
use std::mem::MaybeUninit;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use marmot_bench::server::Server;

use crate::drive::{Outcome, Slice};
use crate::peers::{PEERS, Peer};
use crate::report::{self, Sample, Series};
use crate::scenarios::{Load, Scenario};

/// A slice takes well below a second. One that takes this long hangs, and ends the run.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the command line asks of every scenario.
pub struct Plan {
    pub rounds: usize,
    pub long: bool,
    /// Peers, or their first words; empty means all.
    pub only: Vec<String>,
}

impl Plan {
    /// A name in `only` that stands for nothing.
    pub fn unknown_peer(&self) -> Option<&str> {
        let stands = |name: &&String| PEERS.iter().any(|peer| is_called(peer.name, name));
        self.only.iter().find(|name| !stands(name)).map(String::as_str)
    }

    fn wants(&self, peer: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| is_called(peer, name))
    }
}

/// Whether `name` is the peer's or its first words.
fn is_called(peer: &str, name: &str) -> bool {
    peer.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// A peer in a scenario, warm.
struct Runner {
    peer: &'static Peer,
    load: Load,
    slice: Slice,
    samples: Vec<Sample>,
}

/// Measures all peers of a scenario: in each round every one of them gets a slice, and another one goes first.
pub fn run(scenario: Scenario, plan: &Plan, server: &Server) -> Outcome<report::Scenario> {
    let mut runners = Vec::new();
    for peer in PEERS.iter().filter(|peer| peer.scenarios.contains(&scenario) && plan.wants(peer.name)) {
        let load = scenario.load(peer.name, server.base(), plan.long);
        let slice = guarded(scenario, peer.name, || {
            let mut slice = (peer.start)()?;
            slice(&load.warm_up())?;
            Ok(slice)
        })?;
        runners.push(Runner { peer, load, slice, samples: Vec::new() });
    }
    let count = runners.len();
    for round in 0..plan.rounds {
        eprintln!("{scenario}: round {} of {}", round + 1, plan.rounds);
        for turn in 0..count {
            let Runner { peer, load, slice, samples } = &mut runners[(round + turn) % count];
            samples.push(guarded(scenario, peer.name, || measure(|| slice(load)))?);
        }
    }
    let mut series = Vec::new();
    for Runner { peer, load, slice, samples } in runners {
        drop(slice);
        let peak = if scenario.measures_memory() { Some(peak_of(scenario, peer.name, server)?) } else { None };
        series.push(Series { peer: peer.name, load, samples, peak });
    }
    Ok(report::Scenario::new(scenario, plan.rounds, &series))
}

/// The child's side of [`peak_of`]: prints the largest size that this process ever had, in KiB.
pub fn run_one(scenario: Scenario, name: &str, base: &str) -> Outcome {
    let peer = PEERS.iter().find(|peer| peer.name == name).ok_or("unknown peer")?;
    let load = scenario.load(name, base, false);
    // Twice, to see a client that keeps the first body while it works on the second.
    let load = Load { requests: 2 * load.lanes, ..load };
    guarded(scenario, peer.name, || (peer.start)()?(&load))?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    println!("{}", line.trim().trim_end_matches(" kB"));
    Ok(())
}

/// The peak of the memory in KiB, of a fresh process that runs this peer only.
fn peak_of(scenario: Scenario, peer: &str, server: &Server) -> Outcome<u64> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(["--one", scenario.name(), peer, server.base()]).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| format!("the memory of {peer} in {scenario} could not be measured").into())
}

/// Runs one step of a peer. A failure names the peer; so does the end of the program when the step hangs.
fn guarded<T>(scenario: Scenario, peer: &'static str, step: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let (done, end) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        if let Err(RecvTimeoutError::Timeout) = end.recv_timeout(PATIENCE) {
            eprintln!("error: {peer} hangs in {scenario}");
            // Nothing is dropped; the server ends because its standard input does.
            std::process::exit(1);
        }
    });
    let outcome = step().map_err(|error| failed(scenario, peer, error.as_ref()));
    drop(done);
    // Over before the next step, whose switches are counted.
    let _ = watch.join();
    outcome
}

fn failed(scenario: Scenario, peer: &str, error: &(dyn Error + 'static)) -> Box<dyn Error + Send + Sync> {
    let mut text = format!("{peer} failed in {scenario}: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text.into()
}

fn measure(slice: impl FnOnce() -> Outcome) -> Outcome<Sample> {
    let before = usage()?;
    let start = Instant::now();
    slice()?;
    let wall = start.elapsed().as_secs_f64();
    let after = usage()?;
    Ok(Sample { wall, cpu: after.0 - before.0, switches: after.1 - before.1 })
}

/// Of the whole process so far: seconds of CPU, user and system; context switches, voluntary and not.
fn usage() -> io::Result<(f64, f64)> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the pointer is good for a write of one `rusage`.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: getrusage has succeeded, so it has filled all of it in.
    let usage = unsafe { usage.assume_init() };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok((seconds(usage.ru_utime) + seconds(usage.ru_stime), (usage.ru_nvcsw + usage.ru_nivcsw) as f64))
}
