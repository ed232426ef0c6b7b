//! libcurl's callbacks about one transfer. Asks the machine, calls the handler; decides nothing itself.

use std::cell::LazyCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::SeekFrom;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use curl::easy::{ReadError, SeekResult, WriteError};
use http::uri::Authority;
use http::{StatusCode, Uri, Version};

use super::bulk::Bulk;
use super::prepare::{Shape, is_plain};
use super::stream::Stream;
use super::trace::Trace;
use super::watch::{Progress, Watch};
use super::{Easy, failure};
use crate::body::exchange::too_large;
use crate::config::{self, Peer, ProgressFn, ProxyServer, RequestConfig};
use crate::error::{Error, ErrorKind, TimeoutPhase, panic_text};
use crate::ffi::held::Callbacks;
use crate::ffi::options::{Info, Live};
use crate::ffi::sockets::Mark;
use crate::handler::machine::{Effect, Event, Lane, Machine};
use crate::handler::{Control, Decoder, Encoder, Handler, Next, Ready};
use crate::head::{AtEnd, Ending, Ends, Facts, Head, HeadParser, Measured, Metrics};

/// The state behind an easy handle: a running request, or nothing while the handle waits in the pool.
#[derive(Default)]
pub(crate) struct Transfer {
    active: Option<Active>,
    /// The handle was used, and may have any settings.
    pub(super) used: bool,
    /// The number that the handle carries in its agent.
    pub(crate) slot: Option<usize>,
    /// What the handle has been told of its request, if nothing else was.
    pub(super) shape: Option<Shape>,
    /// The settings that the handle has now.
    pub(super) applied: Option<Arc<RequestConfig>>,
    /// libcurl's buffer for uploads, which it keeps, is larger than usual.
    pub(super) has_large_buffer: bool,
    /// The URL of its last request, which it still has.
    pub(super) last: Option<Box<Uri>>,
    /// The proxy that the handle goes through now.
    pub(super) proxy: Option<Arc<ProxyServer>>,
}

/// Which challenges libcurl answers by itself, with a second request inside the same transfer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Challenges {
    /// 401
    pub(super) of_target: bool,
    /// 407
    pub(super) of_proxy: bool,
    /// The request has a body: a first request without it may be sent, only to hear the challenge. Its success is not the
    /// response.
    pub(super) before_body: bool,
}

impl Challenges {
    pub(super) fn any(self) -> bool {
        self.of_target || self.of_proxy
    }

    /// Whether another response may follow on one with this status.
    fn may_answer(self, status: StatusCode) -> bool {
        (self.of_target && status == StatusCode::UNAUTHORIZED)
            || (self.of_proxy && status == StatusCode::PROXY_AUTHENTICATION_REQUIRED)
            || (self.any() && self.before_body && status.is_success())
    }
}

struct Active {
    handler: Box<dyn Handler>,
    control: Control,
    machine: Machine,
    /// A little after libcurl's own time limit, which it does not watch while the transfer waits for a connection.
    give_up: Option<Instant>,
    watch: Option<Box<Watch>>,
    /// Present where a large body comes on a connection that nobody shares.
    bulk: Option<Box<Bulk>>,
    /// From the first line on.
    head: Option<HeadParser>,
    /// Lives as long as the transfer.
    trace: Trace,
    uri: Uri,
    /// The request is a HEAD.
    to_head: bool,
    measured: Option<Arc<OnceLock<AtEnd>>>,
    /// The most bytes that the body may have, and how many came.
    max_size: u64,
    received: u64,
    /// When progress was told last.
    told: Option<Instant>,
    /// Bytes that the handler read of a piece that libcurl will hand out again.
    seen: usize,
    /// Bytes of the request's body were handed to libcurl.
    sent: bool,
    /// Present where another protocol was asked for. What few transfers have is boxed: many may wait.
    stream: Option<Box<Stream>>,
    sending_ended: bool,
    responded: bool,
    /// libcurl must be told of lanes that go on, outside its callbacks.
    resume: bool,
    challenges: Challenges,
    /// libcurl may send the request again by itself.
    repeatable: bool,
    /// Something of the user's is called while it runs.
    of_user: bool,
    /// Of the connection that the request was sent on.
    ends: Ends,
    /// That one was used before.
    reused: bool,
    /// It was, and no line of an answer has come since.
    unanswered: bool,
    /// That connection, before the request was sent on it.
    mark: Option<Mark>,
    /// A head that is the response's unless libcurl answers it: then another status line comes before any body.
    held_back: Option<Head>,
    failure: Option<Error>,
}

