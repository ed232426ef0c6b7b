//! isahc, async and blocking: one client has both sides. No option is set but those of the load.

use futures::AsyncReadExt;
use isahc::config::{Configurable, VersionNegotiation};
use isahc::tls::{TlsConfig, TrustStore};
use isahc::{AsyncBody, AsyncReadResponseExt, Body, HttpClient, ReadResponseExt};
use marmot_bench::load::Load;

use crate::drive::{AsyncClient, BlockingClient, Outcome};

#[derive(Clone)]
pub struct Isahc(HttpClient);

fn client(load: &Load) -> Outcome<HttpClient> {
    let mut builder = HttpClient::builder();
    if let Some(file) = &load.ca {
        builder = builder.tls_config(TlsConfig::builder().trust_store(TrustStore::from_file(file)).build());
    }
    if load.http1 {
        builder = builder.version_negotiation(VersionNegotiation::http11());
    }
    Ok(builder.build()?)
}

impl AsyncClient for Isahc {
    fn fresh(load: &Load) -> Outcome<Self> {
        client(load).map(Self)
    }

    async fn fetch(&self, url: &str) -> Outcome<u64> {
        Ok(self.0.get_async(url).await?.bytes().await?.len() as u64)
    }

    async fn discard(&self, url: &str) -> Outcome<u64> {
        let mut body = self.0.get_async(url).await?.into_body();
        let mut buffer = vec![0; 64 << 10];
        let mut total = 0;
        loop {
            match body.read(&mut buffer).await? {
                0 => return Ok(total),
                read => total += read as u64,
            }
        }
    }

    async fn upload(&self, url: &str, body: &'static [u8]) -> Outcome<u64> {
        let mut response = self.0.post_async(url, AsyncBody::from_bytes_static(body)).await?;
        Ok(response.text().await?.parse()?)
    }
}

impl BlockingClient for Isahc {
    fn fresh(load: &Load) -> Outcome<Self> {
        client(load).map(Self)
    }

    fn fetch(&self, url: &str) -> Outcome<u64> {
        Ok(self.0.get(url)?.bytes()?.len() as u64)
    }

    fn discard(&self, url: &str) -> Outcome<u64> {
        super::drain(self.0.get(url)?.into_body())
    }

    fn upload(&self, url: &str, body: &'static [u8]) -> Outcome<u64> {
        Ok(self.0.post(url, Body::from_bytes_static(body))?.text()?.parse()?)
    }
}
