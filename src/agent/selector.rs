//! Which sockets are watched for what. Follows libcurl's wishes with as few system calls as it can.
//!
//! Registrations are level-triggered. One that libcurl no longer wants is kept until it fires, as it will most likely be
//! wanted again for the connection's next request; only interest in writing, which fires all the time, is dropped at
//! once. A closed descriptor is forgotten, as the kernel has forgotten it too. A connection is always listened to, also where
//! the response was there before libcurl had to wait for it: its end is heard while it is idle.

use std::io;

use curl::multi::{Multi, Socket, SocketEvents};

use crate::ffi::poll::{Heard, Poll};
use crate::ffi::sockets::{self, Change, HeldBack, Interest};

#[derive(Debug, Default)]
struct Watched {
    wanted: Interest,
    /// What the poller was told; `None` if it does not know the socket.
    registered: Option<Interest>,
    /// Its opening was told, and its end will be.
    is_connection: bool,
}

pub(super) struct Selector {
    sockets: Table,
    /// Those that are looked at, and the memory for the next ones.
    wishes: Vec<(Socket, Interest)>,
    /// Something was heard on a socket of which libcurl wants nothing.
    restless: bool,
    /// Sockets may be closed without a word: a wish for nothing may mean that.
    silent: bool,
}

impl Selector {
    /// Listens to the wishes of a multi handle.
    pub(super) fn new(multi: &mut Multi) -> Result<Self, curl::MultiError> {
        multi.socket_function(|socket: Socket, events: SocketEvents, _| {
            let interest = if events.remove() {
                Interest::default()
            } else {
                Interest { read: events.input(), write: events.output() }
            };
            sockets::wish(socket, interest);
        })?;
        Ok(Self { sockets: Table::default(), wishes: Vec::new(), restless: false, silent: false })
    }

    /// Listens to nothing any more, unless libcurl wants to hear of something. Returns whether that is so. What is open still
    /// is libcurl's own, as its resolver's.
    pub(super) fn release(&mut self, poll: &Poll) -> bool {
        let watched = &self.sockets.watched;
        let quiet = watched.iter().all(|(_, watched)| watched.wanted == Interest::default());
        quiet
            && watched
                .iter()
                .filter(|(_, watched)| watched.registered.is_some())
                .all(|(socket, _)| poll.unregister(*socket).is_ok())
    }

    /// libcurl's own transfers, those of DNS over HTTPS, do not tell when they close a socket. From now on a registration is
    /// not kept beyond the wish for it, or the next socket with that number would be taken for watched.
    pub(super) fn expect_silence(&mut self) {
        self.silent = true;
    }

    /// Carries out what libcurl wished for since the last call.
    pub(super) fn apply(&mut self, poll: &Poll) -> io::Result<()> {
        // Before what is wished for: libcurl may have been given the number of a closed one again since.
        sockets::take_changes(|socket, change| {
            self.sockets.remove(socket);
            if change == Change::Opened {
                self.sockets.get_or_add(socket).is_connection = true;
            }
        });
        let mut wishes = std::mem::take(&mut self.wishes);
        sockets::take_wishes(&mut wishes);
        for (socket, wanted) in &wishes {
            let watched = self.sockets.get_or_add(*socket);
            watched.wanted = *wanted;
            let may_close = self.silent && !watched.is_connection;
            if may_close && *wanted == Interest::default() && watched.registered.take().is_some() {
                // Fails where it is closed, and forgotten by the kernel, which is all that is wanted.
                let _ = poll.unregister(*socket);
            }
        }
        let mut result = Ok(());
        for (socket, _) in &wishes {
            // The last wish of a socket counts: one that came and went within the turn is closed by now, and its number
            // perhaps somebody else's.
            let Some(watched) = self.sockets.get_mut(*socket) else { continue };
            // One socket that is refused is no reason to forget the others.
            if let Err(error) = watched.update(poll, *socket) {
                result = Err(error);
            }
            if watched.wanted == Interest::default() && watched.registered.is_none() && !watched.is_connection {
                self.sockets.remove(*socket);
            }
        }
        wishes.clear();
        self.wishes = wishes;
        result
    }

    /// Takes note of an event. Returns whether libcurl wants to hear of it.
    pub(super) fn notice(&mut self, poll: &Poll, heard: &Heard) -> io::Result<bool> {
        let socket = heard.socket;
        let Some(watched) = self.sockets.get_mut(socket) else { return Ok(false) };
        let wanted = (heard.readable && watched.wanted.read) || (heard.writable && watched.wanted.write);
        if !wanted {
            // A kept registration has fired, or an error is reported whatever is asked for: stop listening.
            self.restless |= watched.wanted == Interest::default();
            watched.shrink(poll, socket)?;
        }
        Ok(wanted)
    }

    /// Holds back what is sent on the known sockets until the answer is dropped, unless there are more than `most`.
    pub(super) fn hold_back(&self, most: usize) -> HeldBack {
        let known = &self.sockets.watched;
        let few = if known.len() <= most { known.as_slice() } else { &[] };
        HeldBack::new(few.iter().map(|(socket, _)| *socket))
    }

    /// Whether an idle connection has something to say, if no transfer is running.
    pub(super) fn is_restless(&self) -> bool {
        self.restless
    }

    /// Listens to all idle connections again, after libcurl has looked at them.
    pub(super) fn calm(&mut self, poll: &Poll) -> io::Result<()> {
        self.restless = false;
        for (socket, watched) in &mut self.sockets.watched {
            if watched.wanted == Interest::default() {
                watched.register(poll, *socket, END)?;
            }
        }
        Ok(())
    }
}

