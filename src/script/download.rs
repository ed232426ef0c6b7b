//! Downloads of scripts: a file that a script may write, with the client's own way to fetch and continue it.

use std::path::Path;

use http::{Method, Request};
use rhai::{Dynamic, INT, Map, Module, NativeCallContext, Position};

use super::client::{Client, begin};
use super::failure::{self, Problem};
use super::host::DownloadProgress;
use super::meter::{Budget, Meter, stopped};
use super::promise::Promise;
use super::spec::Spec;
use super::{Space, Thrown, run};
use crate::client::Downloaded;
use crate::config::Configurable;
use crate::error::{Error, ErrorKind};

impl Client {
    /// Fetches a file, or starts to and gives a promise.
    fn download(
        &self,
        at: Position,
        spec: Result<Spec<'_>, Problem>,
        path: &str,
        later: bool,
    ) -> Result<Dynamic, Thrown> {
        let work = self.downloading(spec, path).map_err(|problem| problem.thrown(at))?;
        if later {
            let work = async move { work.await.map_err(|error| failure::described(&error, at)) };
            return Ok(Dynamic::from(Promise::start(&run::current(), work)));
        }
        run::wait(self.http(), || work)?.map_err(|error| failure::thrown(&error, at))
    }

    fn downloading(
        &self,
        spec: Result<Spec<'_>, Problem>,
        path: &str,
    ) -> Result<impl Future<Output = Result<Dynamic, Error>> + Send + use<>, Problem> {
        let file =
            self.host().sandbox.check_writable(Path::new(path)).map_err(|denied| Problem::denied(&denied, path))?;
        let mut request = spec?.into_endless_request()?;
        if !request.body().is_empty() {
            return Err("a download has no body to send".into());
        }
        let slot = begin(&mut request);
        let request = Request::from_parts(request.into_parts().0, ());
        let mut download = self.http().download_with(request, file);
        if let Some(watcher) = self.host().watcher.clone() {
            let path = path.to_owned();
            download =
                download.on_bytes(move |done, total| watcher(&DownloadProgress { path: path.clone(), done, total }));
        }
        let path = path.to_owned();
        Ok(async move {
            let slot = slot.map_err(|ended| stopped(&ended))?;
            let most = most_of(slot.meter());
            if let Some((_, most)) = most {
                download = download.max_response_size(most);
            }
            match (download.send_async().await, most) {
                (Ok(done), _) => {
                    let came = done.bytes.saturating_sub(done.resumed_from);
                    slot.meter().receive(came, done.bytes).map_err(|ended| stopped(&ended))?;
                    Ok(described(&done, path).into())
                }
                (Err(error), Some((budget, most))) if error.kind() == ErrorKind::TooLarge => {
                    Err(stopped(&slot.meter().exceeded(budget, most, most + 1)))
                }
                (Err(error), _) => Err(error),
            }
        })
    }
}

/// The budget that limits the size of a file.
fn most_of(meter: &Meter) -> Option<(Budget, u64)> {
    let limits = meter.limits();
    let both = [(Budget::ResponseSize, limits.response_size), (Budget::Received, limits.received)];
    both.into_iter().filter_map(|(budget, most)| Some((budget, most?))).min_by_key(|(_, most)| *most)
}

fn described(done: &Downloaded, path: String) -> Map {
    let number = |bytes: u64| Dynamic::from(INT::try_from(bytes).unwrap_or(INT::MAX));
    Map::from_iter([
        ("path".into(), path.into()),
        ("bytes".into(), number(done.bytes)),
        ("resumed_from".into(), number(done.resumed_from)),
        ("status".into(), INT::from(done.response.status().as_u16()).into()),
    ])
}

/// The two names: one that waits, and its twin.
const NAMES: [(&str, bool); 2] = [("download", false), ("download_async", true)];

/// `http_download` and its twin.
pub(super) fn register(module: &mut Module, client: &Client, space: Space) {
    for (name, later) in NAMES {
        let own = client.clone();
        space.function(name).set_into_module(module, move |ctx: NativeCallContext, url: &str, path: &str| {
            own.download(ctx.call_position(), own.spec(&Method::GET, url, None, None), path, later)
        });
        let own = client.clone();
        let with_options = move |ctx: NativeCallContext, url: &str, path: &str, options: Map| {
            own.download(ctx.call_position(), own.spec(&Method::GET, url, None, Some(&options)), path, later)
        };
        space.function(name).set_into_module(module, with_options);
    }
}

/// The methods of clients.
pub(super) fn register_type(module: &mut Module) {
    for (name, later) in NAMES {
        let method = move |ctx: NativeCallContext, own: &mut Client, url: &str, path: &str| {
            own.download(ctx.call_position(), own.spec(&Method::GET, url, None, None), path, later)
        };
        Space::Plain.function(name).set_into_module(module, method);
        let with_options = move |ctx: NativeCallContext, own: &mut Client, url: &str, path: &str, options: Map| {
            own.download(ctx.call_position(), own.spec(&Method::GET, url, None, Some(&options)), path, later)
        };
        Space::Plain.function(name).set_into_module(module, with_options);
    }
}
