//! What a script may do, and how much of it: data and checks of names. Runs nothing, counts nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;

use crate::config::EgressPolicy;

/// What scripts may do, and how much of it in each run. Given to
/// [`ScriptEngineBuilder::sandbox`](super::ScriptEngineBuilder::sandbox).
///
/// Nothing is allowed that is not said: a [new](Self::new) sandbox lets a script compute, and that within its budgets. What
/// is refused is thrown as a map of the kind `denied` (or `egress_denied` for addresses) with `permission`, the name of what
/// is missing; a script may catch it. A budget that is used up ends the script, which cannot catch that; see
/// [`ScriptErrorKind::Budget`](super::ScriptErrorKind::Budget).
///
/// The memory budget needs the [`MeteredAllocator`](super::MeteredAllocator) as the program's global allocator.
///
/// # Examples
///
/// ```no_run
/// use marmot::HttpClient;
/// use marmot::script::{MeteredAllocator, Sandbox, ScriptEngine};
/// use std::time::Duration;
///
/// #[global_allocator]
/// static ALLOCATOR: MeteredAllocator = MeteredAllocator::system();
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sandbox = Sandbox::new()
///     .hosts(["api.example.org"])
///     .methods(["GET", "POST"])
///     .time_limit(Duration::from_secs(5))
///     .max_requests(20);
/// let engine = ScriptEngine::builder().client(HttpClient::new()?).sandbox(sandbox).build()?;
/// let (result, usage) = engine.compile("job", "http_get(\"https://api.example.org/\").status")?.run_with_usage();
/// println!("{result:?} after {} requests", usage.requests);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a sandbox has no effect until an engine has it"]
pub struct Sandbox {
    /// Hosts are those of the public internet, over TLS, unless said otherwise.
    strict: bool,
    /// Everywhere, if absent; as in all lists here.
    hosts: Option<Vec<String>>,
    addresses: Vec<String>,
    methods: Option<Vec<String>>,
    proxies: bool,
    readable: Option<Vec<PathBuf>>,
    writable: Option<Vec<PathBuf>>,
    environment: Option<Vec<String>>,
    pub(super) limits: Limits,
}

/// The budgets of a run. Unlimited where absent.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    pub(super) time: Option<Duration>,
    pub(super) operations: Option<u64>,
    pub(super) memory: Option<u64>,
    pub(super) requests: Option<u64>,
    pub(super) requests_at_once: Option<u64>,
    pub(super) sent: Option<u64>,
    pub(super) received: Option<u64>,
    pub(super) response_size: Option<u64>,
    pub(super) output: Option<u64>,
    pub(super) source_size: Option<u64>,
    pub(super) call_depth: Option<u64>,
}

/// The most calls within calls where no sandbox says otherwise: what a thread's stack bears.
pub(super) const CALL_DEPTH: usize = 128;

const MIB: u64 = 1 << 20;

impl Sandbox {
    /// A sandbox in which nothing is allowed: no host, no file, no variable of the environment. Its budgets are 30 seconds,
    /// 50 million operations, 64 MiB of memory, calls 64 deep, 100 requests, 10 of them at once, 10 MiB sent, 64 MiB
    /// received, 16 MiB in one response, 1 MiB of output, and 64 KiB of source.
    pub fn new() -> Self {
        Self {
            strict: true,
            hosts: Some(Vec::new()),
            addresses: Vec::new(),
            methods: Some(["GET", "HEAD", "OPTIONS"].map(str::to_owned).into()),
            proxies: false,
            readable: Some(Vec::new()),
            writable: Some(Vec::new()),
            environment: Some(Vec::new()),
            limits: Limits {
                time: Some(Duration::from_secs(30)),
                operations: Some(50_000_000),
                memory: Some(64 * MIB),
                requests: Some(100),
                requests_at_once: Some(10),
                sent: Some(10 * MIB),
                received: Some(64 * MIB),
                response_size: Some(16 * MIB),
                output: Some(MIB),
                source_size: Some(64 << 10),
                call_depth: Some(64),
            },
        }
    }

    /// Everything is allowed and nothing is limited, but for what the client itself refuses: for scripts of one's own. The
    /// methods below take away from that: a list that is given is all that is allowed.
    pub fn open() -> Self {
        Self {
            strict: false,
            hosts: None,
            addresses: Vec::new(),
            methods: None,
            proxies: true,
            readable: None,
            writable: None,
            environment: None,
            limits: Limits::default(),
        }
    }

    /// Hosts that may be asked, in the notation of [`EgressPolicy::allow_hosts`]: `name`, `name:port`, `*.domain`,
    /// `https://name` or `http://name:8080`. In a [new](Self::new) sandbox, one without a scheme is asked over TLS only,
    /// and its addresses have to be part of the public internet unless it is an address itself or
    /// [`addresses`](Self::addresses) allows them. Repeated calls add.
    pub fn hosts(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.hosts.get_or_insert_default().extend(hosts.into_iter().map(Into::into));
        self
    }

