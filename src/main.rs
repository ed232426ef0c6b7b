//! The `marmot` command: reads its arguments and hands them on. No logic of the client is here.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

mod cli;

/// Runs scripts that call HTTP APIs.
#[derive(Parser)]
#[command(name = "marmot", version = marmot::version(), arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a script.
    ///
    /// The script sees ARGS as the array `ARGS`, and the environment through `env(name)`. What it prints goes to
    /// stdout, everything else to stderr. Payments go to the URL in STRIPE_API_BASE, or to Stripe.
    ///
    /// Exit codes: 0, 1 for an error of the script, 2 for wrong usage, 124 at the time limit, 130 when interrupted.
    Run(Run),
    /// Show what scripts can do, on a server of its own.
    Demo,
}

#[derive(clap::Args)]
pub(crate) struct Run {
    /// The script, or `-` for stdin.
    script: PathBuf,
    /// What the script sees as `ARGS`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
    /// End the script after this time: seconds, or a number with `ms`, `s` or `m`.
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    timeout: Option<Duration>,
    /// Read variables for `env(name)` from a file; the environment wins over it.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Allow requests to this host only: `name`, `name:port` or `*.domain`. Repeat it for more. Default: all hosts.
    #[arg(long, value_name = "HOST")]
    allow: Vec<String>,
    /// Show each request on stderr: method, URL, status, times, bytes.
    #[arg(long)]
    trace: bool,
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        _ => return Err(format!("`{unit}` is no unit of time; use ms, s or m")),
    };
    let number: f64 = number.parse().map_err(|_| "not a time: write 10, 2.5s, 500ms or 2m".to_owned())?;
    Duration::try_from_secs_f64(number * factor)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "a time limit is above zero".to_owned())
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(run) => cli::run::run(&run),
        Command::Demo => cli::demo::demo(),
    }
}