/// By which the end of a connection is heard.
const END: Interest = Interest { read: true, write: false };

/// Found by their numbers, which are small, and gone through one after another.
#[derive(Default)]
struct Table {
    watched: Vec<(Socket, Watched)>,
    /// Where each number's is, or [`NOWHERE`].
    places: Vec<u32>,
}

const NOWHERE: u32 = u32::MAX;

impl Table {
    fn place(&self, socket: Socket) -> Option<usize> {
        let place = *self.places.get(usize::try_from(socket).ok()?)?;
        (place != NOWHERE).then_some(place as usize)
    }

    fn get_mut(&mut self, socket: Socket) -> Option<&mut Watched> {
        let place = self.place(socket)?;
        Some(&mut self.watched[place].1)
    }

    fn get_or_add(&mut self, socket: Socket) -> &mut Watched {
        debug_assert!(socket >= 0, "libcurl tells of sockets only");
        let place = self.place(socket).unwrap_or_else(|| {
            self.set_place(socket, self.watched.len() as u32);
            self.watched.push((socket, Watched::default()));
            self.watched.len() - 1
        });
        &mut self.watched[place].1
    }

    fn remove(&mut self, socket: Socket) {
        let Some(place) = self.place(socket) else { return };
        self.watched.swap_remove(place);
        self.set_place(socket, NOWHERE);
        if let Some((moved, _)) = self.watched.get(place) {
            self.set_place(*moved, place as u32);
        }
    }

    fn set_place(&mut self, socket: Socket, place: u32) {
        let Ok(number) = usize::try_from(socket) else { return };
        if self.places.len() <= number {
            self.places.resize(number + 1, NOWHERE);
        }
        self.places[number] = place;
    }
}

impl Watched {
    fn update(&mut self, poll: &Poll, socket: Socket) -> io::Result<()> {
        // An idle connection is listened to for its end.
        let idle = self.is_connection && self.wanted == Interest::default();
        let wanted = if idle { END } else { self.wanted };
        let known = self.registered.unwrap_or_default();
        let enough = (known.read || !wanted.read) && known.write == wanted.write;
        if enough {
            return Ok(());
        }
        self.register(poll, socket, Interest { read: known.read || wanted.read, write: wanted.write })
    }

    fn shrink(&mut self, poll: &Poll, socket: Socket) -> io::Result<()> {
        if self.registered.is_some_and(|registered| registered != self.wanted) {
            self.register(poll, socket, self.wanted)?;
        } else if self.wanted == Interest::default() {
            // Errors and hang-ups are reported even to those who listen for nothing.
            poll.unregister(socket)?;
            self.registered = None;
        }
        Ok(())
    }

    fn register(&mut self, poll: &Poll, socket: Socket, interest: Interest) -> io::Result<()> {
        let Interest { read, write } = interest;
        let known = self.registered.is_some();
        let result = if known { poll.modify(socket, read, write) } else { poll.register(socket, read, write) };
        match result {
            Ok(()) => {}
            // A number that was closed and given again without our knowing it.
            Err(error) if known && error.kind() == io::ErrorKind::NotFound => poll.register(socket, read, write)?,
            Err(error) if !known && error.kind() == io::ErrorKind::AlreadyExists => poll.modify(socket, read, write)?,
            Err(error) => return Err(error),
        }
        self.registered = Some(interest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::sockets::Ledger;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    #[test]
    fn a_connection_is_listened_to_of_which_nothing_was_to_be_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (listener.accept().unwrap().0, there)
        };
        let (poll, mut heard) = (Poll::get().unwrap(), Vec::new());
        let ledger = sockets::open_ledger(Ledger::default());
        for had_to_wait in [false, true] {
            let mut selector = Selector::new(&mut Multi::new()).unwrap();
            let (idle, other) = (connect(), connect());
            sockets::open_one(idle.0.as_raw_fd());
            if had_to_wait {
                sockets::wish(idle.0.as_raw_fd(), Interest { read: false, write: true });
                selector.apply(&poll).unwrap();
                sockets::wish(idle.0.as_raw_fd(), Interest::default());
            }
            // A socket of libcurl's own, which it may close without a word.
            sockets::wish(other.0.as_raw_fd(), Interest::default());
            selector.apply(&poll).unwrap();
            poll.wait(&mut heard, Some(Duration::ZERO)).unwrap();
            assert!(heard.is_empty(), "{heard:?}");
            drop((idle.1, other.1));
            poll.wait(&mut heard, Some(Duration::from_secs(20))).unwrap();
            assert!(matches!(heard[..], [Heard { socket, .. }] if socket == idle.0.as_raw_fd()), "{heard:?}");
            assert!(!selector.notice(&poll, &heard[0]).unwrap());
            assert!(selector.is_restless());
        }
        assert_eq!(ledger.close().open(), 2);
    }

    #[test]
    fn a_table_finds_what_is_in_it_and_nothing_else() {
        let mut dice = fastrand::Rng::with_seed(3);
        let mut table = Table::default();
        let mut expected = std::collections::BTreeMap::new();
        for _ in 0..5_000 {
            let socket = dice.i32(-1..40);
            let interest = Interest { read: dice.bool(), write: dice.bool() };
            if dice.bool() && socket >= 0 {
                table.get_or_add(socket).wanted = interest;
                expected.insert(socket, interest);
            } else {
                table.remove(socket);
                expected.remove(&socket);
            }
            for socket in -1..41 {
                assert_eq!(table.get_mut(socket).map(|watched| watched.wanted), expected.get(&socket).copied());
            }
            assert_eq!(table.watched.len(), expected.len());
        }
    }
}
