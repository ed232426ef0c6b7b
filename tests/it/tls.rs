//! TLS and HTTP/2 with a real nginx. Clear text is everywhere else.

use futures::executor::block_on;
use futures::future::try_join_all;
use http::Version;
use marmot::config::{CaCertificates, ClientCertificate, Roots, TlsConfig, TlsVersion, VersionNegotiation};
use marmot::handler::{Control, Decoder, Handler, Next};
use marmot::prelude::*;
use marmot::{Body, ErrorKind, Response};
use std::io::Read;
use std::sync::mpsc;
use std::time::Duration;

use crate::alone::is_alone;
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
        if bad == BadCert::UnknownCriticalExtension && is_rustls() {
            // rustls does not take the key out of such a certificate, whatever is accepted.
            continue;
        }
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

/// Which library libcurl uses. rustls is used where both are there.
fn is_rustls() -> bool {
    marmot::version().contains("rustls")
}

fn with(tls: TlsConfig) -> HttpClient {
    HttpClient::builder().tls(tls).build().unwrap()
}

fn ours(nginx: &Nginx) -> TlsConfig {
    TlsConfig::new().roots(Roots::only(CaCertificates::file(nginx.ca_pem_path())))
}

#[test]
fn extra_roots_are_trusted_beside_the_platforms() {
    let nginx = nginx();
    let url = nginx.tls_url("/small.txt");
    for extra in
        [CaCertificates::file(nginx.ca_pem_path()), CaCertificates::pem(std::fs::read(nginx.ca_pem_path()).unwrap())]
    {
        assert_eq!(with(TlsConfig::new().extra_roots(extra.clone())).get(&url).unwrap().status(), 200);
        // Alone they would be enough, so that they were not merely put in the place of others is shown the other way.
        let [stranger, _] = nginx.client_files(false);
        let other = TlsConfig::new().roots(Roots::only(CaCertificates::file(stranger)));
        let error = with(other.clone()).get(&url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadServerCertificate, "{}", error.chain());
        assert_eq!(with(other.extra_roots(extra)).get(&url).unwrap().status(), 200);
        let both = TlsConfig::new()
            .roots(Roots::only(CaCertificates::file(nginx.ca_pem_path())))
            .extra_roots(CaCertificates::file(nginx.client_files(false)[0].clone()));
        assert_eq!(with(both).get(&url).unwrap().status(), 200);
    }
    let missing = TlsConfig::new().extra_roots(CaCertificates::file("/no/such/file.pem"));
    let error = with(missing).get(&url).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{}", error.chain());
}

#[test]
fn extra_roots_do_not_take_the_place_of_the_platforms() {
    if !is_alone("tls::extra_roots_do_not_take_the_place_of_the_platforms") {
        return;
    }
    // What the platform trusts is read from this file, once: the test runs itself again with it set.
    let Some(url) = std::env::var_os("MARMOT_TEST_URL") else {
        let nginx = nginx();
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tls::extra_roots_do_not_take_the_place_of_the_platforms", "--test-threads=1"])
            .env("SSL_CERT_FILE", nginx.ca_pem_path())
            .env("MARMOT_TEST_STRANGER", &nginx.client_files(false)[0])
            .env("MARMOT_TEST_URL", nginx.tls_url("/small.txt"))
            .status();
        assert!(status.unwrap().success());
        return;
    };
    let url = url.to_str().unwrap();
    assert_eq!(HttpClient::new().unwrap().get(url).unwrap().status(), 200);
    let stranger = CaCertificates::file(std::env::var_os("MARMOT_TEST_STRANGER").unwrap());
    let tls = TlsConfig::new().extra_roots(stranger.clone());
    assert_eq!(with(tls).get(url).unwrap().status(), 200);
    let only = TlsConfig::new().roots(Roots::only(stranger));
    assert_eq!(with(only).get(url).unwrap_err().kind(), ErrorKind::BadServerCertificate);
}

#[cfg(feature = "bundled-roots")]
#[test]
fn bundled_roots_are_a_bundle_that_knows_not_our_authority() {
    let nginx = nginx();
    let error = with(TlsConfig::new().roots(Roots::bundled())).get(nginx.tls_url("/small.txt")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadServerCertificate, "{}", error.chain());
    let both = TlsConfig::new().roots(Roots::bundled()).extra_roots(CaCertificates::file(nginx.ca_pem_path()));
    assert_eq!(with(both).get(nginx.tls_url("/small.txt")).unwrap().status(), 200);
}

