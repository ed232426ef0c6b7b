//! `marmot serve` as a process of its own, and clients for it: JSON-RPC by HTTP and over a WebSocket. Asserts nothing about
//! answers.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use marmot::config::Configurable;
use marmot::{HttpClient, ReadResponseExt, Request};
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// Examples and benches, which use others of these files, have no program.
const PROGRAM: &str = match option_env!("CARGO_BIN_EXE_marmot") {
    Some(path) => path,
    None => "marmot",
};
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long any one answer may take. Much more than it does, also where several tests run at once.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A server; killed when dropped, and its files removed with the last that uses them.
pub struct Marmot {
    child: Child,
    address: SocketAddr,
    secure: bool,
    folder: std::sync::Arc<TempDir>,
    // Kept open: a closed pipe would make its writes fail.
    _stdout: BufReader<ChildStdout>,
}

impl Marmot {
    /// One with these settings, in TOML, on a port that the system chooses. In them, `FOLDER` is a folder of its own.
    pub fn start(settings: &str) -> Self {
        Self::start_with(settings, &[])
    }

    /// The same, with flags.
    pub fn start_with(settings: &str, flags: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("marmot-").tempdir().expect("there is room for temporary files");
        Self::start_in(std::sync::Arc::new(folder), settings, flags)
    }

    /// The same, with the files of an earlier one.
    pub fn start_in(folder: std::sync::Arc<TempDir>, settings: &str, flags: &[&str]) -> Self {
        Self::start_as(command(), folder, settings, flags)
    }

    /// One that may not open more descriptors than this.
    pub fn start_with_descriptors(most: usize, settings: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("ulimit -n {most} && exec \"$0\" \"$@\"")).arg(PROGRAM);
        shell.stdin(Stdio::null());
        let folder = tempfile::Builder::new().prefix("marmot-").tempdir().expect("there is room for temporary files");
        Self::start_as(shell, std::sync::Arc::new(folder), settings, &[])
    }

    fn start_as(mut command: Command, folder: std::sync::Arc<TempDir>, settings: &str, flags: &[&str]) -> Self {
        let file = folder.path().join("marmot.toml");
        fs::write(&file, settings.replace("FOLDER", &folder.path().display().to_string())).expect("it can be written");
        let log = File::options().create(true).append(true).open(folder.path().join("log")).expect("it can be written");
        let mut child = command
            .arg("serve")
            .arg("--config")
            .arg(&file)
            .args(["--listen", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the program was built");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (told, line) = mpsc::channel();
        let reading = thread::spawn(move || {
            let mut line = String::new();
            let _ = stdout.read_line(&mut line);
            let _ = told.send(line);
            stdout
        });
        let Ok(line) = line.recv_timeout(START_LIMIT) else {
            let _ = child.kill();
            panic!("the server says no address after {START_LIMIT:?}");
        };
        let stdout = reading.join().expect("reading a line does not panic");
        let Some((scheme, rest)) = line.trim().split_once("://") else {
            let _ = child.wait();
            panic!("the server does not start: {}", fs::read_to_string(folder.path().join("log")).unwrap_or_default());
        };
        let address = rest.trim_end_matches('/').parse().expect("the first line is the address");
        Self { child, address, secure: scheme == "https", folder, _stdout: stdout }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.secure { "https" } else { "http" }, self.address)
    }

    /// Its files, for another one that is to go on with them.
    pub fn folder(&self) -> std::sync::Arc<TempDir> {
        self.folder.clone()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The memory that it has in use, in KiB.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        line.trim().trim_end_matches(" kB").trim().parse().expect("it is a number")
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs").count()
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(sent.expect("`kill` is there").success(), "no signal can be sent");
    }

    /// Waits for its end. `None` where it has not ended by then.
    pub fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        eventually(limit, || self.child.try_wait().expect("it is our child"))
    }

    /// Asks it to stop, and fails unless it does so by itself and in good order.
    pub fn stop(mut self) {
        self.signal("TERM");
        let ended = self.ended(LIMIT).unwrap_or_else(|| panic!("it does not stop: {}", self.log()));
        assert!(ended.success(), "{ended}: {}", self.log());
    }

    /// JSON-RPC by HTTP.
    pub fn http(&self) -> Http {
        Http { client: client(), url: self.url("/rpc"), token: None, headers: Vec::new() }
    }

    /// JSON-RPC over a WebSocket.
    pub fn socket(&self) -> Socket {
        self.try_socket("/ws/", &[]).unwrap_or_else(|error| panic!("no WebSocket: {error}"))
    }

    /// The same, with headers; may be refused.
    pub fn try_socket(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Socket, tungstenite::Error> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("it is a header"));
        }
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Socket { socket, last: 0, events: VecDeque::new() }),
            Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
            Err(tungstenite::HandshakeError::Interrupted(_)) => panic!("no handshake within {LIMIT:?}"),
        }
    }
}

