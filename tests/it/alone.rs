//! Tests that count what the whole process has run in a process of their own. Counts nothing itself.

use std::process::{Command, Stdio};
use std::time::Duration;

/// Whether this is such a process. If not, runs the test in one and asserts that it passes there.
pub(crate) fn is_alone(test: &str) -> bool {
    run_alone(test, |_| {})
}

/// The same, where the process is prepared by `prepare`: its environment, for example.
pub(crate) fn run_alone(test: &str, prepare: impl FnOnce(&mut Command)) -> bool {
    const ALONE: &str = "MARMOT_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .env(ALONE, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    prepare(&mut command);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("1 passed"), "`{test}` is not the name of a test");
    false
}

/// Processor time of this process so far.
pub(crate) fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = text.rsplit(')').next().unwrap().split_whitespace();
    // User and system time, in hundredths of a second.
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
