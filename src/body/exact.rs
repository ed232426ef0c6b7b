//! A body held to the length that it has declared: one that ends early is an error, what comes beyond is not read.
//!
//! Where a body is sent as it is, libcurl holds it to its `Content-Length`. Inside of another body nobody would: the
//! rest would be sent as if nothing were missing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncBufRead, AsyncRead};

use super::AsyncBody;

pub(super) struct Exact {
    body: AsyncBody,
    /// What is still to come, where that is known.
    left: Option<u64>,
}

impl Exact {
    pub(super) fn new(body: AsyncBody) -> Self {
        Self { left: body.left(), body }
    }

    /// How much of `amount` may be read now.
    fn most(&self, amount: usize) -> usize {
        self.left.map_or(amount, |left| usize::try_from(left).map_or(amount, |left| left.min(amount)))
    }

    /// Zero bytes were read where there was room for more.
    fn check_end(&self) -> io::Result<()> {
        match self.left {
            None | Some(0) => Ok(()),
            Some(left) => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the body ended {left} bytes before the end that it declared"),
            )),
        }
    }

    fn count(&mut self, amount: usize) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(amount as u64);
        }
    }
}

impl AsyncRead for Exact {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let most = self.most(buffer.len());
        if most == 0 {
            return Poll::Ready(Ok(0));
        }
        let amount = ready!(self.body.poll_read_typed(cx, &mut buffer[..most]))?;
        if amount == 0 {
            self.check_end()?;
        }
        self.count(amount);
        Poll::Ready(Ok(amount))
    }
}

impl AsyncBufRead for Exact {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.left == Some(0) {
            return Poll::Ready(Ok(&[]));
        }
        let most = match ready!(this.body.poll_fill_typed(cx))?.len() {
            0 => return Poll::Ready(this.check_end().map(|()| &[][..])),
            amount => this.most(amount),
        };
        // Asked again, as the borrow of the first answer could not be given out after it was looked at.
        Poll::Ready(Ok(&ready!(this.body.poll_fill_typed(cx))?[..most]))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.body.consume_typed(amount);
        self.count(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use futures::io::{AsyncReadExt, Cursor};

    fn read(length: u64) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let body = AsyncBody::from_reader_sized(Cursor::new("marmot"), length);
        block_on(Exact::new(body).read_to_end(&mut all)).map(|_| all)
    }

    fn copy(length: u64) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let body = AsyncBody::from_reader_sized(Cursor::new("marmot"), length);
        block_on(futures::io::copy_buf(Exact::new(body), &mut all)).map(|_| all)
    }

    #[test]
    fn a_body_is_held_to_its_length() {
        for read in [read, copy] {
            assert_eq!(read(6).unwrap(), b"marmot");
            assert_eq!(read(3).unwrap(), b"mar");
            assert_eq!(read(0).unwrap(), b"");
            assert_eq!(read(7).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
