//! A file fetched whole or not at all, going on where it stopped. Knows requests and files, no transfer.
//!
//! The content grows in `NAME.part`, beside which `NAME.part.info` tells what it is a part of; when it is complete it takes
//! its name in one step. Only a part whose validator (RFC 9110 8.8) still holds is continued (`If-Range`, RFC 9110 13.1.5).

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use futures::channel::oneshot;
use http::header::{ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{Request, Response, StatusCode, Uri};

use super::backoff::{Backoff, retry_after};
use super::blocking::{CancelOnDrop, CancelToken, Patience, block_on_with};
use super::response::copy;
use super::timer::sleep;
use super::{HttpClient, to_uri};
use crate::body::AsyncBody;
use crate::config::{Configurable, RedirectPolicy, RequestConfig, Sealed};
use crate::cookies::file::replace;
use crate::error::{Error, ErrorKind};
use crate::ffi::lock;
use crate::secret::{Shown, without_credentials};

/// Progress is told once in so long at most.
const TELL_PAUSE: Duration = Duration::from_millis(100);
/// The longest `Retry-After` that is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// Fetches a file. Made by [`HttpClient::download`]; a setting of [`Configurable`] is one of its requests.
///
/// The file appears under its name when it is complete, and not before. A download that broke off, in this process or an
/// earlier one, goes on where it stopped if the server still has the same content: that is checked by the `ETag` or
/// `Last-Modified` it sent. Redirects are followed.
///
/// # Examples
///
/// ```no_run
/// use marmot::prelude::*;
///
/// let done = HttpClient::new()?
///     .download("https://example.org/big.iso", "big.iso")?
///     .on_bytes(|so_far, total| eprintln!("{so_far} of {total:?} bytes"))
///     .send()?;
/// println!("{} bytes, {} of them from before", done.bytes, done.resumed_from);
/// # Ok::<(), marmot::Error>(())
/// ```
#[must_use = "a download does nothing until it is sent"]
pub struct Download {
    client: HttpClient,
    request: Request<()>,
    path: PathBuf,
    resume: bool,
    max_attempts: u32,
    tell: Option<Tell>,
}

type Tell = Arc<dyn Fn(u64, Option<u64>) + Send + Sync>;

/// A complete download.
#[derive(Clone)]
#[non_exhaustive]
pub struct Downloaded {
    /// The size of the file.
    pub bytes: u64,
    /// How many of them were there before this download began.
    pub resumed_from: u64,
    /// How many requests it took, redirects not counted.
    pub attempts: u32,
    /// The head of the last response.
    pub response: Response<()>,
}

impl fmt::Debug for Downloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, resumed_from, attempts, response } = self;
        f.debug_struct("Downloaded")
            .field("bytes", bytes)
            .field("resumed_from", resumed_from)
            .field("attempts", attempts)
            .field("status", &response.status())
            .field("headers", &Shown(response.headers(), &[]))
            .finish()
    }
}

impl HttpClient {
    /// Fetches a file, to be continued if it breaks off. See [`Download`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] for a URL that is none.
    pub fn download<U>(&self, uri: U, path: impl Into<PathBuf>) -> Result<Download, Error>
    where
        Uri: TryFrom<U>,
        <Uri as TryFrom<U>>::Error: Into<http::Error>,
    {
        let mut request = Request::new(());
        *request.uri_mut() = to_uri(uri)?;
        Ok(self.download_with(request, path))
    }

    /// Fetches what the request asks for as a file. Its method must be safe to repeat; a `Range` of its own is replaced.
    pub fn download_with(&self, request: Request<()>, path: impl Into<PathBuf>) -> Download {
        Download { client: self.clone(), request, path: path.into(), resume: true, max_attempts: 5, tell: None }
    }
}

impl Sealed for Download {
    fn with_config(mut self, change: impl FnOnce(&mut RequestConfig)) -> Self {
        change(self.request.extensions_mut().get_or_insert_default());
        self
    }
}

impl Configurable for Download {}

impl Download {
    /// Whether to go on with a part that is there. Default: yes.
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// How often in a row it may fail without a single byte of progress before it fails for good. Default: 5.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// Calls `function` with the bytes that are there and the size of the whole, where that is known: ten times a second
    /// at most, and at the end. Default: nobody is told.
    pub fn on_bytes(mut self, function: impl Fn(u64, Option<u64>) + Send + Sync + 'static) -> Self {
        self.tell = Some(Arc::new(function));
        self
    }

    /// Fetches the file, blocking the thread.
    ///
    /// # Errors
    ///
    /// Those of the requests; [`ErrorKind::UnexpectedStatus`] for a status other than 200, 206 or 416;
    /// [`ErrorKind::Io`] for those of the file system, and if another download of this file is running. What has come is
    /// kept as a part.
    pub fn send(self) -> Result<Downloaded, Error> {
        self.run(&Patience::default())
    }

