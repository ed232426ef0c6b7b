//! A job from its submission to its end: output as it comes, Ctrl-C, connections that break.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::host::{INTERRUPTED, Interrupts, SCRIPT_ERROR, complain};
use super::super::paint::Paint;
use super::call::{Connection, Failure, Place};

const TIMED_OUT: u8 = 124;
/// How often a lost connection is tried again, and how long after that.
const TRIES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(200);

/// Runs a script there, and shows what it does.
pub(super) fn run(place: &Place, mut params: Value, trace: bool) -> ExitCode {
    // So that a job whose answer was lost on the way is not submitted twice.
    if params.get("idempotency_key").is_none() {
        params["idempotency_key"] = format!("client-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)).into();
    }
    let interrupts = Interrupts::new(true);
    interrupts.watch();
    let mut job = Job { place, params, trace, id: None, next: 1, cancelled: false, interrupts };
    let mut tries = 0;
    loop {
        let before = job.next;
        match job.follow() {
            Ok(code) => return code,
            Err(Failure::Interrupted) if !job.cancelled => {
                job.cancelled = true;
                complain("interrupted: the script is told to end");
            }
            // The first connection has to succeed: what is not there need not be waited for.
            Err(Failure::Lost(message)) if job.id.is_some() && tries < TRIES => {
                tries = if job.next > before { 1 } else { tries + 1 };
                complain(&format!("{message}; trying again"));
                std::thread::sleep(PAUSE * 2_u32.pow(tries - 1));
            }
            Err(failure) => {
                let code = failure.tell();
                if let Some(id) = &job.id {
                    complain(&format!("the job is {id}"));
                }
                return code;
            }
        }
    }
}

struct Job<'a> {
    place: &'a Place,
    params: Value,
    trace: bool,
    id: Option<String>,
    /// The event to be shown next.
    next: u64,
    cancelled: bool,
    interrupts: Interrupts,
}

impl Job<'_> {
    /// Shows what happens until the end.
    fn follow(&mut self) -> Result<ExitCode, Failure> {
        let mut to = Connection::open(self.place)?.cancelled_by(self.interrupts.start());
        let id = match self.id.clone() {
            Some(id) => id,
            None => {
                let submitted = to.call("job.submit", &self.params)?;
                let id = submitted["job_id"].as_str().unwrap_or_default().to_owned();
                self.id.insert(id).clone()
            }
        };
        if self.cancelled {
            to.call("job.cancel", &json!({ "job_id": id }))?;
        }
        to.call("job.subscribe", &json!({ "job_id": id, "from_seq": self.next }))?;
        loop {
            let mut message = to.next()?;
            if message["method"] != "job.event" {
                continue;
            }
            let event = message["params"].take();
            if let Some(seq) = event["seq"].as_u64() {
                self.next = seq + 1;
            }
            if let Some(code) = self.show(&event) {
                return Ok(code);
            }
        }
    }

    /// Shows an event. The last one tells how to end.
    fn show(&mut self, event: &Value) -> Option<ExitCode> {
        let data = &event["data"];
        match event["kind"].as_str().unwrap_or_default() {
            "log" if data["debug"] == true => complain(data["text"].as_str().unwrap_or_default()),
            "log" => {
                let written = writeln!(io::stdout(), "{}", data["text"].as_str().unwrap_or_default());
                if written.and_then(|()| io::stdout().flush()).is_err() {
                    // Whoever reads the output is gone, as after `| head`. The job goes on.
                    return Some(ExitCode::SUCCESS);
                }
            }
            "http" if self.trace => complain(&request(data)),
            "lagged" => {
                self.next += event["missed"].as_u64().unwrap_or_default();
                complain(&format!("{} events came too fast and were lost", event["missed"]));
            }
            "result" => return Some(self.end(data)),
            _ => {}
        }
        None
    }

    fn end(&self, data: &Value) -> ExitCode {
        let failure = &data["failure"];
        if failure.is_null() {
            if !data["value"].is_null() {
                let _ = writeln!(io::stdout(), "{}", plain(&data["value"]));
            }
            return ExitCode::SUCCESS;
        }
        let paint = Paint::of(&io::stderr());
        let text = failure["rendered"].as_str().or(failure["message"].as_str()).unwrap_or("the script has failed");
        complain(&format!("{} {}", paint.red("error:"), text.strip_prefix("error: ").unwrap_or(text)));
        ExitCode::from(match data["state"].as_str() {
            Some("timed_out") => TIMED_OUT,
            Some("cancelled") if self.cancelled => INTERRUPTED,
            _ => SCRIPT_ERROR,
        })
    }
}

/// A value as text: one that is text without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn request(data: &Value) -> String {
    let answer = match data["error"].as_str() {
        Some(error) => format!("failed: {error}"),
        None => data["status"].to_string(),
    };
    format!(
        "{} {} {answer} {:.1} ms, {} bytes",
        data["method"].as_str().unwrap_or_default(),
        data["url"].as_str().unwrap_or_default(),
        data["duration_ms"].as_f64().unwrap_or_default(),
        data["bytes"],
    )
}