/// The clock, read when somebody asks for the time: most transfers have nothing that ends with it.
pub(crate) type Now = LazyCell<Instant>;

/// What the agent should do with a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Stay,
    /// Tell libcurl which lanes stay paused: receiving, sending.
    Resume(bool, bool),
    /// Take the handle out; the transfer is over.
    Remove,
}

/// What is fixed when a transfer starts.
pub(super) struct Start<'a> {
    pub(super) trace: Trace,
    pub(super) handler: Box<dyn Handler>,
    pub(super) control: Control,
    pub(super) first: Next,
    pub(super) uri: Uri,
    pub(super) to_head: bool,
    pub(super) config: &'a RequestConfig,
    /// The request asks for another protocol.
    pub(super) upgrade: bool,
    /// The total time that libcurl was told.
    pub(super) limit: Option<Duration>,
    pub(super) challenges: Challenges,
    /// See `Prepare::is_repeatable`.
    pub(super) repeatable: bool,
    /// A handler or a stream of the user's takes part.
    pub(super) of_user: bool,
}

/// Progress is told once in so long at most.
const TELL_PAUSE: Duration = Duration::from_millis(100);
/// How long libcurl may be late with its own time limit.
const LATENESS: Duration = Duration::from_millis(50);

impl Transfer {
    pub(super) fn start(&mut self, start: Start<'_>) {
        let Start {
            trace,
            handler,
            control,
            first,
            uri,
            to_head,
            upgrade,
            config,
            limit,
            challenges,
            repeatable,
            of_user,
        } = start;
        let (machine, effect) = Machine::new(first, Instant::now);
        let watch = Watch::new(config, Instant::now).map(Box::new);
        if effect == Effect::Abort || machine.deadline().is_some() {
            control.look();
        }
        self.active = Some(Active {
            handler,
            control,
            machine,
            give_up: limit.and_then(|limit| Instant::now().checked_add(limit)?.checked_add(LATENESS)),
            watch,
            bulk: None,
            head: None,
            trace,
            uri,
            to_head,
            measured: config.metrics.unwrap_or(false).then(Arc::default),
            max_size: config.max_response_size.flatten().unwrap_or(u64::MAX),
            received: 0,
            told: None,
            seen: 0,
            sent: false,
            stream: upgrade.then(Box::default),
            sending_ended: false,
            responded: false,
            resume: false,
            challenges,
            repeatable,
            of_user: of_user || config.progress.is_some(),
            ends: Ends::default(),
            reused: false,
            unanswered: false,
            mark: None,
            held_back: None,
            failure: None,
        });
    }

    /// Whether the head of a response has not come to its end.
    pub(crate) fn is_within_head(&self) -> bool {
        self.active.as_ref().is_some_and(|active| !active.responded)
    }

    /// Drops the request, and with it the handler.
    pub(crate) fn clear(&mut self) {
        if let Some(mut active) = self.active.take() {
            let uri = std::mem::take(&mut active.uri);
            self.last.get_or_insert_with(|| Box::new(uri));
            active.control.set_over();
            // A handler's drop is user code as well.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(active)));
        }
    }

