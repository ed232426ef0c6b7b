//! The scripts that run within Redis, with the settings of the queue in front of them. Sends none of them.

use std::time::Duration;

use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use super::super::job::{Cause, Outcome, State};
use super::super::time::millis;
use super::super::{Settings, ledger};
use crate::hex;

/// Times beyond this are as good as for ever, and Redis knows none that are much longer.
const EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

macro_rules! scripts {
    ($($name:ident $file:literal $repeatable:literal,)*) => {
        /// What can be asked of Redis.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Script { $($name),* }

        impl Script {
            const ALL: &[(Self, &str)] = &[$((Self::$name, include_str!(concat!("lua/", $file, ".lua")))),*];

            /// Whether it does no harm to run it again where nobody knows whether it has run.
            pub(super) fn is_repeatable(self) -> bool {
                match self { $(Self::$name => $repeatable),* }
            }
        }
    };
}

scripts! {
    Submit "submit" false,
    Job "job" true,
    List "list" true,
    Cancel "cancel" true,
    Retry "retry" false,
    // A lease that nobody heard of would be an attempt that counts.
    Lease "lease" false,
    Renew "renew" true,
    Tell "tell" false,
    Complete "complete" true,
    Release "release" false,
    Events "events" true,
    Tend "tend" true,
    Beat "beat" true,
    Leave "leave" true,
    Workers "workers" true,
    Stats "stats" true,
    Put "put" false,
    Record "record" true,
    Records "records" true,
    Names "names" true,
    Remove "remove" false,
    Info "info" true,
}

/// A script as it is sent.
#[derive(Clone)]
pub(super) struct Text {
    pub(super) text: String,
    /// What Redis calls it.
    pub(super) sha: String,
}

/// All of them, for one queue.
pub(super) struct Scripts(Vec<Text>);

impl Scripts {
    pub(super) fn new(settings: &Settings) -> Self {
        let (head, common) = (head(settings), include_str!("lua/common.lua"));
        let text = |body: &str| {
            let text = format!("{head}{common}{body}");
            let sha = hex::encode(&Sha1::digest(text.as_bytes()));
            Text { text, sha }
        };
        Self(Script::ALL.iter().map(|(_, body)| text(body)).collect())
    }

    pub(super) fn get(&self, script: Script) -> &Text {
        &self.0[script as usize]
    }
}

/// The table of settings that the scripts know as `S`.
fn head(settings: &Settings) -> String {
    let Settings {
        lease,
        waiting_per_tenant,
        waiting,
        running_per_tenant,
        keep,
        kept_per_tenant,
        kept_bytes_per_tenant: _,
        remember,
        job_size: _,
        value_size: _,
        events,
        event_bytes,
        records,
    } = settings;
    let time = |time: &Duration| millis((*time).min(EVER)).max(1);
    let how = |outcome: &Outcome| {
        let state = quoted(outcome.state().name());
        let Told { outcome, brief, result } = Told::new(outcome);
        let [outcome, brief, result] = [quoted(&outcome), quoted(&brief), quoted(&result)];
        format!("{{ state = {state}, outcome = {outcome}, brief = {brief}, result = {result} }}")
    };
    format!(
        "local S = {{ lease = {}, waiting_per_tenant = {waiting_per_tenant}, waiting = {waiting}, \
         running_per_tenant = {running_per_tenant}, keep = {}, kept_per_tenant = {kept_per_tenant}, remember = {}, \
         events = {events}, event_bytes = {event_bytes}, records = {records}, worker_gone = {},\n\
         cancelled = {},\ntimed_out = {},\ndead = {} }}\n",
        time(lease),
        time(keep),
        time(remember),
        ledger::WORKER_GONE,
        how(&ledger::ended_by(Cause::Cancelled)),
        how(&ledger::ended_by(Cause::TimedOut)),
        how(&ledger::given_up("<attempts>", "<worker>")),
    )
}

/// A text as Lua has it.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\r', "\\r");
    format!("\"{escaped}\"")
}

/// An outcome in the texts that Redis keeps of it.
pub(super) struct Told {
    /// All of it.
    pub(super) outcome: String,
    /// What a list shows.
    pub(super) brief: String,
    /// The event.
    pub(super) result: String,
}

impl Told {
    pub(super) fn new(outcome: &Outcome) -> Self {
        let failure = outcome.failure.clone().map(|mut failure| {
            (failure.rendered, failure.value) = (None, None);
            failure
        });
        let brief = Outcome { failure, duration_ms: outcome.duration_ms, ..Outcome::default() };
        Self {
            outcome: json!(outcome).to_string(),
            brief: json!(brief).to_string(),
            result: ledger::result(outcome).to_string(),
        }
    }
}

/// A state by its name.
pub(super) fn state(name: &str) -> Option<State> {
    serde_json::from_value(Value::from(name)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_found_where_their_names_are() {
        for (place, (script, _)) in Script::ALL.iter().enumerate() {
            assert_eq!(*script as usize, place);
        }
    }

    #[test]
    fn texts_cannot_leave_their_quotes() {
        assert_eq!(quoted("a\"b\\c\nd"), r#""a\"b\\c\nd""#);
    }

    #[test]
    fn times_without_an_end_are_numbers_that_redis_knows() {
        let head = head(&Settings { keep: Duration::MAX, lease: Duration::ZERO, ..Settings::default() });
        assert!(head.contains("keep = 3153600000000,") && head.contains("lease = 1,"), "{head}");
    }
}
