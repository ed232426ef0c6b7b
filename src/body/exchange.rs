//! One response on its way from the agent to the caller: head, chunks, end. Bounded; never blocks; knows no transfer.
//!
//! The agent's side ([`Sender`]) copies what libcurl hands it into chunks of 64 KiB that the caller gives back when they
//! are read. Above the high watermark the sender is told to pause; below the low one the caller's side asks
//! [`Upstream`] for more: one wake for each transition, not one for each chunk.
//!
//! A caller who wants the whole body in memory asks to *collect*: from then on the sender appends to the final buffer
//! itself, with no chunk and no pause between.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Response};

use super::wake;
use crate::error::{Error, ErrorKind};
use crate::ffi::memory;
use crate::head::Head;

/// The sender pauses when this many bytes wait to be read.
const HIGH: usize = 1 << 20;
/// A paused sender goes on when no more than this many bytes wait.
const LOW: usize = 256 << 10;
/// The size of a recycled chunk.
const CHUNK: usize = 64 << 10;
/// How many read chunks are kept for the sender.
const SPARES: usize = HIGH / CHUNK;
/// The most that a declared length reserves at once. The memory is not touched before data comes, so a lie costs
/// nothing but addresses.
const RESERVE: u64 = 1 << 30;

/// What the caller's side asks of the transfer. Called with no lock held, from any thread.
pub(crate) trait Upstream: Send + Sync {
    /// There is room again.
    fn more(&self);
    /// Nobody will read the rest of the body.
    fn abandon_body(&self);
    /// Nobody waits for the response any more.
    fn abandon_response(&self);
}

/// Makes both ends of an exchange.
pub(crate) fn exchange(upstream: Arc<dyn Upstream>) -> (Sender, Receiver) {
    let shared = Arc::new(Shared { state: Mutex::default(), upstream });
    (
        Sender { shared: shared.clone() },
        Receiver { shared, chunk: Vec::new(), position: 0, read: 0, length: None, ended: false },
    )
}

struct Shared {
    state: Mutex<State>,
    upstream: Arc<dyn Upstream>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct State {
    head: Begin,
    chunks: VecDeque<Vec<u8>>,
    /// Bytes in `chunks`.
    buffered: usize,
    spare: Vec<Vec<u8>>,
    collect: Option<Box<Collect>>,
    end: Option<Result<(), Error>>,
    trailers: Option<Box<HeaderMap>>,
    /// The length that the head declared.
    length: Option<u64>,
    /// Something of the body has come.
    begun: bool,
    caller: Option<Waker>,
    /// The sender was told to pause.
    paused: bool,
    abandoned: bool,
}

#[derive(Default)]
enum Begin {
    #[default]
    Awaited,
    Here(Result<Head, Error>),
    Taken,
}

struct Collect {
    bytes: Vec<u8>,
    limit: u64,
}

/// What the sender should do after a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Go on.
    Go,
    /// Stop until [`Upstream::more`].
    Pause,
    /// Nobody listens.
    Abandoned,
}

/// The agent's end. Dropped without [`finish`](Self::finish) it reports that the agent was lost.
pub(crate) struct Sender {
    shared: Arc<Shared>,
}

impl Sender {
    /// Completes the response's head.
    pub(crate) fn head(&mut self, head: Head) {
        let mut state = self.shared.lock();
        state.length = head.body_length();
        state.head = Begin::Here(Ok(head));
        wake_caller(state);
    }

    /// Appends a piece of the body, whole.
    pub(crate) fn push(&mut self, data: &[u8]) -> Flow {
        let mut state = self.shared.lock();
        if state.abandoned {
            return Flow::Abandoned;
        }
        if let Some(collect) = &mut state.collect {
            // The caller sleeps until the end. Over the limit it is woken with what it has, one byte too many at most.
            if collect.bytes.len() as u64 + data.len() as u64 > collect.limit {
                state.end = Some(Err(too_large(collect.limit)));
                wake_caller(state);
                return Flow::Abandoned;
            }
            collect.bytes.extend_from_slice(data);
            return Flow::Go;
        }
        state.append(data);
        state.paused = state.buffered >= HIGH;
        let flow = if state.paused { Flow::Pause } else { Flow::Go };
        wake_caller(state);
        flow
    }

    /// Ends the response: completely, or with an error that the caller gets in the place it waits at.
    pub(crate) fn finish(&mut self, result: Result<(), Error>, trailers: Option<HeaderMap>) {
        let mut state = self.shared.lock();
        if state.end.is_some() {
            return;
        }
        state.trailers = trailers.map(Box::new);
        match result {
            Err(error) if matches!(state.head, Begin::Awaited) => {
                state.head = Begin::Here(Err(error.clone()));
                state.end = Some(Err(error));
            }
            result => state.end = Some(result),
        }
        wake_caller(state);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if self.shared.lock().end.is_none() {
            self.finish(Err(Error::new(ErrorKind::AgentLost)), None);
        }
    }
}

