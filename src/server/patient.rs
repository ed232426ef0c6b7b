//! A connection that waits for its peer, but not for ever: for the first bytes and for what is written to be taken. Speaks no
//! protocol.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep, timeout};

/// So many bytes tell which version of HTTP is spoken (RFC 9113, 3.4). Nobody else waits for them with a limit.
const GREETING: usize = 24;
/// How long a peer that still sends is listened to after the end, so that it can read why.
const LINGER: Duration = Duration::from_secs(1);

/// Such a connection.
pub(super) struct Patient<S: Stream> {
    /// Taken in `drop` only.
    stream: Option<S>,
    patience: Duration,
    /// How many of the first bytes are missing, and for how long they may.
    greeting: Option<(usize, Pin<Box<Sleep>>)>,
    /// For how long the peer may not take what is written.
    writing: Option<Pin<Box<Sleep>>>,
    /// The peer has ended, or the connection has failed.
    over: bool,
}

/// What carries it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

impl<S: Stream> Patient<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        let greeting = Some((GREETING, Box::pin(sleep(patience))));
        Self { stream: Some(stream), patience, greeting, writing: None, over: false }
    }

    fn stream(&mut self) -> Pin<&mut S> {
        Pin::new(self.stream.as_mut().expect("the stream is taken in drop only"))
    }

    /// What a write has given, or an error where the peer has not taken anything for too long.
    fn written<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match polled {
            Poll::Pending => {
                let patience = self.patience;
                let timer = self.writing.get_or_insert_with(|| Box::pin(sleep(patience)));
                ready!(timer.as_mut().poll(context));
                self.over = true;
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Ready(result) => {
                self.writing = None;
                self.over |= result.is_err();
                Poll::Ready(result)
            }
        }
    }
}

impl<S: Stream> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match self.stream().poll_read(context, buffer) {
            Poll::Pending => {
                let Some((_, timer)) = &mut self.greeting else { return Poll::Pending };
                ready!(timer.as_mut().poll(context));
                self.over = true;
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Ready(result) => {
                let read = buffer.filled().len() - before;
                self.over |= result.is_err() || read == 0;
                if let Some((missing, _)) = &mut self.greeting {
                    *missing = missing.saturating_sub(read);
                    if *missing == 0 {
                        self.greeting = None;
                    }
                }
                Poll::Ready(result)
            }
        }
    }
}

impl<S: Stream> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = self.stream().poll_write(context, bytes);
        self.written(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.stream().poll_write_vectored(context, slices);
        self.written(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.stream().poll_flush(context);
        self.written(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.stream().poll_shutdown(context);
        self.written(context, polled)
    }
}

impl<S: Stream> Drop for Patient<S> {
    fn drop(&mut self) {
        let Some(mut stream) = self.stream.take().filter(|_| !self.over) else { return };
        // Closed with something unread, it would be reset, and what was sent last could be lost with it: a refusal of a body
        // that is too large, or the close of a WebSocket.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(LINGER, async move {
                let mut scrap = [0; 1024];
                if stream.shutdown().await.is_ok() {
                    while matches!(stream.read(&mut scrap).await, Ok(1..)) {}
                }
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn the_first_bytes_are_not_waited_for_for_ever() {
        let (mut peer, stream) = tokio::io::duplex(64);
        let mut patient = Patient::new(stream, PATIENCE);
        peer.write_all(&[b'x'; GREETING - 1]).await.unwrap();
        let mut bytes = [0; 64];
        assert_eq!(patient.read(&mut bytes).await.unwrap(), GREETING - 1);
        assert_eq!(patient.read(&mut bytes).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn what_comes_after_them_may_take_its_time() {
        let (mut peer, stream) = tokio::io::duplex(64);
        let mut patient = Patient::new(stream, PATIENCE);
        peer.write_all(&[b'x'; GREETING]).await.unwrap();
        let mut bytes = [0; 64];
        assert_eq!(patient.read(&mut bytes).await.unwrap(), GREETING);
        assert!(timeout(PATIENCE * 3, patient.read(&mut bytes)).await.is_err());
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (mut peer, stream) = tokio::io::duplex(64);
        let mut patient = Patient::new(stream, PATIENCE);
        let error = patient.write_all(&[0; 65]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let mut bytes = [0; 64];
        assert_eq!(peer.read(&mut bytes).await.unwrap(), 64);
    }
}
