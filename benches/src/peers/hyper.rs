//! hyper-util's pooled client, on one thread of tokio. Only HTTP/1.1, no redirects, no TLS.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::drive::{AsyncClient, Outcome};

#[derive(Clone)]
pub struct Hyper(Client<HttpConnector, Full<Bytes>>);

impl Hyper {
    async fn get(&self, url: &str) -> Outcome<Response<Incoming>> {
        Ok(self.0.get(url.parse()?).await?)
    }
}

impl AsyncClient for Hyper {
    fn fresh() -> Outcome<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true); // all other peers do
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    async fn fetch(&self, url: &str) -> Outcome<u64> {
        Ok(self.get(url).await?.into_body().collect().await?.to_bytes().len() as u64)
    }

    async fn discard(&self, url: &str) -> Outcome<u64> {
        let mut body = self.get(url).await?.into_body();
        let mut total = 0;
        while let Some(frame) = body.frame().await {
            total += frame?.data_ref().map_or(0, Bytes::len) as u64;
        }
        Ok(total)
    }

    async fn upload(&self, url: &str, body: &'static [u8]) -> Outcome<u64> {
        let request = Request::post(url).body(Full::new(Bytes::from_static(body)))?;
        let answer = self.0.request(request).await?.into_body().collect().await?.to_bytes();
        Ok(std::str::from_utf8(&answer)?.parse()?)
    }
}
