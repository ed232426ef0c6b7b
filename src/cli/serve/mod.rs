//! `marmot serve` and `marmot worker`: the service and its workers, from flags and a file. Answers no call itself.

mod config;
mod log;
mod metrics;
mod scripts;
mod stop;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use marmot::queue::redis::RedisQueue;
use marmot::queue::{MemoryQueue, Queue};
use marmot::server::{Server, Tokens};
use marmot::telemetry::Telemetry;
use marmot::worker::Worker;

use self::config::File;
use super::host::{complain, wrong_usage};
use super::permissions::{Grants, parse_time};

/// Where a server listens unless it is told.
const LISTEN: &str = "127.0.0.1:8787";
/// What the queue in Redis is called unless it is told.
const QUEUE: &str = "default";
/// How long running jobs have when the process is asked to stop.
const DRAIN: Duration = Duration::from_secs(20);

/// What a server and a worker have in common. In a file under the same names.
#[derive(clap::Args, Clone, Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Common {
    /// Where jobs wait: `memory`, or `redis://[:PASSWORD@]HOST:PORT[/DATABASE]`, which many processes can share.
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// The name of the queue in Redis: those with different names know nothing of one another. [default: default]
    #[arg(long, value_name = "NAME")]
    queue_name: Option<String>,
    /// Read NAME=VALUE lines from this file, for --secret and --allow-env. The environment wins over it.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// The folder of the modules that scripts can import.
    #[arg(long, value_name = "FOLDER")]
    modules: Option<PathBuf>,
    /// How long running jobs have when the process is asked to stop; the rest go back to the queue. [default: 20s]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    #[serde(deserialize_with = "super::permissions::time")]
    drain: Option<Duration>,
    /// How the log is written: `text` or `json`. [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<log::Format>,
    /// What is logged, such as `info`, `warn` or `marmot=debug`. [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(clap::Args, Clone, Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Own {
    /// Where to listen; port 0 lets the system choose one. [default: 127.0.0.1:8787]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Keep the jobs of the memory queue in this file, so that a restart loses nothing that was accepted.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// How many jobs this process runs at once; 0 where others do. [default: four for each core]
    #[arg(long, value_name = "NUMBER")]
    workers: Option<usize>,
    /// Who may call: a file with a line `TENANT TOKEN` for each. Without it, everybody on this machine.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Let pages of this origin connect, such as `https://app.example.org`. Repeat it for more.
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,
    /// The time limit of jobs that name none. [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    #[serde(deserialize_with = "super::permissions::time")]
    task_timeout: Option<Duration>,
    /// Speak TLS, with this certificate and its chain, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct Serve {
    /// Read settings from this file, in TOML, under the names of the flags. Flags win over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Look whether the settings are valid, and do nothing else.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    own: Own,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    grants: Grants,
}

#[derive(clap::Args)]
pub(crate) struct Work {
    /// Read settings from this file, in TOML: that of the server does; what a worker has no use for is passed over.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How many jobs to run at once. [default: four for each core]
    #[arg(long, value_name = "NUMBER")]
    concurrency: Option<usize>,
    /// The name of this worker, which no other one has. [default: the machine's, with two numbers]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Answer `/metrics` and `/healthz` at this address.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    grants: Grants,
}

/// What was found wrong before anything was started, or why it could not be.
enum Failed {
    Usage(String),
    Start(String),
}

impl Failed {
    fn tell(self) -> ExitCode {
        match self {
            Self::Usage(message) => wrong_usage(&message),
            Self::Start(message) => {
                complain(&format!("error: {message}"));
                ExitCode::FAILURE
            }
        }
    }
}

impl From<String> for Failed {
    fn from(message: String) -> Self {
        Self::Usage(message)
    }
}

pub(crate) fn serve(serve: &Serve) -> ExitCode {
    let done = read(serve.config.as_deref()).and_then(|mut file| {
        file.flags(&serve.common, Some(&serve.own), &serve.grants);
        if serve.check { check(&file) } else { with_runtime(serve_with(file)) }
    });
    done.map_or_else(Failed::tell, |()| ExitCode::SUCCESS)
}

