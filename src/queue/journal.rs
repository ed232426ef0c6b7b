//! The file of a memory queue: a line of JSON for each change, written and synced by a thread of its own, many at once.
//! Knows no rules: it is read from its beginning to its end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::QueueError;
use super::job::{Cause, Job, JobId, Outcome};
use super::record::{Record, RecordKind};

/// The first line, which says what the file is.
const HEAD: &str = r#"{"marmot":"journal","version":1}"#;
/// A file is written anew when it has grown by this, and to four times of what it had.
const WORTHWHILE: u64 = 16 << 20;

/// What has happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line {
    /// A job was submitted, or is to run again.
    Job(Box<Job>),
    /// A worker has begun with it.
    Started { id: JobId, worker: String, at: u64, attempts: u32 },
    /// It waits again.
    Back { id: JobId, attempts: u32 },
    /// Somebody wants it to end.
    Ending { id: JobId, cause: Cause },
    /// It has ended.
    Ended { id: JobId, at: u64, outcome: Box<Outcome> },
    /// It is forgotten.
    Gone { id: JobId },
    /// A record is kept.
    Put(Record),
    /// A record is forgotten.
    Removed { kind: RecordKind, tenant: String, name: String },
}

enum Order {
    Append(Vec<u8>, oneshot::Sender<()>),
    Rewrite(Vec<u8>),
}

/// Writes what happens. Dropped, it writes the rest first.
#[derive(Debug)]
pub(super) struct Journal {
    orders: Option<Sender<Order>>,
    thread: Option<thread::JoinHandle<()>>,
    broken: Arc<AtomicBool>,
    /// Bytes that were written, and that a file written anew had.
    written: u64,
    fresh: u64,
}

/// Completes when what was written is on the disk.
pub(super) struct Receipt(Option<oneshot::Receiver<()>>);

impl Receipt {
    /// Where there is no journal.
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) async fn synced(self) -> Result<(), QueueError> {
        match self.0 {
            Some(receiver) => receiver.await.map_err(|_| broken()),
            None => Ok(()),
        }
    }
}

pub(super) fn broken() -> QueueError {
    QueueError::Unavailable("its journal cannot be written; see the log".into())
}

impl Journal {
    /// Opens a journal and reads what it says. A last line that was not written to its end is left out: nobody was told
    /// that it was.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read or written, is used by another process, or is no journal.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Line>)> {
        let (orders, receiver) = crossbeam_channel::unbounded();
        let broken = Arc::new(AtomicBool::new(false));
        let (flag, path) = (broken.clone(), path.to_owned());
        let (ready, started) = crossbeam_channel::bounded(1);
        // The thread has the lock for as long as it lives.
        let thread = thread::Builder::new().name("marmot-journal".into()).spawn(move || {
            let mut lock = match lock_file(&path) {
                Ok(lock) => lock,
                Err(error) => return drop(ready.send(Err(error))),
            };
            let Ok(_lock) = lock.try_write() else {
                let error = io::Error::new(io::ErrorKind::WouldBlock, "another process uses this journal");
                return drop(ready.send(Err(error)));
            };
            // Not before: the other process may be writing a line, or putting another file in its place.
            let file = match open(&path) {
                Ok((file, lines, whole)) => {
                    let _ = ready.send(Ok((lines, whole)));
                    file
                }
                Err(error) => return drop(ready.send(Err(error))),
            };
            let mut writer = Writer { file, path, synced: true };
            if let Err(error) = writer.work(&receiver) {
                flag.store(true, Ordering::SeqCst);
                tracing::error!(path = %writer.path.display(), %error, "the journal cannot be written");
            }
        })?;
        let opened = started.recv().unwrap_or_else(|_| Err(io::Error::other("the thread of the journal has ended")));
        let (lines, whole) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                // It has the lock until it has ended.
                let _ = thread.join();
                return Err(error);
            }
        };
        let journal = Self { orders: Some(orders), thread: Some(thread), broken, written: whole, fresh: whole };
        Ok((journal, lines))
    }

    /// Whether something could not be written.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// Writes lines, after all that came before.
    pub(super) fn append(&mut self, lines: &[Line]) -> Receipt {
        if lines.is_empty() {
            return Receipt::none();
        }
        let text = text(lines);
        self.written += text.len() as u64;
        let (sender, receiver) = oneshot::channel();
        if let Some(orders) = &self.orders {
            // Fails where the thread has ended: the receiver tells.
            let _ = orders.send(Order::Append(text, sender));
        }
        Receipt(Some(receiver))
    }

    /// Whether most of the file is of no use any more.
    pub(super) fn has_grown(&self) -> bool {
        self.written > self.fresh.saturating_mul(4).max(self.fresh + WORTHWHILE)
    }

    /// Writes the file anew, with these lines only.
    pub(super) fn rewrite(&mut self, lines: &[Line]) {
        let mut all = format!("{HEAD}\n").into_bytes();
        all.extend(text(lines));
        (self.written, self.fresh) = (all.len() as u64, all.len() as u64);
        if let Some(orders) = &self.orders {
            let _ = orders.send(Order::Rewrite(all));
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn text(lines: &[Line]) -> Vec<u8> {
    let mut text = Vec::new();
    for line in lines {
        // Plain data with text keys, which JSON can always say.
        if serde_json::to_writer(&mut text, line).is_ok() {
            text.push(b'\n');
        }
    }
    text
}

fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(what);
    path.with_file_name(name)
}

/// A file of its own, as the journal is replaced now and then.
fn lock_file(path: &Path) -> io::Result<fd_lock::RwLock<File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(beside(path, "lock"))?;
    Ok(fd_lock::RwLock::new(file))
}

