//! TLS and HTTP/2 with a real nginx. Clear text is everywhere else.

use futures::executor::block_on;
use futures::future::try_join_all;
use http::Version;
use marmot::config::{CaCertificates, VersionNegotiation};
use marmot::prelude::*;
use marmot::{Body, ErrorKind};
use std::io::Read;

use crate::support::{BadCert, Nginx, pattern};

fn nginx() -> Nginx {
    Nginx::start().unwrap_or_else(|why| panic!("{why}"))
}

fn trusting(nginx: &Nginx) -> HttpClient {
    HttpClient::builder().ca_certificates(CaCertificates::file(nginx.ca_pem_path())).build().unwrap()
}

#[test]
fn http2_is_negotiated_and_http11_can_be_asked_for() {
    let nginx = nginx();
    let client = trusting(&nginx);
    for url in [nginx.tls_url("/small.txt"), nginx.tls_ip_url("/small.txt")] {
        let mut response = client.get(url).unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
        assert!(!response.text().unwrap().is_empty());
    }
    let request = Request::get(nginx.tls_url("/small.txt")).version_negotiation(VersionNegotiation::http11());
    assert_eq!(client.send(request.body(()).unwrap()).unwrap().version(), Version::HTTP_11);
    let pem = std::fs::read(nginx.ca_pem_path()).unwrap();
    let client = HttpClient::builder().ca_certificates(CaCertificates::pem(pem)).metrics(true).build().unwrap();
    let response = client.get(nginx.tls_url("/small.txt")).unwrap();
    assert!(!response.metrics().unwrap().secure_connect.is_zero());
}

#[test]
fn a_hundred_streams_share_few_connections() {
    let nginx = nginx();
    let client = trusting(&nginx);
    let answers = block_on(try_join_all((0..100).map(|_| async {
        let mut response = client.get_async(nginx.tls_url("/proto")).await?;
        assert_eq!(response.version(), Version::HTTP_2);
        response.text().await
    })))
    .unwrap();
    // "HTTP/2.0 CONNECTION REQUEST_ON_IT"
    let mut connections: Vec<&str> = answers.iter().map(|answer| answer.split(' ').nth(1).unwrap()).collect();
    connections.sort_unstable();
    connections.dedup();
    assert!(connections.len() <= 2, "{connections:?}");
}

