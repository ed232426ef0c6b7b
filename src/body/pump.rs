//! A blocking reader as a stream of chunks, read on a thread of its own. Knows nothing of HTTP.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::stream::Stream;

use super::PIECE;

/// Chunks that may wait between the reading thread and the transfer.
const AHEAD: usize = 4;

/// Starts its thread when it is first polled. The thread ends with the reader's end or error, or at its next chunk once
/// the pump is dropped; a reader that blocks for ever keeps its thread, and nothing else waits for it.
pub(super) enum Pump {
    Waiting(Option<Box<dyn Read + Send>>),
    Running(mpsc::Receiver<io::Result<Bytes>>),
}

impl Pump {
    pub(super) fn new(reader: impl Read + Send + 'static, limit: Option<u64>) -> Self {
        Self::Waiting(Some(match limit {
            Some(limit) => Box::new(reader.take(limit)),
            None => Box::new(reader),
        }))
    }

    fn start(reader: Box<dyn Read + Send>) -> io::Result<mpsc::Receiver<io::Result<Bytes>>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        thread::Builder::new().name("marmot-read".into()).spawn(move || pump(reader, sender))?;
        Ok(receiver)
    }
}

fn pump(mut reader: Box<dyn Read + Send>, mut sender: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = vec![0; PIECE];
        // A panic that ended the thread in silence would look like the end of the body.
        let result = catch_unwind(AssertUnwindSafe(|| reader.read(&mut piece)))
            .unwrap_or_else(|_| Err(io::Error::other("the reader panicked")));
        let chunk = match result {
            Ok(0) => return,
            Ok(amount) => {
                piece.truncate(amount);
                Ok(Bytes::from(piece))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let last = chunk.is_err();
        if send(&mut sender, chunk).is_err() || last {
            return;
        }
    }
}

/// Waits for room. The channel's own waiting is asynchronous; a thread parks for it.
fn send(sender: &mut mpsc::Sender<io::Result<Bytes>>, chunk: io::Result<Bytes>) -> Result<(), mpsc::SendError> {
    let waker = std::task::Waker::from(std::sync::Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match sender.poll_ready(&mut cx) {
            Poll::Ready(Ok(())) => return sender.start_send(chunk),
            Poll::Ready(Err(gone)) => return Err(gone),
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}

impl Stream for Pump {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match &mut *self {
                Self::Running(receiver) => return Pin::new(receiver).poll_next(cx),
                Self::Waiting(reader) => {
                    let Some(reader) = reader.take() else { return Poll::Ready(None) };
                    match Self::start(reader) {
                        Ok(receiver) => *self = Self::Running(receiver),
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use futures::executor::block_on;

    #[test]
    fn a_reader_arrives_whole_and_in_order() {
        let data: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
        let pump = Pump::new(io::Cursor::new(data.clone()), None);
        let all = block_on(pump.fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk.unwrap());
            all
        }));
        assert!(all == data);
    }

    #[test]
    fn an_error_is_the_last_item() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let mut pump = Pump::new(Broken, None);
        assert!(block_on(pump.next()).unwrap().is_err());
        assert!(block_on(pump.next()).is_none());
    }
}