    /// Whether the transfer shares its connection with nobody.
    pub(crate) fn is_plain(&self) -> bool {
        match (&self.active, &self.applied) {
            (Some(active), Some(config)) => is_plain(&active.uri, config),
            _ => false,
        }
    }

    /// Whether libcurl begins with it in next to no time, without TLS, and calls nothing of the user's meanwhile.
    pub(crate) fn begins_at_once(&self) -> bool {
        let of_user = self.active.as_ref().is_none_or(|active| active.of_user);
        !of_user && self.is_plain() && self.proxy.is_none() && !self.asks_over_https()
    }

    /// The same number for all transfers of an origin.
    pub(crate) fn origin_hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        if let Some(active) = &self.active {
            // Not as they hash themselves: that is byte by byte. A host in other letters costs a connection.
            active.uri.scheme_str().hash(&mut hasher);
            active.uri.authority().map(Authority::as_str).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Whether names are asked for by transfers of libcurl's own, which may wait for one another's connection.
    pub(crate) fn asks_over_https(&self) -> bool {
        self.applied.as_ref().is_some_and(|config| config.names.over_https.as_ref().is_some_and(Option::is_some))
    }

    /// Whether the request was sent on a connection that others had used before.
    pub(crate) fn is_on_used_connection(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.reused)
    }

    /// Some of what the handle was told of its request was changed since.
    pub(crate) fn forget_shape(&mut self) {
        self.shape = None;
    }

    pub(crate) fn control(&self) -> Option<&Control> {
        self.active.as_ref().map(|active| &active.control)
    }

    /// When [`attend`](Self::attend) is due because of time.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let active = self.active.as_ref()?;
        let watch = active.watch.as_deref().map(Watch::next);
        let again = active.stream.as_deref().and_then(Stream::again);
        let bulk = active.bulk.as_deref().and_then(Bulk::next);
        [active.machine.deadline(), active.give_up, watch, again, bulk].into_iter().flatten().min()
    }

    /// Looks after a transfer outside libcurl's callbacks: its control was used, or its time may be up.
    ///
    /// `progress` is needed where [`is_watched`](Self::is_watched) says so.
    pub(crate) fn attend(&mut self, now: &Now, progress: Option<Progress>) -> Verdict {
        if let (Some(active), Some(progress)) = (&mut self.active, progress)
            && !active.watch(**now, progress)
        {
            return Verdict::Remove;
        }
        let Some(active) = &mut self.active else { return Verdict::Remove };
        active.guard(|active| active.attend(now)).unwrap_or(Verdict::Remove)
    }

    /// Whether it is time to look at the transfer's progress.
    pub(crate) fn is_watched(&self, now: &Now) -> bool {
        let watch = self.active.as_ref().and_then(|active| active.watch.as_ref());
        watch.is_some_and(|watch| watch.next() <= **now)
    }

    /// How much the agent is to be told of at once from now on, if that has changed because of time.
    pub(crate) fn falls_silent(&mut self, now: &Now) -> Option<u32> {
        let active = self.active.as_mut()?;
        active.bulk.as_mut()?.look(active.received, || **now)
    }

    /// Ends the transfer with an error of this side.
    pub(crate) fn fail(&mut self, error: Error) {
        if let Some(active) = &mut self.active {
            active.guard(|active| active.fail(error));
        }
    }
}

