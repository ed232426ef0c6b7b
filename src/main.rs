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
    /// stdout, everything else to stderr. Payments go to the URL in STRIPE_API_BASE, or to Stripe.
    ///
    /// Exit codes: 0, 1 for an error of the script, 2 for wrong usage, 124 at the time limit, 130 when interrupted.
    Run(Run),
    /// Look for mistakes in scripts without running them.
    ///
    /// Reports wrong syntax, functions and variables that do not exist, and wrong numbers of arguments, all of them, on
    /// stderr. A method that no type has may be a function in a map: that is a warning.
    ///
    /// Exit codes: 0 none or warnings only, 1 errors, 2 wrong usage.
    Check(Check),
    /// Run what is typed, line by line.
    ///
    /// On a terminal with history, completion and `.help`. Otherwise the inputs are read from stdin and run in order.
    ///
    /// Exit codes: 0, 1 if an input from a pipe failed, 2 for wrong usage, 130 when interrupted.
    Repl(Surroundings),
    /// Show what scripts can do, on a server of its own.
    Demo,
    /// Run scripts for many clients: JSON-RPC over WebSockets at `/ws/` and HTTP at `/rpc`, a page for people at `/`.
    ///
    /// Scripts run in a sandbox that allows nothing but what the flags name, within budgets. The first line on stdout is
    /// the address; the log goes to stderr. Ctrl-C and SIGTERM stop it when running jobs have ended, or at --drain.
    ///
    /// Exit codes: 0, 1 where it cannot start, 2 for wrong settings, 130 when interrupted twice.
    Serve(Box<cli::serve::Serve>),
    /// Take jobs from a queue that servers share, and run them.
    ///
    /// Give it the permissions of the servers: scripts may do here what is allowed here.
    ///
    /// Exit codes: as for serve.
    Worker(Box<cli::serve::Work>),
    /// Run scripts by a service elsewhere, and see their output here.
    ///
    /// Ctrl-C ends the script there; a connection that is lost is made again, and nothing of the output is missed.
    ///
    /// Exit codes: 0, 1 for an error of the script or of the service, 2 for wrong usage, 124 at the time limit, 130 when
    /// interrupted.
    Client(cli::client::Client),
}

#[derive(clap::Args)]
pub(crate) struct Run {
    /// The script, or `-` for stdin.
    script: PathBuf,
    /// What the script sees as `ARGS`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
    /// Show at the end what the script has used: time, steps, memory, requests, bytes.
    #[arg(long)]
    usage: bool,
    #[command(flatten)]
    surroundings: Surroundings,
}

#[derive(clap::Args)]
pub(crate) struct Check {
    /// The scripts, or `-` for stdin.
    #[arg(required = true, value_name = "SCRIPT")]
    scripts: Vec<PathBuf>,
}

/// What scripts find, whichever command runs them.
#[derive(clap::Args, Default)]
pub(crate) struct Surroundings {
    /// Read variables for `env(name)` and --secret from a file; the environment wins over it.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// The folder of the modules that scripts can import.
    #[arg(long, value_name = "FOLDER")]
    modules: Option<PathBuf>,
    /// Show each request on stderr: method, URL, status, times, bytes; and all of a script as a picture at its end.
    #[arg(long)]
    trace: bool,
    /// Write all requests to a file as an HTTP archive (HAR), which browsers open. Secrets are left out.
    #[arg(long, value_name = "FILE")]
    har: Option<PathBuf>,
    #[command(flatten)]
    permissions: cli::permissions::Permissions,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(run) => cli::run::run(&run),
        Command::Check(check) => cli::check::check(&check),
        Command::Repl(surroundings) => cli::repl::repl(&surroundings),
        Command::Demo => cli::demo::demo(),
        Command::Serve(serve) => cli::serve::serve(&serve),
        Command::Worker(work) => cli::serve::work(&work),
        Command::Client(client) => cli::client::client(&client),
    }
}
