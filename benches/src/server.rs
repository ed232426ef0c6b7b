//! The canned server: one thread, epoll, answers that are ready beforehand. No TLS, no HTTP/2, no chunked bodies, and
//! no leniency: what it does not know ends the connection, so that the peer's run fails.
//!
//! - `GET /small` answers [`SMALL`].
//! - `GET /stream/{bytes}` answers that many bytes.
//! - `POST /upload` reads a body of known length, throws it away and answers how long it was.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::process::{Child, Command, Stdio};

use crate::epoll::{Epoll, Interest, Ready};

/// The body of `/small`.
pub const SMALL: &str =
    "A marmot sleeps for half of the year; a client should wake up for a request a good deal faster, then.\n";

/// What a program that is started as the server is called with.
pub const FLAG: &str = "--serve";

/// The longest head of a request that is read.
const HEAD_LIMIT: usize = 16 << 10;

/// How much is read or written with one call in bulk.
const BLOCK: usize = 256 << 10;

/// How many blocks a connection may move before others get their turn.
const TURN: usize = 16;

/// The server in a process of its own, so that its work is not taken for a client's. Dropping this ends it, by its id.
///
/// The process is this program again, with [`FLAG`] as its only argument: it has to call [`serve`] then.
pub struct Server {
    child: Child,
    base: String,
}

impl Server {
    pub fn start() -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let child = command.arg(FLAG).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut server = Self { child, base: String::new() };
        let mut port = String::new();
        if let Some(output) = server.child.stdout.take() {
            BufReader::new(output).read_line(&mut port)?;
        }
        let port: u16 = port.trim().parse().map_err(|_| io::Error::other("the server did not start"))?;
        server.base = format!("http://127.0.0.1:{port}");
        Ok(server)
    }

    /// `http://host:port`, with no slash behind it.
    pub fn base(&self) -> &str {
        &self.base
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either fails only when the server is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until standard input ends, which it does at the latest when the parent dies. Prints the port first.
pub fn serve() -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?.port());

    let epoll = Epoll::new()?;
    let parent = io::stdin().as_raw_fd();
    epoll.add(parent, Interest::Read)?;
    epoll.add(listener.as_raw_fd(), Interest::Read)?;
    let small = response(SMALL.as_bytes());
    let mut block = vec![b's'; BLOCK];
    let mut connections: Vec<Option<Connection>> = Vec::new(); // by descriptor
    let mut ready: Vec<Ready> = Vec::new();
    loop {
        epoll.wait(&mut ready, None)?;
        for event in &ready {
            if event.fd == parent {
                return Ok(());
            } else if event.fd == listener.as_raw_fd() {
                accept(&listener, &epoll, &mut connections)?;
            } else if let Some(slot) = connections.get_mut(event.fd as usize)
                && let Some(connection) = slot
            {
                match connection.advance(&small, &mut block) {
                    Ok(interest) if interest == connection.interest => {}
                    Ok(interest) => {
                        connection.interest = interest;
                        epoll.modify(event.fd, interest)?;
                    }
                    // Closing the socket takes it out of epoll.
                    Err(_) => *slot = None,
                }
            }
        }
    }
}

fn accept(listener: &TcpListener, epoll: &Epoll, connections: &mut Vec<Option<Connection>>) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let fd: RawFd = stream.as_raw_fd();
        epoll.add(fd, Interest::Read)?;
        let index = fd as usize;
        if connections.len() <= index {
            connections.resize_with(index + 1, || None);
        }
        connections[index] = Some(Connection::new(stream));
    }
}

struct Connection {
    stream: TcpStream,
    interest: Interest,
    /// Received and not yet understood: at most a head.
    input: Vec<u8>,
    /// To be sent before anything else happens.
    output: Vec<u8>,
    sent: usize,
    state: State,
}

