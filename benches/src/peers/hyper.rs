//! hyper-util's pooled client with hyper-rustls, as a program would put them together. No redirects, no other layer.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use marmot_bench::load::Load;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::drive::{AsyncClient, Outcome};

#[derive(Clone)]
pub struct Hyper(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Hyper {
    async fn get(&self, url: &str) -> Outcome<Response<Incoming>> {
        Ok(self.0.get(url.parse()?).await?)
    }
}

impl AsyncClient for Hyper {
    fn fresh(load: &Load) -> Outcome<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true); // all other peers do
        connector.enforce_http(false); // there is TLS around it
        let mut roots = RootCertStore::empty();
        if let Some(file) = &load.ca {
            roots.add(CertificateDer::from_pem_slice(&fs::read(file)?)?)?;
        }
        // By name, as ureq brings another provider into this program.
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let connector = if load.http1 {
            builder.wrap_connector(connector)
        } else {
            builder.enable_http2().wrap_connector(connector)
        };
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
