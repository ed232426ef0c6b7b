//! `marmot client`: scripts run by a service elsewhere, with their output here. Runs no script itself.

mod call;
mod follow;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Map, Value, json};

use self::call::{Connection, Failure, Place};
use super::host::{self, complain, wrong_usage};
use super::permissions::parse_time;

/// The variable that a token is taken from.
const TOKEN: &str = "MARMOT_TOKEN";

#[derive(clap::Args)]
pub(crate) struct Client {
    /// The service, such as `ws://127.0.0.1:8787`, or `wss://` where it speaks TLS.
    url: String,
    /// The file of the token. Default: the variable MARMOT_TOKEN, if there is one.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Trust this certificate, in PEM, instead of those of the platform.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Run a script there, and show its output as it comes; its last value, where it has one, comes after that.
    Run(Run),
    /// Call a method, such as `job.list '{"states": ["failed"]}'`, and show its result. `rpc.discover` lists them all.
    Call {
        /// The name of the method.
        method: String,
        /// Its parameters: a JSON object or array.
        #[arg(value_parser = parse_json, default_value = "{}")]
        params: Value,
    },
}

#[derive(clap::Args)]
pub(super) struct Run {
    /// The script, `-` for stdin, or with --library the name of one that is kept there.
    script: PathBuf,
    /// An argument, as NAME=VALUE: the script finds it in `ARGS.NAME`. A value that is JSON is taken as that.
    #[arg(value_name = "NAME=VALUE", value_parser = parse_argument)]
    args: Vec<(String, Value)>,
    /// The script is one of the library there: `NAME` or `NAME@VERSION`.
    #[arg(long)]
    library: bool,
    /// The most time that it may run. Default: as the service has it.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    timeout: Option<Duration>,
    /// Run the same script with the same key no more than once.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Show each request on stderr.
    #[arg(long)]
    trace: bool,
    /// Submit it and show the id of the job, without waiting for it.
    #[arg(long)]
    detach: bool,
}

pub(crate) fn client(client: &Client) -> ExitCode {
    let place = match place(client) {
        Ok(place) => place,
        Err(message) => return wrong_usage(&message),
    };
    match &client.command {
        Command::Run(run) => match job(run) {
            Ok(params) if run.detach => submit(&place, params),
            Ok(params) => follow::run(&place, params, run.trace),
            Err(message) => wrong_usage(&message),
        },
        Command::Call { method, params } => match Connection::open(&place).and_then(|mut to| to.call(method, params)) {
            Ok(result) => show(&serde_json::to_string_pretty(&result).unwrap_or_default()),
            Err(failure) => failure.tell(),
        },
    }
}

fn submit(place: &Place, params: Value) -> ExitCode {
    match Connection::open(place).and_then(|mut to| to.call("job.submit", &params)) {
        Ok(result) => show(result["job_id"].as_str().unwrap_or_default()),
        Err(failure) => failure.tell(),
    }
}

fn show(text: &str) -> ExitCode {
    // Whoever reads it may be gone, as after `| head`.
    let _ = writeln!(io::stdout(), "{text}");
    ExitCode::SUCCESS
}

fn place(client: &Client) -> Result<Place, String> {
    let token = match &client.token_file {
        None => std::env::var(TOKEN).ok(),
        Some(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| format!("could not read the token file `{}`: {error}", path.display()))?;
            // The file of a server has the tenant in front.
            let word = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#'));
            let token = word.and_then(|line| line.split_whitespace().last()).map(str::to_owned);
            Some(token.ok_or_else(|| format!("there is no token in `{}`", path.display()))?)
        }
    };
    Place::new(&client.url, token, client.ca.clone())
}

/// What `job.submit` is given.
fn job(run: &Run) -> Result<Value, String> {
    let mut params = Map::new();
    if run.library {
        params.insert("name".into(), run.script.display().to_string().into());
    } else {
        params.insert("script".into(), host::read_script(&run.script)?.1.into());
    }
    if !run.args.is_empty() {
        params.insert("args".into(), Value::Object(run.args.iter().cloned().collect()));
    }
    if let Some(limit) = run.timeout {
        params.insert("timeout_ms".into(), json!(limit.as_millis() as u64));
    }
    if let Some(key) = &run.idempotency_key {
        params.insert("idempotency_key".into(), key.as_str().into());
    }
    Ok(Value::Object(params))
}

fn parse_argument(text: &str) -> Result<(String, Value), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
        }
        _ => Err("write NAME=VALUE, such as customer=cus_42 or amount=2999".into()),
    }
}

fn parse_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))
}

impl Failure {
    /// Shows what went wrong.
    fn tell(&self) -> ExitCode {
        complain(&format!("error: {}", self.message()));
        ExitCode::from(if matches!(self, Self::Interrupted) { host::INTERRUPTED } else { host::SCRIPT_ERROR })
    }
}
