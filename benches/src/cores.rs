//! Which cores the clients and the server may run on. Measures nothing.
//!
//! The system puts a client and a server that take turns on one core or on two, as it happens, and keeps to it for a while.
//! On two, each turn wakes a core that sleeps, which on a virtual machine costs more than all that a client does. So which
//! it is has to be the same for all that are compared.

use std::fs;
use std::io;
use std::mem;

use crate::scenarios::Cores;

/// Keeps this process and the server's on some cores until it is dropped.
pub struct Kept {
    server: u32,
    all: libc::cpu_set_t,
}

/// `None` where the system places them, or there is no second core.
pub fn keep(cores: Cores, server: u32) -> io::Result<Option<Kept>> {
    let all = allowed()?;
    let mut each = (0..libc::CPU_SETSIZE as usize).filter(|&core| has(&all, core));
    let (Some(first), second) = (each.next(), each.next()) else { return Ok(None) };
    let of_server = match (cores, second) {
        (Cores::One, _) => first,
        (Cores::Apart, Some(second)) => second,
        (Cores::All, _) | (Cores::Apart, None) => return Ok(None),
    };
    let kept = Kept { server, all };
    place(server, &only(of_server))?;
    place(std::process::id(), &only(first))?;
    Ok(Some(kept))
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Fails only if the server is gone.
        let _ = place(self.server, &self.all);
        let _ = place(std::process::id(), &self.all);
    }
}

/// All threads that the process has now; later ones go with the thread that starts them.
fn place(process: u32, cores: &libc::cpu_set_t) -> io::Result<()> {
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let Some(thread) = thread?.file_name().to_str().and_then(|id| id.parse().ok()) else { continue };
        // SAFETY: the pointer is good for a read of one `cpu_set_t`.
        if unsafe { libc::sched_setaffinity(thread, mem::size_of::<libc::cpu_set_t>(), cores) } != 0 {
            let error = io::Error::last_os_error();
            // It has ended meanwhile.
            if error.raw_os_error() != Some(libc::ESRCH) {
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Those that this thread may run on.
fn allowed() -> io::Result<libc::cpu_set_t> {
    let mut cores = none();
    // SAFETY: the pointer is good for a write of one `cpu_set_t`.
    if unsafe { libc::sched_getaffinity(0, mem::size_of::<libc::cpu_set_t>(), &mut cores) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(cores)
}

fn none() -> libc::cpu_set_t {
    // SAFETY: it is an array of bits, and none of them set is a set.
    unsafe { mem::zeroed() }
}

fn only(core: usize) -> libc::cpu_set_t {
    let mut cores = none();
    // SAFETY: the core was found in such a set, so it is within its bounds.
    unsafe { libc::CPU_SET(core, &mut cores) };
    cores
}

fn has(cores: &libc::cpu_set_t, core: usize) -> bool {
    // SAFETY: the core is below `CPU_SETSIZE`.
    unsafe { libc::CPU_ISSET(core, cores) }
}
