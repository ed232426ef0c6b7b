//! What the host program gives to its scripts beside a client: what they may do, variables, secrets, who listens.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::sandbox::Sandbox;
use super::secret::Kept;
use crate::handler::Metrics;

/// One request that a script has made, for [`ScriptEngineBuilder::on_request`](super::ScriptEngineBuilder::on_request).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestTrace {
    /// The method.
    pub method: String,
    /// The URL that was asked, without credentials.
    pub url: String,
    /// The URL that answered, without credentials, where redirects led elsewhere.
    pub redirected_to: Option<String>,
    /// The status of the response, or why there is none.
    pub result: Result<u16, String>,
    /// How the time was spent; of a failed request, nothing.
    pub metrics: Option<Metrics>,
    /// Bytes of the body that the script got, after decompression.
    pub bytes: u64,
    /// When it was begun, since the beginning of the run.
    pub start: Duration,
    /// From there to its end.
    pub time: Duration,
}

/// How far a download of a script is, for
/// [`ScriptEngineBuilder::on_download`](super::ScriptEngineBuilder::on_download).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DownloadProgress {
    /// The file that is written.
    pub path: String,
    /// Bytes so far.
    pub done: u64,
    /// Bytes in all, if the server has said.
    pub total: Option<u64>,
}

/// Who hears of requests.
pub(super) type Listener = Arc<dyn Fn(&RequestTrace) + Send + Sync>;
/// Who hears of downloads.
pub(super) type Watcher = Arc<dyn Fn(&DownloadProgress) + Send + Sync>;
/// What `env(name)` answers.
pub(super) type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;
/// What runs the futures of the host program's own functions.
pub(super) type Executor = Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>;

/// What all clients of an engine share.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) sandbox: Sandbox,
    pub(super) secrets: Vec<Arc<Kept>>,
    pub(super) variables: Option<Variables>,
    pub(super) listener: Option<Listener>,
    pub(super) watcher: Option<Watcher>,
    pub(super) executor: Option<Executor>,
}

impl Default for Host {
    /// The network is open, as it is for the client; nothing else of the machine is.
    fn default() -> Self {
        let none: [&str; 0] = [];
        Self {
            sandbox: Sandbox::open().readable(none).writable(none).environment(none),
            secrets: Vec::new(),
            variables: None,
            listener: None,
            watcher: None,
            executor: None,
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secrets: Vec<_> = self.secrets.iter().map(|kept| kept.name()).collect();
        f.debug_struct("Host").field("sandbox", &self.sandbox).field("secrets", &secrets).finish_non_exhaustive()
    }
}
