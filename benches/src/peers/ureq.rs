//! ureq: blocking only, so no async side.

use ureq::Agent;

use crate::drive::{BlockingClient, Outcome};

pub struct Ureq(Agent);

impl BlockingClient for Ureq {
    fn fresh() -> Outcome<Self> {
        // By default 3 idle connections per host are kept: the threads of H would connect anew again and again.
        Ok(Self(Agent::config_builder().max_idle_connections(64).max_idle_connections_per_host(64).build().into()))
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
