//! The `marmot` command: reads its arguments and hands them on. No logic of the client is here.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod cli;

/// Counts what scripts allocate, for --max-memory.
#[global_allocator]
static ALLOCATOR: marmot::script::MeteredAllocator = marmot::script::MeteredAllocator::system();

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
    /// stdout, everything else to stderr.
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
    /// Read variables for `env(name)` and --secret from a file; the environment wins over it.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// The folder of the modules that the script can import.
    #[arg(long, value_name = "FOLDER")]
    modules: Option<PathBuf>,
    /// Show each request on stderr: method, URL, status, times, bytes; and all of them as a picture at the end.
    #[arg(long)]
    trace: bool,
    /// Write all requests to a file as an HTTP archive (HAR), which browsers open. Secrets are left out.
    #[arg(long, value_name = "FILE")]
    har: Option<PathBuf>,
    /// Show at the end what the script has used: time, steps, memory, requests, bytes.
    #[arg(long)]
    usage: bool,
    #[command(flatten)]
    permissions: cli::permissions::Permissions,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(run) => cli::run::run(&run),
        Command::Demo => cli::demo::demo(),
    }
}
