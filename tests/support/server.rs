//! HTTP/1.1 on a thread per connection: a handler answers, every request is recorded. Knows no routes (those of
//! [`Server::faults`] are in `faults/`), no TLS and no HTTP/2.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::raw::{Conn, RawServer};
use super::request::{BodyState, Request, Wire};
use super::responder::{Ending, Responder};
use super::watched::Watched;

/// How long a connection that closes with an unread request body waits for the client to see the answer. Closing
/// at once would reset it and destroy the answer on its way.
const LINGER: Duration = Duration::from_secs(2);

/// Who reads the request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyMode {
    /// The server, before it calls the handler; it answers `Expect: 100-continue`.
    Read,
    /// The handler, with [`Responder::read_body`] and [`Responder::go_on`], or nobody.
    Leave,
}

/// A client that went away within its upload, or while a handler was waiting or writing.
#[derive(Clone, Debug)]
pub struct ClientClose {
    pub target: String,
    pub connection: usize,
    /// When the server noticed.
    pub at: Instant,
    /// How long after the head of the request that was.
    pub after: Duration,
}

/// The recording server.
pub struct Server {
    // Stops and joins in its drop; the log outlives it for threads that are left behind.
    raw: RawServer,
    log: Arc<Watched<Log>>,
}

#[derive(Default)]
struct Log {
    requests: Vec<Request>,
    closes: Vec<ClientClose>,
}

impl Server {
    /// Answers every request with `handler`, which sees the whole body.
    pub fn start<H>(handler: H) -> Self
    where
        H: Fn(&Request, &mut Responder<'_>) -> io::Result<()> + Send + Sync + 'static,
    {
        Self::start_with(|_| BodyMode::Read, handler)
    }

    /// The same, but `mode` decides by the head who reads the body.
    pub fn start_with<M, H>(mode: M, handler: H) -> Self
    where
        M: Fn(&Request) -> BodyMode + Send + Sync + 'static,
        H: Fn(&Request, &mut Responder<'_>) -> io::Result<()> + Send + Sync + 'static,
    {
        let log = Arc::new(Watched::new(Log::default()));
        let raw = RawServer::start({
            let log = Arc::clone(&log);
            move |conn, _, _| serve(conn, &log, &mode, &handler)
        });
        Self { raw, log }
    }

    pub fn addr(&self) -> SocketAddr {
        self.raw.addr()
    }

    /// `http://127.0.0.1:PORT`
    pub fn origin(&self) -> String {
        self.raw.origin()
    }

    pub fn url(&self, path: &str) -> String {
        self.raw.url(path)
    }

    /// All requests so far, in the order in which their heads came; see [`Request::body_state`].
    pub fn requests(&self) -> Vec<Request> {
        self.log.read(|log| log.requests.clone())
    }

    /// The latest request.
    ///
    /// # Panics
    ///
    /// If there was none.
    pub fn last_request(&self) -> Request {
        self.log.read(|log| log.requests.last().cloned()).expect("the server has seen a request")
    }

    /// Waits until the heads of `n` requests are in and their bodies read (or left to the route, or broken off).
    pub fn wait_for_requests(&self, n: usize, limit: Duration) -> bool {
        self.wait_count(n, limit, |request| request.body_state != BodyState::Pending)
    }

    /// Waits until the heads of `n` requests are in.
    pub fn wait_for_heads(&self, n: usize, limit: Duration) -> bool {
        self.wait_count(n, limit, |_| true)
    }

    /// The clients that went away within their upload, or while a handler was waiting or writing.
    pub fn closes(&self) -> Vec<ClientClose> {
        self.log.read(|log| log.closes.clone())
    }

    /// Waits until a client of a target that starts with `target` has gone away.
    pub fn wait_for_close(&self, target: &str, limit: Duration) -> Option<ClientClose> {
        self.log.wait_for(limit, |log| log.closes.iter().find(|close| close.target.starts_with(target)).cloned())
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.raw.accepted()
    }

    /// Connections open now. A connection that the client closed counts until its thread has noticed.
    pub fn open(&self) -> usize {
        self.raw.open()
    }

    /// Waits until exactly `n` connections are open.
    pub fn wait_open(&self, n: usize, limit: Duration) -> bool {
        self.raw.wait_open(n, limit)
    }

    /// Waits until at least `n` connections were accepted.
    pub fn wait_accepted(&self, n: usize, limit: Duration) -> bool {
        self.raw.wait_accepted(n, limit)
    }

    /// Closes every open connection as a server that restarts would; new ones are still accepted.
    pub fn close_connections(&self) {
        self.raw.close_connections();
    }

    fn wait_count(&self, n: usize, limit: Duration, counts: impl Fn(&Request) -> bool) -> bool {
        let enough = |log: &Log| log.requests.iter().filter(|request| counts(request)).count() >= n;
        self.log.wait_for(limit, |log| enough(log).then_some(())).is_some()
    }
}

/// The life of one connection.
fn serve<M, H>(conn: Conn, log: &Watched<Log>, mode: &M, handler: &H)
where
    M: Fn(&Request) -> BodyMode,
    H: Fn(&Request, &mut Responder<'_>) -> io::Result<()>,
{
    let note_close = |request: &Request| {
        let close = ClientClose {
            target: request.target.clone(),
            connection: request.connection,
            at: Instant::now(),
            after: request.at.elapsed(),
        };
        log.update(|log| log.closes.push(close));
    };
    let mut wire = Wire::new(conn);
    let mut ending = Ending::KeepAlive;
    loop {
        let idle = if let Ending::IdleLimit(limit) = ending { Some(limit) } else { None };
        let Some(mut request) = wire.read_request(idle) else { return };
        let mode = if request.is_http() { mode(&request) } else { BodyMode::Leave };
        let slot = log.update(|log| {
            log.requests.push(request.clone());
            log.requests.len() - 1
        });
        let read = match mode {
            BodyMode::Leave => {
                request.body_state = BodyState::Left;
                Ok(())
            }
            BodyMode::Read if request.expects_continue() && !wire.body_ended() => {
                let go_on = Responder::new(&mut wire, &request).go_on();
                go_on.and_then(|()| wire.read_body(&mut request))
            }
            BodyMode::Read => wire.read_body(&mut request),
        };
        log.update(|log| {
            let recorded = &mut log.requests[slot];
            recorded.body = Arc::clone(&request.body);
            recorded.trailers.clone_from(&request.trailers);
            recorded.body_state = if read.is_ok() { request.body_state } else { BodyState::Failed };
        });
        if read.is_err() && !wire.conn.stop().is_raised() {
            note_close(&request);
        }
        if read.is_err() || ending == Ending::DropNext {
            return;
        }

        let mut responder = Responder::new(&mut wire, &request);
        let answered = match request.is_http() {
            true => handler(&request, &mut responder),
            false => {
                responder.announce_close();
                responder.text(400, "this is not an HTTP/1 request\n")
            }
        };
        ending = responder.ending;
        if answered.is_err() && !wire.conn.stop().is_raised() {
            note_close(&request);
        }
        match ending {
            Ending::Reset => return wire.conn.reset(),
            Ending::Close if wire.body_ended() => return,
            _ if answered.is_err() => return,
            Ending::KeepAlive | Ending::IdleLimit(_) | Ending::DropNext if wire.body_ended() => {}
            _ => {
                let _ = wire.conn.shutdown(Shutdown::Write);
                wire.conn.wait_hangup(LINGER);
                return;
            }
        }
    }
}
