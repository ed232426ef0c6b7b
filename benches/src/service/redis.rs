//! A Redis of the bench's own, where the program is installed. Measures nothing.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use marmot::queue::redis::RedisQueue;
use marmot::queue::{Queue, Settings};
use tempfile::TempDir;

use crate::Outcome;

/// Killed when dropped.
pub struct Redis {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Redis {
    /// With the append-only file on. `None` where it is not installed.
    pub fn start() -> Outcome<Option<Self>> {
        // Taken and given back: nobody else is about to ask for a port here.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = tempfile::tempdir()?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--loglevel", "warning"]);
        command.arg("--port").arg(port.to_string()).arg("--dir").arg(folder.path());
        let child = match command.stdin(Stdio::null()).stdout(Stdio::null()).spawn() {
            Ok(child) => child,
            Err(error) => {
                eprintln!("redis-server cannot be run ({error}): Redis is left out");
                return Ok(None);
            }
        };
        let redis = Self { child, port, _folder: folder };
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > end {
                return Err("redis-server does not start".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Some(redis))
    }

    pub async fn queue(&self, settings: Settings) -> Outcome<Arc<dyn Queue>> {
        let address = format!("redis://127.0.0.1:{}", self.port);
        Ok(Arc::new(RedisQueue::connect(&address, "bench", settings).await?))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