#[test]
fn a_request_changes_single_settings_of_its_client() {
    let nginx = nginx();
    let client = with(ours(&nginx).min_version(TlsVersion::V1_3));
    assert_eq!(client.get(nginx.tls_url("/who")).unwrap().text().unwrap(), "|localhost|TLSv1.3");
    assert!(client.get(nginx.tls12_url("/who")).unwrap_err().is_tls());
    let older = TlsConfig::new().min_version(TlsVersion::V1_2);
    let request = Request::get(nginx.tls12_url("/who")).tls(older).body(()).unwrap();
    assert_eq!(client.send(request).unwrap().text().unwrap(), "|localhost|TLSv1.2", "the roots are the client's");
}

#[test]
fn versions_are_kept_to() {
    let nginx = nginx();
    let (v12, v13) = (TlsVersion::V1_2, TlsVersion::V1_3);
    for (tls, with12, with13) in [
        (TlsConfig::new(), true, true),
        (TlsConfig::new().min_version(v13), false, true),
        (TlsConfig::new().max_version(v12), true, false),
        (TlsConfig::new().min_version(v12).max_version(v13), true, true),
        (TlsConfig::new().max_version(v12).max_version(None), true, true),
    ] {
        let client = HttpClient::builder().tls(ours(&nginx)).tls(tls).build().unwrap();
        for (url, expected) in [(nginx.tls12_url("/who"), with12), (nginx.tls13_url("/who"), with13)] {
            let result = client.get(url);
            assert_eq!(result.is_ok(), expected, "{result:?}");
            if let Err(error) = result {
                assert_eq!(error.kind(), ErrorKind::Tls, "{}", error.chain());
            }
        }
    }
    // A connection of another version does not serve those who want a newer one.
    let client = with(ours(&nginx));
    assert_eq!(client.get(nginx.tls12_url("/who")).unwrap().status(), 200);
    let request = Request::get(nginx.tls12_url("/who")).tls(TlsConfig::new().min_version(v13)).body(()).unwrap();
    assert_eq!(client.send(request).unwrap_err().kind(), ErrorKind::Tls);
    let error = with(ours(&nginx).min_version(v13).max_version(v12)).get(nginx.tls_url("/who")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
}

#[test]
fn ciphers_are_chosen_and_unknown_ones_refused() {
    let nginx = nginx();
    let url = nginx.tls12_url("/who");
    let client = with(ours(&nginx).ciphers_tls12("ECDHE-ECDSA-AES256-GCM-SHA384"));
    assert_eq!(client.get(&url).unwrap().status(), 200);
    // The server's key is for ECDSA.
    let error = with(ours(&nginx).ciphers_tls12("ECDHE-RSA-AES128-GCM-SHA256")).get(&url).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{}", error.chain());
    let client = with(ours(&nginx).ciphers_tls13("TLS_CHACHA20_POLY1305_SHA256"));
    assert_eq!(client.get(nginx.tls13_url("/who")).unwrap().status(), 200);
    for nonsense in ["NO-SUCH-CIPHER", ""] {
        let error = with(ours(&nginx).ciphers_tls12(nonsense)).get(&url).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidConfiguration | ErrorKind::Tls), "{}", error.chain());
    }
    if is_rustls() {
        let some = ours(&nginx).ciphers_tls12("ECDHE-ECDSA-AES256-GCM-SHA384:NO-SUCH-CIPHER");
        assert_eq!(with(some).get(&url).unwrap_err().kind(), ErrorKind::InvalidConfiguration);
    }
}

