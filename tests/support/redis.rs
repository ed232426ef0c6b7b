//! Real Redis servers on ports of the loopback, each with an append-only file in a directory of its own: one alone, or three
//! as a cluster. Uses no server and no file of the system but the programs.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::ports::{ATTEMPTS, free_port, free_ports};
use super::program::find_program;

const START_LIMIT: Duration = Duration::from_secs(20);
/// A node of a cluster listens on a second port, which is this much higher unless it is told otherwise.
const BUS: &str = "--cluster-port";

/// A running server; killed and its directory removed when dropped.
pub struct Redis {
    child: Child,
    port: u16,
    more: Vec<String>,
    // After the child, which is ended in `drop` and writes into it until then.
    dir: TempDir,
}

impl Redis {
    /// Starts a server and waits until it answers.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more options, as the command line has them.
    pub fn start_with(more: &[&str]) -> Self {
        let more: Vec<String> = more.iter().map(|option| (*option).to_owned()).collect();
        for _ in 0..ATTEMPTS {
            if let Some(redis) = Self::on(free_port(), more.clone()) {
                return redis;
            }
        }
        panic!("redis-server does not start");
    }

    fn on(port: u16, more: Vec<String>) -> Option<Self> {
        let dir = tempfile::Builder::new().prefix("marmot-redis-").tempdir().expect("a directory can be made");
        let child = spawn(port, &more, dir.path());
        let mut redis = Self { child, port, more, dir };
        redis.is_ready(0).then_some(redis)
    }

    /// `redis://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends the server at once, as a crash would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again after [`kill`](Self::kill), on the same port and with the same files, and waits until it answers.
    pub fn start_again(&mut self) {
        let known = self.log().len();
        self.child = spawn(self.port, &self.more, self.dir.path());
        assert!(self.is_ready(known), "redis-server does not start again: {}", self.log());
    }

    /// Sends a command without spaces in its words, and returns what comes back.
    pub fn command(&self, words: &[&str]) -> String {
        command(self.port, words).expect("the server answers")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Whether it has its port and has read its files. It is its log that tells: another server may have the port, and answer.
    fn is_ready(&mut self, known: usize) -> bool {
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            if self.log()[known..].contains("Ready to accept connections") {
                return true;
            }
            if self.child.try_wait().expect("the child is ours").is_some() {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16, more: &[String], dir: &Path) -> Child {
    let binary = find_program("redis-server").expect("redis-server is installed: `apt-get install redis-server`");
    let log = File::options().create(true).append(true).open(dir.join("log")).expect("the directory can be written");
    let mut command = Command::new(binary);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
    // By default a crash loses what was written within the last second or two.
    command.args(["--appendfsync", "always"]);
    command.arg("--dir").arg(dir).args(more);
    command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
    command.spawn().expect("redis-server can be run")
}

/// The first part of an answer: enough for the commands that tests send.
fn command(port: u16, words: &[&str]) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(format!("{}\r\n", words.join(" ")).as_bytes()).ok()?;
    let mut answer = vec![0; 64 << 10];
    let length = stream.read(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// Three masters that share the slots.
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts three servers, makes a cluster of them, and waits until all of them know it.
    pub fn start() -> Self {
        let mut nodes = Vec::new();
        while nodes.len() < 3 {
            let ports = free_ports(2).expect("ports are free");
            let options = ["--cluster-enabled", "yes", BUS, &ports[1].to_string(), "--cluster-node-timeout", "2000"];
            nodes.extend(Redis::on(ports[0], options.map(str::to_owned).to_vec()));
        }
        let cli = find_program("redis-cli").expect("redis-cli is installed: `apt-get install redis-tools`");
        let mut create = Command::new(cli);
        create.args(["--cluster", "create"]).args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)));
        let made = create.arg("--cluster-yes").stdin(Stdio::null()).output().expect("redis-cli can be run");
        assert!(made.status.success(), "{made:?}");
        let deadline = Instant::now() + START_LIMIT;
        while !nodes.iter().all(|node| node.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok")) {
            assert!(Instant::now() < deadline, "the cluster is not ready");
            thread::sleep(Duration::from_millis(20));
        }
        Self { nodes }
    }

    /// `redis+cluster://127.0.0.1:PORT`: one node is enough, it names the others.
    pub fn url(&self) -> String {
        format!("redis+cluster://127.0.0.1:{}", self.nodes[0].port)
    }

    pub fn nodes(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }
}