/// libcurl has ended the transfer of a handle that was taken out of the multi handle. Returns whether its handler wants
/// to keep it until it reads the end.
pub(crate) fn finish(easy: &mut Easy, result: Result<(), curl::Error>, os_error: Option<i32>) -> bool {
    let Some(active) = &easy.get_ref().transfer.active else { return false };
    if let Some(measured) = &active.measured {
        let _ = measured.set(active.measure_end(Live::of(easy)));
    }
    let proxy = easy.get_ref().transfer.proxy.as_deref();
    let result = result.map_err(|error| failure::explain(&error, Live::of(easy), os_error, active.responded, proxy));
    let counts = easy.get_ref().transfer.applied.as_ref().and_then(|config| config.progress.clone()).map(|function| {
        let live = Live::of(easy);
        (function, live.number(Info::SizeDownload), live.number(Info::SizeUpload))
    });
    let Some(active) = &mut easy.get_mut().transfer.active else { return false };
    if let (Some((function, received, sent)), Ok(())) = (counts, &result) {
        active.guard(|active| active.tell(&function, (received, Some(received)), (sent, Some(sent)), true));
    }
    // What a callback found is the reason; libcurl only knows that it was told to stop.
    let result = result.map_err(|error| active.failure.take().unwrap_or(error));
    active.guard(|active| active.finish(result)).unwrap_or(false)
}

impl Active {
    /// Runs user code. A panic ends this transfer and nothing else.
    fn guard<R>(&mut self, call: impl FnOnce(&mut Self) -> R) -> Option<R> {
        match catch_unwind(AssertUnwindSafe(|| call(self))) {
            Ok(result) => Some(result),
            Err(panic) => {
                let said = panic_text(&*panic).unwrap_or_default();
                let error = Error::new(ErrorKind::HandlerPanicked).with_detail(said);
                self.failure.get_or_insert(error);
                None
            }
        }
    }

    fn step(&mut self, event: Event) -> Effect {
        self.machine.step(event, Instant::now)
    }

    /// Takes the handler's answer, inside a callback. Returns whether the transfer goes on.
    fn answered(&mut self, next: Next) -> bool {
        let effect = self.step(Event::Answered(next));
        self.resume |= effect == Effect::Resume;
        if self.resume || self.machine.deadline().is_some() {
            self.control.look();
        }
        effect != Effect::Abort
    }

    fn attend(&mut self, now: &Now) -> Verdict {
        if self.give_up.is_some_and(|at| at <= **now) {
            let phase = if self.responded { TimeoutPhase::Body } else { TimeoutPhase::Connect };
            self.fail(Error::timeout(phase).with_detail("no connection became free"));
            return Verdict::Remove;
        }
        let mut effect = match self.control.take() {
            Some(ready) => self.machine.step(Event::Ready(ready), || **now),
            None => Effect::Nothing,
        };
        if let Some(stream) = &mut self.stream
            && stream.is_due(|| **now)
            && effect != Effect::Abort
        {
            self.resume |= effect == Effect::Resume;
            effect = self.machine.step(Event::Ready(Ready::write().keeping()), || **now);
        }
        loop {
            match effect {
                Effect::Abort => return Verdict::Remove,
                Effect::CallEnd => {
                    self.call_end();
                    return Verdict::Remove;
                }
                Effect::CallTimeout => {
                    let error = Error::timeout(TimeoutPhase::Handler).with_url(&self.uri);
                    let next = self.handler.on_error(error);
                    effect = self.machine.step(Event::Answered(next), || **now);
                    continue;
                }
                Effect::Resume => self.resume = true,
                _ => {}
            }
            effect = self.machine.step(Event::Tick, || **now);
            if effect == Effect::Nothing {
                break;
            }
        }
        if std::mem::take(&mut self.resume) {
            let (read, write) = self.machine.parked();
            return Verdict::Resume(read, write);
        }
        Verdict::Stay
    }

    /// Looks at the limits that libcurl has not. Returns whether the transfer goes on.
    fn watch(&mut self, now: Instant, mut progress: Progress) -> bool {
        let Some(watch) = &mut self.watch else { return true };
        progress.moved = progress.moved.saturating_add(self.received);
        let (reading, writing) = self.machine.parked();
        match watch.look(now, progress, self.responded, reading || writing) {
            Some((phase, limit)) => {
                self.fail(Error::timeout(phase).with_detail(format!("the limit of {limit:?} was passed")));
                false
            }
            None => true,
        }
    }

