//! Plain HTTP/1.1: one thread, epoll, answers that are ready beforehand, 10,000 connections and more. No chunked bodies.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use super::{BLOCK, SMALL, stream_length};
use crate::epoll::{Epoll, Interest, Ready};

/// The longest head of a request that is read.
const HEAD_LIMIT: usize = 16 << 10;

/// How many blocks a connection may move before others get their turn.
const TURN: usize = 16;

/// Serves until standard input ends.
pub(super) fn serve(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    // As many as the system allows: the standard library asks for 128, and 10,000 clients come at once.
    // SAFETY: takes no pointer, and listening again on a socket that listens sets this length only.
    if unsafe { libc::listen(listener.as_raw_fd(), i32::MAX) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let epoll = Epoll::new()?;
    epoll.add(listener.as_raw_fd(), Interest::Read)?;
    let parent = io::stdin().as_raw_fd();
    epoll.add(parent, Interest::Read)?;
    let mut server = Plain {
        listener,
        epoll,
        connections: Vec::new(),
        accepted: 0,
        alarms: BinaryHeap::new(),
        small: response(SMALL.as_bytes()),
        block: vec![b's'; BLOCK],
    };
    let mut ready: Vec<Ready> = Vec::new();
    loop {
        server.epoll.wait(&mut ready, server.patience())?;
        for event in &ready {
            if event.fd == parent {
                return Ok(());
            } else if event.fd == server.listener.as_raw_fd() {
                server.accept()?;
            } else {
                server.advance(event.fd)?;
            }
        }
        server.ring()?;
    }
}

struct Plain {
    listener: TcpListener,
    epoll: Epoll,
    /// By descriptor.
    connections: Vec<Option<Connection>>,
    accepted: u64,
    /// When to answer those that wait: the moment, the descriptor, the number of the connection.
    alarms: BinaryHeap<Reverse<(Instant, RawFd, u64)>>,
    small: Vec<u8>,
    block: Vec<u8>,
}

impl Plain {
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let fd: RawFd = stream.as_raw_fd();
            self.epoll.add(fd, Interest::Read)?;
            let index = fd as usize;
            if self.connections.len() <= index {
                self.connections.resize_with(index + 1, || None);
            }
            self.accepted += 1;
            self.connections[index] = Some(Connection::new(stream, self.accepted));
        }
    }

    /// Does what can be done for a connection. An error of its own ends it and nothing else.
    fn advance(&mut self, fd: RawFd) -> io::Result<()> {
        let Some(slot) = self.connections.get_mut(fd as usize) else { return Ok(()) };
        let Some(connection) = slot else { return Ok(()) };
        let Ok(interest) = connection.advance(&self.small, &mut self.block) else {
            *slot = None; // closing the socket takes it out of epoll
            return Ok(());
        };
        if let State::Waiting { until, noted: noted @ false } = &mut connection.state {
            *noted = true;
            self.alarms.push(Reverse((*until, fd, connection.number)));
        }
        if interest != connection.interest {
            connection.interest = interest;
            self.epoll.modify(fd, interest)?;
        }
        Ok(())
    }

    /// Answers those that have waited long enough.
    fn ring(&mut self) -> io::Result<()> {
        while let Some(&Reverse((moment, fd, number))) = self.alarms.peek()
            && moment <= Instant::now()
        {
            self.alarms.pop();
            if let Some(Some(connection)) = self.connections.get_mut(fd as usize)
                && connection.number == number
            {
                connection.state = State::Head;
                connection.output.extend_from_slice(&self.small);
                self.advance(fd)?;
            }
        }
        Ok(())
    }

    fn patience(&self) -> Option<Duration> {
        let Reverse((moment, ..)) = self.alarms.peek()?;
        Some(moment.saturating_duration_since(Instant::now()))
    }
}

struct Connection {
    stream: TcpStream,
    /// Tells it from another one that has its descriptor later.
    number: u64,
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
    Waiting { until: Instant, noted: bool },
}

impl Connection {
    fn new(stream: TcpStream, number: u64) -> Self {
        let (interest, state) = (Interest::Read, State::Head);
        Self { stream, number, interest, input: Vec::new(), output: Vec::new(), sent: 0, state }
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
            State::Head | State::Receiving { .. } | State::Waiting { .. } => Interest::Read,
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
                State::Waiting { .. } => {
                    // Nothing is to come but the end.
                    received(self.stream.read(&mut block[..1]))?;
                    return Err(ErrorKind::InvalidData.into());
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
            (Some("GET"), Some(path)) if path.starts_with("/wait/") => {
                let time = path["/wait/".len()..].parse().map_err(|_| ErrorKind::InvalidData)?;
                self.state = State::Waiting { until: Instant::now() + Duration::from_millis(time), noted: false };
            }
            (Some("GET"), Some(path)) => {
                let left = stream_length(path).ok_or(ErrorKind::InvalidData)?;
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
