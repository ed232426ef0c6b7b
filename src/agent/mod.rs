//! Agents own multi handles and drive their transfers. They know no request and no response.
//!
//! A client sends easy handles that are ready to go over a channel ([`message`], [`seat`]); the agent ([`run`]) adds them
//! to its multi handle, waits for sockets ([`selector`]) and time ([`timer`]), and lets libcurl work. Connections are
//! [`kept`] for the next requests. Where libcurl cannot use all descriptors, it keeps to those that it can ([`room`]). A
//! caller is woken once a turn at most, after the turn.
//!
//! An agent has a thread only while it has something to do: one of the [`crew`], or that of a caller who waits ([`visit`]).
//! The [`lookout`] looks after the idle connections of agents that rest ([`sweep`]).
//!
//! [`Agents`] makes the first agent with the first request, more of them when the [`meter`]s say that those there are keep
//! a core busy each and as long as that helps ([`growth`]), and a new one should one ever end by accident. A caller who
//! waits while somebody else runs the agent gets one of the [`extras`] to run.

use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

mod crew;
mod extras;
mod growth;
mod kept;
mod lookout;
mod message;
mod meter;
mod room;
mod run;
mod seat;
mod selector;
mod sweep;
mod timer;
mod visit;

use extras::Extras;
use growth::Growth;
use message::Message;
pub(crate) use message::{Counters, Report};
use run::{Agent, Stay};
pub(crate) use visit::{Visit, withdraw};

use crate::easy::Easy;
use crate::easy::pool::Pool;
use crate::error::{Error, ErrorKind};
use crate::ffi::{fork, wall};

/// Limits of a client's agents, and of their multi handles.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// The most agents at once.
    pub(crate) agents: Option<usize>,
    pub(crate) connections: Option<usize>,
    pub(crate) connections_per_host: Option<usize>,
    /// The most connections without a request, if somebody asked for a limit.
    pub(crate) connection_cache: Option<usize>,
    /// How many are kept otherwise, beside those in use lately.
    pub(crate) spare_connections: Option<usize>,
    /// Requests at once on one connection.
    pub(crate) streams: Option<u32>,
}

type Handle = seat::Handle<Agent>;

/// The most agents of a client that says nothing of them.
const USUAL_AGENTS: usize = 4;
/// An agent that joined the first one goes when it has had nothing to do for so long.
const SPARE: Duration = Duration::from_secs(10);

impl Limits {
    fn agents(&self) -> usize {
        static CORES: OnceLock<usize> = OnceLock::new();
        if self.are_kept_by_one() {
            return 1;
        }
        let cores = || *CORES.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get));
        self.agents.unwrap_or_else(|| cores().min(USUAL_AGENTS))
    }

    /// Whether libcurl is told of limits.
    fn concern_libcurl(&self) -> bool {
        self.connections.is_some() || self.connections_per_host.is_some() || self.streams.is_some()
    }

    /// Each agent would keep limits on connections for itself.
    fn are_kept_by_one(&self) -> bool {
        self.connections.is_some() || self.connections_per_host.is_some() || wall::waits_with_select()
    }

    /// Whether callers who wait may have agents beyond those, with connections of their own.
    fn allow_extras(&self) -> bool {
        self.agents.is_none() && self.connection_cache.is_none() && !self.are_kept_by_one()
    }
}

/// The agents of one client.
pub(crate) struct Agents {
    limits: Limits,
    pool: Arc<Pool>,
    counters: Arc<Counters>,
    state: Mutex<State>,
}

enum State {
    /// No request was made yet, or the agents are gone.
    None,
    /// The agents and the process that they were made in.
    Running(Team, u64),
    /// No more requests. The agents end their last ones.
    ShutDown(Vec<Handle>),
}

/// The agents of a client that runs, one at least.
struct Team {
    handles: Vec<Handle>,
    growth: Growth,
    extras: Extras,
}

impl Team {
    fn all(&self) -> impl Iterator<Item = &Handle> {
        self.handles.iter().chain(self.extras.handles())
    }
}