fn wake_caller(mut state: MutexGuard<'_, State>) {
    let waker = state.caller.take();
    // Wake after unlock: the woken thread takes this lock.
    drop(state);
    if let Some(waker) = waker {
        wake::later(waker);
    }
}

/// The error for a body that is larger than its limit.
pub(crate) fn too_large(limit: u64) -> Error {
    Error::new(ErrorKind::TooLarge).with_detail(format!("the body is larger than the limit of {limit} bytes"))
}

impl State {
    fn append(&mut self, mut data: &[u8]) {
        self.buffered += data.len();
        if let Some(last) = self.chunks.back_mut() {
            let (now, rest) = data.split_at(data.len().min(last.capacity() - last.len()));
            last.extend_from_slice(now);
            data = rest;
        }
        if !data.is_empty() {
            let mut chunk = self.spare.pop().unwrap_or_else(|| self.new_chunk(data.len()));
            chunk.extend_from_slice(data);
            self.chunks.push_back(chunk);
        }
    }

    /// Takes a chunk back that was read.
    fn recycle(&mut self, mut used: Vec<u8>) {
        if is_recycled(&used) && self.spare.len() < SPARES && self.end.is_none() && !self.abandoned {
            used.clear();
            self.spare.push(used);
        }
    }

    fn new_chunk(&mut self, least: usize) -> Vec<u8> {
        let begins = !mem::replace(&mut self.begun, true);
        let Some(declared) = self.length else {
            // One of some size soon fills whole chunks.
            if !begins {
                memory::keep_freed();
            }
            return Vec::with_capacity(least.max(if begins { 4 << 10 } else { CHUNK }));
        };
        if declared >= CHUNK as u64 {
            memory::keep_freed();
        }
        let mut chunk = Vec::new();
        if begins {
            // Room for all of it: a caller who collects goes on with this very chunk. Memory is taken as it is filled, and
            // that is no more than the high watermark before somebody collects.
            let _ = chunk.try_reserve_exact(declared.min(RESERVE) as usize);
        }
        chunk.reserve_exact(least.max(declared.min(CHUNK as u64) as usize));
        chunk
    }
}

/// A collected rest that was given back may be far larger than a chunk: that is not kept.
fn is_recycled(chunk: &Vec<u8>) -> bool {
    (CHUNK..=2 * CHUNK).contains(&chunk.capacity())
}

/// A chunk in the caller's hands: without it, memory that one thread takes and another gives back would be taken from the
/// system again and again.
struct Lent {
    chunk: Vec<u8>,
    shared: Arc<Shared>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.chunk
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.shared.lock().recycle(mem::take(&mut self.chunk));
    }
}

/// The caller's end. Dropping it tells the transfer at once.
pub(crate) struct Receiver {
    shared: Arc<Shared>,
    /// The chunk that is being read; empty when none is.
    chunk: Vec<u8>,
    position: usize,
    /// Bytes handed out before `chunk`.
    read: u64,
    length: Option<u64>,
    /// The end was seen: dropping needs to tell nobody.
    ended: bool,
}

impl Receiver {
    /// Ends the transfer at once, and with it its connection: no small rest is drained to save it.
    pub(crate) fn abort(self) {
        self.shared.upstream.abandon_response();
    }

