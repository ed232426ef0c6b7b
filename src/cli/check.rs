//! `marmot check`: what is wrong with scripts, as a compiler would say it. Runs none of them.

use std::process::ExitCode;

use marmot::script::Severity;

use super::host::{self, Equipment, SCRIPT_ERROR, complain};
use super::run::CONSTANTS;
use crate::{Check, Surroundings};

pub(crate) fn check(check: &Check) -> ExitCode {
    let engine = match host::equip(&Surroundings::default()).and_then(Equipment::build) {
        Ok((engine, _)) => engine,
        Err(message) => return host::wrong_usage(&message),
    };
    let mut unread = None;
    let (mut errors, mut warnings) = (0, 0);
    for path in &check.scripts {
        let (name, source) = match host::read_script(path) {
            Ok(script) => script,
            Err(message) => {
                unread = Some(host::wrong_usage(&message));
                continue;
            }
        };
        for finding in engine.check(&name, &source, CONSTANTS) {
            match finding.severity() {
                Severity::Warning => warnings += 1,
                _ => errors += 1,
            }
            complain(&format!("{}\n", finding.render()));
        }
    }
    if errors + warnings > 0 {
        complain(&[(errors, "error"), (warnings, "warning")].map(|(count, what)| counted(count, what)).join(", "));
    }
    match unread {
        Some(code) => code,
        None if errors > 0 => ExitCode::from(SCRIPT_ERROR),
        None => ExitCode::SUCCESS,
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