    /// Fetches the file on a thread of its own. Dropping the future ends it; what has come is kept as a part.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn send_async(self) -> impl Future<Output = Result<Downloaded, Error>> + Send + 'static {
        let (done, finished) = oneshot::channel();
        let cancel = CancelOnDrop::new(CancelToken::new());
        let patience = Patience { deadline: None, cancel: Some(cancel.token().clone()) };
        let started = thread::Builder::new().name("marmot-download".into()).spawn(move || {
            let _ = done.send(self.run(&patience));
        });
        async move {
            let _cancel = cancel;
            started.map_err(Error::from)?;
            finished.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Io).with_detail("the download's thread ended")))
        }
    }

    fn run(mut self, patience: &Patience) -> Result<Downloaded, Error> {
        let url = self.request.uri().clone();
        self.prepare();
        let mut part = Part::open(&self.path, &url, self.resume).map_err(|error| error.with_url(&url))?;
        part.limit = self.client.inner.settings(self.request.extensions()).get(|c| c.max_response_size).flatten();
        let resumed_from = part.length;
        let mut fruitless = 0;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let before = part.length;
            let (error, wait) = match self.attempt(&mut part, patience) {
                Ok(response) => {
                    let bytes = part.length;
                    part.complete(&self.path).map_err(|error| error.with_url(&url))?;
                    if let Some(tell) = &self.tell {
                        tell(bytes, Some(bytes));
                    }
                    let resumed_from = if part.restarted { 0 } else { resumed_from };
                    return Ok(Downloaded { bytes, resumed_from, attempts, response });
                }
                Err(Failure::ForGood(error)) => return Err(error.with_url(&url)),
                Err(Failure::MayPass(error, wait)) => (error, wait),
            };
            fruitless = if part.length > before { 1 } else { fruitless + 1 };
            if fruitless >= self.max_attempts {
                return Err(error.with_attempts(attempts).with_url(&url));
            }
            let backoff = Backoff { base: Duration::from_millis(100), most: Duration::from_secs(10) };
            let wait = wait.unwrap_or_else(|| backoff.delay(fruitless - 1, fastrand::f64()));
            block_on_with(sleep(wait), patience).map_err(|error| error.with_url(&url))?;
        }
    }

    /// What all its requests have in common.
    fn prepare(&mut self) {
        // Ranges count the bytes of the file itself.
        self.request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let config = self.request.extensions_mut().get_or_insert_default::<RequestConfig>();
        // It has its own way to try again.
        config.retry = Some(None);
        if self.client.inner.config.request.redirect_policy.is_none() {
            config.redirect_policy.get_or_insert(RedirectPolicy::Follow);
        }
    }

    fn attempt(&self, part: &mut Part, patience: &Patience) -> Result<Response<()>, Failure> {
        let (mut parts, ()) = self.request.clone().into_parts();
        parts.headers.remove(RANGE);
        if let Some(validator) = part.validator.as_ref().filter(|_| part.length > 0) {
            parts.headers.insert(IF_RANGE, validator.clone());
            parts.headers.insert(RANGE, HeaderValue::try_from(format!("bytes={}-", part.length)).map_err(failed)?);
        } else {
            part.restart(None).map_err(Failure::ForGood)?;
        }
        let request = Request::from_parts(parts, AsyncBody::empty());
        let response = self.client.wait_for(patience, || self.client.send_async(request)).and_then(|result| result)?;
        let (head, mut body) = response.into_parts();
        let head = Response::from_parts(head, ());
        match head.status() {
            StatusCode::OK => {
                part.restart(Some((head.headers(), body.len()))).map_err(Failure::ForGood)?;
            }
            StatusCode::PARTIAL_CONTENT => part.check_continues(head.headers())?,
            StatusCode::RANGE_NOT_SATISFIABLE if part.length > 0 => {
                // The part is the whole, or it is of something else.
                let (_, size) = content_range(head.headers());
                if size == Some(part.length) && part.size.is_none_or(|known| known == part.length) {
                    return Ok(head);
                }
                part.restart(None).map_err(Failure::ForGood)?;
                return Err(Failure::MayPass(Error::unexpected_status(head.status()), Some(Duration::ZERO)));
            }
            status if matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504) => {
                let wait = retry_after(head.headers(), SystemTime::now()).map(|wait| wait.min(LONGEST_WAIT));
                return Err(Failure::MayPass(Error::unexpected_status(status), wait));
            }
            status => return Err(Failure::ForGood(Error::unexpected_status(status))),
        }
        self.receive(&mut body, part, patience)?;
        Ok(head)
    }

    fn receive(&self, body: &mut AsyncBody, part: &mut Part, patience: &Patience) -> Result<(), Failure> {
        let mut told = Instant::now();
        let mut broken = None;
        let result = copy(body, patience, |data| {
            if let Err(error) = part.append(data) {
                broken = Some(error);
                return Err(io::Error::other("not written"));
            }
            if let Some(tell) = &self.tell
                && told.elapsed() >= TELL_PAUSE
            {
                told = Instant::now();
                tell(part.length, part.size);
            }
            Ok(())
        });
        match (result, broken) {
            (_, Some(error)) => Err(Failure::ForGood(error)),
            (Err(error), None) => Err(error.into()),
            (Ok(_), None) => match part.size {
                Some(size) if size != part.length => Err(Failure::MayPass(
                    Error::new(ErrorKind::ResponseBodyTruncated)
                        .with_detail(format!("{} of {size} bytes came", part.length)),
                    None,
                )),
                _ => Ok(()),
            },
        }
    }
}