    /// Waits for the head of the response.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, Error>> {
        let mut state = self.shared.lock();
        match mem::replace(&mut state.head, Begin::Taken) {
            Begin::Here(head) => {
                self.length = state.length;
                drop(state);
                let response = head.and_then(Head::into_response);
                if response.is_err() {
                    self.shared.upstream.abandon_response();
                }
                Poll::Ready(response)
            }
            Begin::Awaited => {
                state.head = Begin::Awaited;
                set_waker(&mut state.caller, cx);
                Poll::Pending
            }
            Begin::Taken => {
                Poll::Ready(Err(Error::new(ErrorKind::Cancelled).with_detail("the response was taken before")))
            }
        }
    }

    /// The declared length of the body.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// The length of what is not read yet, if one was declared.
    pub(crate) fn left(&self) -> Option<u64> {
        match self.length {
            Some(_) if self.ended => Some(0),
            length => length.map(|length| length.saturating_sub(self.read + self.position as u64)),
        }
    }

    /// The unread part of the current chunk, waiting for one if there is none. Empty means the end.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8], Error>> {
        if self.position == self.chunk.len() {
            std::task::ready!(self.poll_next_chunk(cx))?;
        }
        Poll::Ready(Ok(&self.chunk[self.position..]))
    }

    /// Marks bytes of the current chunk as read.
    pub(crate) fn consume(&mut self, amount: usize) {
        self.position = (self.position + amount).min(self.chunk.len());
    }

    /// Takes the next chunk as it is, for callers that may keep it. One that they drop is used again.
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        if self.position == self.chunk.len() {
            std::task::ready!(self.poll_next_chunk(cx))?;
        }
        self.read += self.chunk.len() as u64;
        let mut chunk = mem::take(&mut self.chunk);
        chunk.drain(..mem::take(&mut self.position));
        if is_recycled(&chunk) {
            return Poll::Ready(Ok(Some(Bytes::from_owner(Lent { chunk, shared: self.shared.clone() }))));
        }
        if chunk.capacity() > HIGH {
            chunk.shrink_to_fit();
        }
        Poll::Ready(Ok((!chunk.is_empty()).then(|| chunk.into())))
    }

    /// Replaces the used-up chunk with the next one, or with an empty one at the end.
    fn poll_next_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.shared.lock();
        let used = mem::take(&mut self.chunk);
        self.read += used.len() as u64;
        self.position = 0;
        state.recycle(used);
        if let Some(chunk) = state.chunks.pop_front() {
            state.buffered -= chunk.len();
            self.chunk = chunk;
            let more = state.paused && state.buffered <= LOW;
            state.paused &= !more;
            drop(state);
            if more {
                self.shared.upstream.more();
            }
            return Poll::Ready(Ok(()));
        }
        match &state.end {
            Some(result) => {
                self.ended = true;
                let result = result.clone();
                state.spare = Vec::new();
                Poll::Ready(result)
            }
            None => {
                set_waker(&mut state.caller, cx);
                Poll::Pending
            }
        }
    }

    /// Waits for the whole rest of the body, in one buffer.
    pub(crate) fn poll_collect(&mut self, cx: &mut Context<'_>, limit: u64) -> Poll<Result<Vec<u8>, Error>> {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        let mut resume = false;
        let bytes = match state.collect.take() {
            Some(collect) => collect.bytes,
            None => {
                let bytes = self.start_collecting(&mut state);
                resume = mem::take(&mut state.paused);
                bytes
            }
        };
        let over = bytes.len() as u64 > limit;
        if let Some(result) = &state.end
            && !over
        {
            // Most small bodies are here already. Nobody is left who could be resumed.
            self.ended = result.is_ok();
            return Poll::Ready(result.clone().map(|()| bytes));
        }
        state.collect = Some(Box::new(Collect { bytes, limit }));
        let poll = if over {
            Poll::Ready(Err(too_large(limit)))
        } else {
            set_waker(&mut state.caller, cx);
            Poll::Pending
        };
        drop(state);
        if resume {
            self.shared.upstream.more();
        }
        poll
    }

    /// Ends a collecting that nobody waits for any more: what it has becomes the next chunk, and the sender pauses again
    /// when that is too much.
    pub(crate) fn stop_collecting(&mut self) {
        let mut state = self.shared.lock();
        if let Some(collect) = state.collect.take()
            && !collect.bytes.is_empty()
        {
            state.buffered = collect.bytes.len();
            state.chunks.push_back(collect.bytes);
        }
    }

    /// Moves what is here into one buffer: the first chunk, which has room for all of a body of known length.
    fn start_collecting(&mut self, state: &mut State) -> Vec<u8> {
        self.read += self.position as u64;
        let mut bytes = mem::take(&mut self.chunk);
        bytes.drain(..mem::take(&mut self.position));
        if bytes.is_empty() {
            bytes = state.chunks.pop_front().unwrap_or_default();
        }
        let here: usize = state.chunks.iter().map(Vec::len).sum();
        if state.end.is_some() {
            bytes.reserve_exact(here);
        } else {
            let declared = self.length.map_or(0, |length| length.min(RESERVE)) as usize;
            // Where the declared length cannot be had, let the buffer grow as data comes.
            let _ = bytes.try_reserve_exact(declared.saturating_sub(bytes.len()).max(here));
            memory::expect_filling(&mut bytes);
        }
        for chunk in state.chunks.drain(..) {
            bytes.extend_from_slice(&chunk);
        }
        state.buffered = 0;
        state.spare = Vec::new();
        bytes
    }

    /// The trailers, once the body was read to its end.
    pub(crate) fn trailers(&self) -> Option<HeaderMap> {
        if self.ended { self.shared.lock().trailers.as_deref().cloned() } else { None }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut state = self.shared.lock();
        state.abandoned = true;
        state.chunks.clear();
        state.spare = Vec::new();
        state.buffered = 0;
        state.collect = None;
        let awaited = matches!(state.head, Begin::Awaited);
        let running = state.end.is_none();
        drop(state);
        match (running, awaited) {
            (false, _) => {}
            (true, true) => self.shared.upstream.abandon_response(),
            (true, false) => self.shared.upstream.abandon_body(),
        }
    }
}

