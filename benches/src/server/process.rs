//! The server's process as its parent sees it: addresses, certificate, CPU. Sends no request.

use std::io::{self, BufRead, BufReader, Write};
use std::mem::MaybeUninit;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::NamedTempFile;

use super::{FLAG, Greeting};

/// The server in a process of its own, so that its work is not taken for a client's. Dropping this ends it, by its id.
///
/// The process is this program again, with [`FLAG`] as its only argument: it has to call [`serve`](super::serve) then.
pub struct Server {
    child: Child,
    base: String,
    tls_base: String,
    certificate: NamedTempFile,
}

impl Server {
    pub fn start() -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg(FLAG).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let greeting: Greeting = serde_json::from_str(&line)?;
        let mut certificate = NamedTempFile::new()?;
        certificate.write_all(greeting.certificate.as_bytes())?;
        let base = format!("http://127.0.0.1:{}", greeting.plain);
        Ok(Self { child, base, tls_base: format!("https://127.0.0.1:{}", greeting.tls), certificate })
    }

    /// `http://host:port`, with no slash behind it.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// `https://host:port`, where HTTP/2 is spoken with those who ask for it.
    pub fn tls_base(&self) -> &str {
        &self.tls_base
    }

    /// The file with the certificate that clients have to trust, which lives as long as this.
    pub fn certificate(&self) -> &Path {
        self.certificate.path()
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Seconds that all its threads have been on a core so far.
    pub fn cpu(&self) -> io::Result<f64> {
        let mut clock = 0;
        // SAFETY: the pointer is good for a write of one clock's id.
        let error = unsafe { libc::clock_getcpuclockid(self.child.id() as libc::pid_t, &mut clock) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        let mut time = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: the pointer is good for a write of one `timespec`.
        if unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: clock_gettime has succeeded, so it has filled all of it in.
        let time = unsafe { time.assume_init() };
        Ok(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either fails only when the server is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
