//! The file of a cassette and the entries that it held. Knows nothing of how requests are sent.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Mode;
use super::entry::{Entry, FORMAT, Header, RecordedRequest};
use super::matching::Matching;
use crate::error::{Error, ErrorKind};

/// An open cassette, shared by its clones and by all requests of their clients.
#[derive(Debug)]
pub(super) struct Tape {
    path: PathBuf,
    /// `None`: nothing is recorded.
    file: Option<Mutex<File>>,
    slots: Mutex<Vec<Slot>>,
    /// The first entry that could not be recorded.
    failure: Mutex<Option<Error>>,
}

#[derive(Clone, Debug)]
struct Slot {
    entry: Arc<Entry>,
    used: bool,
}

/// What was read of a file.
#[derive(Debug, Default)]
struct Loaded {
    entries: Vec<Entry>,
    /// Where the last whole line ends; 0 if not even the header is whole.
    end: u64,
    /// The last line is whole but for its line feed.
    unterminated: bool,
}

impl Tape {
    pub(super) fn open(path: &Path, mode: Mode) -> Result<Self, Error> {
        let failed = |error: io::Error| {
            Error::new(ErrorKind::Io).with_detail(format!("the cassette `{}`", path.display())).with_source(error)
        };
        let loaded = match mode {
            Mode::Record => Loaded::default(),
            Mode::Auto if !path.exists() => Loaded::default(),
            Mode::Replay | Mode::Auto => load(&std::fs::read(path).map_err(failed)?, path)?,
        };
        let file = match mode {
            Mode::Replay => None,
            Mode::Record | Mode::Auto => Some(Mutex::new(writable(path, &loaded).map_err(failed)?)),
        };
        let slots = loaded.entries.into_iter().map(|entry| Slot { entry: Arc::new(entry), used: false }).collect();
        Ok(Self { path: path.to_owned(), file, slots: Mutex::new(slots), failure: Mutex::default() })
    }