    fn finish(&mut self, result: Result<(), Error>) -> bool {
        self.give_up = None;
        self.watch = None;
        if let Err(error) = result {
            self.fail(error);
            return false;
        }
        if let Some(head) = self.held_back.take()
            && !self.respond(head)
        {
            if let Some(error) = self.failure.take() {
                self.fail(error);
            }
            return false;
        }
        if !self.responded {
            self.fail(Error::new(ErrorKind::ProtocolViolation).with_detail("the response has no head"));
            return false;
        }
        match self.step(Event::Complete) {
            Effect::Hold => true,
            Effect::CallEnd => {
                self.call_end();
                false
            }
            _ => false,
        }
    }

    fn call_end(&mut self) {
        self.trace.completed(self.received);
        let ending = Ending { trailers: self.head.as_mut().and_then(|head| head.take_trailers()) };
        let _ = self.handler.on_response_readable(&mut Decoder::at_end(&ending));
    }

    fn fail(&mut self, error: Error) {
        if !self.machine.is_handler_done() {
            self.trace.failed(&error);
            let _ = self.handler.on_error(error.with_url(&self.uri));
        }
    }

    /// What libcurl has measured when the head is complete. Asking it costs more than a look at what is known anyway.
    fn measure(&self, live: Live<'_>) -> Metrics {
        let time = |info| Duration::from_micros(live.number(info));
        let of_connection = |info| if self.reused { Duration::ZERO } else { time(info) };
        Metrics {
            name_lookup: of_connection(Info::NameLookupTime),
            connect: of_connection(Info::ConnectTime),
            secure_connect: of_connection(Info::AppConnectTime),
            transfer_start: time(Info::PreTransferTime),
            time_to_first_byte: time(Info::StartTransferTime),
            total: time(Info::TotalTime),
            uploaded: self.uploaded(live),
            downloaded: 0,
        }
    }

    fn measure_end(&self, live: Live<'_>) -> AtEnd {
        AtEnd {
            total: Duration::from_micros(live.number(Info::TotalTime)),
            uploaded: self.uploaded(live),
            downloaded: self.received,
        }
    }

    fn uploaded(&self, live: Live<'_>) -> u64 {
        let has_body = self.challenges.before_body || self.stream.is_some();
        if has_body { live.number(Info::SizeUpload) } else { 0 }
    }

    /// A head is complete.
    fn head(&mut self, live: Live<'_>, head: Head) -> bool {
        let body_length = head.length_after(self.to_head);
        if let Some(length) = body_length.filter(|length| *length > self.max_size) {
            let detail = format!("the body of {length} bytes is larger than the limit of {}", self.max_size);
            self.failure.get_or_insert(Error::new(ErrorKind::TooLarge).with_detail(detail));
            return false;
        }
        if head.version() <= Version::HTTP_11 {
            self.bulk = body_length.and_then(|length| Bulk::new(length, Instant::now)).map(Box::new);
        }
        let head = head.with_facts(Facts {
            uri: self.uri.clone(),
            ends: self.ends.clone(),
            metrics: self
                .measured
                .as_ref()
                .map(|at_end| Measured { at_head: self.measure(live), at_end: at_end.clone() }),
            body_length,
        });
        if self.challenges.may_answer(head.status()) {
            self.held_back = Some(head);
            return true;
        }
        self.respond(head)
    }

    fn respond(&mut self, head: Head) -> bool {
        self.trace.responded(&head);
        self.machine.declare(head.body_length());
        self.responded = true;
        if self.machine.is_handler_done() {
            return true;
        }
        match self.handler.on_head(head) {
            Ok(next) => self.answered(next),
            Err(error) => {
                self.failure.get_or_insert(error);
                false
            }
        }
    }

