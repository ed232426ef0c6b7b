//! An agent at work: messages, libcurl, wakes, wait. An error stays with the transfer that it concerns. Has no thread.

use std::sync::Arc;
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use curl::multi::Events;
use futures::channel::oneshot;
use slab::Slab;

use super::Limits;
use super::crew::{self, Run};
use super::kept::Kept;
use super::lookout::Tend;
use super::message::{Counters, Message, Report};
use super::meter::Meter;
use super::room::{self, Room};
use super::seat::{Handle, Visitor, here};
use super::selector::Selector;
use super::sweep::{self, Sweeper, Waiting};
use super::timer::{Alarm, Timers};
use crate::body::wake;
use crate::easy::Easy;
use crate::easy::pool::Pool;
use crate::easy::transfer::{self, Now, Transfer, Verdict};
use crate::error::{Error, ErrorKind};
use crate::ffi::clock::thread_time;
use crate::ffi::held::Held;
use crate::ffi::multi::{Attached, Multi};
use crate::ffi::options;
use crate::ffi::poll::Heard;
use crate::ffi::sockets::{self, Ledger};
use crate::ffi::wall;

/// Messages handled before the sockets get their turn again. Transfers that end make room on their connections: where
/// thousands come at once, starting all of them first would take a connection for each.
const MESSAGES_A_TURN: usize = 64;
/// From this many transfers on it pays to tell libcurl that no idle connection can be found: it looks for one in time
/// that grows with the number of connections, for each request of a burst.
const BURST: usize = 32;
/// A request is as much work as the carrying of so many bytes of bodies, or nearly.
const A_REQUEST: u64 = 64 << 10;

/// How long an agent rests before somebody looks after its idle connections.
const REST: Duration = Duration::from_secs(1);

/// How often one that tends to its idle connections looks at its sockets, at most: libcurl is asked about them by the first
/// look, and has its answer with the next.
const PASSES: usize = 4;

/// What becomes of an agent that has rested for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    /// Its idle connections are looked after.
    On,
    /// It goes, with its connections, when it has rested for so long.
    For(Duration),
}

impl Stay {
    fn rest(self) -> Duration {
        match self {
            Self::On => REST,
            Self::For(rest) => rest,
        }
    }
}

/// Makes an agent and puts it to rest until the first message.
pub(super) fn make(
    limits: &Limits,
    stay: Stay,
    pool: Arc<Pool>,
    counters: Arc<Counters>,
) -> Result<Handle<Agent>, Error> {
    if let Some(reason) = unusable_libcurl() {
        return Err(Error::new(ErrorKind::InvalidConfiguration).with_detail(reason));
    }
    let failed = || Error::new(ErrorKind::Io).with_detail("no agent could be made");
    let (handle, messages) = Handle::new(stay.rest()).map_err(|error| failed().with_source(error))?;
    let agent = Agent::new(handle.clone(), messages, limits, stay, pool, counters);
    let agent = agent.map_err(|error| failed().with_source(error))?;
    let _ = handle.rest(Box::new(agent), false);
    Ok(handle)
}

/// Versions of libcurl with defects that no caller could live with, or without what is needed.
fn unusable_libcurl() -> Option<String> {
    let version = options::linked();
    if version.version_num() < 0x07_55_00 {
        return Some(format!("the linked libcurl {} is older than 7.85.0, which is needed", version.version()));
    }
    // 8.20.0 can hang for ever in name resolution.
    (version.version_num() == 0x08_14_00)
        .then(|| format!("the linked libcurl {} hangs in name resolution; use another version", version.version()))
}