fn set_waker(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    #[derive(Default)]
    struct Asked {
        more: AtomicUsize,
        body: AtomicUsize,
        response: AtomicUsize,
    }

    impl Upstream for Asked {
        fn more(&self) {
            self.more.fetch_add(1, SeqCst);
        }
        fn abandon_body(&self) {
            self.body.fetch_add(1, SeqCst);
        }
        fn abandon_response(&self) {
            self.response.fetch_add(1, SeqCst);
        }
    }

    fn pair() -> (Sender, Receiver, Arc<Asked>) {
        let asked = Arc::new(Asked::default());
        let (sender, receiver) = exchange(asked.clone());
        (sender, receiver, asked)
    }

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    #[test]
    fn chunks_arrive_in_order_and_the_end_is_seen() {
        let (mut sender, mut receiver, asked) = pair();
        assert!(receiver.poll_head(&mut cx()).is_pending());
        sender.head(Head::bare(Some(6)));
        assert!(matches!(receiver.poll_head(&mut cx()), Poll::Ready(Ok(_))));
        assert_eq!(sender.push(b"abc"), Flow::Go);
        assert_eq!(sender.push(b"def"), Flow::Go);
        sender.finish(Ok(()), None);
        let Poll::Ready(Ok(data)) = receiver.poll_chunk(&mut cx()) else { panic!("data is here") };
        assert_eq!(data, b"abcdef");
        receiver.consume(6);
        assert!(matches!(receiver.poll_chunk(&mut cx()), Poll::Ready(Ok([]))));
        drop(receiver);
        assert_eq!(asked.body.load(SeqCst), 0, "a body that was read to its end is not abandoned");
    }

    #[test]
    fn the_sender_pauses_at_the_high_mark_and_is_asked_once_below_the_low_one() {
        let (mut sender, mut receiver, asked) = pair();
        sender.head(Head::bare(None));
        let piece = vec![7; 16 << 10];
        let mut sent = piece.len();
        while sender.push(&piece) == Flow::Go {
            sent += piece.len();
        }
        assert_eq!(sent, HIGH);
        let mut read = 0;
        while asked.more.load(SeqCst) == 0 {
            let Poll::Ready(Ok(data)) = receiver.poll_chunk(&mut cx()) else { panic!("data is here") };
            let amount = data.len();
            read += amount;
            receiver.consume(amount);
        }
        assert!(read >= HIGH - LOW - CHUNK, "{read}");
        while let Poll::Ready(Ok(data)) = receiver.poll_chunk(&mut cx()) {
            let amount = data.len();
            receiver.consume(amount);
        }
        assert_eq!(asked.more.load(SeqCst), 1);
    }

    #[test]
    fn collecting_appends_to_one_buffer_and_resumes_a_paused_sender() {
        let (mut sender, mut receiver, asked) = pair();
        sender.head(Head::bare(Some(3 << 20)));
        let _ = receiver.poll_head(&mut cx());
        let piece = vec![1; 16 << 10];
        while sender.push(&piece) == Flow::Go {}
        assert!(receiver.poll_collect(&mut cx(), u64::MAX).is_pending());
        assert_eq!(asked.more.load(SeqCst), 1);
        for _ in 0..128 {
            assert_eq!(sender.push(&piece), Flow::Go);
        }
        sender.finish(Ok(()), None);
        let Poll::Ready(Ok(bytes)) = receiver.poll_collect(&mut cx(), u64::MAX) else { panic!("complete") };
        assert_eq!(bytes.len(), 3 << 20);
    }

    #[test]
    fn collecting_stops_at_its_limit() {
        let (mut sender, mut receiver, _) = pair();
        sender.head(Head::bare(None));
        assert!(receiver.poll_collect(&mut cx(), 4).is_pending());
        assert_eq!(sender.push(b"1234"), Flow::Go);
        assert_eq!(sender.push(b"5"), Flow::Abandoned);
        let Poll::Ready(Err(error)) = receiver.poll_collect(&mut cx(), 4) else { panic!("too large") };
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn dropping_the_receiver_tells_the_transfer_what_is_no_longer_wanted() {
        let (_sender, receiver, asked) = pair();
        drop(receiver);
        assert_eq!(asked.response.load(SeqCst), 1);

        let (mut sender, receiver, asked) = pair();
        sender.head(Head::bare(None));
        drop(receiver);
        assert_eq!((asked.response.load(SeqCst), asked.body.load(SeqCst)), (0, 1));
        assert_eq!(sender.push(b"x"), Flow::Abandoned);
    }

    #[test]
    fn a_lost_sender_is_an_error_and_never_a_hang() {
        let (sender, mut receiver, _) = pair();
        drop(sender);
        let Poll::Ready(Err(error)) = receiver.poll_head(&mut cx()) else { panic!("an error") };
        assert_eq!(error.kind(), ErrorKind::AgentLost);
    }
}