    fn receive(&mut self, live: Live<'_>, data: &[u8]) -> Result<usize, WriteError> {
        if let Some(head) = self.held_back.take()
            && !self.respond(head)
        {
            return Ok(0);
        }
        // After a pause libcurl hands the same bytes out again, perhaps in other pieces.
        let seen = self.seen.min(data.len());
        self.received += (data.len() - seen) as u64;
        if self.received > self.max_size {
            self.failure.get_or_insert_with(|| too_large(self.max_size));
            return Ok(0);
        }
        if let Some(bulk) = &mut self.bulk
            && let Some(bytes) = bulk.received(self.received, Instant::now)
        {
            live.tell_of(bytes);
            self.control.look();
        }
        let mut rest = &data[seen..];
        self.seen -= seen;
        while !rest.is_empty() {
            match self.step(Event::Readable(rest.len())) {
                Effect::Call(_) => {
                    let mut decoder = Decoder::new(rest);
                    let next = self.handler.on_response_readable(&mut decoder);
                    let left = decoder.data();
                    let progress = rest.len() - left.len();
                    rest = left;
                    self.machine.progress(progress);
                    if !self.answered(next) {
                        return Ok(0);
                    }
                    if progress == 0 && self.step(Event::NoProgress(Lane::Read)) == Effect::Pause(Lane::Read) {
                        return self.pause_receiving(data.len(), rest.len());
                    }
                }
                Effect::Pause(_) => return self.pause_receiving(data.len(), rest.len()),
                Effect::Discard => return Ok(data.len()),
                _ => return Ok(0),
            }
        }
        Ok(data.len())
    }

    /// Tells the caller's function how far the transfer is, unless that was just done.
    fn tell(&mut self, function: &ProgressFn, received: (u64, Option<u64>), sent: (u64, Option<u64>), complete: bool) {
        let now = Instant::now();
        if !complete && self.told.is_some_and(|told| now.duration_since(told) < TELL_PAUSE) {
            return;
        }
        self.told = Some(now);
        (function.0)(config::Progress {
            uploaded: sent.0,
            upload_size: sent.1,
            downloaded: received.0,
            download_size: received.1,
        });
    }

    /// `left` of `length` bytes were not read; they will be handed out again.
    fn pause_receiving(&mut self, length: usize, left: usize) -> Result<usize, WriteError> {
        self.seen = length - left;
        self.received -= left as u64;
        Err(WriteError::Pause)
    }

    fn send(&mut self, live: Live<'_>, room: &mut [u8]) -> Result<usize, ReadError> {
        let unsent = self.stream.as_mut().map_or(0, |stream| stream.look(live));
        while !self.sending_ended {
            match self.step(Event::Writable) {
                Effect::Call(_) => {
                    let mut encoder = Encoder::new(room).with_unsent(unsent);
                    let next = self.handler.on_request_writable(&mut encoder);
                    let filled = encoder.filled();
                    self.sending_ended = encoder.is_ended();
                    self.sent |= filled > 0;
                    if !self.answered(next) {
                        return Err(ReadError::Abort);
                    }
                    if filled > 0 {
                        if let Some(stream) = &mut self.stream {
                            stream.give(filled);
                        }
                        return Ok(filled);
                    }
                    if !self.sending_ended && self.step(Event::NoProgress(Lane::Write)) == Effect::Pause(Lane::Write) {
                        return self.pause_sending();
                    }
                }
                Effect::Pause(_) => return self.pause_sending(),
                _ => return Err(ReadError::Abort),
            }
        }
        Ok(0)
    }

    fn pause_sending(&mut self) -> Result<usize, ReadError> {
        if let Some(stream) = &mut self.stream {
            stream.before_pause(Instant::now());
            if stream.again().is_some() {
                self.control.look();
            }
        }
        Err(ReadError::Pause)
    }
}

