//! What the hand-written libcurl loops share: the callbacks, the options and the loop over transfers. Waits for
//! nothing itself: [`Turn`] does.

use curl::easy::{Easy2, Handler, HttpVersion, List, ReadError, WriteError};
use curl::multi::{Easy2Handle, Multi};
use marmot_bench::load::{Failure, Load, Verb};

use crate::drive::{Outcome, Slice};

/// How a loop waits and how it tells libcurl.
pub trait Turn: Sized + 'static {
    fn fresh() -> Outcome<Self>;
    fn multi(&self) -> &Multi;
    /// Does what can be done without waiting.
    fn perform(&mut self) -> Outcome;
    fn wait(&mut self) -> Outcome;
}

/// Makes a raw loop ready. `buffer` is the size of libcurl's buffers, both ways; `None` leaves its defaults.
pub fn start<T: Turn>(_: &Load, buffer: Option<usize>) -> Outcome<Slice> {
    let mut kept = Loop::<T>::fresh(buffer)?;
    Ok(Box::new(move |load| {
        if !load.fresh {
            return kept.run(load);
        }
        let single = Load { requests: 1, ..load.clone() };
        (0..load.requests).try_for_each(|_| Loop::<T>::fresh(buffer)?.run(&single))
    }))
}

struct Loop<T> {
    turn: T,
    idle: Vec<Easy2<Transfer>>,
    buffer: Option<usize>,
}

impl<T: Turn> Loop<T> {
    fn fresh(buffer: Option<usize>) -> Outcome<Self> {
        Ok(Self { turn: T::fresh()?, idle: Vec::new(), buffer })
    }

    fn run(&mut self, load: &Load) -> Outcome {
        let mut active = Vec::with_capacity(load.lanes);
        for lane in 0..load.lanes {
            let mut easy = self.idle.pop().unwrap_or_else(|| Easy2::new(Transfer::default()));
            configure(&mut easy, load, self.buffer)?;
            active.push(Some(self.add(easy, lane)?));
        }
        let mut running = load.lanes;
        let mut left = load.requests - load.lanes;
        let mut finished = Vec::new();
        while running > 0 {
            self.turn.perform()?;
            self.turn.multi().messages(|message| finished.push((message.token(), message.result())));
            if finished.is_empty() {
                self.turn.wait()?;
            }
            for (lane, result) in finished.drain(..) {
                let (lane, Some(result)) = (lane?, result) else { continue };
                let handle = active[lane].take().expect("a transfer finishes once");
                let mut easy = self.turn.multi().remove2(handle)?;
                load.settle(result.map_err(Failure::from).and_then(|()| easy.get_ref().length()))?;
                if left > 0 {
                    left -= 1;
                    easy.get_mut().again();
                    active[lane] = Some(self.add(easy, lane)?);
                } else {
                    running -= 1;
                    self.idle.push(easy);
                }
            }
        }
        Ok(())
    }

    fn add(&self, easy: Easy2<Transfer>, lane: usize) -> Outcome<Easy2Handle<Transfer>> {
        let mut handle = self.turn.multi().add2(easy)?;
        handle.set_token(lane)?;
        Ok(handle)
    }
}

/// Sets a handle up for a load, once: the next request of the same load needs no more than [`Transfer::again`].
pub fn configure(easy: &mut Easy2<Transfer>, load: &Load, buffer: Option<usize>) -> Outcome {
    *easy.get_mut() = Transfer { verb: Some(load.verb), upload: load.body(), ..Transfer::default() };
    easy.url(&load.url)?;
    easy.fail_on_error(true)?;
    if let Some(file) = &load.ca {
        easy.cainfo(file)?;
    }
    if load.http1 {
        easy.http_version(HttpVersion::V11)?;
    }
    // Streams of one connection rather than many connections: where TLS negotiates HTTP/2.
    easy.pipewait(load.url.starts_with("https:"))?;
    // When thousands come at once none is idle: looking for one each time would be quadratic.
    easy.fresh_connect(load.hold > 0)?;
    if load.verb == Verb::Upload {
        easy.post(true)?;
        easy.post_field_size(load.length)?;
        let mut headers = List::new();
        headers.append("Expect:")?; // no waiting for "100 Continue"
        easy.http_headers(headers)?;
    }
    if let Some(size) = buffer {
        easy.buffer_size(size)?;
        easy.upload_buffer_size(size)?;
    }
    Ok(())
}

/// The callbacks of one transfer.
#[derive(Default)]
pub struct Transfer {
    verb: Option<Verb>,
    body: Vec<u8>,
    discarded: u64,
    upload: &'static [u8],
    sent: usize,
}

impl Transfer {
    /// Makes ready for another request. The body's memory goes, as it would with a response that is handed on.
    pub fn again(&mut self) {
        *self = Self { verb: self.verb, upload: self.upload, ..Self::default() };
    }

    /// What the finished request has to report.
    pub fn length(&self) -> Outcome<u64> {
        match self.verb {
            Some(Verb::Upload) => Ok(std::str::from_utf8(&self.body)?.parse()?),
            Some(Verb::Discard) => Ok(self.discarded),
            Some(Verb::Fetch) | None => Ok(self.body.len() as u64),
        }
    }
}

impl Handler for Transfer {
    fn header(&mut self, line: &[u8]) -> bool {
        if self.verb == Some(Verb::Fetch)
            && let Some((name, value)) = line.split_at_checked("content-length:".len())
            && name.eq_ignore_ascii_case(b"content-length:")
            && let Some(length) = std::str::from_utf8(value).ok().and_then(|value| value.trim().parse().ok())
        {
            self.body.reserve_exact(length);
        }
        true
    }

    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        if self.verb == Some(Verb::Discard) {
            self.discarded += data.len() as u64;
        } else {
            self.body.extend_from_slice(data);
        }
        Ok(data.len())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let left = &self.upload[self.sent..];
        let size = left.len().min(buffer.len());
        buffer[..size].copy_from_slice(&left[..size]);
        self.sent += size;
        Ok(size)
    }
}
