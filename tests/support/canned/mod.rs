//! A fast server of pre-rendered answers: one thread, level-triggered polling, 10,000 connections. For benches and
//! tests of scale. It records nothing but counts, knows neither HEAD nor any fault, and uses no other file of
//! the support folder but this one's.
//!
//! | path | answer |
//! |---|---|
//! | `/small` | 100 bytes of text |
//! | `/1k` | 1,024 bytes |
//! | `/stream/{bytes}` | that many bytes of [`pattern`], with Content-Length, written as the socket takes them |
//! | `/upload` | reads and discards the body; the count of its bytes as text |
//! | `/wait/{ms}` | `waited` after so many milliseconds, thousands at once |
//! | `/stats` | the counts as JSON |
//!
//! Anything else is 404. Connections live until `Connection: close`; pipelined requests are answered in order.
#![allow(dead_code, reason = "each test binary and bench uses its part")]
#![allow(unreachable_pub, reason = "the same files serve test binaries and benches")]

pub mod chunked;
mod connection;
pub mod sys;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use polling::{Event, Events, PollMode, Poller};

use connection::{Connection, Interest, Turn};

/// A multiple of the pattern's period: repeating the buffer continues the pattern.
const PATTERN_BYTES: usize = 251 * 1024;
/// The listener's key; connections use their place in the table.
const LISTENER: usize = usize::MAX - 1;

static PATTERN: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..PATTERN_BYTES).map(|index| ((index * 31 + 7) % 251) as u8).collect());

/// The first `n` bytes of the body that `/stream`, `/bytes` and others send: byte `i` is `(i * 31 + 7) % 251`.
pub fn pattern(n: usize) -> Vec<u8> {
    PATTERN.iter().copied().cycle().take(n).collect()
}

/// The server in a thread of this process. Stops and joins in its drop.
pub struct Canned {
    addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    poller: Poller,
    stopping: AtomicBool,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    accepted: AtomicU64,
    open: AtomicU64,
    most_open: AtomicU64,
    uploaded: AtomicU64,
}

impl Canned {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let addr = listener.local_addr().expect("a bound listener has an address");
        let (mut event_loop, shared) = EventLoop::new(listener).expect("the system offers polling");
        let thread = thread::Builder::new()
            .name("canned".into())
            .spawn(move || event_loop.run())
            .expect("a thread can be started");
        Self { addr, shared, thread: Some(thread) }
    }

    /// Serves on this thread until the process is ended: for a process of its own.
    pub fn serve_forever(listener: TcpListener) -> ! {
        let (mut event_loop, _shared) = EventLoop::new(listener).expect("the system offers polling");
        event_loop.run();
        unreachable!("nobody asks this loop to stop")
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`
    pub fn origin(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Request heads parsed so far.
    pub fn requests(&self) -> u64 {
        self.shared.counts.requests.load(Ordering::Relaxed)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.counts.accepted.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.shared.counts.open.load(Ordering::Relaxed)
    }

    /// The most connections that were open at once.
    pub fn most_open(&self) -> u64 {
        self.shared.counts.most_open.load(Ordering::Relaxed)
    }

    /// Bytes of uploads read so far, without framing.
    pub fn uploaded(&self) -> u64 {
        self.shared.counts.uploaded.load(Ordering::Relaxed)
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        let _ = self.shared.poller.notify();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Counts {
    fn render(&self) -> String {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        format!(
            r#"{{"requests":{},"accepted":{},"open":{},"most_open":{},"uploaded":{}}}"#,
            read(&self.requests),
            read(&self.accepted),
            read(&self.open),
            read(&self.most_open),
            read(&self.uploaded),
        )
    }
}

struct EventLoop {
    listener: TcpListener,
    shared: Arc<Shared>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// When, which place, and the serial of the connection that waited there.
    timers: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    scratch: Vec<u8>,
}

impl EventLoop {
    fn new(listener: TcpListener) -> io::Result<(Self, Arc<Shared>)> {
        listener.set_nonblocking(true)?;
        sys::deepen_backlog(&listener);
        let poller = Poller::new()?;
        sys::watch(&poller, &listener, Event::readable(LISTENER))?;
        let shared = Arc::new(Shared { poller, stopping: AtomicBool::new(false), counts: Counts::default() });
        let event_loop = Self {
            listener,
            shared: Arc::clone(&shared),
            connections: Vec::new(),
            free: Vec::new(),
            timers: BinaryHeap::new(),
            scratch: vec![0; 256 * 1024],
        };
        Ok((event_loop, shared))
    }

    fn run(&mut self) {
        let mut events = Events::new();
        while !self.shared.stopping.load(Ordering::Acquire) {
            let timeout = self.timers.peek().map(|Reverse((at, ..))| at.saturating_duration_since(Instant::now()));
            events.clear();
            match self.shared.poller.wait(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => panic!("polling: {error}"),
                _ => {}
            }
            self.fire_timers();
            for event in events.iter() {
                match event.key {
                    LISTENER => self.accept(),
                    // A stale event of a place taken again is harmless: the sockets do not block.
                    place if event.readable => self.step(place, |connection, turn| connection.readable(turn)),
                    place => self.step(place, |connection, turn| connection.proceed(turn)),
                }
            }
        }
        for place in 0..self.connections.len() {
            self.close(place);
        }
        let _ = self.shared.poller.delete(&self.listener);
    }

    fn accept(&mut self) {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // No descriptor is free: level mode brings the event again, so do not spin on it.
                Err(_) => return thread::sleep(Duration::from_millis(1)),
            };
            let counts = &self.shared.counts;
            let serial = counts.accepted.fetch_add(1, Ordering::Relaxed);
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let watched = stream
                .set_nonblocking(true)
                .and_then(|()| stream.set_nodelay(true))
                .and_then(|()| sys::watch(&self.shared.poller, &stream, Event::readable(place)));
            if watched.is_err() {
                self.free.push(place);
                continue;
            }
            self.connections[place] = Some(Connection::new(stream, serial));
            let open = counts.open.fetch_add(1, Ordering::Relaxed) + 1;
            counts.most_open.fetch_max(open, Ordering::Relaxed);
        }
    }

    /// Lets a connection act, then brings its interest and its timer up to date.
    fn step(&mut self, place: usize, act: impl FnOnce(&mut Connection, &mut Turn<'_>) -> io::Result<Interest>) {
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_mut) else { return };
        let mut turn = Turn { counts: &self.shared.counts, scratch: &mut self.scratch, wait: None };
        let interest = act(connection, &mut turn);
        if let Some(wait) = turn.wait {
            self.timers.push(Reverse((Instant::now() + wait, place, connection.serial)));
        }
        let event = match interest {
            Ok(Interest::Read) => Event::readable(place),
            Ok(Interest::Write) => Event::writable(place),
            Err(_) => return self.close(place),
        };
        if connection.watched.replace(event) != Some(event)
            && self.shared.poller.modify_with_mode(&connection.stream, event, PollMode::Level).is_err()
        {
            self.close(place);
        }
    }

    fn fire_timers(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, place, serial))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            self.step(place, |connection, turn| connection.waited(serial, turn));
        }
    }

    fn close(&mut self, place: usize) {
        if let Some(connection) = self.connections[place].take() {
            let _ = self.shared.poller.delete(&connection.stream);
            self.free.push(place);
            self.shared.counts.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