enum State {
    Head,
    Streaming { left: u64 },
    Receiving { left: u64, total: u64 },
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        let interest = Interest::Read;
        Self { stream, interest, input: Vec::new(), output: Vec::new(), sent: 0, state: State::Head }
    }

    /// Does what can be done now, and answers what to wait for. An error ends the connection, as its end does.
    fn advance(&mut self, small: &[u8], block: &mut [u8]) -> io::Result<Interest> {
        match self.step(small, block) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(self.wants()),
            Err(error) => Err(error),
            Ok(()) => Ok(self.wants()),
        }
    }

    fn wants(&self) -> Interest {
        match self.state {
            _ if self.sent < self.output.len() => Interest::Write,
            State::Streaming { .. } => Interest::Write,
            State::Head | State::Receiving { .. } => Interest::Read,
        }
    }

    fn step(&mut self, small: &[u8], block: &mut [u8]) -> io::Result<()> {
        self.flush()?;
        for _ in 0..TURN {
            match &mut self.state {
                State::Streaming { left } => {
                    let size = (*left).min(BLOCK as u64) as usize;
                    *left -= self.stream.write(&block[..size])? as u64;
                    if *left == 0 {
                        self.state = State::Head;
                    }
                }
                State::Receiving { left, .. } => {
                    let size = (*left).min(BLOCK as u64) as usize;
                    let got = received(self.stream.read(&mut block[..size]))?;
                    *left -= got as u64;
                    self.end_upload()?;
                }
                State::Head => {
                    let got = received(self.stream.read(&mut block[..HEAD_LIMIT]))?;
                    self.input.extend_from_slice(&block[..got]);
                    while let State::Head = self.state
                        && self.understand(small)?
                    {}
                    // A client that waits for its answer sends nothing now: asking again would cost a call for nothing.
                    if let State::Head = self.state {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes one head from the input, if there is a whole one.
    fn understand(&mut self, small: &[u8]) -> io::Result<bool> {
        let Some(end) = self.input.windows(4).position(|window| window == b"\r\n\r\n") else {
            return if self.input.len() < HEAD_LIMIT { Ok(false) } else { Err(ErrorKind::InvalidData.into()) };
        };
        let head = std::str::from_utf8(&self.input[..end]).map_err(|_| ErrorKind::InvalidData)?;
        let mut words = head.split(' ');
        match (words.next(), words.next()) {
            (Some("GET"), Some("/small")) => self.output.extend_from_slice(small),
            (Some("GET"), Some(path)) => {
                let left = path.strip_prefix("/stream/").and_then(|bytes| bytes.parse().ok());
                let left = left.filter(|&bytes| bytes > 0).ok_or(ErrorKind::InvalidData)?;
                self.output.extend_from_slice(&head_of(left));
                self.state = State::Streaming { left };
            }
            (Some("POST"), Some("/upload")) => {
                let total = header(head, "content-length").and_then(|value| value.parse().ok());
                let total: u64 = total.ok_or(ErrorKind::InvalidData)?;
                if header(head, "expect").is_some() {
                    self.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                self.state = State::Receiving { left: total, total };
            }
            _ => return Err(ErrorKind::InvalidData.into()),
        }
        self.input.drain(..end + 4);
        if let State::Receiving { left, .. } = &mut self.state {
            let here = (*left).min(self.input.len() as u64);
            *left -= here;
            self.input.drain(..here as usize);
            self.end_upload()?;
        }
        self.flush()?;
        Ok(true)
    }

    fn end_upload(&mut self) -> io::Result<()> {
        if let State::Receiving { left: 0, total } = self.state {
            self.output.extend_from_slice(&response(total.to_string().as_bytes()));
            self.state = State::Head;
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.output.len() {
            self.sent += self.stream.write(&self.output[self.sent..])?;
        }
        self.output.clear();
        self.sent = 0;
        Ok(())
    }
}

/// Turns the end of the stream into an error: for a server both mean that the connection is over.
fn received(result: io::Result<usize>) -> io::Result<usize> {
    if let Ok(0) = result { Err(ErrorKind::UnexpectedEof.into()) } else { result }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// The head of an answer, with about as many fields as a plain server would send.
fn head_of(length: u64) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nServer: canned\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
         Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes()
}

fn response(body: &[u8]) -> Vec<u8> {
    let mut bytes = head_of(body.len() as u64);
    bytes.extend_from_slice(body);
    bytes
}