pub(crate) fn work(work: &Work) -> ExitCode {
    let done = read(work.config.as_deref()).and_then(|mut file| {
        file.flags(&work.common, None, &work.grants);
        with_runtime(work_with(file, work))
    });
    done.map_or_else(Failed::tell, |()| ExitCode::SUCCESS)
}

fn read(path: Option<&Path>) -> Result<File, Failed> {
    match path {
        None => Ok(File::default()),
        Some(path) => {
            let text = text_of(path)?;
            File::parse(&text).map_err(|error| Failed::Usage(format!("{}: {error}", path.display())))
        }
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("could not read `{}`: {error}", path.display()))
}

fn with_runtime(main: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failed::Start(format!("no threads can be started: {error}")))?;
    let done = runtime.block_on(main);
    // Scripts that were told to end do so within milliseconds; nothing else is waited for.
    runtime.shutdown_timeout(Duration::from_secs(2));
    done
}

/// All that can be wrong without starting anything.
fn check(file: &File) -> Result<(), Failed> {
    let tokens = tokens(file)?;
    file.server_options(tokens)?;
    scripts::engines(file)?;
    if let Some((certificate, key)) = tls(file)? {
        Server::check_tls(certificate.as_bytes(), key.as_bytes()).map_err(|error| error.to_string())?;
    }
    let queue = file.common.queue.as_deref().unwrap_or("memory");
    if queue != "memory" {
        let name = file.common.queue_name.as_deref().unwrap_or(QUEUE);
        check_queue(queue, name)?;
    }
    let _ = writeln!(io::stdout(), "the settings are valid");
    Ok(())
}

fn tokens(file: &File) -> Result<Option<Tokens>, String> {
    let Some(path) = &file.own.token_file else { return Ok(None) };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let others = std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0);
        if others {
            complain(&format!("warning: others can read `{0}`; `chmod 600 {0}` keeps them out", path.display()));
        }
    }
    Tokens::parse(&text_of(path)?).map(Some).map_err(|error| format!("{}: {error}", path.display()))
}

/// The certificate and its key.
fn tls(file: &File) -> Result<Option<(String, String)>, String> {
    match (&file.own.tls_certificate, &file.own.tls_key) {
        (Some(certificate), Some(key)) => Ok(Some((text_of(certificate)?, text_of(key)?))),
        (None, None) => Ok(None),
        _ => Err("`tls-certificate` and `tls-key` belong together".into()),
    }
}

async fn serve_with(file: File) -> Result<(), Failed> {
    let tokens = tokens(&file)?;
    let options = file.server_options(tokens)?;
    let engines = Arc::new(scripts::engines(&file)?);
    let tls = tls(&file)?;
    log::start(&file.common)?;
    let stop = stop::signals().map_err(|error| Failed::Start(format!("signals cannot be listened to: {error}")))?;
    let queue = queue(&file).await?;
    let telemetry = Telemetry::new();
    let address = match file.own.listen {
        Some(address) => address,
        None => LISTEN.parse().map_err(|_| format!("{LISTEN} is no address"))?,
    };
    let open = options.tokens.is_none();
    let server = Server::bind(address, queue.clone(), options, telemetry.clone()).await;
    let mut server = server.map_err(|error| Failed::Start(format!("cannot listen at {address}: {error}")))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    if let Some((certificate, key)) = tls {
        server = server.tls(certificate.as_bytes(), key.as_bytes()).map_err(|error| error.to_string())?;
    }
    let address = server.address().map_err(|error| Failed::Start(error.to_string()))?;
    for warning in queue.warnings().await.unwrap_or_default() {
        tracing::warn!("{warning}");
    }
    if open {
        tracing::warn!("there is no token file: everybody on this machine can run scripts");
    }
    let jobs = file.own.workers.unwrap_or_else(default_jobs);
    let drain = file.common.drain.unwrap_or(DRAIN);
    tracing::info!(workers = jobs, "marmot {} serves {scheme}://{address}/", env!("CARGO_PKG_VERSION"));
    // For those who start it and wait until they can connect.
    let _ = writeln!(io::stdout(), "{scheme}://{address}/").and_then(|()| io::stdout().flush());
    let working = (jobs > 0).then(|| {
        let worker = Worker::new(queue.clone(), engines, worker_name(), jobs).telemetry(telemetry);
        tokio::spawn(Arc::new(worker).run(stop.clone().stopped(), drain))
    });
    server.serve(stop.stopped()).await;
    if let Some(working) = working {
        let _ = working.await;
    }
    tracing::info!("stopped");
    Ok(())
}

