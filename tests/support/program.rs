//! Programs of the system, run for a test in a directory of their own. Knows none by name.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::ports::{ATTEMPTS, free_ports};

const START_LIMIT: Duration = Duration::from_secs(20);

/// On the path, or where a system keeps its servers.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
}

/// A running program; killed and its directory removed when dropped.
pub(super) struct Program {
    child: Child,
    pub(super) ports: Vec<u16>,
    // After the child, which is ended in `drop` and writes into it until then.
    pub(super) dir: TempDir,
}

impl Program {
    /// Starts `name` on `n` free ports of 127.0.0.1 and waits until it answers on all of them. `arguments` writes its
    /// configuration into the directory. A program that goes on when it does not get its ports tells by `bound`, from
    /// its directory, whether it did: none yet, all, or not all.
    ///
    /// # Panics
    ///
    /// If it is not installed, or does not start.
    pub(super) fn start(
        name: &str,
        package: &str,
        n: usize,
        arguments: impl Fn(&Path, &[u16]) -> std::io::Result<Vec<String>>,
        bound: impl Fn(&Path) -> Option<bool>,
    ) -> Self {
        let binary = find_program(name).unwrap_or_else(|| panic!("{name} is missing: `apt-get install {package}`"));
        let dir = tempfile::Builder::new().prefix("marmot-").tempdir().expect("there is room for temporary files");
        // The program may give up its privileges and must still read its files.
        open_to_all(dir.path());
        let mut complaint = String::new();
        for _ in 0..ATTEMPTS {
            let ports = free_ports(n).expect("loopback has free ports");
            let arguments = arguments(dir.path(), &ports).expect("the directory can be written");
            let log = File::create(dir.path().join("output.log")).expect("the directory can be written");
            let mut child = Command::new(&binary)
                .args(arguments)
                .current_dir(dir.path())
                .stdin(Stdio::null())
                .stdout(log.try_clone().expect("a file can be shared"))
                .stderr(log)
                .spawn()
                .unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
            match wait_until_ready(&mut child, &ports, || bound(dir.path())) {
                Ok(()) => return Self { child, ports, dir },
                Err(error) => {
                    complaint =
                        format!("{error}\n{}", fs::read_to_string(dir.path().join("output.log")).unwrap_or_default());
                }
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("{name} does not start: {complaint}")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// By a signal that lets it end its own helpers, and by force if it does not.
fn end(child: &mut Child) {
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn wait_until_ready(child: &mut Child, ports: &[u16], bound: impl Fn() -> Option<bool>) -> Result<(), String> {
    let deadline = Instant::now() + START_LIMIT;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Err(format!("it ended with {status}"));
        }
        match bound() {
            Some(false) => return Err("somebody else has its port".into()),
            Some(true) if ports.iter().all(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok()) => {
                return Ok(());
            }
            _ => {}
        }
        thread::sleep(Duration::from_millis(5));
    }
    Err(format!("it does not listen after {START_LIMIT:?}"))
}

/// Readable for every user, and, if it is a directory, writable.
pub(super) fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = if path.is_dir() { 0o777 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the file is ours");
}
