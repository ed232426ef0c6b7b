//! The thread that owns a multi handle and drives its transfers. Knows no request and no response.
//!
//! A client sends easy handles that are ready to go over a channel ([`message`]); the thread ([`run`]) adds them to its
//! multi handle, waits for sockets ([`selector`]) and time ([`timer`]), and lets
//! libcurl work; when it has nothing to do it looks after idle connections ([`sweep`]). A caller is woken once a
//! turn at most, after the turn.
//!
//! [`Agents`] starts the thread with the first request, and a new one should it ever end by accident.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

mod message;
mod run;
mod selector;
mod sweep;
mod timer;

use message::{Handle, Message};

use crate::easy::Easy;
use crate::easy::pool::Pool;
use crate::error::{Error, ErrorKind};

/// Limits of the multi handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) connections: Option<usize>,
    pub(crate) connections_per_host: Option<usize>,
    pub(crate) connection_cache: Option<usize>,
}

/// The agents of one client.
pub(crate) struct Agents {
    limits: Limits,
    pool: Arc<Pool>,
    state: Mutex<State>,
}

enum State {
    /// No request was made yet, or the agent is gone.
    None,
    Running(Handle),
    /// No more requests. The agent, if there was one, ends its last ones.
    ShutDown(Option<Handle>),
}

impl Agents {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, pool: Arc::default(), state: Mutex::new(State::None) }
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
        let mut state = self.state();
        match &*state {
            State::Running(handle) => Ok(handle.clone()),
            State::ShutDown(_) => Err(Error::new(ErrorKind::ClientShutDown)),
            State::None => {
                let handle = run::start(&self.limits, self.pool.clone())?;
                *state = State::Running(handle.clone());
                Ok(handle)
            }
        }
    }

    fn forget(&self, dead: &Handle) {
        let mut state = self.state();
        if matches!(&*state, State::Running(handle) if handle.is_same(dead)) {
            *state = State::None;
        }
    }

    /// Refuses requests from now on and ends those in flight when `grace` is over. Returns a receiver that is
    /// disconnected when all have ended.
    pub(crate) fn shut_down(&self, grace: Duration) -> Option<futures::channel::oneshot::Receiver<()>> {
        let handle = {
            let mut state = self.state();
            let handle = match std::mem::replace(&mut *state, State::None) {
                State::Running(handle) => Some(handle),
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
        if let State::Running(handle) = &*self.state() {
            let _ = handle.send(Message::Panic);
        }
    }
}

/// Lets the agent end once its transfers have. Waits for nothing.
impl Drop for Agents {
    fn drop(&mut self) {
        if let State::Running(handle) = &*self.state() {
            let _ = handle.send(Message::Close);
        }
    }
}