pub(super) struct Agent {
    // Drop order: the transfers take their handles out of the multi handle, then it goes, then what its callbacks use.
    transfers: Slab<Slot>,
    sweeper: Sweeper,
    waiting: Waiting,
    multi: Multi,
    selector: Selector,
    /// When libcurl wants to be called because of time.
    alarm: Arc<Alarm>,
    timers: Timers,
    /// A waker for each slot, kept for the slot's next transfer.
    wakers: Vec<Waker>,
    handle: Handle<Self>,
    visitor: Arc<Visitor<Self>>,
    messages: Receiver<Message>,
    pool: Arc<Pool>,
    counters: Arc<Counters>,
    /// Of the sockets, while nobody runs the agent.
    ledger: Ledger,
    /// Of the thread that runs it.
    meter: Meter,
    heard: Vec<Heard>,
    /// Transfers that libcurl has ended in this turn.
    ended: Vec<(usize, Result<(), curl::Error>)>,
    kept: Kept,
    /// Connections are limited: let libcurl look for idle ones always.
    limited: bool,
    stay: Stay,
    /// The most connections at once, as the client's settings have it.
    most: Option<usize>,
    /// Where libcurl cannot use all descriptors: what is left of those that it can.
    room: Option<Room>,
    /// Nothing of its transfers is left in the multi handle but connections and names: no limits of the client's, nothing of
    /// TLS, and nothing under way for a transfer that broke off.
    tidy: bool,
    closing: bool,
    shut_down: Option<ShutDown>,
}

struct ShutDown {
    deadline: Option<Instant>,
    /// Dropped when all has ended, which tells those who wait for it.
    done: Vec<oneshot::Sender<()>>,
}

enum Slot {
    /// In the multi handle.
    Running(Attached<Held<Transfer>>),
    /// Complete, and kept until its handler reads the end.
    Held(Easy),
}

impl Slot {
    fn transfer(&mut self) -> &mut Transfer {
        match self {
            Self::Running(easy) => &mut easy.get_mut().transfer,
            Self::Held(easy) => &mut easy.get_mut().transfer,
        }
    }
}

impl Agent {
    fn new(
        handle: Handle<Self>,
        messages: Receiver<Message>,
        limits: &Limits,
        stay: Stay,
        pool: Arc<Pool>,
        counters: Arc<Counters>,
    ) -> Result<Self, curl::MultiError> {
        let mut multi = Multi::get();
        let room = wall::waits_with_select().then(Room::default);
        if let Some(total) = limits.connections {
            multi.set_max_total_connections(total)?;
        }
        if let Some(per_host) = limits.connections_per_host {
            multi.set_max_host_connections(per_host)?;
        }
        let kept = Kept::new(limits.connection_cache, limits.spare_connections);
        multi.set_max_connects(kept.first())?;
        if let Some(streams) = limits.streams {
            options::set_max_streams(&multi, streams);
        }
        multi.pipelining(false, true)?;
        options::set_quick_exit(&multi);
        let alarm = Arc::new(Alarm::new(Instant::now()));
        let of_libcurl = alarm.clone();
        multi.timer_function(move |after| {
            of_libcurl.set(after, Instant::now);
            true
        })?;
        let selector = Selector::new(&mut multi)?;
        Ok(Self {
            transfers: Slab::new(),
            sweeper: Sweeper::default(),
            waiting: Waiting::default(),
            multi,
            selector,
            alarm,
            timers: Timers::default(),
            wakers: Vec::new(),
            visitor: Visitor::new(handle.clone()),
            handle,
            messages,
            pool,
            counters,
            ledger: Ledger::default(),
            meter: Meter::default(),
            heard: Vec::new(),
            ended: Vec::new(),
            kept,
            limited: limits.connections.is_some() || limits.connections_per_host.is_some() || room.is_some(),
            stay,
            most: limits.connections,
            tidy: room.is_none() && !limits.concern_libcurl(),
            room,
            closing: false,
            shut_down: None,
        })
    }

    /// Works on a thread of the crew until there is nothing to do.
    fn work(mut self: Box<Self>) {
        let mut ledger = sockets::open_ledger(std::mem::take(&mut self.ledger));
        self.handle.set_held(true);
        loop {
            self.turn();
            if self.is_done() {
                return;
            }
            if self.is_idle() {
                self.ledger = ledger.close();
                self.handle.set_held(false);
                match self.rest() {
                    None => return,
                    Some(back) => self = back,
                }
                ledger = sockets::open_ledger(std::mem::take(&mut self.ledger));
                self.handle.set_held(true);
                continue;
            }
            self.tell_work();
            self.wait(None, || true);
        }
    }

    fn tell_work(&mut self) {
        self.handle.tell_work(self.meter.look(here(), Instant::now(), thread_time, sockets::carried));
    }

    /// A visit begins. Returns the waker of those who visit, one after another.
    pub(super) fn receive_visitor(&mut self) -> Arc<Visitor<Self>> {
        self.handle.set_held(true);
        self.visitor.clone()
    }