#[test]
fn a_client_shows_its_certificate_where_it_is_asked_for() {
    let nginx = nginx();
    let url = nginx.client_certificate_url("/who");
    assert_eq!(with(ours(&nginx)).get(&url).unwrap().status(), 400, "nginx answers so without a certificate");
    let [chain, key] = nginx.client_files(true);
    let read = |path: &std::path::Path| std::fs::read(path).unwrap();
    let files = ClientCertificate::pem_files(&chain, &key);
    let memory = ClientCertificate::pem(read(&chain), read(&key));
    for certificate in [files, memory.clone()] {
        assert!(!format!("{certificate:?}").contains("KEY"));
        let client = with(ours(&nginx).client_certificate(certificate));
        for _ in 0..2 {
            assert_eq!(client.get(&url).unwrap().text().unwrap(), "CN=Marmot anna|localhost|TLSv1.3");
        }
        // Each of these asks anew, on connections of its own.
        let without = TlsConfig::new().client_certificate(None);
        let request = Request::get(&url).tls(without).body(()).unwrap();
        assert_eq!(client.send(request).unwrap().status(), 400);
        let [chain, key] = nginx.client_files(false);
        let other = TlsConfig::new().client_certificate(ClientCertificate::pem(read(&chain), read(&key)));
        let request = Request::get(&url).tls(other).body(()).unwrap();
        assert_eq!(client.send(request).unwrap().status(), 400, "signed by an authority that nginx does not know");
        assert_eq!(client.get(&url).unwrap().status(), 200);
    }
    let [_, other_key] = nginx.client_files(false);
    for bad in [
        ClientCertificate::pem_files("/no/such.pem", "/no/such.key"),
        ClientCertificate::pem("no certificate", "no key"),
        ClientCertificate::pem(read(&chain), read(&other_key)),
    ] {
        let error = with(ours(&nginx).client_certificate(bad)).get(&url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadClientCertificate, "{}", error.chain());
    }
    // Two in memory, one after the other, are not taken for the same.
    drop(memory);
    for _ in 0..3 {
        let client = with(ours(&nginx));
        for (known, status) in [(true, 200), (false, 400), (true, 200)] {
            let [chain, key] = nginx.client_files(known);
            let tls = TlsConfig::new().client_certificate(ClientCertificate::pem(read(&chain), read(&key)));
            let request = Request::get(&url).tls(tls).body(()).unwrap();
            assert_eq!(client.send(request).unwrap().status(), status);
        }
    }
}

