//! Measures what a program pays for having a client: size, crates, and the time of a build from nothing. Sends nothing.
//!
//! ```text
//! cargo bench -p marmot-bench --bench footprint              all, about half an hour; results/footprint.json
//! cargo bench -p marmot-bench --bench footprint -- marmot    those whose names begin so; writes no file
//! ```
//!
//! Each program does one GET and prints the body. It is a project of its own with an empty target folder, built in release
//! mode with as many jobs as there are cores; everything was downloaded before. The folder is removed when it was measured.

mod programs;

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};

use marmot_bench::page;
use marmot_bench::project::{Built, Project};
use marmot_bench::results::{Part, Table};

use programs::{PROGRAMS, Program};

const MIB: f64 = (1 << 20) as f64;

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match measure(&names) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(names: &[String]) -> Result<(), Box<dyn Error>> {
    let columns = ["program", "features", "crates", "build, s", "MiB", "stripped, MiB"];
    let mut table = Table::new("A program that does one GET", &columns);
    for program in PROGRAMS {
        if !names.is_empty() && !names.iter().any(|name| program.name.starts_with(name.as_str())) {
            continue;
        }
        let Measured { crates, seconds, size, stripped } = build(program)?;
        eprintln!(
            "{} ({}): {crates} crates, {seconds:.0} s, {size} bytes, {stripped} stripped",
            program.name, program.what
        );
        table.row([
            program.name.into(),
            program.what.into(),
            (crates as f64).into(),
            seconds.into(),
            (size as f64 / MIB).into(),
            (stripped as f64 / MIB).into(),
        ]);
    }
    println!("{table}");
    if names.is_empty() {
        let mut part = Part::new("Footprint");
        part.notes.push(
            "A build from nothing in release mode, with cargo's defaults and one job for each core. libcurl, and the C code of TLS \
             libraries, is compiled in and counts: in the time and the size, and in the crates as the one that has it."
                .to_owned(),
        );
        part.tables.push(table);
        part.save("footprint")?;
        page::write()?;
    }
    Ok(())
}

struct Measured {
    crates: usize,
    seconds: f64,
    /// Bytes.
    size: u64,
    stripped: u64,
}

fn build(program: &Program) -> io::Result<Measured> {
    let project = Project::new(&program.dependencies(), &program.main())?;
    let Built { program, took, crates } = project.build()?;
    let size = fs::metadata(&program)?.len();
    strip(&program)?;
    Ok(Measured { crates, seconds: took.as_secs_f64(), size, stripped: fs::metadata(&program)?.len() })
}

fn strip(program: &Path) -> io::Result<()> {
    let status = Command::new("strip").arg(program).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("strip failed")) }
}
