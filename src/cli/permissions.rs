//! What a script may do, from the command line: the sandbox that the flags describe. Runs nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use marmot::script::rhai::Map;
use marmot::script::{Budget, Sandbox, ScriptEngineBuilder, ScriptError, ScriptErrorKind};
use serde::Deserialize as _;
use serde::de::Error as _;

#[derive(clap::Args, Default)]
#[command(next_help_heading = "Permissions")]
pub(crate) struct Permissions {
    /// For a script that you did not write: allow nothing but what the other flags name, within budgets.
    ///
    /// Without it, a script may do what you may; a flag of this list, such as --allow, then allows only what it names.
    #[arg(long)]
    sandbox: bool,
    /// End the script, or the input of a prompt, after this time: seconds, or a number with `ms`, `s` or `m`.
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    timeout: Option<Duration>,
    #[command(flatten)]
    grants: Grants,
}

/// What a sandbox lets through, and how much of it. In a file of settings under the same names.
#[derive(clap::Args, Clone, Debug, Default, serde::Deserialize)]
#[command(next_help_heading = "Permissions")]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Grants {
    /// Allow requests to this host: `name`, `name:port`, `*.domain` or `http://name:8080`. Repeat it for more.
    ///
    /// In a sandbox, a host without `http://` is asked over TLS only.
    #[arg(long, value_name = "HOST")]
    allow: Vec<String>,
    /// Allow this address or network beyond the public internet, such as `10.0.0.0/8` or `127.0.0.1`. In a sandbox.
    #[arg(long, value_name = "NETWORK")]
    allow_address: Vec<String>,
    /// Allow this method. A sandbox allows GET, HEAD and OPTIONS by itself.
    #[arg(long, value_name = "METHOD")]
    allow_method: Vec<String>,
    /// Allow proxies, in a sandbox.
    #[arg(long)]
    allow_proxy: bool,
    /// Allow to send this file, or what is in this folder.
    #[arg(long, value_name = "PATH")]
    allow_read: Vec<PathBuf>,
    /// Allow to write this file, or into this folder.
    #[arg(long, value_name = "PATH")]
    allow_write: Vec<PathBuf>,
    /// Allow `env(NAME)`.
    #[arg(long, value_name = "NAME")]
    allow_env: Vec<String>,
    /// Give the script the variable NAME as `secret("NAME")`, which can be sent to HOST and nowhere else.
    #[arg(long, value_name = "NAME@HOST", value_parser = parse_secret)]
    #[serde(deserialize_with = "secrets")]
    secret: Vec<(String, String)>,
    /// The most steps of the script.
    #[arg(long, value_name = "NUMBER", value_parser = parse_amount)]
    #[serde(deserialize_with = "amount")]
    max_operations: Option<u64>,
    /// The most memory of its values: bytes, or a number with `k`, `M` or `G`.
    #[arg(long, value_name = "SIZE", value_parser = parse_amount)]
    #[serde(deserialize_with = "amount")]
    max_memory: Option<u64>,
    /// The most calls within calls.
    #[arg(long, value_name = "NUMBER", value_parser = parse_amount)]
    #[serde(deserialize_with = "amount")]
    max_call_depth: Option<u64>,
    /// The most requests.
    #[arg(long, value_name = "NUMBER", value_parser = parse_amount)]
    #[serde(deserialize_with = "amount")]
    max_requests: Option<u64>,
    /// The most requests at once.
    #[arg(long, value_name = "NUMBER", value_parser = parse_amount)]
    #[serde(deserialize_with = "amount")]
    max_requests_at_once: Option<u64>,
    /// The most bytes sent.
    #[arg(long, value_name = "SIZE", value_parser = parse_amount)]
    #[serde(deserialize_with = "amount")]
    max_sent: Option<u64>,
    /// The most bytes received.
    #[arg(long, value_name = "SIZE", value_parser = parse_amount)]
    #[serde(deserialize_with = "amount")]
    max_received: Option<u64>,
    /// The most bytes of one response.
    #[arg(long, value_name = "SIZE", value_parser = parse_amount)]
    #[serde(deserialize_with = "amount")]
    max_response_size: Option<u64>,
    /// The most bytes printed.
    #[arg(long, value_name = "SIZE", value_parser = parse_amount)]
    #[serde(deserialize_with = "amount")]
    max_output: Option<u64>,
}