/// The file, its lines, and its length without a last line that was not written to its end.
fn open(path: &Path) -> io::Result<(File, Vec<Line>, u64)> {
    let file = OpenOptions::new().create(true).truncate(false).read(true).append(true).open(path)?;
    let (lines, whole) = read(&file, path)?;
    if file.metadata()?.len() > whole {
        file.set_len(whole)?;
    }
    Ok((file, lines, whole))
}

/// All lines, and where the last whole one ends.
fn read(file: &File, path: &Path) -> io::Result<(Vec<Line>, u64)> {
    let mut reader = BufReader::new(file);
    let mut lines = Vec::new();
    let mut whole = 0;
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        let length = reader.read_until(b'\n', &mut text)? as u64;
        if text.last() != Some(&b'\n') {
            break;
        }
        whole += length;
        if number == 1 {
            if text.trim_ascii_end() != HEAD.as_bytes() {
                let message =
                    format!("{} is no journal of this version; move it away, or name another", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            continue;
        }
        lines.push(serde_json::from_slice(&text).map_err(|error| {
            let message = format!("{}, line {number}: {error}; nothing behind it was read", path.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?);
    }
    if whole == 0 {
        // New, or not even its first line was written.
        file.set_len(0)?;
        (&*file).write_all(format!("{HEAD}\n").as_bytes())?;
        file.sync_data()?;
        whole = HEAD.len() as u64 + 1;
    }
    Ok((lines, whole))
}

struct Writer {
    file: File,
    path: PathBuf,
    synced: bool,
}

impl Writer {
    /// Until nobody has orders any more.
    fn work(&mut self, orders: &Receiver<Order>) -> io::Result<()> {
        let mut waiting = Vec::new();
        while let Ok(first) = orders.recv() {
            // All that has come meanwhile is synced at once.
            for order in std::iter::once(first).chain(orders.try_iter()) {
                match order {
                    Order::Append(text, sender) => {
                        self.file.write_all(&text)?;
                        self.synced = false;
                        waiting.push(sender);
                    }
                    Order::Rewrite(all) => self.rewrite(&all)?,
                }
            }
            if !self.synced {
                self.file.sync_data()?;
                self.synced = true;
            }
            for sender in waiting.drain(..) {
                // Nobody has to wait for it.
                let _ = sender.send(());
            }
        }
        Ok(())
    }

    fn rewrite(&mut self, all: &[u8]) -> io::Result<()> {
        let new = beside(&self.path, "new");
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&new)?;
        file.write_all(all)?;
        file.sync_data()?;
        fs::rename(&new, &self.path)?;
        // The rename itself is on the disk when the folder is.
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.synced = true;
        Ok(())
    }
}