impl Drop for Marmot {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the log of the server:\n{}", self.log());
        }
    }
}

/// The program.
pub fn command() -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

fn client() -> HttpClient {
    HttpClient::builder().timeout(LIMIT).build().expect("a client can be made")
}

/// Writes a file for a server, readable for its owner only.
pub fn secret_file(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).expect("it can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
}

/// What `look` finds, as soon as it finds something.
pub fn eventually<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        // What another process does cannot be awaited.
        thread::sleep(Duration::from_millis(10));
    }
}

/// A result, or the error of the answer.
pub type Answer = Result<Value, Value>;

/// The answer of a message.
pub fn answer(message: &Value) -> Answer {
    match message.get("error") {
        Some(error) => Err(error.clone()),
        None => Ok(message["result"].clone()),
    }
}

/// JSON-RPC by HTTP, with our own client.
#[derive(Clone)]
pub struct Http {
    client: HttpClient,
    url: String,
    token: Option<String>,
    headers: Vec<(&'static str, String)>,
}

impl Http {
    #[must_use]
    pub fn client(mut self, client: HttpClient) -> Self {
        self.client = client;
        self
    }

    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.into());
        self
    }

    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sends a text as it is. Its status and body, or what went wrong.
    pub fn try_post(&self, text: &str) -> Result<(u16, String), marmot::Error> {
        let mut request = Request::post(&self.url).header("content-type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let mut response = self.client.send(request.body(text.to_owned()).expect("it is a request"))?;
        let status = response.status().as_u16();
        Ok((status, response.text().unwrap_or_default()))
    }

    /// The same; it has to work.
    pub fn post(&self, text: &str) -> (u16, String) {
        self.try_post(text).unwrap_or_else(|error| panic!("{}: {error}", self.url))
    }

    /// The message that answers a text.
    pub fn say(&self, text: &str) -> Value {
        let (status, body) = self.post(text);
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{status} {body}: {error}"))
    }

    pub fn call(&self, method: &str, params: Value) -> Answer {
        answer(&self.say(&request(1, method, params).to_string()))
    }

    /// The value of a script that succeeds.
    pub fn play(&self, script: &str) -> Value {
        let answer = self.call("play", json!([script]));
        answer.unwrap_or_else(|error| panic!("{script}: {error}"))["value"].clone()
    }
}

/// A request of JSON-RPC 2.0.
pub fn request(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// JSON-RPC over a WebSocket. What is told meanwhile is kept.
pub struct Socket {
    pub socket: WebSocket<TcpStream>,
    last: u64,
    events: VecDeque<Value>,
}

impl Socket {
    /// Sends a call and does not wait. Returns its id.
    pub fn begin(&mut self, method: &str, params: Value) -> u64 {
        self.last += 1;
        let text = request(self.last, method, params).to_string();
        self.socket.send(Message::text(text)).expect("the connection is open");
        self.last
    }

    pub fn call(&mut self, method: &str, params: Value) -> Answer {
        let id = self.begin(method, params);
        self.answer(id)
    }

    /// The answer to a call. Answers to others before it are lost.
    pub fn answer(&mut self, id: u64) -> Answer {
        loop {
            let message = self.message().unwrap_or_else(|error| panic!("no answer: {error}"));
            if message["method"] == "job.event" {
                self.events.push_back(message["params"].clone());
            } else if message["id"] == id {
                return answer(&message);
            }
        }
    }

    /// The next thing that is told of a job.
    pub fn event(&mut self) -> Value {
        if let Some(event) = self.events.pop_front() {
            return event;
        }
        loop {
            let message = self.message().unwrap_or_else(|error| panic!("no event: {error}"));
            if message["method"] == "job.event" {
                return message["params"].clone();
            }
        }
    }

    /// What is told until the job has ended.
    pub fn events_until_result(&mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while events.last().is_none_or(|event: &Value| event["kind"] != "result") {
            events.push(self.event());
        }
        events
    }

    /// The next message, whatever it is. An error is the end.
    pub fn message(&mut self) -> Result<Value, tungstenite::Error> {
        loop {
            match self.socket.read()? {
                Message::Text(text) => return Ok(serde_json::from_str(&text).expect("messages are JSON")),
                Message::Close(frame) => {
                    let code = frame.map_or(0, |frame| frame.code.into());
                    // Answered by the library; the end follows.
                    while self.socket.read().is_ok() {}
                    return Err(tungstenite::Error::Io(std::io::Error::other(format!("closed by {code}"))));
                }
                _ => {}
            }
        }
    }

    /// The code by which the server closes; what comes before it is passed over.
    pub fn close_code(&mut self) -> u16 {
        loop {
            match self.message() {
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) => {
                    let text = error.to_string();
                    let code = text.strip_prefix("closed by ").and_then(|code| code.parse().ok());
                    return code.unwrap_or_else(|| panic!("no close: {text}"));
                }
                Err(error) => panic!("no close: {error}"),
            }
        }
    }
}
