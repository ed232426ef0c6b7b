//! Agents for callers who wait, one for each. The crew gets one only with what its caller leaves behind.
//!
//! The way through an agent that another thread runs costs a waiting caller two changes of threads. With an agent of its
//! own there is one, to the server and back. Only transfers that share their connection with nobody get one: as many
//! connections are needed in any case.

use super::Handle;
use super::run::Agent;
use crate::error::Error;

/// The most of them for a client. Callers beyond share the other agents.
pub(super) const MOST: usize = 32;
/// The connections that each keeps without a request, beside those in use lately.
pub(super) const CONNECTIONS: usize = 16;

#[derive(Default)]
pub(super) struct Extras(Vec<Extra>);

struct Extra {
    handle: Handle,
    /// Of its last transfer (`Transfer::origin_hash`).
    origin: u64,
}

impl Extras {
    /// One that is at rest, with a connection to the origin if possible, or a new one. `None` if there are `most` already
    /// or `make` fails.
    pub(super) fn take(
        &mut self,
        origin: u64,
        most: usize,
        make: impl FnOnce() -> Result<Handle, Error>,
    ) -> Option<(Handle, Box<Agent>)> {
        let connected = self.0.iter().filter(|extra| extra.origin == origin).find_map(Extra::take);
        connected.or_else(|| self.take_any(origin)).or_else(|| {
            if self.0.len() >= most {
                return None;
            }
            let extra = Extra { handle: make().ok()?, origin };
            let taken = extra.take();
            self.0.push(extra);
            taken
        })
    }

    fn take_any(&mut self, origin: u64) -> Option<(Handle, Box<Agent>)> {
        self.0.iter_mut().find_map(|extra| {
            let taken = extra.take()?;
            extra.origin = origin;
            Some(taken)
        })
    }

    pub(super) fn handles(&self) -> impl Iterator<Item = &Handle> {
        self.0.iter().map(|extra| &extra.handle)
    }

    /// Forgets those that have ended, by accident or not, and their descriptors.
    pub(super) fn forget_ended(&mut self) {
        self.0.retain(|extra| !extra.handle.is_left());
    }
}

impl Extra {
    fn take(&self) -> Option<(Handle, Box<Agent>)> {
        Some((self.handle.clone(), self.handle.take()?))
    }
}