async fn work_with(file: File, work: &Work) -> Result<(), Failed> {
    let engines = Arc::new(scripts::engines(&file)?);
    if file.common.queue.as_deref().unwrap_or("memory") == "memory" {
        let message = "a worker needs a queue that it shares with a server: --queue redis://HOST:PORT";
        return Err(Failed::Usage(message.into()));
    }
    log::start(&file.common)?;
    let stop = stop::signals().map_err(|error| Failed::Start(format!("signals cannot be listened to: {error}")))?;
    let queue = queue(&file).await?;
    for warning in queue.warnings().await.unwrap_or_default() {
        tracing::warn!("{warning}");
    }
    let telemetry = Telemetry::new();
    if let Some(address) = work.metrics {
        let serving = metrics::serve(address, telemetry.clone()).await;
        serving.map_err(|error| Failed::Start(format!("cannot listen at {address}: {error}")))?;
    }
    let jobs = work.concurrency.unwrap_or_else(default_jobs);
    let name = work.name.clone().unwrap_or_else(worker_name);
    tracing::info!(worker = name, concurrency = jobs, "marmot {} takes jobs", env!("CARGO_PKG_VERSION"));
    let worker = Arc::new(Worker::new(queue, engines, name, jobs).telemetry(telemetry));
    worker.run(stop.stopped(), file.common.drain.unwrap_or(DRAIN)).await;
    tracing::info!("stopped");
    Ok(())
}

async fn queue(file: &File) -> Result<Arc<dyn Queue>, Failed> {
    let settings = file.queue_settings();
    match file.common.queue.as_deref().unwrap_or("memory") {
        "memory" => Ok(match &file.own.journal {
            None => Arc::new(MemoryQueue::new(settings)),
            Some(path) => Arc::new(
                MemoryQueue::with_journal(settings, path)
                    .map_err(|error| Failed::Start(format!("the journal `{}`: {error}", path.display())))?,
            ),
        }),
        address => {
            let name = file.common.queue_name.as_deref().unwrap_or(QUEUE);
            check_queue(address, name)?;
            match RedisQueue::connect(address, name, settings).await {
                Ok(queue) => Ok(Arc::new(queue)),
                Err(error) => Err(Failed::Start(error.to_string())),
            }
        }
    }
}

/// Refuses what is no queue, without a password that may be in it.
fn check_queue(address: &str, name: &str) -> Result<(), String> {
    if !address.starts_with("redis") {
        let shown = address.split('@').next_back().unwrap_or_default();
        return Err(format!("`{shown}` is no queue: `memory`, `redis://HOST:PORT` or `redis+cluster://HOST:PORT`"));
    }
    RedisQueue::check(address, name).map_err(|error| error.to_string())
}

/// Scripts wait most of the time.
fn default_jobs() -> usize {
    4 * std::thread::available_parallelism().map_or(1, usize::from)
}

/// The machine, the process, and something that tells it from an earlier process with the same number.
fn worker_name() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let machine: String = machine.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).collect();
    let machine = if machine.is_empty() { "worker" } else { &machine };
    format!("{machine}-{}-{:04x}", std::process::id(), fastrand::u16(..))
}