    /// Addresses and networks (`10.1.0.0/16`) beyond the public internet that the names of allowed hosts may resolve to.
    /// Repeated calls add.
    pub fn addresses(mut self, networks: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.addresses.extend(networks.into_iter().map(Into::into));
        self
    }

    /// The methods of requests. Default of a [new](Self::new) sandbox: GET, HEAD and OPTIONS, which only read (RFC 9110
    /// 9.2.1).
    pub fn methods(mut self, methods: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.methods = Some(methods.into_iter().map(|method| method.into().to_ascii_uppercase()).collect());
        self
    }

    /// Whether requests may go through a proxy, of the client or of the script's choice; it alone sees the addresses of
    /// targets then. Default of a [new](Self::new) sandbox: no.
    pub fn proxies(mut self, allow: bool) -> Self {
        self.proxies = allow;
        self
    }

    /// Files, or folders with all that they hold, that scripts may send, as in a form. Links are followed before a path is
    /// compared. Repeated calls add.
    pub fn readable(mut self, paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.readable.get_or_insert_default().extend(paths.into_iter().map(Into::into));
        self
    }

    /// Files, or folders, that scripts may write downloads to. Repeated calls add.
    pub fn writable(mut self, paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.writable.get_or_insert_default().extend(paths.into_iter().map(Into::into));
        self
    }

    /// Names that `env(name)` answers. Repeated calls add.
    pub fn environment(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.environment.get_or_insert_default().extend(names.into_iter().map(Into::into));
        self
    }

    /// The most time a run may take, waits included.
    pub fn time_limit(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.limits.time = limit.into();
        self
    }
}