#[test]
fn bad_certificates_are_refused() {
    let nginx = nginx();
    let error = HttpClient::new().unwrap().get(nginx.tls_url("/small.txt")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadServerCertificate, "{}", error.chain());
    let client = trusting(&nginx);
    for bad in BadCert::ALL {
        let error = client.get(nginx.bad_url(bad, "/small.txt")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadServerCertificate, "{bad:?}: {}", error.chain());
        let request =
            Request::get(nginx.bad_url(bad, "/small.txt")).danger_accept_invalid_certs(true).body(()).unwrap();
        assert_eq!(client.send(request).unwrap().status(), 200, "{bad:?}");
        // A connection made without a look at the certificate is not used for those who look.
        assert!(client.get(nginx.bad_url(bad, "/small.txt")).is_err(), "{bad:?}");
    }
    let nowhere = HttpClient::builder().ca_certificates(CaCertificates::file("/no/such/file.pem")).build().unwrap();
    let error = nowhere.get(nginx.tls_url("/small.txt")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{error:?}");
    let error = HttpClient::new().unwrap().get(nginx.url("/small.txt").replace("http:", "https:")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
}

#[test]
fn large_bodies_pass_tls_and_http2_intact_both_ways() {
    let nginx = nginx();
    let client = trusting(&nginx);
    let data = pattern(20_000_000);
    nginx.add_file("large.bin", &data);
    for version in [VersionNegotiation::http11(), VersionNegotiation::http2()] {
        let request = Request::get(nginx.tls_url("/large.bin")).version_negotiation(version).body(()).unwrap();
        assert!(client.send(request).unwrap().bytes().unwrap() == data, "{version:?}");
        for body in [Body::from(data.clone()), Body::from_reader(std::io::Cursor::new(data.clone()))] {
            let request = Request::post(nginx.tls_url("/upload")).version_negotiation(version).body(body).unwrap();
            let text = client.send(request).unwrap().text().unwrap();
            assert!(text.contains("20000000"), "{version:?}: {text}");
        }
    }
}

#[test]
fn slow_and_abandoned_streams_do_not_hold_others_up() {
    let nginx = nginx();
    let client = trusting(&nginx);
    nginx.add_sparse_file("huge.bin", 200_000_000);
    let mut slow = client.get(nginx.tls_url("/huge.bin")).unwrap();
    drop(client.get(nginx.tls_url("/1m.bin")).unwrap());
    for _ in 0..20 {
        assert_eq!(client.get(nginx.tls_url("/1k.bin")).unwrap().bytes().unwrap().len(), 1024);
    }
    let mut total = 0;
    let mut buffer = vec![0; 1 << 20];
    while total < 20_000_000 {
        total += slow.body_mut().read(&mut buffer).unwrap();
    }
}

#[test]
fn a_redirect_from_https_to_http_is_refused_unless_allowed() {
    use marmot::config::RedirectPolicy;
    let nginx = nginx();
    let client = trusting(&nginx);
    let request = || Request::get(nginx.tls_url("/redirect/plain")).redirect_policy(RedirectPolicy::Follow);
    assert_eq!(client.send(request().body(()).unwrap()).unwrap_err().kind(), ErrorKind::NotAllowed);
    let response = client.send(request().danger_redirect_to_http(true).body(()).unwrap()).unwrap();
    assert_eq!(response.status(), 200);
    let request = Request::get(nginx.url("/redirect/tls")).redirect_policy(RedirectPolicy::Follow).body(()).unwrap();
    assert_eq!(client.send(request).unwrap().version(), Version::HTTP_2);
}

#[test]
fn http2_works_without_asking_first() {
    let nginx = nginx();
    let client = trusting(&nginx);
    let prior = VersionNegotiation::http2_prior_knowledge();
    let request = Request::get(nginx.tls_url("/small.txt")).version_negotiation(prior).body(()).unwrap();
    assert_eq!(client.send(request).unwrap().version(), Version::HTTP_2);
}

#[test]
fn a_busy_connection_without_http2_keeps_nobody_waiting() {
    // Whether connections can be shared is not known while the first is made. Those who wait for it must hear of it.
    let nginx = nginx();
    let client = trusting(&nginx);
    let slow = client.get_async(nginx.tls_http1_url("/slow/1m.bin"));
    let others = (0..10).map(|_| async {
        let mut response = client.get_async(nginx.tls_http1_url("/small.txt")).await?;
        response.text().await
    });
    let start = std::time::Instant::now();
    block_on(try_join_all(others)).unwrap();
    assert!(start.elapsed() < std::time::Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(block_on(slow).unwrap().version(), Version::HTTP_11);
}

#[test]
fn a_host_that_wanted_tls_is_asked_over_tls_from_then_on() {
    let nginx = nginx();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hsts");
    let cache = marmot::HstsCache::file(&path).unwrap();
    let builder = || HttpClient::builder().ca_certificates(CaCertificates::file(nginx.ca_pem_path()));
    let client = builder().hsts(cache.clone()).build().unwrap();
    // The port stays as it is, so plain HTTP to the TLS port shows the difference.
    let plain = nginx.tls_url("/port").replace("https://", "http://");
    assert_eq!(client.get(&plain).unwrap().status(), 400);
    client.get(nginx.tls_url("/hsts")).unwrap();
    let mut response = client.get(&plain).unwrap();
    assert_eq!(response.text().unwrap(), nginx.tls_port().to_string());
    assert_eq!(response.effective_uri().unwrap().scheme_str(), Some("https"));

    cache.save().unwrap();
    let again = builder().hsts(marmot::HstsCache::file(&path).unwrap()).build().unwrap();
    assert_eq!(again.get(&plain).unwrap().status(), 200);

    // What an unverified server says is not believed.
    let careless =
        HttpClient::builder().danger_accept_invalid_certs(true).hsts(marmot::HstsCache::new()).build().unwrap();
    careless.get(nginx.tls_url("/hsts")).unwrap();
    assert_eq!(careless.get(&plain).unwrap().status(), 400);
}

#[test]
fn an_alternative_service_is_used_and_left_alone_when_it_does_not_answer() {
    let nginx = nginx();
    let builder = || HttpClient::builder().ca_certificates(CaCertificates::file(nginx.ca_pem_path()));
    let client = builder().alt_svc(marmot::AltSvcCache::new()).build().unwrap();
    let origin = nginx.tls_port().to_string();
    assert_eq!(client.get(nginx.tls_url("/alt-svc")).unwrap().text().unwrap(), origin);
    let elsewhere = client.get(nginx.tls_url("/port")).unwrap().text().unwrap();
    assert_eq!(nginx.tls_http1_url("").split(':').nth(2), Some(elsewhere.as_str()));
    assert_ne!(elsewhere, origin);

    let client = builder().alt_svc(marmot::AltSvcCache::new()).build().unwrap();
    client.get(nginx.tls_url("/alt-dead")).unwrap();
    for _ in 0..2 {
        assert_eq!(client.get(nginx.tls_url("/port")).unwrap().text().unwrap(), origin);
    }
    assert_eq!(client.stats().failed, 1, "the dead one was tried once");
}