    /// Writes an entry, whole, behind the others.
    pub(super) fn append(&self, entry: &Entry) {
        let Some(file) = &self.file else { return };
        let written = serde_json::to_vec(entry).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            let mut file = lock(file);
            let before = file.metadata()?.len();
            let written = file.write_all(&line);
            if written.is_err() {
                // A torn line in the middle would spoil the file.
                let _ = file.set_len(before);
            }
            written
        });
        if let Err(error) = written {
            let detail = format!("the cassette `{}`", self.path.display());
            self.fail(Error::new(ErrorKind::Io).with_detail(detail).with_source(error));
        }
    }

    /// Makes an entry of this run one that may be replayed.
    pub(super) fn learn(&self, entry: Entry) {
        lock(&self.slots).push(Slot { entry: Arc::new(entry), used: true });
    }

    /// An entry was not recorded.
    pub(super) fn fail(&self, error: Error) {
        #[cfg(feature = "tracing")]
        tracing::warn!(%error, "not recorded");
        lock(&self.failure).get_or_insert(error);
    }

    pub(super) fn failure(&self) -> Option<Error> {
        lock(&self.failure).clone()
    }

    /// The entries that no request has asked for.
    pub(super) fn unused(&self) -> usize {
        lock(&self.slots).iter().filter(|slot| !slot.used).count()
    }

    /// The first entry that matches and was not used; with `reuse` the latest used one if there is no other.
    pub(super) fn take(&self, live: &RecordedRequest, matching: &Matching, reuse: bool) -> Option<Arc<Entry>> {
        loop {
            let slots = lock(&self.slots).clone();
            // The rule may be the caller's code: it is asked with the lock released.
            let fits = |slot: &Slot| matching.matches(live, &slot.entry.request);
            let Some(place) = slots.iter().position(|slot| !slot.used && fits(slot)) else {
                return slots.into_iter().rev().find(|slot| reuse && fits(slot)).map(|slot| slot.entry);
            };
            // Another request may have been faster.
            let slot = &mut lock(&self.slots)[place];
            if !std::mem::replace(&mut slot.used, true) {
                return Some(slot.entry.clone());
            }
        }
    }

    /// Why there is no entry for the request: the closest one, and what differs.
    pub(super) fn explain(&self, live: &RecordedRequest, matching: &Matching) -> Error {
        let slots = lock(&self.slots).clone();
        let closest = slots.iter().enumerate().map(|(place, slot)| {
            let differences = matching.differences(live, &slot.entry.request);
            let distance: u32 = differences.iter().map(|difference| difference.weight).sum();
            (distance, place, slot, differences)
        });
        let why = match closest.min_by_key(|(distance, place, ..)| (*distance, *place)) {
            None => "it is empty".to_owned(),
            Some((_, place, slot, differences)) => {
                let request = &slot.entry.request;
                let what = match differences.is_empty() {
                    true if slot.used => "it was used before, and reuse is not allowed".to_owned(),
                    true => "the given rule refuses it".to_owned(),
                    false => differences.into_iter().map(|one| one.words).collect::<Vec<_>>().join("; "),
                };
                format!("the closest is entry {}, `{} {}`: {what}", place + 1, request.method, request.url)
            }
        };
        let detail = format!("`{}` is not in the cassette `{}`; {why}", live.method, self.path.display());
        let error = Error::new(ErrorKind::NoRecording).with_detail(detail);
        match live.url.parse() {
            Ok(url) => error.with_url(&url),
            Err(_) => error,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that could panic halfway runs under a lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file at the end of what is whole, with a header.
fn writable(path: &Path, loaded: &Loaded) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).open(path)?.set_len(loaded.end)?;
    // Another process that records into it adds its own lines.
    let mut file = OpenOptions::new().append(true).open(path)?;
    if loaded.end == 0 {
        let header = Header { marmot_cassette: FORMAT, program: format!("marmot {}", env!("CARGO_PKG_VERSION")) };
        let mut line = serde_json::to_vec(&header)?;
        line.push(b'\n');
        file.write_all(&line)?;
    } else if loaded.unterminated {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// Reads the lines. A last line without its line feed is what a crash leaves: it counts if it is whole.
fn load(bytes: &[u8], path: &Path) -> Result<Loaded, Error> {
    let bad = |number: usize, what: &str| {
        let detail = format!("line {number} of the cassette `{}` {what}", path.display());
        Error::new(ErrorKind::InvalidConfiguration).with_detail(detail)
    };
    let mut loaded = Loaded::default();
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let whole = line.ends_with(b"\n");
        let blank = line.trim_ascii().is_empty();
        if number == 0 {
            match serde_json::from_slice::<Header>(line) {
                Ok(header) if header.marmot_cassette == FORMAT => {}
                Ok(header) => {
                    let version = header.marmot_cassette;
                    return Err(bad(1, &format!("names the format {version}, and this program knows {FORMAT}")));
                }
                Err(_) if !whole => break,
                Err(error) => return Err(bad(1, "is no header of a cassette").with_source(error)),
            }
        } else if !blank {
            match serde_json::from_slice(line) {
                Ok(entry) => loaded.entries.push(entry),
                Err(_) if !whole => break,
                Err(error) => return Err(bad(number + 1, "is no entry").with_source(error)),
            }
        }
        loaded.end += line.len() as u64;
        loaded.unterminated = !whole;
    }
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "{\"marmot_cassette\":1,\"program\":\"test\"}\n";
    const ENTRY: &str = "{\"request\":{\"method\":\"GET\",\"url\":\"http://h/\",\"headers\":[]},\"error\":{\"kind\":\"io\"},\"head_us\":1,\"total_us\":2}\n";

    fn read(text: &str) -> Result<Loaded, Error> {
        load(text.as_bytes(), Path::new("x"))
    }

    #[test]
    fn a_file_that_is_torn_anywhere_loads_up_to_its_last_whole_line() {
        let text = format!("{HEADER}{ENTRY}{ENTRY}");
        for end in 0..=text.len() {
            let loaded = read(&text[..end]).unwrap();
            let whole = text[..end].matches('\n').count();
            let but_for_its_line_feed = end + 1 == text.len() || end + 1 == HEADER.len() + ENTRY.len();
            let entries = whole.saturating_sub(1) + usize::from(but_for_its_line_feed);
            assert_eq!(loaded.entries.len(), entries, "{}", &text[..end]);
            assert!(loaded.end as usize <= end);
            assert_eq!(loaded.end == 0, end + 1 < HEADER.len());
        }
    }

    #[test]
    fn what_a_crash_does_not_leave_is_an_error_that_names_its_line() {
        for (text, line) in [
            ("{}\n".to_owned(), "line 1"),
            ("{\"marmot_cassette\":2,\"program\":\"\"}\n".to_owned(), "format 2"),
            (format!("{HEADER}{{\n{ENTRY}"), "line 2"),
            (format!("{HEADER}{ENTRY}[]\n"), "line 3"),
        ] {
            let error = read(&text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            assert!(error.to_string().contains(line), "{error}");
        }
    }

    #[test]
    fn a_torn_line_is_cut_off_before_more_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.jsonl");
        let entry: Entry = serde_json::from_str(ENTRY).unwrap();
        for torn in ["", "{\"req", ENTRY.trim_end()] {
            std::fs::write(&path, format!("{HEADER}{ENTRY}{torn}")).unwrap();
            let tape = Tape::open(&path, Mode::Auto).unwrap();
            let before = tape.unused();
            tape.append(&entry);
            assert!(tape.failure().is_none());
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(read(&text).unwrap().entries.len(), before + 1, "{text}");
            assert!(text.ends_with('\n'));
        }
    }
}