/// Sets a budget.
type Set = fn(Sandbox, u64) -> Sandbox;

impl Permissions {
    /// The sandbox that the flags describe.
    pub(crate) fn sandbox(&self) -> Sandbox {
        let sandbox = self.grants.sandbox(self.sandbox);
        match self.timeout {
            Some(limit) => sandbox.time_limit(limit),
            None => sandbox,
        }
    }

    /// Gives the engine its secrets, whose values the variables hold.
    pub(crate) fn secrets(
        &self,
        builder: ScriptEngineBuilder,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<ScriptEngineBuilder, String> {
        self.grants.secrets(builder, variable)
    }
}

impl Grants {
    /// What others name is taken in place of what is named here.
    pub(crate) fn overlay(&mut self, others: &Self) {
        let Self {
            allow,
            allow_address,
            allow_method,
            allow_proxy,
            allow_read,
            allow_write,
            allow_env,
            secret,
            max_operations,
            max_memory,
            max_call_depth,
            max_requests,
            max_requests_at_once,
            max_sent,
            max_received,
            max_response_size,
            max_output,
        } = others.clone();
        replace(&mut self.allow, allow);
        replace(&mut self.allow_address, allow_address);
        replace(&mut self.allow_method, allow_method);
        self.allow_proxy |= allow_proxy;
        replace(&mut self.allow_read, allow_read);
        replace(&mut self.allow_write, allow_write);
        replace(&mut self.allow_env, allow_env);
        replace(&mut self.secret, secret);
        for (mine, other) in [
            (&mut self.max_operations, max_operations),
            (&mut self.max_memory, max_memory),
            (&mut self.max_call_depth, max_call_depth),
            (&mut self.max_requests, max_requests),
            (&mut self.max_requests_at_once, max_requests_at_once),
            (&mut self.max_sent, max_sent),
            (&mut self.max_received, max_received),
            (&mut self.max_response_size, max_response_size),
            (&mut self.max_output, max_output),
        ] {
            *mine = other.or(*mine);
        }
    }

    /// The sandbox that they describe. `strict`: nothing else is allowed.
    pub(crate) fn sandbox(&self, strict: bool) -> Sandbox {
        let mut sandbox = if strict { Sandbox::new() } else { Sandbox::open() };
        // A list that is not given stays as it is.
        if !self.allow.is_empty() {
            sandbox = sandbox.hosts(&self.allow);
        }
        sandbox = sandbox.addresses(&self.allow_address);
        if !self.allow_method.is_empty() {
            let reading = ["GET", "HEAD", "OPTIONS"].iter().filter(|_| strict).map(|method| (*method).to_owned());
            sandbox = sandbox.methods(reading.chain(self.allow_method.iter().cloned()));
        }
        if strict {
            sandbox = sandbox.proxies(self.allow_proxy);
        }
        if !self.allow_read.is_empty() {
            sandbox = sandbox.readable(&self.allow_read);
        }
        if !self.allow_write.is_empty() {
            sandbox = sandbox.writable(&self.allow_write);
        }
        if !self.allow_env.is_empty() {
            sandbox = sandbox.environment(&self.allow_env);
        }
        let budgets: [(Option<u64>, Set); 9] = [
            (self.max_operations, Sandbox::max_operations),
            (self.max_memory, Sandbox::max_memory),
            (self.max_call_depth, Sandbox::max_call_depth),
            (self.max_requests, Sandbox::max_requests),
            (self.max_requests_at_once, Sandbox::max_requests_at_once),
            (self.max_sent, Sandbox::max_sent),
            (self.max_received, Sandbox::max_received),
            (self.max_response_size, Sandbox::max_response_size),
            (self.max_output, Sandbox::max_output),
        ];
        for (most, set) in budgets {
            if let Some(most) = most {
                sandbox = set(sandbox, most);
            }
        }
        sandbox
    }

