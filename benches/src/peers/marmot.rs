//! marmot, async and blocking: one client has both sides. No option is set but those of the load.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use marmot::config::{CaCertificates, Configurable, RedirectPolicy, VersionNegotiation};
use marmot::{AsyncReadResponseExt, HttpClient, HttpClientBuilder, ReadResponseExt};
use marmot_bench::load::Load;

use crate::drive::{AsyncClient, BlockingClient, Outcome};

#[derive(Clone)]
pub struct Marmot(HttpClient);

/// The client with the settings that a script's requests have: a time limit, redirects to follow, metrics.
#[derive(Clone)]
pub struct AsScript(Marmot);

fn client(load: &Load) -> Outcome<HttpClient> {
    build(HttpClient::builder(), load)
}

fn build(builder: HttpClientBuilder, load: &Load) -> Outcome<HttpClient> {
    let mut builder = builder.agents(load.threads);
    if let Some(file) = &load.ca {
        builder = builder.ca_certificates(CaCertificates::file(file));
    }
    if load.http1 {
        builder = builder.version_negotiation(VersionNegotiation::http11());
    }
    Ok(builder.build()?)
}

impl AsyncClient for Marmot {
    fn fresh(load: &Load) -> Outcome<Self> {
        client(load).map(Self)
    }

    async fn fetch(&self, url: &str) -> Outcome<u64> {
        Ok(self.0.get_async(url).await?.bytes().await?.len() as u64)
    }

    async fn discard(&self, url: &str) -> Outcome<u64> {
        let mut body = pin!(self.0.get_async(url).await?.into_body());
        let mut total = 0;
        while let Some(chunk) = body.try_next().await? {
            total += chunk.len() as u64;
        }
        Ok(total)
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }

    async fn upload(&self, url: &str, body: &'static [u8]) -> Outcome<u64> {
        let mut response = self.0.post_async(url, Bytes::from_static(body)).await?;
        Ok(response.text().await?.parse()?)
    }
}

impl BlockingClient for Marmot {
    fn fresh(load: &Load) -> Outcome<Self> {
        client(load).map(Self)
    }

    fn fetch(&self, url: &str) -> Outcome<u64> {
        Ok(self.0.get(url)?.bytes()?.len() as u64)
    }

    fn discard(&self, url: &str) -> Outcome<u64> {
        Ok(self.0.get(url)?.copy_to(&mut io::sink())?)
    }

    fn upload(&self, url: &str, body: &'static [u8]) -> Outcome<u64> {
        Ok(self.0.post(url, Bytes::from_static(body))?.text()?.parse()?)
    }
}

impl AsScript {
    fn new(load: &Load) -> Outcome<Self> {
        let builder = HttpClient::builder().timeout(Duration::from_secs(30));
        let builder = builder.redirect_policy(RedirectPolicy::Limit(10)).metrics(true);
        Ok(Self(Marmot(build(builder, load)?)))
    }
}

impl AsyncClient for AsScript {
    fn fresh(load: &Load) -> Outcome<Self> {
        Self::new(load)
    }

    async fn fetch(&self, url: &str) -> Outcome<u64> {
        AsyncClient::fetch(&self.0, url).await
    }

    async fn discard(&self, url: &str) -> Outcome<u64> {
        AsyncClient::discard(&self.0, url).await
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }

    async fn upload(&self, url: &str, body: &'static [u8]) -> Outcome<u64> {
        AsyncClient::upload(&self.0, url, body).await
    }
}

impl BlockingClient for AsScript {
    fn fresh(load: &Load) -> Outcome<Self> {
        Self::new(load)
    }

    fn fetch(&self, url: &str) -> Outcome<u64> {
        BlockingClient::fetch(&self.0, url)
    }

    fn discard(&self, url: &str) -> Outcome<u64> {
        BlockingClient::discard(&self.0, url)
    }

    fn upload(&self, url: &str, body: &'static [u8]) -> Outcome<u64> {
        BlockingClient::upload(&self.0, url, body)
    }
}
