//! reqwest, async and blocking. No runtime: the caller chooses that.

use std::fs;

use bytes::Bytes;
use marmot_bench::load::Load;

use crate::drive::{AsyncClient, BlockingClient, Outcome};

#[derive(Clone)]
pub struct Async(reqwest::Client);

impl AsyncClient for Async {
    fn fresh(load: &Load) -> Outcome<Self> {
        let mut builder = reqwest::Client::builder();
        if let Some(file) = &load.ca {
            builder = builder.tls_certs_only([reqwest::Certificate::from_pem(&fs::read(file)?)?]);
        }
        if load.http1 {
            builder = builder.http1_only();
        }
        Ok(Self(builder.build()?))
    }

    async fn fetch(&self, url: &str) -> Outcome<u64> {
        Ok(self.0.get(url).send().await?.bytes().await?.len() as u64)
    }

    async fn discard(&self, url: &str) -> Outcome<u64> {
        let mut response = self.0.get(url).send().await?;
        let mut total = 0;
        while let Some(chunk) = response.chunk().await? {
            total += chunk.len() as u64;
        }
        Ok(total)
    }

    async fn upload(&self, url: &str, body: &'static [u8]) -> Outcome<u64> {
        let response = self.0.post(url).body(Bytes::from_static(body)).send().await?;
        Ok(response.text().await?.parse()?)
    }
}

pub struct Blocking(reqwest::blocking::Client);

impl BlockingClient for Blocking {
    fn fresh(load: &Load) -> Outcome<Self> {
        // No limit of time, as on the async side.
        let mut builder = reqwest::blocking::Client::builder().timeout(None);
        if let Some(file) = &load.ca {
            builder = builder.tls_certs_only([reqwest::Certificate::from_pem(&fs::read(file)?)?]);
        }
        if load.http1 {
            builder = builder.http1_only();
        }
        Ok(Self(builder.build()?))
    }

    fn fetch(&self, url: &str) -> Outcome<u64> {
        Ok(self.0.get(url).send()?.bytes()?.len() as u64)
    }

    fn discard(&self, url: &str) -> Outcome<u64> {
        super::drain(self.0.get(url).send()?)
    }

    fn upload(&self, url: &str, body: &'static [u8]) -> Outcome<u64> {
        Ok(self.0.post(url).body(Bytes::from_static(body)).send()?.text()?.parse()?)
    }
}
