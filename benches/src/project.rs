//! Small programs of their own, with the dependencies and features that they ask for and no others. Runs none of them.
//!
//! Cargo unites the features of all that is built together, so what a crate costs by itself shows in a project of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The workspace's folder.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A project in a temporary folder, which goes with it, and all that was built.
pub struct Project {
    folder: TempDir,
}

/// What a build from nothing has made.
pub struct Built {
    pub program: PathBuf,
    pub took: Duration,
    /// Crates that were compiled, the project's own one and build scripts' dependencies included.
    pub crates: usize,
}

impl Project {
    /// `dependencies` are the lines of that section; versions are those of this workspace. Downloads what is missing, so
    /// that a build is not slower for it.
    pub fn new(dependencies: &str, main: &str) -> io::Result<Self> {
        let folder = TempDir::with_prefix("marmot-bench-")?;
        let write = |path: &str, text: &str| fs::write(folder.path().join(path), text);
        fs::create_dir(folder.path().join("src"))?;
        let package = "[package]\nname = \"project\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n";
        write("Cargo.toml", &format!("{package}{dependencies}\n"))?;
        write("src/main.rs", main)?;
        fs::copy(Path::new(ROOT).join("Cargo.lock"), folder.path().join("Cargo.lock"))?;
        let project = Self { folder };
        let fetched = project.cargo("fetch").args(["--quiet"]).status()?;
        if fetched.success() { Ok(project) } else { Err(io::Error::other("the dependencies could not be fetched")) }
    }

    /// Builds it in release mode.
    pub fn build(&self) -> io::Result<Built> {
        let start = Instant::now();
        let output = self.cargo("build").args(["--release", "--offline", "--message-format", "json"]).output()?;
        let took = start.elapsed();
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let messages: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let artifacts = messages.iter().filter(|message| message["reason"] == "compiler-artifact");
        let mut crates: Vec<&str> = artifacts.filter_map(|message| message["package_id"].as_str()).collect();
        crates.sort_unstable();
        crates.dedup();
        let program = messages.iter().find_map(|message| message["executable"].as_str());
        let program = program.ok_or_else(|| io::Error::other("cargo names no program"))?.into();
        Ok(Built { program, took, crates: crates.len() })
    }

    fn cargo(&self, command: &str) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.arg(command).current_dir(self.folder.path()).stdin(Stdio::null());
        cargo.env("CARGO_TARGET_DIR", self.folder.path().join("target"));
        cargo
    }
}
