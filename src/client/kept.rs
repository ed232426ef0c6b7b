//! State that outlives a program: in memory, or read from and written to a file of lines in curl's manner.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::cookies::date::{Civil, from_unix, to_unix};
use crate::cookies::file::{at, bad, read_all, replace};
use crate::error::Error;

/// Whether a server has proved its name. What a response says about the future of its host counts only then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    /// The connection has TLS, and the certificate was checked and accepted.
    Verified,
    /// There is no TLS, or the certificate was not checked.
    Unverified,
}

/// What is kept, as lines of a file.
pub(super) trait Lines: Default {
    /// Comments at the top of the file.
    const HEAD: &'static str;

    /// Takes one line in, split into words. `None` if it is not of the format.
    fn read_line(&mut self, words: &[&str]) -> Option<()>;

    /// All lines that have not expired.
    fn write_lines(&self) -> String;
}

/// The state with its place.
pub(super) struct Kept<S: Lines> {
    path: Option<PathBuf>,
    state: Mutex<State<S>>,
    /// Held while the file is written, so that an older state never replaces a newer one.
    saving: Mutex<()>,
}

struct State<S> {
    inner: S,
    changed: bool,
}

impl<S: Lines> Kept<S> {
    pub(super) fn in_memory() -> Self {
        Self::with(None, S::default())
    }

    /// Reads the file; one that is missing is empty.
    pub(super) fn in_file(path: PathBuf) -> Result<Self, Error> {
        let mut state = S::default();
        let text = match std::fs::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::with(Some(path), state)),
            Err(error) => return Err(at(&path, error)),
            Ok(file) => read_all(file)?,
        };
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let wrong = || bad("line", index + 1, format!("not of the format of {}", path.display()));
            let line = str::from_utf8(line).map_err(|_| wrong())?.trim();
            if !line.is_empty() && !line.starts_with('#') {
                words(line).and_then(|words| state.read_line(&words)).ok_or_else(wrong)?;
            }
        }
        Ok(Self::with(Some(path), state))
    }

    fn with(path: Option<PathBuf>, inner: S) -> Self {
        Self { path, state: Mutex::new(State { inner, changed: false }), saving: Mutex::new(()) }
    }

    pub(super) fn read<R>(&self, look: impl FnOnce(&S) -> R) -> R {
        look(&self.lock().inner)
    }

    /// Lets the state be changed; the answer of `change` tells whether it was.
    pub(super) fn change(&self, change: impl FnOnce(&mut S) -> bool) {
        let mut state = self.lock();
        state.changed |= change(&mut state.inner);
    }

    /// Writes the file if anything has changed since.
    pub(super) fn save(&self) -> Result<(), Error> {
        let Some(path) = &self.path else { return Ok(()) };
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let text = {
            let mut state = self.lock();
            if !std::mem::take(&mut state.changed) {
                return Ok(());
            }
            format!("{}{}", S::HEAD, state.inner.write_lines())
        };
        // Written without the lock: requests look at the state meanwhile.
        replace(path, text.as_bytes()).inspect_err(|_| self.lock().changed = true)
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody is left to hear of an error; `save` tells of it.
impl<S: Lines> Drop for Kept<S> {
    fn drop(&mut self) {
        let _ = self.save();
    }
}

/// Words with spaces between them; one in double quotes may hold spaces and comes without the quotes.
fn words(line: &str) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_once([' ', '\t']).unwrap_or((rest, "")),
        };
        words.push(word);
        rest = after.trim_start();
    }
    Some(words)
}

/// The last second that a stamp can name: the end of the year 9999.
const LAST: i64 = 253_402_300_799;

/// `20261231 23:59:59`, in UTC.
pub(super) fn stamp(time: SystemTime) -> String {
    let Civil { year, month, day, hour, minute, second } = Civil::from_unix_seconds(to_unix(time));
    format!("{year:04}{month:02}{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// What [`stamp`] writes, or curl's word `unlimited`.
pub(super) fn read_stamp(text: &str) -> Option<SystemTime> {
    if text == "unlimited" {
        return Some(from_unix(LAST));
    }
    let (date, time) = text.split_once(' ')?;
    let number = |text: Option<&str>| {
        text?.bytes().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    };
    if date.len() != 8 || time.len() != 8 || time.as_bytes()[2] != b':' || time.as_bytes()[5] != b':' {
        return None;
    }
    let civil = Civil {
        year: number(date.get(..4))?,
        month: number(date.get(4..6))?,
        day: number(date.get(6..))?,
        hour: number(time.get(..2))?,
        minute: number(time.get(3..5))?,
        second: number(time.get(6..))?,
    };
    civil.unix_seconds().map(from_unix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_go_there_and_back() {
        let time = read_stamp("20261231 23:59:59").unwrap();
        assert_eq!(to_unix(time), 1_798_761_599);
        assert_eq!(stamp(time), "20261231 23:59:59");
        assert_eq!(stamp(read_stamp("unlimited").unwrap()), "99991231 23:59:59");
        for text in [
            "",
            "20261231",
            "20261331 00:00:00",
            "20260229 00:00:00",
            "2026123a 00:00:00",
            "20261231 1:00:000",
            "\u{e9}026123 00:00:00",
            "20261231 0\u{e9}:00:00",
        ] {
            assert_eq!(read_stamp(text), None, "{text}");
        }
    }

    #[test]
    fn quotes_hold_words_together() {
        assert_eq!(words(r#" a  b "c d" e"#).unwrap(), ["a", "b", "c d", "e"]);
        assert_eq!(words(r#"a "b"#), None);
    }
}
