//! The settings of the service: those of a file in TOML, and the flags that win over them. Starts nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use marmot::queue::Settings;
use marmot::server::{Hook, Scheme, ServerOptions, Tokens};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::super::host::variables;
use super::super::permissions::{Grants, amount, time};
use super::{Common, Own, default_jobs};

/// All settings.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) own: Own,
    pub(super) common: Common,
    /// What scripts may do, of all tenants that have no entry of their own.
    pub(super) grants: Grants,
    /// What the scripts of some tenants may do.
    pub(super) tenants: BTreeMap<String, Grants>,
    limits: Limits,
    jobs: Jobs,
    hooks: BTreeMap<String, HookEntry>,
}

/// `[limits]`: see `ServerOptions`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Limits {
    message_size: Option<usize>,
    batch: Option<usize>,
    connections: Option<usize>,
    sessions_per_tenant: Option<usize>,
    calls_per_session: Option<usize>,
    subscriptions_per_session: Option<usize>,
    outgoing: Option<usize>,
    calls_per_second: Option<u32>,
    #[serde(deserialize_with = "time")]
    longest_task: Option<Duration>,
    #[serde(deserialize_with = "time")]
    silence: Option<Duration>,
    #[serde(deserialize_with = "time")]
    patience: Option<Duration>,
}

/// `[jobs]`: see `Settings`. The same for all processes that share a queue.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Jobs {
    #[serde(deserialize_with = "time")]
    lease: Option<Duration>,
    waiting_per_tenant: Option<u64>,
    waiting: Option<u64>,
    running_per_tenant: Option<u64>,
    #[serde(deserialize_with = "time")]
    keep: Option<Duration>,
    kept_per_tenant: Option<u64>,
    #[serde(deserialize_with = "amount")]
    kept_bytes_per_tenant: Option<u64>,
    #[serde(deserialize_with = "time")]
    remember: Option<Duration>,
    job_size: Option<usize>,
    value_size: Option<usize>,
    events: Option<usize>,
    event_bytes: Option<usize>,
    records: Option<u64>,
}

/// `[hooks.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct HookEntry {
    /// Whose it is. Default: that of a server without tokens.
    tenant: Option<String>,
    /// The script in the library.
    script: String,
    /// `stripe` or `hmac`.
    scheme: SchemeName,
    /// The names of the variables that hold what it is signed with.
    secrets: Vec<String>,
    /// For `hmac`: the header of the signature.
    header: Option<String>,
    /// For `hmac`: what stands before its digits.
    #[serde(default)]
    prefix: String,
    /// For `hmac`: the header that names the event.
    id_header: Option<String>,
    #[serde(default, deserialize_with = "time")]
    timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SchemeName {
    Stripe,
    Hmac,
}

/// Which names belong where, as a file has them side by side.
const COMMON: &[&str] = &["queue", "queue-name", "env-file", "modules", "drain", "log-format", "log"];
const OWN: &[&str] =
    &["listen", "journal", "workers", "token-file", "origin", "task-timeout", "tls-certificate", "tls-key"];

