//! A loop of its own epoll and `curl_multi_socket_action`, straight from the manual: no registration is kept any longer
//! than libcurl asks for it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use curl::multi::{Events, Multi};
use marmot_bench::epoll::{Epoll, Interest, Ready};

use super::raw::Turn;
use crate::drive::Outcome;

pub struct Sock {
    // Before `epoll`: closing the connections calls back for their sockets.
    multi: Multi,
    epoll: Arc<Epoll>,
    /// When libcurl wants to be called without an event.
    deadline: Arc<Mutex<Option<Instant>>>,
    ready: Vec<Ready>,
}

impl Sock {
    fn deadline(&self) -> Option<Instant> {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn for Sock {
    fn fresh() -> Outcome<Self> {
        let mut multi = Multi::new();
        let epoll = Arc::new(Epoll::new()?);
        let deadline = Arc::new(Mutex::new(None));

        let (selector, mut registered) = (Arc::clone(&epoll), HashSet::new());
        multi.socket_function(move |socket, events, _| {
            let interest = match (events.input(), events.output()) {
                (true, true) => Interest::Both,
                (_, true) => Interest::Write,
                (_, _) => Interest::Read,
            };
            // A failure shows itself: the transfer never ends, or the socket was closed already.
            let _ = if events.remove() {
                registered.remove(&socket);
                selector.remove(socket)
            } else if registered.insert(socket) {
                selector.add(socket, interest)
            } else {
                selector.modify(socket, interest)
            };
        })?;

        let timer = Arc::clone(&deadline);
        multi.timer_function(move |after| {
            *timer.lock().unwrap_or_else(PoisonError::into_inner) = after.map(|after| Instant::now() + after);
            true
        })?;
        Ok(Self { multi, epoll, deadline, ready: Vec::new() })
    }

    fn multi(&self) -> &Multi {
        &self.multi
    }

    fn perform(&mut self) -> Outcome {
        for ready in self.ready.drain(..) {
            let mut events = Events::new();
            events.input(ready.read).output(ready.write).error(ready.error);
            self.multi.action(ready.fd, &events)?;
        }
        if self.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
            *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = None;
            self.multi.timeout()?;
        }
        Ok(())
    }

    fn wait(&mut self) -> Outcome {
        let timeout = self.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
        self.epoll.wait(&mut self.ready, timeout)?;
        Ok(())
    }
}
