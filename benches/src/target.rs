//! The server that is measured against: the own one or another. Measures nothing.

use std::path::PathBuf;

use curl::easy::Easy;
use marmot_bench::load::{Load, Origins};
use marmot_bench::server::{self, Server};

use crate::drive::Outcome;
use crate::peers;

pub struct Target {
    pub origins: Origins,
    own: Option<Server>,
}

/// What the command line says of another server.
#[derive(Clone, Debug, Default)]
pub struct Other {
    pub plain: Option<String>,
    pub tls: Option<String>,
    pub ca: Option<PathBuf>,
}

impl Other {
    pub fn name(&self) -> String {
        [&self.plain, &self.tls].into_iter().flatten().cloned().collect::<Vec<_>>().join(" and ")
    }
}

impl Target {
    /// Starts the own server in a process of its own, or looks for the other one.
    pub fn new(other: Option<&Other>) -> Outcome<Self> {
        let Some(other) = other else {
            let server = Server::start()?;
            let origins = Origins {
                plain: Some(server.base().to_owned()),
                tls: Some(server.tls_base().to_owned()),
                ca: Some(server.certificate().to_owned()),
                small: server::SMALL.len() as u64,
            };
            return Ok(Self { origins, own: Some(server) });
        };
        let base = other.plain.as_ref().or(other.tls.as_ref()).expect("another server has one address at least");
        let small = length_of(&format!("{base}/small"), other)?;
        let Other { plain, tls, ca } = other.clone();
        Ok(Self { origins: Origins { plain, tls, ca, small }, own: None })
    }

    /// Seconds of CPU that the server has taken so far, if it is the own one.
    pub fn cpu(&self) -> Option<f64> {
        self.own.as_ref()?.cpu().ok()
    }

    /// The server's process, if it is the own one.
    pub fn process(&self) -> Option<u32> {
        self.own.as_ref().map(Server::id)
    }

    /// Fails if another server does not do what the load asks for.
    pub fn check(&self, load: &Load) -> Outcome {
        if self.own.is_some() {
            return Ok(());
        }
        peers::find("raw-easy").expect("there is a plain peer").warm(load).map(drop)
    }
}

fn length_of(url: &str, other: &Other) -> Outcome<u64> {
    let mut easy = Easy::new();
    easy.url(url)?;
    easy.fail_on_error(true)?;
    if let Some(file) = &other.ca {
        easy.cainfo(file)?;
    }
    let mut length = 0;
    let mut transfer = easy.transfer();
    transfer.write_function(|data| {
        length += data.len() as u64;
        Ok(data.len())
    })?;
    transfer.perform().map_err(|error| format!("{url}: {error}"))?;
    drop(transfer);
    Ok(length)
}
