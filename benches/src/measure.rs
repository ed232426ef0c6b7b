//! Takes the time, the CPU and the memory of this process. Knows no peer.

use std::error::Error;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::process;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use marmot_bench::load::Tally;
use marmot_bench::record::Sample;

use crate::drive::Outcome;

/// A slice takes well below a second, one that waits some seconds. One that takes this long hangs, and ends the run.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often the memory is looked at while requests wait.
const LOOK: Duration = Duration::from_millis(20);

pub fn measure(slice: impl FnOnce() -> Outcome) -> Outcome<Sample> {
    let before = usage(libc::RUSAGE_SELF)?;
    let start = Instant::now();
    slice()?;
    let wall = start.elapsed().as_secs_f64();
    let after = usage(libc::RUSAGE_SELF)?;
    Ok(Sample { wall, cpu: after.0 - before.0, switches: after.1 - before.1, ..Sample::default() })
}

/// Measures a slice of requests that wait: also those that fail, and the memory until the first is answered.
pub fn measure_waiting(tally: &Tally, slice: impl FnOnce() -> Outcome) -> Outcome<Sample> {
    let before = memory("VmRSS:")?;
    let over = AtomicBool::new(false);
    let (sample, most) = thread::scope(|scope| {
        let watch = scope.spawn(|| -> io::Result<u64> {
            let mut most = before;
            while tally.answers.load(Ordering::Relaxed) == 0 && !over.load(Ordering::Relaxed) {
                most = most.max(memory("VmRSS:")?);
                thread::sleep(LOOK);
            }
            Ok(most)
        });
        let sample = measure(slice);
        over.store(true, Ordering::Relaxed);
        (sample, watch.join())
    });
    let most = most.map_err(|_| "the watch panicked")??;
    Ok(Sample { errors: tally.errors.load(Ordering::Relaxed), held: Some(most - before), ..sample? })
}

/// A figure of this process in KiB: `VmRSS:` is what it has now, `VmHWM:` the most that it ever had.
pub fn memory(name: &str) -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    figure.ok_or_else(|| io::Error::other(format!("no {name} in /proc/self/status")))
}

/// Reads in what this process has mapped of its program and libraries, so that none of it counts as memory of a client: which
/// pages one of them needs depends on how the linker has put them all together.
pub fn read_program() -> io::Result<()> {
    for line in fs::read_to_string("/proc/self/maps")?.lines().filter(|line| line.contains(" /")) {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let bound = |text| usize::from_str_radix(text, 16).ok();
        let Some((Some(start), Some(end))) = range.map(|(start, end)| (bound(start), bound(end))) else { continue };
        // SAFETY: reads pages of a mapping, and changes none.
        unsafe { libc::madvise(ptr::with_exposed_provenance_mut(start), end - start, libc::MADV_POPULATE_READ) };
        // A system that does not know it (Linux before 5.14) counts those pages.
    }
    Ok(())
}

/// Runs one step of a peer. A failure names the peer; so does the end of the program when the step hangs.
pub fn guarded<T>(what: &str, step: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let (done, end) = mpsc::channel::<()>();
    let name = what.to_owned();
    let watch = thread::spawn(move || {
        if let Err(RecvTimeoutError::Timeout) = end.recv_timeout(PATIENCE) {
            eprintln!("error: {name} hangs");
            // Nothing is dropped; the server ends because its standard input does.
            process::exit(1);
        }
    });
    let outcome = step().map_err(|error| format!("{what} failed: {}", chain(error.as_ref())).into());
    drop(done);
    // Over before the next step, whose switches are counted.
    let _ = watch.join();
    outcome
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// What other programs have of the machine, over a time.
pub struct Others {
    start: Instant,
    taken: f64,
}

impl Others {
    /// `server`: seconds of CPU that it has had so far.
    pub fn start(server: Option<f64>) -> io::Result<Self> {
        Ok(Self { start: Instant::now(), taken: taken(server)? })
    }

    /// Percent of all cores since then.
    pub fn percent(&self, server: Option<f64>) -> io::Result<f64> {
        let cores = thread::available_parallelism()?.get() as f64;
        let share = (taken(server)? - self.taken) / (self.start.elapsed().as_secs_f64() * cores);
        // Both clocks have their own rounding.
        Ok((share * 100.0).max(0.0))
    }
}

/// Seconds that all cores have worked for others than this process, its children and the server.
fn taken(server: Option<f64>) -> io::Result<f64> {
    /// The unit of /proc/stat is the same on all machines.
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string("/proc/stat")?;
    // user nice system idle iowait irq softirq steal, then parts of the first two
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
    let fields: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
    let busy: f64 = fields.iter().sum::<f64>() - fields.iter().skip(3).take(2).sum::<f64>();
    let own = usage(libc::RUSAGE_SELF)?.0 + usage(libc::RUSAGE_CHILDREN)?.0 + server.unwrap_or_default();
    Ok(busy / TICKS - own)
}

/// Of all its threads so far: seconds of CPU, user and system; context switches, voluntary and not.
fn usage(who: libc::c_int) -> io::Result<(f64, f64)> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the pointer is good for a write of one `rusage`.
    if unsafe { libc::getrusage(who, usage.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: getrusage has succeeded, so it has filled all of it in.
    let usage = unsafe { usage.assume_init() };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok((seconds(usage.ru_utime) + seconds(usage.ru_stime), (usage.ru_nvcsw + usage.ru_nivcsw) as f64))
}
