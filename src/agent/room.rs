//! How many connections an agent may have where libcurl's descriptors end at a wall. Knows no transfer, reads no clock.
//!
//! The numbers below the wall belong to the whole process: its files, its other clients. So an agent looks again and again
//! how many are free, before libcurl opens sockets, and leaves out those that other agents are about to take.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Descriptors left to what happens between two looks, and to the rest of the program.
const MARGIN: usize = 128;
/// Connections that an agent may have however little room there is: without any, its requests would wait for those of
/// other agents, of which nobody tells it.
const FEW: usize = 8;
/// How long a look holds, and for how many more transfers.
const PAUSE: Duration = Duration::from_millis(10);
pub(super) const STEP: usize = 32;

/// The sockets that the agents of this process are about to open.
static PROMISED: AtomicUsize = AtomicUsize::new(0);

pub(super) struct Room {
    all: &'static AtomicUsize,
    promised: usize,
    /// When it was looked last, and for how many transfers.
    looked: Option<(Instant, usize)>,
}

impl Default for Room {
    fn default() -> Self {
        Self { all: &PROMISED, promised: 0, looked: None }
    }
}

impl Room {
    /// The most connections that an agent with so many transfers and open sockets may have from now on. `None` while
    /// the last answer holds. `free` counts the descriptors below the wall.
    pub(super) fn look(
        &mut self,
        transfers: usize,
        open: usize,
        now: Instant,
        free: impl FnOnce() -> usize,
    ) -> Option<usize> {
        let holds = |(at, before)| now < at + PAUSE && transfers < before + STEP;
        if self.looked.is_some_and(holds) {
            return None;
        }
        self.looked = Some((now, transfers));
        let others = self.all.load(Ordering::Relaxed).saturating_sub(self.promised);
        let room = free().saturating_sub(MARGIN + others);
        self.promise(transfers.saturating_sub(open).min(room));
        Some((open + room).max(FEW))
    }

    /// Tells the other agents how many sockets this one is about to open.
    pub(super) fn promise(&mut self, promised: usize) {
        self.all.fetch_add(promised, Ordering::Relaxed);
        self.all.fetch_sub(self.promised, Ordering::Relaxed);
        self.promised = promised;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.promise(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(all: &'static AtomicUsize) -> Room {
        Room { all, ..Room::default() }
    }

    #[test]
    fn what_one_agent_will_take_is_no_room_for_another() {
        static ALL: AtomicUsize = AtomicUsize::new(0);
        let now = Instant::now();
        let (mut one, mut other) = (room(&ALL), room(&ALL));
        assert_eq!(one.look(300, 0, now, || 1000), Some(872), "all that is free");
        assert_eq!(other.look(1, 0, now, || 1000), Some(572), "but what the first one needs");
        // Its sockets are open now.
        assert_eq!(one.look(332, 300, now, || 700), Some(300 + 571));
        assert_eq!(other.look(33, 1, now, || 699), Some(1 + 539));
        drop(one);
        assert_eq!(ALL.load(Ordering::Relaxed), 32);
        drop(other);
        assert_eq!(ALL.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_look_holds_for_a_while_and_for_a_few_transfers() {
        static ALL: AtomicUsize = AtomicUsize::new(0);
        let now = Instant::now();
        let mut room = room(&ALL);
        assert!(room.look(10, 0, now, || 1000).is_some());
        assert_eq!(room.look(41, 10, now, || unreachable!("too early")), None);
        assert!(room.look(42, 10, now, || 900).is_some());
        assert!(room.look(42, 42, now + PAUSE, || 900).is_some());
    }

    #[test]
    fn with_no_room_it_has_what_it_has_or_a_few() {
        static ALL: AtomicUsize = AtomicUsize::new(0);
        let now = Instant::now();
        assert_eq!(room(&ALL).look(500, 400, now, || 100), Some(400));
        assert_eq!(room(&ALL).look(500, 0, now, || 100), Some(FEW));
        assert_eq!(room(&ALL).look(500, 0, now, || 0), Some(FEW));
    }
}
