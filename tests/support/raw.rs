//! Accepts connections on loopback and gives each one a thread. Speaks no protocol.
//!
//! A socket has exactly one descriptor here (the list of open connections holds weak references), so that closing
//! it closes it, and a reset is a reset.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::canned::sys;
use super::watched::Watched;

/// How long a drop waits for handlers that do not watch the stop signal.
const JOIN_LIMIT: Duration = Duration::from_secs(5);

/// Says when the server stops. Handlers wait on it instead of sleeping.
#[derive(Default)]
pub struct Stop(Watched<bool>);

impl Stop {
    pub fn is_raised(&self) -> bool {
        self.0.read(|raised| *raised)
    }

    /// Waits for the whole time, or fails at once when the server stops.
    pub fn sleep(&self, time: Duration) -> io::Result<()> {
        match self.0.wait_for(time, |raised| raised.then_some(())) {
            None => Ok(()),
            Some(()) => Err(io::Error::new(io::ErrorKind::Interrupted, "the server stops")),
        }
    }

    fn raise(&self) {
        self.0.update(|raised| *raised = true);
    }
}

/// One accepted connection; closed when dropped. Reads and writes fail once the server stops.
pub struct Conn {
    stream: Option<Arc<TcpStream>>,
    index: usize,
    shared: Arc<Shared>,
}

impl Conn {
    /// 0 for the first connection that the server accepted.
    pub fn index(&self) -> usize {
        self.index
    }

    pub fn stop(&self) -> &Stop {
        &self.shared.stop
    }

    /// Closes at once and with a TCP reset: the client sees ECONNRESET.
    pub fn reset(self) {
        sys::reset_on_close(&self);
    }

    /// Waits until the client closes its side, without reading: true if it did within `limit`.
    /// A stop of the server counts as a close.
    pub fn wait_hangup(&self, limit: Duration) -> bool {
        sys::wait_hangup(self, limit)
    }
}

impl Deref for Conn {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        self.stream.as_deref().expect("the stream is taken in drop only")
    }
}

impl Read for Conn {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&**self).read(buffer)
    }
}

impl Write for Conn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&**self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        // The socket goes first: whoever sees `open` fall may rely on the descriptor being closed.
        drop(self.stream.take());
        self.shared.live.update(|live| live.streams.remove(&self.index));
    }
}

/// A server whose handler owns the bare connection.
pub struct RawServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: Stop,
    live: Watched<Live>,
}

#[derive(Default)]
struct Live {
    accepted: usize,
    stopping: bool,
    streams: HashMap<usize, Weak<TcpStream>>,
    running: usize,
    threads: Vec<JoinHandle<()>>,
}

impl RawServer {
    /// Serves each connection with `handler(connection, index, stop)` on a thread of its own.
    pub fn start(handler: impl Fn(Conn, usize, &Stop) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        sys::deepen_backlog(&listener);
        let addr = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared::default());
        let accepting = thread::Builder::new()
            .name(format!("accept-{}", addr.port()))
            .spawn({
                let shared = Arc::clone(&shared);
                move || accept(&listener, &shared, &Arc::new(handler))
            })
            .expect("a thread can be started");
        Self { addr, shared, accepting: Some(accepting) }
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

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.live.read(|live| live.accepted)
    }

    /// Connections open now. A connection that the client closed counts until its thread has noticed.
    pub fn open(&self) -> usize {
        self.shared.live.read(|live| live.streams.len())
    }

    /// Waits until exactly `n` connections are open.
    pub fn wait_open(&self, n: usize, limit: Duration) -> bool {
        self.shared.live.wait_for(limit, |live| (live.streams.len() == n).then_some(())).is_some()
    }

    /// Waits until at least `n` connections were accepted.
    pub fn wait_accepted(&self, n: usize, limit: Duration) -> bool {
        self.shared.live.wait_for(limit, |live| (live.accepted >= n).then_some(())).is_some()
    }

    /// Closes every open connection as a server that restarts would; new ones are still accepted.
    pub fn close_connections(&self) {
        for stream in self.shared.live.read(|live| live.streams.values().filter_map(Weak::upgrade).collect::<Vec<_>>())
        {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.shared.stop.raise();
        self.shared.live.update(|live| live.stopping = true);
        self.close_connections();
        if let Some(accepting) = self.accepting.take() {
            // A connection of our own wakes the accept call; it may find no descriptor free, so it is repeated.
            let deadline = Instant::now() + JOIN_LIMIT;
            while !accepting.is_finished() && Instant::now() < deadline {
                let _ = TcpStream::connect_timeout(&self.addr, Duration::from_millis(100));
                thread::sleep(Duration::from_millis(1));
            }
            if accepting.is_finished() {
                let _ = accepting.join();
            }
        }
        let ended = self.shared.live.wait_for(JOIN_LIMIT, |live| (live.running == 0).then_some(())).is_some();
        if !ended {
            eprintln!("test server {}: a handler ignores the stop signal, its thread is left behind", self.addr);
        }
        for thread in self.shared.live.update(|live| std::mem::take(&mut live.threads)) {
            if ended || thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}

fn accept<H>(listener: &TcpListener, shared: &Arc<Shared>, handler: &Arc<H>)
where
    H: Fn(Conn, usize, &Stop) + Send + Sync + 'static,
{
    loop {
        let accepted = listener.accept();
        if shared.stop.is_raised() {
            return;
        }
        let Ok((stream, _)) = accepted else {
            // No descriptor is free, or the client is gone already.
            let _ = shared.stop.sleep(Duration::from_millis(2));
            continue;
        };
        let _ = stream.set_nodelay(true);
        let stream = Arc::new(stream);
        let index = shared.live.update(|live| {
            let index = live.accepted;
            live.accepted += 1;
            if !live.stopping {
                live.streams.insert(index, Arc::downgrade(&stream));
                live.running += 1;
            }
            (!live.stopping).then_some(index)
        });
        let Some(index) = index else { return };
        let conn = Conn { stream: Some(stream), index, shared: Arc::clone(shared) };
        let spawned = thread::Builder::new().name(format!("conn-{index}")).spawn({
            let running = Running(Arc::clone(shared));
            let handler = Arc::clone(handler);
            move || {
                let running = running;
                handler(conn, index, &running.0.stop);
            }
        });
        if let Ok(thread) = spawned {
            shared.live.update(|live| {
                live.threads.retain(|thread| !thread.is_finished());
                live.threads.push(thread);
            });
        }
    }
}

/// Counts its thread out, also when the handler panics or the thread could not be started.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.live.update(|live| live.running -= 1);
    }
}
