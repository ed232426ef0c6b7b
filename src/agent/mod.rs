//! The thread that owns a multi handle and drives its transfers. Knows no request and no response.
//!
//! A client sends easy handles that are ready to go over a channel ([`message`]); the thread ([`run`]) adds them to its
//! multi handle, waits for sockets ([`selector`]) and time ([`timer`]), and lets
//! libcurl work; when it has nothing to do it looks after idle connections ([`sweep`]). Where libcurl cannot use all
//! descriptors, it keeps to those that it can ([`room`]). A caller is woken once a turn at most, after the turn.
//!
//! [`Agents`] starts the thread with the first request, and a new one should it ever end by accident.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

mod message;
mod room;
mod run;
mod selector;
mod sweep;
mod timer;

pub(crate) use message::{Counters, Report};
use message::{Handle, Message};

use crate::easy::Easy;
use crate::easy::pool::Pool;
use crate::error::{Error, ErrorKind};
use crate::ffi::fork;

/// Limits of the multi handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) connections: Option<usize>,
    pub(crate) connections_per_host: Option<usize>,
    pub(crate) connection_cache: Option<usize>,
    /// Requests at once on one connection.
    pub(crate) streams: Option<u32>,
}

/// The agents of one client.
pub(crate) struct Agents {
    limits: Limits,
    pool: Arc<Pool>,
    counters: Arc<Counters>,
    state: Mutex<State>,
}

enum State {
    /// No request was made yet, or the agent is gone.
    None,
    /// The agent, and the process that it is a thread of.
    Running(Handle, u64),
    /// No more requests. The agent, if there was one, ends its last ones.
    ShutDown(Option<Handle>),
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
            let handle = match self.running() {
                Ok(handle) => handle,
                Err(error) => return self.refuse(easy, error),
            };
            match handle.send(Message::Execute(easy)) {
                Ok(()) => return,
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

    fn running(&self) -> Result<Handle, Error> {
        let generation = fork::generation();
        let mut state = self.state();
        match &*state {
            State::Running(handle, of) if *of == generation => return Ok(handle.clone()),
            State::ShutDown(_) => return Err(Error::new(ErrorKind::ClientShutDown)),
            _ => {}
        }
        let handle = run::start(&self.limits, self.pool.clone(), self.counters.clone())?;
        let before = std::mem::replace(&mut *state, State::Running(handle.clone(), generation));
        // The agent of the process that this one was forked from: even its locks may be held by threads that are not
        // here. Nothing of it is touched.
        std::mem::forget(before);
        Ok(handle)
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Asks the agent, if there is one, what it has. The receiver fails if the agent ends meanwhile.
    pub(crate) fn report(&self) -> Option<futures::channel::oneshot::Receiver<Report>> {
        let State::Running(handle, of) = &*self.state() else { return None };
        let (sender, receiver) = futures::channel::oneshot::channel();
        (*of == fork::generation() && handle.send(Message::Report(sender)).is_ok()).then_some(receiver)
    }

    fn forget(&self, dead: &Handle) {
        let mut state = self.state();
        if matches!(&*state, State::Running(handle, _) if handle.is_same(dead)) {
            *state = State::None;
        }
    }

    /// Refuses requests from now on and ends those in flight when `grace` is over. Returns a receiver that is
    /// disconnected when all have ended.
    pub(crate) fn shut_down(&self, grace: Duration) -> Option<futures::channel::oneshot::Receiver<()>> {
        let handle = {
            let mut state = self.state();
            let handle = match std::mem::replace(&mut *state, State::None) {
                State::Running(handle, of) if of == fork::generation() => Some(handle),
                forked @ State::Running(..) => {
                    std::mem::forget(forked);
                    None
                }
                // Another shutdown is on its way: wait with it, and end it sooner if this one is stricter.
                State::ShutDown(handle) => handle,
                State::None => None,
            };
            *state = State::ShutDown(handle.clone());
            handle?
        };
        let (done, receiver) = futures::channel::oneshot::channel();
        // A grace beyond what the clock can hold is as good as none.
        let deadline = Instant::now().checked_add(grace);
        handle.send(Message::ShutDown { deadline, done }).is_ok().then_some(receiver)
    }
}

#[cfg(test)]
impl Agents {
    /// Ends the agent by accident.
    pub(crate) fn break_agent(&self) {
        if let State::Running(handle, _) = &*self.state() {
            let _ = handle.send(Message::Panic);
        }
    }
}

/// Lets the agent end once its transfers have. Waits for nothing.
impl Drop for Agents {
    fn drop(&mut self) {
        match std::mem::replace(&mut *self.state(), State::None) {
            State::Running(handle, of) if of == fork::generation() => drop(handle.send(Message::Close)),
            forked @ State::Running(..) => std::mem::forget(forked),
            _ => {}
        }
    }
}