impl File {
    /// The settings of a text.
    ///
    /// # Errors
    ///
    /// What is wrong, and where.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut table: Table =
            text.parse().map_err(|error: toml::de::Error| error.to_string().trim_end().to_owned())?;
        let hooks = part(&mut table, "hooks")?;
        let limits = part(&mut table, "limits")?;
        let jobs = part(&mut table, "jobs")?;
        let tenants = part(&mut table, "tenants")?;
        let mut take = |names: &[&str]| -> Table {
            names.iter().filter_map(|name| Some(((*name).to_owned(), table.remove(*name)?))).collect()
        };
        let (common, own) = (take(COMMON), take(OWN));
        Ok(Self {
            own: read(own, "")?,
            common: read(common, "")?,
            // What is left; an unknown name is told with those that there are.
            grants: read(table, "")?,
            tenants,
            limits,
            jobs,
            hooks,
        })
    }

    /// Flags win over the file.
    pub(super) fn flags(&mut self, common: &Common, own: Option<&Own>, grants: &Grants) {
        let Common { queue, queue_name, env_file, modules, drain, log_format, log } = common.clone();
        let mine = &mut self.common;
        set(&mut mine.queue, queue);
        set(&mut mine.queue_name, queue_name);
        set(&mut mine.env_file, env_file);
        set(&mut mine.modules, modules);
        set(&mut mine.drain, drain);
        set(&mut mine.log_format, log_format);
        set(&mut mine.log, log);
        if let Some(own) = own {
            let Own { listen, journal, workers, token_file, origin, task_timeout, tls_certificate, tls_key } =
                own.clone();
            let mine = &mut self.own;
            set(&mut mine.listen, listen);
            set(&mut mine.journal, journal);
            set(&mut mine.workers, workers);
            set(&mut mine.token_file, token_file);
            set(&mut mine.task_timeout, task_timeout);
            set(&mut mine.tls_certificate, tls_certificate);
            set(&mut mine.tls_key, tls_key);
            if !origin.is_empty() {
                mine.origin = origin;
            }
        }
        self.grants.overlay(grants);
    }

    /// How the server is set up.
    pub(super) fn server_options(&self, tokens: Option<Tokens>) -> Result<ServerOptions, String> {
        let mut options = ServerOptions::default();
        let limits = &self.limits;
        options.tokens = tokens;
        options.origins.clone_from(&self.own.origin);
        put(&mut options.task_timeout, self.own.task_timeout);
        put(&mut options.longest_task, limits.longest_task);
        options.longest_task = options.longest_task.max(options.task_timeout);
        put(&mut options.message_size, limits.message_size);
        put(&mut options.batch, limits.batch);
        put(&mut options.connections, limits.connections);
        put(&mut options.sessions_per_tenant, limits.sessions_per_tenant);
        put(&mut options.calls_per_session, limits.calls_per_session);
        put(&mut options.subscriptions_per_session, limits.subscriptions_per_session);
        put(&mut options.outgoing, limits.outgoing);
        put(&mut options.calls_per_second, limits.calls_per_second);
        put(&mut options.silence, limits.silence);
        put(&mut options.patience, limits.patience);
        put(&mut options.drain, self.common.drain);
        let variable = variables(self.common.env_file.as_deref())?;
        for (name, entry) in &self.hooks {
            let hook = entry.hook(&variable).map_err(|error| format!("hooks.{name}: {error}"))?;
            options.hooks.insert(name.clone(), hook);
        }
        Ok(options)
    }

    /// The limits and times of the queue.
    pub(super) fn queue_settings(&self) -> Settings {
        let mut settings = Settings::default();
        if self.own.token_file.is_some() && self.common.queue.as_deref().unwrap_or("memory") == "memory" {
            // Of the jobs that this process runs at once, some are always left for other tenants.
            let jobs = self.own.workers.unwrap_or_else(default_jobs) as u64;
            settings.running_per_tenant = settings.running_per_tenant.min((jobs - jobs / 4).max(1));
        }
        let Jobs {
            lease,
            waiting_per_tenant,
            waiting,
            running_per_tenant,
            keep,
            kept_per_tenant,
            kept_bytes_per_tenant,
            remember,
            job_size,
            value_size,
            events,
            event_bytes,
            records,
        } = &self.jobs;
        put(&mut settings.lease, *lease);
        put(&mut settings.waiting_per_tenant, *waiting_per_tenant);
        put(&mut settings.waiting, *waiting);
        put(&mut settings.running_per_tenant, *running_per_tenant);
        put(&mut settings.keep, *keep);
        put(&mut settings.kept_per_tenant, *kept_per_tenant);
        put(&mut settings.kept_bytes_per_tenant, *kept_bytes_per_tenant);
        put(&mut settings.remember, *remember);
        put(&mut settings.job_size, *job_size);
        put(&mut settings.value_size, *value_size);
        put(&mut settings.events, *events);
        put(&mut settings.event_bytes, *event_bytes);
        put(&mut settings.records, *records);
        settings
    }
}