/// A budget's method for each field of the limits.
macro_rules! budgets {
    ($($(#[$doc:meta])* $name:ident: $field:ident,)*) => {
        impl Sandbox {
            $($(#[$doc])*
            pub fn $name(mut self, most: impl Into<Option<u64>>) -> Self {
                self.limits.$field = most.into();
                self
            })*
        }
    };
}

budgets! {
    /// The most operations of a run: steps such as a call, a comparison or a turn of a loop.
    max_operations: operations,
    /// The most memory in bytes that the values of a run may have at once.
    max_memory: memory,
    /// The most calls of a script's own functions within each other. `None`: 128.
    max_call_depth: call_depth,
    /// The most requests of a run. Redirects and retries are part of theirs.
    max_requests: requests,
    /// The most requests of a run that are under way at once, open streams and WebSockets among them.
    max_requests_at_once: requests_at_once,
    /// The most bytes that a run may send: URLs, headers, bodies and messages.
    max_sent: sent,
    /// The most bytes of bodies and messages that a run may receive, after decompression.
    max_received: received,
    /// The most bytes of one response. Asking for a larger `max_size` changes nothing.
    max_response_size: response_size,
    /// The most bytes that a run may print.
    max_output: output,
    /// The most bytes of a script's text.
    max_source_size: source_size,
}

/// Something that a script was not allowed to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    /// The name of the permission.
    pub(super) permission: &'static str,
    pub(super) message: String,
}

impl Sandbox {
    /// What the client has to refuse.
    pub(super) fn egress(&self) -> Option<EgressPolicy> {
        let hosts = self.hosts.as_ref()?;
        if !self.strict {
            let policy = EgressPolicy::new().allow_hosts(hosts).allow_addresses(&self.addresses);
            return Some(policy.allow_proxies(self.proxies).allow_unix_sockets(true));
        }
        let policy = EgressPolicy::public_internet()
            .allow_hosts(hosts.iter().map(over_tls))
            .allow_addresses(&self.addresses)
            .allow_addresses(hosts.iter().filter_map(|host| address_in(host)))
            .allow_proxies(self.proxies);
        Some(policy)
    }

    pub(super) fn check_method(&self, method: &Method) -> Result<(), Denied> {
        let allowed = self.methods.as_ref().is_none_or(|list| list.iter().any(|name| name == method.as_str()));
        allowed.then_some(()).ok_or_else(|| denied("method", format_args!("the method {method}")))
    }

    pub(super) fn check_proxy(&self) -> Result<(), Denied> {
        self.proxies.then_some(()).ok_or_else(|| denied("proxy", format_args!("a proxy")))
    }

    pub(super) fn check_variable(&self, name: &str) -> Result<(), Denied> {
        let allowed = self.environment.as_ref().is_none_or(|names| names.iter().any(|own| own == name));
        allowed.then_some(()).ok_or_else(|| denied("environment", format_args!("the variable `{name}`")))
    }

    /// The path as the system knows it, if it may be read.
    pub(super) fn check_readable(&self, path: &Path) -> Result<PathBuf, Denied> {
        check_path(self.readable.as_deref(), path, "read")
    }

    /// The same for a file that may be written; it need not be there.
    pub(super) fn check_writable(&self, path: &Path) -> Result<PathBuf, Denied> {
        check_path(self.writable.as_deref(), path, "write")
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

/// An entry of the hosts that names no scheme is over TLS.
pub(super) fn over_tls(host: &String) -> String {
    if host.contains("://") { host.clone() } else { format!("https://{host}") }
}

/// The message names the method that would allow it.
fn denied(permission: &'static str, what: fmt::Arguments<'_>) -> Denied {
    let method = match permission {
        "method" => "methods",
        "proxy" => "proxies",
        "read" => "readable",
        "write" => "writable",
        other => other,
    };
    Denied { permission, message: format!("{what} is not allowed here (`Sandbox::{method}`)") }
}

/// A path that is not there is told from one that is not allowed only where it would be allowed.
fn check_path(allowed: Option<&[PathBuf]>, path: &Path, permission: &'static str) -> Result<PathBuf, Denied> {
    let Some(allowed) = allowed else { return Ok(path.to_owned()) };
    let refused = || denied(permission, format_args!("to {permission} `{}`", path.display()));
    let real = real_path(path).ok_or_else(refused)?;
    let inside = allowed.iter().filter_map(|own| real_path(own)).any(|own| real.starts_with(own));
    inside.then_some(real).ok_or_else(refused)
}

/// Without links and dots. The last name need not be there.
fn real_path(path: &Path) -> Option<PathBuf> {
    if let Ok(real) = path.canonicalize() {
        return Some(real);
    }
    // A link that leads nowhere would be written through.
    if path.is_symlink() {
        return None;
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(parent.canonicalize().ok()?.join(path.file_name()?))
}

/// The address that an entry of the hosts is, if it is one.
fn address_in(host: &str) -> Option<String> {
    let bare = host.split_once("://").map_or(host, |(_, rest)| rest).trim_end_matches('/');
    let name = match bare.rsplit_once(':') {
        Some((name, _)) if !name.contains(':') || name.ends_with(']') => name,
        _ => bare,
    };
    let name = name.trim_matches(['[', ']']);
    name.parse::<std::net::IpAddr>().ok().map(|address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn nothing_is_allowed_that_is_not_said() {
        let sandbox = Sandbox::new();
        assert_eq!(
            sandbox.check_method(&Method::POST).unwrap_err().message,
            "the method POST is not allowed here (`Sandbox::methods`)"
        );
        assert!(sandbox.check_method(&Method::GET).is_ok(), "reading harms nobody, and there is no host to read from");
        assert!(sandbox.check_proxy().is_err());
        assert!(sandbox.check_variable("HOME").is_err());
        assert!(sandbox.check_readable(Path::new("/etc/passwd")).is_err());
        assert!(sandbox.check_writable(Path::new("x")).is_err());
        let open = Sandbox::open();
        assert!(open.check_method(&Method::POST).is_ok() && open.check_variable("HOME").is_ok());
        assert!(open.egress().is_none());
    }

    #[test]
    fn paths_are_compared_as_the_system_knows_them() {
        let folder = tempfile::tempdir().unwrap();
        let (inner, other) = (folder.path().join("in"), folder.path().join("other"));
        fs::create_dir(&inner).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(inner.join("a"), "a").unwrap();
        fs::write(other.join("b"), "b").unwrap();
        std::os::unix::fs::symlink(other.join("b"), inner.join("link")).unwrap();
        std::os::unix::fs::symlink(other.join("none"), inner.join("dangling")).unwrap();
        let sandbox = Sandbox::new().readable([&inner]).writable([&inner]);
        assert!(sandbox.check_readable(&inner.join("a")).is_ok());
        assert!(sandbox.check_writable(&inner.join("new")).is_ok());
        for path in ["../other/b", "link", "nowhere/../../other/b"] {
            assert!(sandbox.check_readable(&inner.join(path)).is_err(), "{path}");
        }
        for path in ["../new", "link", "dangling", "none/new"] {
            assert!(sandbox.check_writable(&inner.join(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn an_address_that_is_named_may_be_asked() {
        for (host, address) in [
            ("http://127.0.0.1:80", Some("127.0.0.1")),
            ("10.0.0.1", Some("10.0.0.1")),
            ("https://[::1]:1/", Some("::1")),
            ("localhost", None),
            ("a.test:80", None),
        ] {
            assert_eq!(address_in(host).as_deref(), address, "{host}");
        }
    }
}
