//! Reading a response: text, bytes, JSON, files; and what is known beside it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use futures::channel::oneshot;
use futures::io::{AsyncWrite, AsyncWriteExt};
use http::{Response, Uri};

use super::blocking::{CancelOnDrop, CancelToken, Patience, block_on, block_on_with};
use super::text;
use super::trail::{Redirected, Trail};
use crate::body::{AsyncBody, Body};
use crate::cookies::CookieJar;
use crate::error::{Error, ErrorKind};
use crate::head::{Facts, Metrics};

/// What is known about a response beside its head and body.
pub trait ResponseExt {
    /// The URL that answered: after redirects not the one that was asked first.
    fn effective_uri(&self) -> Option<&Uri>;
    /// The jar that keeps the cookies of this response, if there is one.
    fn cookie_jar(&self) -> Option<&CookieJar>;
    /// The redirects that were followed before this response, the first one first.
    fn history(&self) -> &[Redirected];
    /// How often the request was sent until this response came; redirects do not count. 1 without retries.
    fn attempts(&self) -> u32;
    /// The address of this side of the connection.
    fn local_addr(&self) -> Option<SocketAddr>;
    /// The address of the other side of the connection: the server's, or a proxy's.
    fn remote_addr(&self) -> Option<SocketAddr>;
    /// How the time was spent, if [`metrics`](crate::config::Configurable::metrics) is on. Asked again after the body
    /// was read, it tells of the whole transfer.
    fn metrics(&self) -> Option<Metrics>;
}

impl<T> ResponseExt for Response<T> {
    fn effective_uri(&self) -> Option<&Uri> {
        facts(self).map(|facts| &facts.uri)
    }

    fn cookie_jar(&self) -> Option<&CookieJar> {
        self.extensions().get()
    }

    fn history(&self) -> &[Redirected] {
        self.extensions().get().map_or(&[], Trail::redirects)
    }

    fn attempts(&self) -> u32 {
        self.extensions().get().map_or(1, Trail::attempts)
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        facts(self)?.ends.local()
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        facts(self)?.ends.remote()
    }

    fn metrics(&self) -> Option<Metrics> {
        facts(self)?.metrics.as_ref().map(|measured| measured.latest())
    }
}

fn facts<T>(response: &Response<T>) -> Option<&Facts> {
    response.extensions().get()
}

/// Names the URL in an error of the body.
fn named<T, R>(response: &Response<T>, result: Result<R, Error>) -> Result<R, Error> {
    result.map_err(|error| match facts(response) {
        Some(facts) => error.with_url(&facts.uri),
        None => error,
    })
}

#[cfg(feature = "json")]
fn parse_json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::new(ErrorKind::InvalidResponseBody).with_detail("not the expected JSON").with_source(error)
    })
}

/// Reads the body of a response, blocking the thread.
pub trait ReadResponseExt {
    /// Reads the rest of the body and throws it away, so that the connection can be used again whatever its size.
    ///
    /// # Errors
    ///
    /// Those of the transfer.
    fn consume(&mut self) -> Result<(), Error>;

    /// Copies the rest of the body to a writer and returns how many bytes that were.
    ///
    /// # Errors
    ///
    /// Those of the transfer; [`ErrorKind::Io`] for those of the writer.
    fn copy_to<W: Write>(&mut self, writer: W) -> Result<u64, Error>;

    /// Copies the rest of the body to a file and returns how many bytes that were. An existing file is replaced once the
    /// body is complete, and stays as it is if it is not.
    ///
    /// # Errors
    ///
    /// Those of the transfer; [`ErrorKind::Io`] for those of the file system.
    fn copy_to_file<P: AsRef<Path>>(&mut self, path: P) -> Result<u64, Error>;

    /// The rest of the body.
    ///
    /// # Errors
    ///
    /// Those of the transfer.
    fn bytes(&mut self) -> Result<Vec<u8>, Error>;

    /// The rest of the body as text, by its byte order mark, the charset of `Content-Type`, or as UTF-8. What is no text
    /// in that charset becomes U+FFFD.
    ///
    /// # Errors
    ///
    /// Those of the transfer; [`ErrorKind::InvalidResponseBody`] for a charset that is not known.
    fn text(&mut self) -> Result<String, Error>;

    /// The rest of the body parsed as JSON.
    ///
    /// # Errors
    ///
    /// Those of the transfer; [`ErrorKind::InvalidResponseBody`] if it is not the JSON that `T` asks for.
    #[cfg(feature = "json")]
    fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Error>;
}

impl ReadResponseExt for Response<Body> {
    fn consume(&mut self) -> Result<(), Error> {
        self.copy_to(io::sink()).map(drop)
    }

    fn copy_to<W: Write>(&mut self, mut writer: W) -> Result<u64, Error> {
        let result = copy(self.body_mut().as_async(), &Patience::default(), |data| writer.write_all(data));
        named(self, result)
    }

    fn copy_to_file<P: AsRef<Path>>(&mut self, path: P) -> Result<u64, Error> {
        let result = copy_to_file(self.body_mut().as_async(), path.as_ref(), &Patience::default());
        named(self, result)
    }

    fn bytes(&mut self) -> Result<Vec<u8>, Error> {
        let result = block_on(self.body_mut().as_async().collect(u64::MAX));
        named(self, result)
    }

    fn text(&mut self) -> Result<String, Error> {
        let result = ReadResponseExt::bytes(self).and_then(|bytes| text::decode(bytes, self.headers()));
        named(self, result)
    }

