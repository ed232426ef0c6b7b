//! Runs a program under callgrind and adds up what its threads have done. Knows nothing of requests.

use std::fs;
use std::ops::{Div, Sub};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::clients::Outcome;

/// Instructions, by thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Of the main thread, which makes the calls.
    pub caller: f64,
    pub others: f64,
}

impl Count {
    pub fn total(self) -> f64 {
        self.caller + self.others
    }

    pub fn min(self, other: Self) -> Self {
        Self { caller: self.caller.min(other.caller), others: self.others.min(other.others) }
    }
}

impl Sub for Count {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { caller: self.caller - other.caller, others: self.others - other.others }
    }
}

impl Div<f64> for Count {
    type Output = Self;

    fn div(self, by: f64) -> Self {
        Self { caller: self.caller / by, others: self.others / by }
    }
}

/// `valgrind-3.19.0`
pub fn version() -> Outcome<String> {
    let output = Command::new("valgrind").arg("--version").output().map_err(|_| "valgrind is missing")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Counts the instructions of a program that ends by itself.
pub fn count(program: &Path, arguments: &[&str]) -> Outcome<Count> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("out");
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--separate-threads=yes", "--fair-sched=yes"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args(arguments)
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("`{}` failed under valgrind", arguments.join(" ")).into());
    }
    let mut count = Count::default();
    // One file for each thread, and an empty one for all.
    for entry in fs::read_dir(folder.path())? {
        let text = String::from_utf8_lossy(&fs::read(entry?.path())?).into_owned();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        let Some(instructions) = field("summary:") else { continue };
        if field("thread:") == Some(1.0) {
            count.caller += instructions;
        } else {
            count.others += instructions;
        }
    }
    Ok(count)
}