enum Failure {
    ForGood(Error),
    /// Try again, after a time that the server may have asked for.
    MayPass(Error, Option<Duration>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if error.may_pass() { Self::MayPass(error, None) } else { Self::ForGood(error) }
    }
}

fn failed(error: http::header::InvalidHeaderValue) -> Failure {
    Failure::ForGood(Error::new(ErrorKind::InvalidRequest).with_source(error))
}

/// The content so far, and what it is a part of.
struct Part {
    file: File,
    path: PathBuf,
    info: PathBuf,
    url: String,
    /// What was written. The file may be longer for a moment.
    length: u64,
    /// The size of the whole, where it is known.
    size: Option<u64>,
    /// By which the server knows the content again.
    validator: Option<HeaderValue>,
    /// The most bytes that it may have.
    limit: Option<u64>,
    /// What was there at first was thrown away.
    restarted: bool,
}

impl Part {
    fn open(target: &Path, url: &Uri, resume: bool) -> Result<Self, Error> {
        let path = beside(target, ".part");
        let info = beside(target, ".part.info");
        let url = without_credentials(url);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = loop {
            let file = options.open(&path).map_err(|error| io_error("could not open", &path, error))?;
            if !lock::try_lock(&file) {
                let detail = format!("another download is writing `{}`", path.display());
                return Err(Error::new(ErrorKind::Io).with_detail(detail));
            }
            // Between the two another download may have finished, and given what is open here its final name.
            if is_there(&file, &path) {
                break file;
            }
        };
        let length = file.metadata().map_err(|error| io_error("could not look at", &path, error))?.len();
        let mut part =
            Self { file, path, info, url, length: 0, size: None, validator: None, limit: None, restarted: false };
        if resume && let Some((validator, size)) = part.read_info() {
            part.length = length;
            part.size = size;
            part.validator = Some(validator);
            part.seek_to_end()?;
        }
        Ok(part)
    }

    /// The validator and the size of the whole, if the part is of the same URL.
    fn read_info(&self) -> Option<(HeaderValue, Option<u64>)> {
        let text = fs::read_to_string(&self.info).ok()?;
        let mut lines = text.lines();
        if lines.next()? != self.url {
            return None;
        }
        let validator = HeaderValue::from_str(lines.next()?).ok()?;
        Some((validator, lines.next().and_then(|size| size.parse().ok())))
    }

    fn seek_to_end(&mut self) -> Result<(), Error> {
        let result = self.file.seek(SeekFrom::Start(self.length)).map(drop);
        result.map_err(|error| io_error("could not go on with", &self.path, error))
    }

    /// Begins anew, with what the response says about the whole.
    fn restart(&mut self, whole: Option<(&HeaderMap, Option<u64>)>) -> Result<(), Error> {
        self.restarted |= self.length > 0;
        self.length = 0;
        self.size = whole.and_then(|(_, size)| size);
        self.validator = whole.and_then(|(headers, _)| validator(headers));
        self.file.set_len(0).map_err(|error| io_error("could not empty", &self.path, error))?;
        self.seek_to_end()?;
        // What is not known again is not continued.
        match &self.validator {
            Some(validator) => {
                let size = self.size.map(|size| size.to_string()).unwrap_or_default();
                let text = format!("{}\n{}\n{size}\n", self.url, validator.to_str().unwrap_or_default());
                // For the owner alone: the URL may hold a signature.
                replace(&self.info, text.as_bytes())
            }
            None => {
                let _ = fs::remove_file(&self.info);
                Ok(())
            }
        }
    }