impl Agents {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, pool: Arc::default(), counters: Arc::default(), state: Mutex::new(State::None) }
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a transfer. A transfer that cannot be started is told so through its handler.
    pub(crate) fn execute(&self, mut easy: Easy) {
        for _ in 0..2 {
            let choose = |team: &mut Team| {
                let handle = visit::with_offer(self, |offer| self.choose(team, &easy, offer))?;
                handle.expect_transfer();
                Ok(handle)
            };
            let handle = match self.with_running(choose).and_then(|chosen| chosen) {
                Ok(handle) => handle,
                Err(error) => return self.refuse(easy, error),
            };
            let visit = if easy.get_ref().transfer.begins_at_once() { Visit::of(&handle) } else { None };
            match handle.send(Message::Execute(easy)) {
                Ok(()) => {
                    // Libcurl begins before another thread has woken up to wait for the rest.
                    if let Some(visit) = visit {
                        visit.begin();
                    }
                    return handle.due().help();
                }
                // The agent ended by accident: start another one, once.
                Err(Message::Execute(back)) => easy = back,
                Err(_) => return,
            }
            self.forget(&handle);
        }
        self.refuse(easy, Error::new(ErrorKind::AgentLost));
    }

    fn refuse(&self, mut easy: Easy, error: Error) {
        easy.get_mut().transfer.fail(error);
        self.pool.give(easy);
    }

    fn with_running<R>(&self, with: impl FnOnce(&mut Team) -> R) -> Result<R, Error> {
        let generation = fork::generation();
        let mut state = self.state();
        match &mut *state {
            State::Running(team, of) if *of == generation => return Ok(with(team)),
            State::ShutDown(_) => return Err(Error::new(ErrorKind::ClientShutDown)),
            _ => {}
        }
        let mut team = Team { handles: vec![self.make()?], growth: Growth::default(), extras: Extras::default() };
        let result = with(&mut team);
        let before = std::mem::replace(&mut *state, State::Running(team, generation));
        // The agents of the process that this one was forked from: even their locks may be held by threads that are not
        // here. Nothing of them is touched.
        std::mem::forget(before);
        Ok(result)
    }

    fn make(&self) -> Result<Handle, Error> {
        run::make(&self.limits, Stay::On, self.pool.clone(), self.counters.clone())
    }

    /// The agent for a transfer: its [`home`](Self::home). If the caller offers to run that one and cannot, as somebody does,
    /// an extra one. Once that is more than one agent can do, the caller changes to the first as soon as it can.
    fn choose(&self, team: &mut Team, easy: &Easy, offer: Option<&mut Option<Visit>>) -> Result<Handle, Error> {
        team.extras.forget_ended();
        let home = self.home(team, easy, offer.as_deref());
        let Some(along) = offer else { return Ok(home) };
        let plain = easy.get_ref().transfer.is_plain();
        if let Some(visit) = along {
            let extra = team.extras.handles().find(|extra| visit.is_of(extra));
            // No other agent joins an extra one.
            let alone = extra.is_some_and(|extra| extra.is_saturated() && extra.transfers() > 1);
            if !(alone && self.limits.agents() > 1 && home.is_at_rest() && visit.lend()) {
                return Ok(extra.filter(|_| plain || home.is_held_here()).cloned().unwrap_or(home));
            }
            *along = None;
        }
        if let Some(agent) = home.take() {
            *along = Some(Visit::new(agent));
            return Ok(home);
        }
        // An agent that this thread runs further up, where a handler is called, would be waited for for ever.
        let held = home.is_held_here();
        // One that is just coming to rest has the connection of the caller's last request.
        if !held && (!plain || !home.has_transfers() || home.is_left() || !self.limits.allow_extras()) {
            return Ok(home);
        }
        let most = if held { usize::MAX } else { extras::MOST };
        let extra = team.extras.take(easy.get_ref().transfer.origin_hash(), most, || {
            let limits = Limits { spare_connections: Some(extras::CONNECTIONS), ..self.limits.clone() };
            run::make(&limits, Stay::For(SPARE), self.pool.clone(), self.counters.clone())
        });
        match extra {
            Some((handle, agent)) => {
                *along = Some(Visit::new(agent));
                Ok(handle)
            }
            None if held => Err(Error::new(ErrorKind::Io).with_detail("no agent could be made")),
            None => Ok(home),
        }
    }

    /// The agent that the caller has along; the first without transfers, if the caller could run it; or that of the transfer's
    /// origin, so that connections are found again. Unless that one is saturated and another has less to do.
    fn home(&self, team: &mut Team, easy: &Easy, offer: Option<&Option<Visit>>) -> Handle {
        let Team { handles, growth, .. } = team;
        // Any other agent would need a thread of its own, while this thread holds one that has nothing to do.
        let along = offer.and_then(Option::as_ref);
        let mut own = along.and_then(|visit| handles.iter().position(|handle| visit.is_of(handle)));
        if let Some(spare) = own.filter(|own| *own >= growth.active())
            && let Some(idle) = handles[..growth.active()].iter().position(|handle| handle.has_rested(Duration::ZERO))
        {
            // It is needed, and the other is not.
            handles.swap(idle, spare);
            own = Some(idle);
        }
        if handles.len() > 1 || growth.active() > 1 || handles[0].is_saturated() && handles[0].has_transfers() {
            let active = growth.active().min(handles.len());
            growth.look(Instant::now(), handles[..active].iter().map(Handle::load), self.limits.agents());
            if growth.active() > handles.len()
                // Without another one the work is done as well.
                && let Ok(new) = self.make()
            {
                handles.push(new);
            }
            dismiss_spare(handles, growth.active());
        }
        let active = &handles[..growth.active().min(handles.len())];
        if let [only] = active {
            return own.map_or(only, |own| &handles[own]).clone();
        }
        if own.is_none() && offer.is_some() && (along.is_none() || easy.get_ref().transfer.is_plain()) {
            own = active.iter().position(|handle| !handle.has_transfers());
        }
        let home = &handles[own.unwrap_or_else(|| easy.get_ref().transfer.origin_hash() as usize % active.len())];
        if !home.is_saturated() {
            return home.clone();
        }
        // One that this thread runs further up does nothing before what it waits for here is done.
        let others = active.iter().filter(|handle| offer.is_none() || !handle.is_held_here());
        let idlest = others.min_by_key(|handle| handle.transfers()).unwrap_or(home);
        if idlest.transfers() + 1 < home.transfers() { idlest.clone() } else { home.clone() }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Offers to run an agent, on the calling thread, as long as `start` takes: what it starts is waited for then. Returns
    /// the agent that came along, or that the thread had `along` before.
    pub(crate) fn offer<R>(&self, along: Option<Visit>, start: impl FnOnce() -> R) -> (R, Option<Visit>) {
        visit::offer(self, along, start)
    }

    /// Asks the agents what they have. A receiver fails if its agent ends meanwhile.
    pub(crate) fn report(&self) -> Vec<futures::channel::oneshot::Receiver<Report>> {
        let handles = match &mut *self.state() {
            State::Running(team, of) if *of == fork::generation() => {
                team.extras.forget_ended();
                team.all().cloned().collect::<Vec<_>>()
            }
            _ => return Vec::new(),
        };
        let ask = |handle: &Handle| {
            let (sender, receiver) = futures::channel::oneshot::channel();
            let told = match handle.at_rest(Agent::report_at_rest) {
                // One that nobody runs needs no thread for that.
                Some(report) => sender.send(report).is_ok(),
                None => handle.send(Message::Report(sender)).is_ok(),
            };
            told.then_some(receiver)
        };
        handles.iter().filter_map(ask).collect()
    }

    fn forget(&self, dead: &Handle) {
        let mut state = self.state();
        if let State::Running(team, _) = &mut *state {
            team.handles.retain(|handle| !handle.is_same(dead));
            team.extras.forget_ended();
            if team.handles.is_empty() {
                let extras: Vec<Handle> = team.extras.handles().cloned().collect();
                *state = State::None;
                drop(state);
                extras.iter().for_each(end);
            }
        }
    }

    /// Refuses requests from now on and ends those in flight when `grace` is over. Returns receivers that are
    /// disconnected when all have ended.
    pub(crate) fn shut_down(&self, grace: Duration) -> Vec<futures::channel::oneshot::Receiver<()>> {
        let handles = {
            let mut state = self.state();
            let handles = match std::mem::replace(&mut *state, State::None) {
                State::Running(team, of) if of == fork::generation() => team.all().cloned().collect(),
                forked @ State::Running(..) => {
                    std::mem::forget(forked);
                    Vec::new()
                }
                // Another shutdown is on its way: wait with it, and end it sooner if this one is stricter.
                State::ShutDown(handles) => handles,
                State::None => Vec::new(),
            };
            *state = State::ShutDown(handles.clone());
            handles
        };
        // A grace beyond what the clock can hold is as good as none.
        let deadline = Instant::now().checked_add(grace);
        let tell = |handle: &Handle| {
            let (done, receiver) = futures::channel::oneshot::channel();
            handle.send(Message::ShutDown { deadline, done }).is_ok().then_some(receiver)
        };
        handles.iter().filter_map(tell).collect()
    }
}

/// Ends the agents that joined those that are needed and have had nothing to do for long.
fn dismiss_spare(handles: &mut Vec<Handle>, needed: usize) {
    while handles.len() > needed
        && let Some(spare) = handles.pop_if(|last| last.has_rested(SPARE))
    {
        end(&spare);
    }
}

/// Lets an agent end once its transfers have. Waits for nothing.
fn end(handle: &Handle) {
    match handle.take() {
        Some(agent) => drop(agent),
        None => drop(handle.send(Message::Close)),
    }
}

#[cfg(test)]
impl Agents {
    /// Ends the first agent by accident.
    pub(crate) fn break_agent(&self) {
        if let State::Running(team, _) = &*self.state() {
            let _ = team.handles[0].send(Message::Panic);
        }
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        match std::mem::replace(&mut *self.state(), State::None) {
            State::Running(team, of) if of == fork::generation() => team.all().for_each(end),
            forked @ State::Running(..) => std::mem::forget(forked),
            _ => {}
        }
    }
}