    /// Gives the engine its secrets, whose values the variables hold.
    pub(crate) fn secrets(
        &self,
        mut builder: ScriptEngineBuilder,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<ScriptEngineBuilder, String> {
        let mut hosts = BTreeMap::<_, Vec<_>>::new();
        for (name, host) in &self.secret {
            hosts.entry(name).or_default().push(host);
        }
        for (name, hosts) in hosts {
            let text = variable(name).ok_or_else(|| {
                format!(
                    "--secret {name}@...: there is no variable `{name}`, neither in the environment nor in the env file"
                )
            })?;
            builder = builder.secret(name, text, hosts);
        }
        Ok(builder)
    }
}

fn replace<T>(mine: &mut Vec<T>, others: Vec<T>) {
    if !others.is_empty() {
        *mine = others;
    }
}

/// What to do about an error, where a flag helps.
pub(crate) fn advice(error: &ScriptError) -> Option<String> {
    if let ScriptErrorKind::Budget(budget) = error.kind() {
        let more = error.limit()?.saturating_mul(2);
        return Some(format!("{} {more} would allow twice as much", flag(budget)?));
    }
    if error.kind() == ScriptErrorKind::TimeLimit {
        return Some("--timeout gives it more time".into());
    }
    let thrown = error.value()?.clone().try_cast::<Map>()?;
    let text = |name: &str| thrown.get(name).and_then(|value| value.clone().into_string().ok());
    let what = text("what").unwrap_or_default();
    Some(match text("permission")?.as_str() {
        "host" => {
            let url = text("url").and_then(|url| url.parse::<marmot::http::Uri>().ok())?;
            let address = text("message")?.contains("the address ");
            let flag = if address { "--allow-address with that address" } else { "--allow" };
            match url.authority() {
                Some(_) if address => format!("{flag} would allow it"),
                Some(host) if url.scheme_str() == Some("http") => format!("--allow http://{host} would allow it"),
                Some(host) => format!("--allow {host} would allow it"),
                None => return None,
            }
        }
        "method" => format!("--allow-method {what} would allow it"),
        "proxy" => "--allow-proxy would allow it".into(),
        "environment" => format!("--allow-env {what} would allow it"),
        "read" => format!("--allow-read {what} would allow it"),
        "write" => format!("--allow-write {what} would allow it"),
        "secret" => format!("--secret {what}@HOST binds it to a host; repeat it for more"),
        _ => return None,
    })
}

fn flag(budget: Budget) -> Option<&'static str> {
    Some(match budget {
        Budget::Operations => "--max-operations",
        Budget::Memory => "--max-memory",
        Budget::CallDepth => "--max-call-depth",
        Budget::Requests => "--max-requests",
        Budget::RequestsAtOnce => "--max-requests-at-once",
        Budget::Sent => "--max-sent",
        Budget::Received => "--max-received",
        Budget::ResponseSize => "--max-response-size",
        Budget::Output => "--max-output",
        _ => return None,
    })
}

fn parse_secret(text: &str) -> Result<(String, String), String> {
    match text.split_once('@') {
        Some((name, host)) if !name.is_empty() && !host.is_empty() => Ok((name.to_owned(), host.to_owned())),
        _ => Err("write NAME@HOST, such as STRIPE_KEY@api.stripe.com".into()),
    }
}

/// The same in a file.
fn secrets<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| parse_secret(text).map_err(D::Error::custom)).collect()
}

/// An amount in a file: a number, or a text with a unit.
pub(crate) fn amount<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    match NumberOrText::deserialize(from)? {
        NumberOrText::Number(number) => Ok(Some(number)),
        NumberOrText::Text(text) => parse_amount(&text).map(Some).map_err(D::Error::custom),
    }
}

/// A time in a file: seconds, or a text with a unit.
pub(crate) fn time<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    match NumberOrText::deserialize(from)? {
        NumberOrText::Number(seconds) => Ok(Some(Duration::from_secs(seconds))),
        NumberOrText::Text(text) => parse_time(&text).map(Some).map_err(D::Error::custom),
    }
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
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

fn parse_amount(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let factor = match unit {
        "" => 1,
        "k" | "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return Err(format!("`{unit}` is no unit; use k, M or G")),
    };
    let number: u64 = number.parse().map_err(|_| "not a whole number: write 1000, 64M or 2G".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "too large".to_owned())
}