impl HookEntry {
    fn hook(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<Hook, String> {
        let scheme = match (self.scheme, &self.header) {
            (SchemeName::Stripe, None) => Scheme::Stripe,
            (SchemeName::Stripe, Some(_)) => return Err("`header` is for the scheme `hmac`".into()),
            (SchemeName::Hmac, None) => return Err("`header` is missing: where the signature is".into()),
            (SchemeName::Hmac, Some(header)) => {
                Scheme::Hmac { header: header.clone(), prefix: self.prefix.clone(), id_header: self.id_header.clone() }
            }
        };
        if self.secrets.is_empty() {
            return Err("`secrets` is empty: it names the variables that hold what events are signed with".into());
        }
        let secret = |name: &String| {
            let text = variable(name).filter(|text| !text.is_empty());
            text.map(Into::into).ok_or_else(|| format!("there is no variable `{name}`, or it is empty"))
        };
        Ok(Hook {
            tenant: self.tenant.clone().unwrap_or_else(|| marmot::server::ALONE.to_owned()),
            script: self.script.clone(),
            scheme,
            secrets: self.secrets.iter().map(secret).collect::<Result<_, String>>()?,
            timeout_ms: self.timeout.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        })
    }
}

fn set<T>(mine: &mut Option<T>, flag: Option<T>) {
    if flag.is_some() {
        *mine = flag;
    }
}

fn put<T>(mine: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *mine = given;
    }
}

/// A part of the file, which may be missing.
fn part<T: DeserializeOwned + Default>(table: &mut Table, name: &str) -> Result<T, String> {
    match table.remove(name) {
        None => Ok(T::default()),
        Some(Value::Table(part)) => read(part, name),
        Some(_) => Err(format!("`{name}` is a table: `[{name}]`")),
    }
}

fn read<T: DeserializeOwned>(table: Table, name: &str) -> Result<T, String> {
    let at = if name.is_empty() { String::new() } else { format!("[{name}] ") };
    T::deserialize(table).map_err(|error| format!("{at}{}", error.to_string().trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file() {
        let text = r#"
            listen = "127.0.0.1:9000"
            queue = "memory"
            task-timeout = "10s"
            allow = ["api.example.org"]
            max-requests = 5
            max-memory = "8M"
            [limits]
            batch = 10
            silence = "5s"
            [jobs]
            lease = "3s"
            [tenants.alice]
            allow = ["alice.example.org"]
        "#;
        let mut file = File::parse(text).unwrap();
        let own = Own { task_timeout: Some(Duration::from_secs(2)), ..Own::default() };
        file.flags(&Common::default(), Some(&own), &Grants::default());
        assert_eq!(file.own.listen.unwrap().port(), 9000);
        let options = file.server_options(None).unwrap();
        assert_eq!((options.task_timeout, options.batch), (Duration::from_secs(2), 10));
        assert_eq!(options.silence, Duration::from_secs(5));
        assert_eq!(file.queue_settings().lease, Duration::from_secs(3));
        assert!(file.tenants.contains_key("alice"));
    }

    #[test]
    fn what_is_wrong_in_a_file_is_named() {
        for (text, what) in [
            ("lisen = 1", "lisen"),
            ("[limits]\nbatches = 1", "batches"),
            ("limits = 1", "[limits]"),
            ("task-timeout = \"soon\"", "time"),
            ("listen = \"here\"", "address"),
            ("secret = [\"KEY\"]", "NAME@HOST"),
            ("x = ", "line 1"),
            ("[hooks.a]\nscript = \"s\"\nscheme = \"pgp\"\nsecrets = []", "pgp"),
        ] {
            let error = File::parse(text).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
        let file = File::parse("[hooks.a]\nscript = \"s\"\nscheme = \"hmac\"\nsecrets = [\"NONE_SUCH\"]").unwrap();
        assert!(file.server_options(None).unwrap_err().contains("header"));
    }
}
