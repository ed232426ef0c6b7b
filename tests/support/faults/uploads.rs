//! Routes that treat the request body badly, or have their own mind about `Expect: 100-continue`. All of them are
//! left the body by the server.

use std::io;
use std::time::{Duration, Instant};

use super::super::responder::Responder;
use super::{Call, Route, leave};

pub(super) const ROUTES: &[Route] = &[
    leave("/early-response", too_large),
    leave("/early-response/reset", |call, r| {
        too_large(call, r)?;
        r.reset();
        Ok(())
    }),
    leave("/expect/ignored", count_body),
    leave("/expect/refused", |call, r| match call.request.expects_continue() {
        true => {
            r.announce_close();
            r.text(417, "no expectations, please\n")
        }
        false => count_body(call, r),
    }),
    leave("/stall-upload", |call, r| {
        r.limit_receive_buffer(64 * 1024);
        take(call, r, 64 * 1024)?;
        r.stall()
    }),
    leave("/slow-read-upload", slow_read),
    leave("/reset/after-request-head", |call, r| {
        take(call, r, 16 * 1024)?;
        r.reset();
        Ok(())
    }),
];

fn too_large(_: &Call<'_>, r: &mut Responder<'_>) -> io::Result<()> {
    r.announce_close();
    r.text(413, "that is too much\n")
}

fn count_body(_: &Call<'_>, r: &mut Responder<'_>) -> io::Result<()> {
    let mut count = 0;
    while r.read_body(usize::MAX, |part| count += part.len())? {}
    r.text(200, &count.to_string())
}

/// Reads about so many bytes of the body, or all of it.
fn take(call: &Call<'_>, r: &mut Responder<'_>, limit: usize) -> io::Result<()> {
    if call.request.expects_continue() {
        r.go_on()?;
    }
    let mut count = 0;
    while count < limit && r.read_body(limit - count, |part| count += part.len())? {}
    Ok(())
}

fn slow_read(call: &Call<'_>, r: &mut Responder<'_>) -> io::Result<()> {
    let rate = call.option("rate", 1024 * 1024_u32)?.max(1);
    let part = (rate as usize / 50).max(1);
    r.limit_receive_buffer(64 * 1024);
    if call.request.expects_continue() {
        r.go_on()?;
    }
    let start = Instant::now();
    let mut count = 0;
    while r.read_body(part, |part| count += part.len())? {
        let due = Duration::from_secs_f64(count as f64 / f64::from(rate));
        r.sleep(due.saturating_sub(start.elapsed()))?;
    }
    r.text(200, &count.to_string())
}