impl Callbacks for Transfer {
    fn on_header(&mut self, live: Live<'_>, line: &[u8]) -> bool {
        let Some(active) = &mut self.active else { return false };
        active.unanswered = false;
        active.mark = None;
        if line.starts_with(b"HTTP/") && active.held_back.take().is_some() {
            active.head = None;
        }
        let parser = if active.stream.is_some() { HeadParser::for_upgrade } else { HeadParser::default };
        match active.head.get_or_insert_with(parser).line(line) {
            Ok(None) => true,
            Ok(Some(head)) => active.guard(|active| active.head(live, head)).unwrap_or(false),
            Err(error) => {
                active.failure.get_or_insert(error);
                false
            }
        }
    }

    fn on_write(&mut self, live: Live<'_>, data: &[u8]) -> Result<usize, WriteError> {
        let Some(active) = &mut self.active else { return Ok(0) };
        active.guard(|active| active.receive(live, data)).unwrap_or(Ok(0))
    }

    fn on_read(&mut self, live: Live<'_>, room: &mut [u8]) -> Result<usize, ReadError> {
        let Some(active) = &mut self.active else { return Err(ReadError::Abort) };
        active.guard(|active| active.send(live, room)).unwrap_or(Err(ReadError::Abort))
    }

    fn on_progress(&mut self, received: (u64, Option<u64>), sent: (u64, Option<u64>)) {
        let function = self.applied.as_ref().and_then(|config| config.progress.clone());
        if let (Some(active), Some(function)) = (&mut self.active, function) {
            let complete = received.1 == Some(received.0) || sent.1 == Some(sent.0);
            active.guard(|active| active.tell(&function, received, sent, complete));
        }
    }

    fn may_connect(&mut self, live: Live<'_>, peer: Option<SocketAddr>) -> bool {
        let (Some(active), Some(config)) = (&mut self.active, &self.applied) else { return false };
        let peer = peer.map_or(Peer::Other, Peer::Address);
        match config.egress.check_peer(peer, live.uses_proxy()) {
            Ok(()) => {
                // Another address of the name was refused: what fails from here on fails for another reason.
                active.failure.take_if(|error| error.kind() == ErrorKind::EgressDenied);
                true
            }
            Err(error) => {
                active.failure = Some(error);
                false
            }
        }
    }

    fn may_send(&mut self, live: Live<'_>, ends: Ends) -> bool {
        let (Some(active), Some(config)) = (&mut self.active, &self.applied) else { return false };
        let unheard = active.mark.take().is_some_and(|mark| mark.is_unheard());
        if active.unanswered && !active.repeatable && !unheard {
            // libcurl would send it a second time, of whatever method it is (RFC 9110 9.2.2).
            active.failure.get_or_insert_with(|| {
                Error::new(ErrorKind::Io)
                    .with_detail("the connection was closed before a response, and the request is not safe to repeat")
            });
            return false;
        }
        active.reused = live.connections_made() == 0;
        active.unanswered = active.reused;
        if active.unanswered && !active.repeatable {
            active.mark = live.mark();
        }
        let remote = ends.remote();
        active.ends = ends;
        config.egress.is_open() || self.may_connect(live, remote)
    }

    fn on_seek(&mut self, to: SeekFrom) -> SeekResult {
        match &self.active {
            // libcurl starts again on another connection before it asked for any of the body.
            Some(active) if to == SeekFrom::Start(0) && !active.sent => SeekResult::Ok,
            _ => SeekResult::Fail,
        }
    }
}

/// How far a transfer has come, for its watch.
pub(crate) fn progress(live: Live<'_>, waiting: bool) -> Progress {
    let reached = |info| live.number(info) > 0;
    let sent = live.number(Info::PostTransferTime);
    Progress {
        waiting,
        resolved: reached(Info::NameLookupTime) || reached(Info::ConnectTime) || reached(Info::PreTransferTime),
        sent: (sent > 0).then(|| Duration::from_micros(sent)),
        moved: live.number(Info::SizeUpload) + live.number(Info::SizeDownload),
        connected: reached(Info::PreTransferTime),
    }
}