#[test]
fn archives_and_encrypted_keys_are_read_or_refused() {
    let nginx = nginx();
    let url = nginx.client_certificate_url("/who");
    let [chain, key] = nginx.client_files(true);
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new("openssl").args(arguments).arg("-in").arg(&chain).output();
        let output = output.expect("openssl is there: `apt-get install openssl`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let key_path = key.to_str().unwrap();
    let archive = run(&["pkcs12", "-export", "-passout", "pass:s3cret", "-inkey", key_path]);
    let encrypted = std::process::Command::new("openssl")
        .args(["pkcs8", "-topk8", "-v2", "aes256", "-passout", "pass:s3cret", "-in", key_path])
        .output()
        .unwrap()
        .stdout;
    for certificate in [
        ClientCertificate::pkcs12(archive, "s3cret"),
        ClientCertificate::pem(std::fs::read(&chain).unwrap(), encrypted).password("s3cret"),
    ] {
        assert!(!format!("{certificate:?}").contains("s3cret"));
        let result = with(ours(&nginx).client_certificate(certificate)).get(&url);
        if is_rustls() {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{}", error.chain());
            assert!(error.to_string().contains("rustls"), "{error}");
        } else {
            assert_eq!(result.unwrap().text().unwrap(), "CN=Marmot anna|localhost|TLSv1.3");
        }
    }
}

#[test]
fn pinned_keys_are_compared_or_refused() {
    let nginx = nginx();
    let url = nginx.tls_url("/small.txt");
    let shell = format!(
        "openssl x509 -in {} -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64",
        nginx.certificate_path().display()
    );
    let digest = std::process::Command::new("sh").args(["-c", &shell]).output().unwrap().stdout;
    let right = format!("sha256//{}", String::from_utf8(digest).unwrap().trim());
    let wrong = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let ask = |keys: &str| with(ours(&nginx).pinned_public_key(keys)).get(&url);
    if is_rustls() {
        let error = ask(&right).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{}", error.chain());
        assert!(error.to_string().contains("pinned"), "{error}");
    } else {
        assert_eq!(ask(&right).unwrap().status(), 200);
        // A connection that was made without looking at the key does not serve those who look.
        let client = with(ours(&nginx));
        assert_eq!(client.get(&url).unwrap().status(), 200);
        let request = Request::get(&url).tls(TlsConfig::new().pinned_public_key(wrong)).body(()).unwrap();
        assert_eq!(client.send(request).unwrap_err().kind(), ErrorKind::BadServerCertificate);
        assert_eq!(ask(&format!("{wrong};{right}")).unwrap().status(), 200);
        let error = ask(wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadServerCertificate, "{}", error.chain());
    }
}

#[test]
fn a_wrong_name_alone_is_accepted_or_that_is_refused() {
    let nginx = nginx();
    let client = with(ours(&nginx).danger_accept_invalid_hosts(true));
    let result = client.get(nginx.bad_url(BadCert::WrongHost, "/small.txt"));
    if is_rustls() {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{}", error.chain());
    } else {
        assert_eq!(result.unwrap().status(), 200);
        for bad in BadCert::ALL.into_iter().filter(|bad| !matches!(bad, BadCert::WrongHost | BadCert::NoName)) {
            let error = client.get(nginx.bad_url(bad, "/small.txt")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadServerCertificate, "{bad:?}: {}", error.chain());
        }
    }
}

#[test]
fn no_secrets_are_logged_unless_asked_for() {
    if !is_alone("tls::no_secrets_are_logged_unless_asked_for") {
        return;
    }
    // The variable has to be there from the start: the test runs itself once more.
    let Some(log) = std::env::var_os("SSLKEYLOGFILE") else {
        let dir = tempfile::tempdir().unwrap();
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tls::no_secrets_are_logged_unless_asked_for", "--test-threads=1"])
            .env("SSLKEYLOGFILE", dir.path().join("keys"))
            .status();
        assert!(status.unwrap().success());
        return;
    };
    let written = || std::fs::read_to_string(&log).is_ok_and(|text| !text.is_empty());
    let nginx = nginx();
    let client = with(ours(&nginx));
    let error = client.get(nginx.tls_url("/small.txt")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{}", error.chain());
    assert!(error.to_string().contains("SSLKEYLOGFILE"), "{error}");
    assert!(!written());
    assert_eq!(client.get(nginx.url("/small.txt")).unwrap().status(), 200, "nothing to betray in clear text");
    let request =
        Request::get(nginx.tls_url("/small.txt")).tls(TlsConfig::new().danger_key_log(true)).body(()).unwrap();
    assert_eq!(client.send(request).unwrap().status(), 200);
    assert!(written());
}

#[test]
fn streams_of_a_connection_are_limited_and_waiting_for_one_can_be_turned_off() {
    /// Holds the agent up until it is told to go on.
    struct Gate(mpsc::Sender<()>, mpsc::Receiver<()>);
    impl Handler for Gate {
        fn on_request(&mut self, _: &mut Request<()>, _: &Control) -> Next {
            Next::read()
        }
        fn on_response(&mut self, _: Response<()>) -> Next {
            self.0.send(()).unwrap();
            self.1.recv_timeout(Duration::from_secs(20)).unwrap();
            Next::end()
        }
        fn on_response_readable(&mut self, _: &mut Decoder<'_>) -> Next {
            Next::end()
        }
    }
    let nginx = nginx();
    let connections = |builder: marmot::HttpClientBuilder| {
        let client = builder.ca_certificates(CaCertificates::file(nginx.ca_pem_path())).build().unwrap();
        let ((holds, held), (open, gate)) = (mpsc::channel(), mpsc::channel());
        let held_up = client.drive(Request::get(nginx.url("/small.txt")).body(()).unwrap(), Gate(holds, gate));
        held.recv_timeout(Duration::from_secs(20)).unwrap();
        let all: Vec<_> = (0..8).map(|_| client.get_async(nginx.tls_url("/slow/1m.bin"))).collect();
        // All eight wait for the agent, which meets them in one turn.
        open.send(()).unwrap();
        held_up.wait().unwrap();
        let all = block_on(try_join_all(all)).unwrap();
        assert!(all.iter().all(|response| response.version() == Version::HTTP_2));
        client.stats().open - 1 // the one in clear text
    };
    assert_eq!(connections(HttpClient::builder()), 1);
    let limited = connections(HttpClient::builder().max_concurrent_streams(2));
    assert!(limited >= 4, "{limited} connections for 8 requests, 2 at once each");
    let eager = connections(HttpClient::builder().pipewait(false));
    assert!(eager > 1, "{eager}");
}

#[test]
fn a_client_certificate_is_not_shown_to_another_origin() {
    use marmot::config::RedirectPolicy;
    let nginx = nginx();
    let [chain, key] = nginx.client_files(true);
    let tls = ours(&nginx).client_certificate(ClientCertificate::pem_files(&chain, &key));
    let client = HttpClient::builder().tls(tls).redirect_policy(RedirectPolicy::Follow).build().unwrap();
    let url = nginx.client_certificate_url("/who");
    assert!(client.get(&url).unwrap().text().unwrap().starts_with("CN="));
    // The same server, from another origin.
    let there = crate::support::Server::start(move |_, answer| answer.send(302, &[("Location", &url)], b""));
    assert_eq!(client.get(there.url("/")).unwrap().status(), 400, "nginx was shown no certificate");
}