    /// Whether a partial response is the rest of this part (RFC 9110 15.3.7).
    fn check_continues(&mut self, headers: &HeaderMap) -> Result<(), Failure> {
        let (start, size) = content_range(headers);
        let same_content = match (validator(headers), &self.validator) {
            (Some(new), Some(old)) => new == *old || !headers.contains_key(ETAG),
            _ => true,
        };
        if self.length > 0 && start == Some(self.length) && same_content && (self.size.is_none() || size == self.size) {
            self.size = size;
            return Ok(());
        }
        let error = Error::new(ErrorKind::ProtocolViolation)
            .with_detail(format!("the partial response does not continue at byte {}", self.length));
        self.restart(None).map_err(Failure::ForGood)?;
        Err(Failure::MayPass(error, Some(Duration::ZERO)))
    }

    fn append(&mut self, data: &[u8]) -> Result<(), Error> {
        // Each response is held to the limit; so must be what several of them make together.
        if let Some(limit) = self.limit.filter(|limit| self.length + data.len() as u64 > *limit) {
            let detail = format!("the file is larger than the limit of {limit} bytes");
            return Err(Error::new(ErrorKind::TooLarge).with_detail(detail));
        }
        if self.size.is_some_and(|size| self.length + data.len() as u64 > size) {
            return Err(Error::new(ErrorKind::ProtocolViolation).with_detail("more bytes came than were announced"));
        }
        self.file.write_all(data).map_err(|error| io_error("could not write to", &self.path, error))?;
        self.length += data.len() as u64;
        Ok(())
    }

    fn complete(&mut self, target: &Path) -> Result<(), Error> {
        // On the disk before it has its name: a crash leaves no torn file there.
        self.file.sync_all().map_err(|error| io_error("could not finish", &self.path, error))?;
        fs::rename(&self.path, target).map_err(|error| io_error("could not put in its place", target, error))?;
        let _ = fs::remove_file(&self.info);
        Ok(())
    }
}

/// Whether the file is still what its path names.
fn is_there(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let (open, named) = (file.metadata().map(place), fs::metadata(path).map(place));
        open.is_ok_and(|open| named.is_ok_and(|named| open == named))
    }
    #[cfg(not(unix))]
    {
        let _ = (file, path);
        true
    }
}

fn beside(target: &Path, ending: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    target.with_file_name(name)
}

fn io_error(what: &str, path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Io).with_detail(format!("{what} `{}`", path.display())).with_source(error)
}

/// What proves that content is still the same: a strong `ETag`, or `Last-Modified` (RFC 9110 13.1.5).
fn validator(headers: &HeaderMap) -> Option<HeaderValue> {
    let strong = |tag: &&HeaderValue| tag.as_bytes().starts_with(b"\"") && tag.to_str().is_ok();
    let date = |value: &&HeaderValue| value.to_str().is_ok_and(|text| httpdate::parse_http_date(text).is_ok());
    match headers.get(ETAG) {
        // A weak one says itself that the bytes may differ.
        Some(tag) => Some(tag).filter(strong).cloned(),
        None => headers.get(LAST_MODIFIED).filter(date).cloned(),
    }
}

/// `bytes START-END/SIZE` or `bytes */SIZE` (RFC 9110 14.4): start and size, where they are given.
fn content_range(headers: &HeaderMap) -> (Option<u64>, Option<u64>) {
    let parse = || {
        let (range, size) = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
        let start = range.split_once('-').and_then(|(start, _)| start.trim().parse().ok());
        Some((start, size.trim().parse().ok()))
    };
    parse().unwrap_or((None, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_strong_validators_count() {
        let of =
            |list: &[(&'static str, &str)]| validator(&headers(list)).map(|value| value.to_str().unwrap().to_owned());
        let date = "Fri, 31 Dec 1999 23:59:59 GMT";
        assert_eq!(of(&[("etag", "\"a\""), ("last-modified", date)]).as_deref(), Some("\"a\""));
        assert_eq!(of(&[("etag", "W/\"a\""), ("last-modified", date)]), None);
        assert_eq!(of(&[("last-modified", date)]).as_deref(), Some(date));
        assert_eq!(of(&[("last-modified", "lately")]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn content_ranges_are_read() {
        let of = |text: &str| content_range(&headers(&[("content-range", text)]));
        assert_eq!(of("bytes 5-9/10"), (Some(5), Some(10)));
        assert_eq!(of("bytes 5-9/*"), (Some(5), None));
        assert_eq!(of("bytes */10"), (None, Some(10)));
        for nonsense in ["", "items 1-2/3", "bytes", "bytes x-y/z"] {
            assert_eq!(of(nonsense), (None, None), "{nonsense}");
        }
    }
}