    #[cfg(feature = "json")]
    fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Error> {
        let result = ReadResponseExt::bytes(self).and_then(|bytes| parse_json(&bytes));
        named(self, result)
    }
}

pub(super) fn copy(
    body: &mut AsyncBody,
    patience: &Patience,
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<u64, Error> {
    let mut total = 0;
    loop {
        // The piece is written outside the future: a slow writer holds up nobody.
        block_on_with(std::future::poll_fn(|cx| body.poll_fill_typed(cx).map_ok(drop)), patience)??;
        let amount = match body.poll_fill_typed(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(piece) => {
                let piece = piece?;
                write(piece).map_err(|error| Error::new(ErrorKind::Io).with_source(error))?;
                piece.len()
            }
            std::task::Poll::Pending => continue,
        };
        if amount == 0 {
            return Ok(total);
        }
        body.consume_typed(amount);
        total += amount as u64;
    }
}

fn copy_to_file(body: &mut AsyncBody, path: &Path, patience: &Patience) -> Result<u64, Error> {
    let failed = |what: &str, path: &Path, error: io::Error| {
        Error::new(ErrorKind::Io).with_detail(format!("{what} `{}`", path.display())).with_source(error)
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // Two copies to one name, in this process or another, do not meet.
    static COUNT: AtomicU64 = AtomicU64::new(0);
    name.push(format!(".{}-{}.part", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let part = path.with_file_name(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&part)
        .map_err(|error| failed("could not create", &part, error))?;
    let copied = copy(body, patience, |data| file.write_all(data)).and_then(|total| {
        fs::rename(&part, path).map_err(|error| failed("could not put the file in its place", path, error))?;
        Ok(total)
    });
    if copied.is_err() {
        let _ = fs::remove_file(&part);
    }
    copied
}

/// Reads the body of a response asynchronously, under any executor. The methods are those of [`ReadResponseExt`].
pub trait AsyncReadResponseExt {
    /// As [`ReadResponseExt::consume`].
    ///
    /// # Errors
    ///
    /// As there.
    fn consume(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// As [`ReadResponseExt::copy_to`].
    ///
    /// # Errors
    ///
    /// As there.
    fn copy_to<W: AsyncWrite + Unpin + Send>(&mut self, writer: W) -> impl Future<Output = Result<u64, Error>> + Send;

    /// As [`ReadResponseExt::copy_to_file`]. The file is written on a thread of its own; dropping the future ends it.
    ///
    /// # Errors
    ///
    /// As there.
    fn copy_to_file<P: AsRef<Path> + Send>(&mut self, path: P) -> impl Future<Output = Result<u64, Error>> + Send;

    /// As [`ReadResponseExt::bytes`].
    ///
    /// # Errors
    ///
    /// As there.
    fn bytes(&mut self) -> impl Future<Output = Result<Vec<u8>, Error>> + Send;

    /// As [`ReadResponseExt::text`].
    ///
    /// # Errors
    ///
    /// As there.
    fn text(&mut self) -> impl Future<Output = Result<String, Error>> + Send;

    /// As [`ReadResponseExt::json`].
    ///
    /// # Errors
    ///
    /// As there.
    #[cfg(feature = "json")]
    fn json<T: serde::de::DeserializeOwned>(&mut self) -> impl Future<Output = Result<T, Error>> + Send;
}

impl AsyncReadResponseExt for Response<AsyncBody> {
    async fn consume(&mut self) -> Result<(), Error> {
        AsyncReadResponseExt::copy_to(self, futures::io::sink()).await.map(drop)
    }

    async fn copy_to<W: AsyncWrite + Unpin + Send>(&mut self, mut writer: W) -> Result<u64, Error> {
        let result = async {
            let total = futures::io::copy_buf(self.body_mut(), &mut writer).await?;
            writer.flush().await?;
            Ok(total)
        }
        .await;
        named(self, result)
    }

    async fn copy_to_file<P: AsRef<Path> + Send>(&mut self, path: P) -> Result<u64, Error> {
        let (done, finished) = oneshot::channel();
        let cancel = CancelOnDrop::new(CancelToken::new());
        let patience = Patience { deadline: None, cancel: Some(cancel.token().clone()) };
        let path = path.as_ref().to_owned();
        let mut body = std::mem::take(self.body_mut());
        let started = thread::Builder::new().name("marmot-write".into()).spawn(move || {
            let result = copy_to_file(&mut body, &path, &patience);
            let _ = done.send((body, result));
        });
        let result = match started {
            Ok(_) => match finished.await {
                Ok((body, result)) => {
                    *self.body_mut() = body;
                    result
                }
                Err(_) => Err(Error::new(ErrorKind::Io).with_detail("the writing thread ended")),
            },
            Err(error) => Err(Error::from(error)),
        };
        drop(cancel);
        named(self, result)
    }

    async fn bytes(&mut self) -> Result<Vec<u8>, Error> {
        let result = self.body_mut().collect(u64::MAX).await;
        named(self, result)
    }

    async fn text(&mut self) -> Result<String, Error> {
        let result = AsyncReadResponseExt::bytes(self).await.and_then(|bytes| text::decode(bytes, self.headers()));
        named(self, result)
    }

    #[cfg(feature = "json")]
    async fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Error> {
        let result = AsyncReadResponseExt::bytes(self).await.and_then(|bytes| parse_json(&bytes));
        named(self, result)
    }
}