    /// Works on the thread of a visitor, who waits for something that comes of it, until the visitor is woken or the
    /// deadline has passed.
    pub(super) fn visit(&mut self, visitor: &Visitor<Self>, deadline: Option<Instant>) {
        self.with_ledger(|agent| {
            while !visitor.take_wake() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
                agent.turn();
                // One transfer alone could not be shared with another agent.
                if agent.transfers.len() > 1 {
                    agent.tell_work();
                }
                if !visitor.is_woken() {
                    agent.wait(deadline, || !visitor.is_woken());
                }
            }
        });
    }

    /// Works off what there is on the calling thread, on sockets too, and waits for nothing.
    pub(super) fn pass(&mut self) {
        self.with_ledger(|agent| {
            agent.wait(None, || false);
            agent.turn();
        });
    }

    /// What it has while nobody runs it.
    pub(super) fn report_at_rest(&mut self) -> Report {
        self.with_ledger(|agent| agent.report())
    }

    /// Works off what there is on the calling thread.
    pub(super) fn turn_once(&mut self) {
        self.with_ledger(Self::turn);
    }

    /// Ends a visit: the agent rests, or goes on by itself.
    pub(super) fn leave(self: Box<Self>) {
        if self.is_done() {
            return;
        }
        let busy = if self.is_idle() { self.rest() } else { Some(self) };
        if let Some(agent) = busy {
            // Without a thread the agent is dropped, and tells all who wait for it.
            let _ = crew::lend(agent);
        }
    }

    /// Lets another agent, of whatever client, have the multi handle, if nothing of this one's is left in it.
    fn vacate(&mut self) {
        if !self.tidy || !self.is_idle() || self.is_called() || thread::panicking() || !sockets::may_open_ledger() {
            return;
        }
        let forgotten = self.with_ledger(|agent| {
            let forgotten = agent.multi.forget();
            agent.follow_sockets();
            forgotten && agent.is_idle() && sockets::open() == 0
        });
        if forgotten && self.selector.release(self.handle.poll()) {
            self.multi.vacate();
        }
    }

    /// Comes to rest, unless a message has come meanwhile.
    fn rest(mut self: Box<Self>) -> Option<Box<Self>> {
        self.meter.rest();
        // One that is to go has to be fetched, connections or not.
        let looked_after = self.ledger.open() > 0 || self.stay != Stay::On;
        self.handle.clone().rest(self, looked_after)
    }

    /// Works for a moment on the calling thread.
    fn with_ledger<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        let ledger = sockets::open_ledger(std::mem::take(&mut self.ledger));
        let result = work(self);
        self.ledger = ledger.close();
        result
    }

    /// Begins with the one transfer that was sent to it. Where more has come, all of it waits for a thread of the crew: what
    /// others have started may call their code.
    pub(super) fn begin(&mut self) {
        if self.messages.len() == 1 {
            self.with_ledger(|agent| agent.turn_with(1));
        }
    }

    fn turn(&mut self) {
        self.turn_with(if self.room.is_some() { room::STEP } else { MESSAGES_A_TURN });
    }

    /// A turn that takes no more than so many messages.
    fn turn_with(&mut self, messages: usize) {
        let added = self.take_messages(messages);
        self.keep_below_the_wall();
        self.call_libcurl_for_time(added);
        self.end_transfers();
        self.keep_connections(self.transfers.len());
        self.attend_timers();
        self.follow_sockets();
        self.sweep();
        self.end_overdue();
        self.give_room_back();
        self.handle.tell_transfers(self.transfers.len());
        self.tell_end();
        wake::flush(self.handle.due());
    }

    /// Ends what is over its time after a shutdown.
    fn end_overdue(&mut self) {
        if let Some(shut_down) = &self.shut_down
            && shut_down.deadline.is_some_and(|deadline| deadline <= Instant::now())
        {
            let slots: Vec<usize> = self.transfers.iter().map(|(slot, _)| slot).collect();
            for slot in slots {
                self.fail(slot, Error::new(ErrorKind::ClientShutDown));
            }
        }
    }

    /// Tells those who wait for a shutdown that all has ended, whoever still has the agent in hand.
    fn tell_end(&mut self) {
        if self.is_done()
            && let Some(shut_down) = &mut self.shut_down
        {
            shut_down.deadline = None;
            shut_down.done.clear();
        }
    }

    /// Whether it is to end, and nothing is left to do.
    fn is_done(&self) -> bool {
        (self.closing || self.shut_down.is_some()) && self.transfers.is_empty() && self.messages.is_empty()
    }

    /// Whether it needs no thread: nothing can happen but on idle connections.
    fn is_idle(&self) -> bool {
        self.transfers.is_empty() && !self.sweeper.is_running() && self.alarm.at().is_none()
    }

    /// Returns how many transfers were to be added.
    fn take_messages(&mut self, most: usize) -> usize {
        let mut added = 0;
        for _ in 0..most {
            let Ok(message) = self.messages.try_recv() else { break };
            match message {
                Message::Execute(easy) => {
                    self.add(easy);
                    added += 1;
                }
                Message::Wake(slot) => self.attend(slot),
                Message::Close => self.closing = true,
                Message::ShutDown { deadline, done } => {
                    let before = self.shut_down.take().unwrap_or(ShutDown { deadline: None, done: Vec::new() });
                    let deadline = [before.deadline, deadline].into_iter().flatten().min();
                    let mut all = before.done;
                    all.push(done);
                    self.shut_down = Some(ShutDown { deadline, done: all });
                }
                Message::Report(sender) => {
                    // Sockets that were closed in this turn are forgotten first.
                    self.follow_sockets();
                    let _ = sender.send(self.report());
                }
                #[cfg(test)]
                Message::Panic => panic!("asked to"),
            }
        }
        added
    }

    fn add(&mut self, mut easy: Easy) {
        if self.shut_down.is_some() {
            easy.get_mut().transfer.fail(Error::new(ErrorKind::ClientShutDown));
            return self.pool.give(easy);
        }
        Counters::add(&self.counters.started);
        let entry = self.transfers.vacant_entry();
        let slot = entry.key();
        while self.wakers.len() <= slot {
            self.wakers.push(self.handle.waker(self.wakers.len()));
        }
        let Some(control) = easy.get_ref().transfer.control() else { return };
        control.attach(self.wakers[slot].clone());
        // With no more connections than transfers none is idle. A connection that transfers share spoils this count, but
        // only towards a new connection that was not needed; transfers that may share one are left alone.
        let running = self.transfers.len();
        self.tidy &= easy.get_ref().transfer.begins_at_once();
        let plain = easy.get_ref().transfer.is_plain();
        if plain && !self.limited && running >= BURST && sockets::open() <= running {
            let _ = easy.fresh_connect(true);
            easy.get_mut().transfer.forget_shape();
        }
        let asks = easy.get_ref().transfer.asks_over_https();
        if asks {
            self.selector.expect_silence();
        }
        if !plain || asks {
            self.waiting.add(slot, Instant::now());
        }
        // Where this fails the handle is lost, and with it the handler: its drop tells the caller.
        let Ok(mut easy) = self.multi.add2(easy) else { return };
        let result = if easy.get_ref().transfer.slot == Some(slot) { Ok(()) } else { easy.set_token(slot) };
        easy.get_mut().transfer.slot = result.is_ok().then_some(slot);
        self.transfers.vacant_entry().insert(Slot::Running(Attached::new(easy)));
        match result {
            // What was asked for before the transfer got here.
            Ok(()) => self.attend(slot),
            Err(error) => self.fail(slot, Error::new(ErrorKind::Io).with_source(error)),
        }
    }

    /// Looks after a transfer whose control was used or whose time may be up.
    fn attend(&mut self, slot: usize) {
        // The waker may be an earlier transfer's.
        let Some(entry) = self.transfers.get_mut(slot) else { return };
        let now = &Now::new(Instant::now);
        let progress = match entry {
            Slot::Running(easy) if easy.get_ref().transfer.is_watched(now) => {
                let waiting = options::connection_id(easy) < 0;
                Some(transfer::progress(options::Live::of_running(easy), waiting))
            }
            _ => None,
        };
        if let Some(bytes) = entry.transfer().falls_silent(now)
            && let Slot::Running(easy) = entry
        {
            options::Live::of_running(easy).tell_of(bytes);
        }
        match entry.transfer().attend(now, progress) {
            Verdict::Stay => {}
            Verdict::Resume(receiving, sending) => {
                if let Slot::Running(easy) = entry
                    && let Err(error) = options::pause(easy, receiving, sending)
                {
                    self.fail(slot, Error::new(ErrorKind::Io).with_source(error));
                    return;
                }
            }
            Verdict::Remove => {
                self.remove(slot);
                return;
            }
        }
        if let Some(deadline) = self.transfers.get_mut(slot).and_then(|entry| entry.transfer().deadline()) {
            self.timers.set(deadline, slot);
        }
    }

    fn report(&self) -> Report {
        let mut in_use = Vec::new();
        let mut waiting = 0;
        for (_, slot) in &self.transfers {
            let Slot::Running(easy) = slot else { continue };
            match options::connection_id(easy) {
                number if number < 0 => waiting += 1,
                number => in_use.push(number),
            }
        }
        in_use.sort_unstable();
        in_use.dedup();
        Report { open: sockets::open(), in_use: in_use.len(), in_flight: self.transfers.len(), waiting }
    }

    fn fail(&mut self, slot: usize, error: Error) {
        if let Some(entry) = self.transfers.get_mut(slot) {
            entry.transfer().fail(error);
            self.remove(slot);
        }
    }

    fn remove(&mut self, slot: usize) {
        match self.transfers.try_remove(slot) {
            Some(Slot::Running(easy)) => {
                self.tidy = false;
                if let Ok(easy) = self.multi.remove2(easy.into_inner()) {
                    self.pool.give(easy);
                }
            }
            Some(Slot::Held(easy)) => self.pool.give(easy),
            None => {}
        }
    }

    fn keep_connections(&mut self, running: usize) {
        if self.kept.is_concerned(sockets::open())
            && let Some(kept) = self.kept.look(running, Instant::now())
        {
            let _ = self.multi.set_max_connects(kept);
        }
    }

    /// Limits the connections where one with a high descriptor would fail: requests wait for one instead.
    fn keep_below_the_wall(&mut self) {
        let Some(room) = &mut self.room else { return };
        if let Some(limit) = room.look(self.transfers.len(), sockets::open(), Instant::now(), wall::free) {
            let limit = self.most.map_or(limit, |most| most.min(limit));
            let _ = self.multi.set_max_total_connections(limit);
        }
    }

    /// An agent that has nothing to do will open no socket.
    fn give_room_back(&mut self) {
        if let Some(room) = &mut self.room
            && self.transfers.is_empty()
        {
            room.promise(0);
        }
    }

    /// libcurl begins here with the transfers that were just added.
    fn call_libcurl_for_time(&mut self, added: usize) {
        if self.alarm.take_due(Instant::now) {
            // Requests that share a connection leave together. It has to be clear that they do: each socket costs two
            // system calls.
            let _held = self.selector.hold_back(added / 2);
            let _ = self.multi.timeout();
        }
    }

    /// Finishes the transfers that libcurl has ended.
    fn end_transfers(&mut self) {
        let transfers = &self.transfers;
        let ended = &mut self.ended;
        let sweeper = &self.sweeper;
        let mut swept = false;
        self.multi.messages(|message| {
            let Ok(slot) = message.token() else { return };
            if slot == sweep::TOKEN {
                swept |= sweeper.is_over(&message);
                return;
            }
            let Some(Slot::Running(easy)) = transfers.get(slot) else { return };
            if let Some(result) = message.result_for2(easy) {
                ended.push((slot, result));
            }
        });
        let mut list = std::mem::take(&mut self.ended);
        for (slot, result) in list.drain(..) {
            let Some(Slot::Running(easy)) = self.transfers.try_remove(slot) else { continue };
            let os_error = if result.is_err() { easy.os_errno().ok() } else { None };
            let Ok(mut easy) = self.multi.remove2(easy.into_inner()) else { continue };
            // Before the caller may learn of the end, and start its next.
            self.handle.tell_transfers(self.transfers.len());
            sockets::carry(A_REQUEST);
            match &result {
                Ok(()) => {
                    Counters::add(&self.counters.completed);
                    if easy.get_ref().transfer.is_on_used_connection() {
                        Counters::add(&self.counters.reused);
                    }
                }
                Err(_) => {
                    self.tidy = false;
                    Counters::add(&self.counters.failed);
                }
            }
            if transfer::finish(&mut easy, result, os_error) {
                // The slot was just freed and is the next to be given.
                let again = self.transfers.insert(Slot::Held(easy));
                debug_assert_eq!(again, slot);
                self.attend(again);
            } else {
                self.pool.give(easy);
            }
        }
        self.ended = list;
        if swept {
            self.sweeper.end(&self.multi);
            // Closed sockets are forgotten first, so that only living ones are listened to again.
            self.follow_sockets();
            let _ = self.selector.calm(self.handle.poll());
        }
    }

    fn attend_timers(&mut self) {
        let now = &Now::new(Instant::now);
        while let Some(slot) = self.timers.pop(now) {
            self.attend(slot);
        }
    }

    fn follow_sockets(&mut self) {
        // A socket that the poller refuses would never be heard of: libcurl's own time limits end its transfer.
        let _ = self.selector.apply(self.handle.poll());
    }

    /// Whether there is nobody but the agent to look after idle connections, and reason to.
    fn should_sweep(&self) -> bool {
        self.transfers.is_empty() && self.selector.is_restless() && !self.sweeper.is_running()
    }

    fn sweep(&mut self) {
        let now = &Now::new(Instant::now);
        let transfers = &self.transfers;
        let waiting = self.waiting.look(now, |slot| match transfers.get(slot) {
            Some(Slot::Running(easy)) => {
                let asks = easy.get_ref().transfer.asks_over_https();
                options::connection_id(easy) < 0 || (asks && options::waits_for_name(easy))
            }
            _ => false,
        });
        let idle = self.should_sweep() && self.sweeper.due().is_none_or(|at| at <= **now);
        if (waiting || idle) && !self.sweeper.is_running() {
            self.sweeper.start(&self.multi, **now);
        }
    }

    /// Waits for sockets, messages and time, no longer than to the deadline and only as long as `is_quiet`.
    fn wait(&mut self, deadline: Option<Instant>, is_quiet: impl FnOnce() -> bool) {
        let timeout = self.time_to_wait(deadline);
        let messages = &self.messages;
        let quiet = self.handle.fall_asleep(|| messages.is_empty() && is_quiet());
        let timeout = if quiet { timeout } else { Some(Duration::ZERO) };
        let result = self.handle.poll().wait(&mut self.heard, timeout);
        self.handle.wake_up();
        if result.is_err() {
            // Interrupted or out of memory: try again, but not in a hot loop.
            thread::yield_now();
            return;
        }
        let list = std::mem::take(&mut self.heard);
        for heard in &list {
            if self.selector.notice(self.handle.poll(), heard).unwrap_or(true) {
                let mut events = Events::new();
                events.input(heard.readable);
                events.output(heard.writable);
                if let Ok(running) = self.multi.action(heard.socket, &events) {
                    self.keep_connections(running as usize);
                }
            }
        }
        self.heard = list;
    }

    fn time_to_wait(&self, deadline: Option<Instant>) -> Option<Duration> {
        let shut_down = self.shut_down.as_ref().and_then(|shut_down| shut_down.deadline);
        let now = Now::new(Instant::now);
        let sweep = self.should_sweep().then(|| self.sweeper.due().unwrap_or_else(|| *now));
        let next = [deadline, self.alarm.at(), self.timers.next(), shut_down, sweep, self.waiting.due()]
            .into_iter()
            .flatten()
            .min()?;
        Some(next.saturating_duration_since(*now))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.vacate();
        self.handle.leave();
    }
}

impl Run for Agent {
    fn is_called(&self) -> bool {
        !self.messages.is_empty()
    }

    fn run(self: Box<Self>) {
        // Outside of what may panic: whoever is told that the agent is lost finds it gone.
        let _deferring = wake::defer();
        self.work();
    }
}

impl Tend for Agent {
    fn is_restless(&self) -> bool {
        self.selector.is_restless()
    }

    fn is_to_go(&self) -> bool {
        self.stay != Stay::On
    }

    fn tend(self: Box<Self>) {
        if self.is_to_go() {
            return;
        }
        // Outlives what may panic: whoever is told that the agent is lost finds it gone.
        let _deferring = wake::defer();
        let mut agent = self;
        for _ in 0..PASSES {
            // What has come meanwhile is for a thread of the crew: it may call its callers' code.
            agent.with_ledger(|agent| {
                agent.wait(None, || false);
                agent.turn_with(0);
            });
            if agent.is_idle() {
                break;
            }
        }
        agent.leave();
    }
}
