//! ureq: blocking and HTTP/1.1 only, so no async side.

use std::fs;

use marmot_bench::load::Load;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::drive::{BlockingClient, Outcome};

pub struct Ureq(Agent);

impl BlockingClient for Ureq {
    fn fresh(load: &Load) -> Outcome<Self> {
        // By default 3 idle connections per host are kept: more threads would connect anew again and again.
        let idle = load.lanes;
        let mut builder = Agent::config_builder().max_idle_connections(idle).max_idle_connections_per_host(idle);
        if let Some(file) = &load.ca {
            let trusted = RootCerts::new_with_certs(&[Certificate::from_pem(&fs::read(file)?)?]);
            builder = builder.tls_config(TlsConfig::builder().root_certs(trusted).build());
        }
        Ok(Self(builder.build().into()))
    }

    fn fetch(&self, url: &str) -> Outcome<u64> {
        let mut response = self.0.get(url).call()?;
        // The default limit is 10 MB.
        Ok(response.body_mut().with_config().limit(u64::MAX).read_to_vec()?.len() as u64)
    }

    fn discard(&self, url: &str) -> Outcome<u64> {
        super::drain(self.0.get(url).call()?.body_mut().as_reader())
    }

    fn upload(&self, url: &str, body: &'static [u8]) -> Outcome<u64> {
        Ok(self.0.post(url).send(body)?.body_mut().read_to_string()?.parse()?)
    }
}
