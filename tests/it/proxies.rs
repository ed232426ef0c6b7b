//! Requests through real proxies, and what must not get past them. What a proxy is chosen by is tested beside the code.

use marmot::config::{CaCertificates, Proxy, RedirectPolicy, Roots, TlsConfig};
use marmot::prelude::*;
use marmot::{Body, ErrorKind};

use crate::alone::is_alone;
use crate::support::{Asked, Danted, Nginx, Server, Socks, Squid, Tinyproxy, free_port};

fn through(proxy: Proxy) -> HttpClient {
    HttpClient::builder().proxy(proxy).build().unwrap()
}

/// Answers every request with the word `target`, or a redirect for `/to?URL`.
fn target() -> Server {
    Server::start(|request, responder| match request.target.split_once("/to?") {
        Some((_, url)) => responder.send(302, &[("Location", url)], b""),
        None => responder.text(200, "target"),
    })
}

fn nginx() -> Nginx {
    Nginx::start().unwrap_or_else(|why| panic!("{why}"))
}

fn trusting(nginx: &Nginx) -> TlsConfig {
    TlsConfig::new().roots(Roots::only(CaCertificates::file(nginx.ca_pem_path())))
}

#[test]
fn clear_text_passes_an_http_proxy_and_tls_a_tunnel() {
    let (proxy, target, nginx) = (Tinyproxy::start(), target(), nginx());
    let client = HttpClient::builder().proxy(Proxy::all(proxy.url())).tls(trusting(&nginx)).build().unwrap();
    // First what is not repeated: tinyproxy closes connections after an answer and does not say so beforehand.
    assert_eq!(client.post(target.url("/a"), "body").unwrap().status(), 200);
    assert_eq!(target.last_request().text(), "body");
    assert_eq!(client.get(target.url("/a")).unwrap().text().unwrap(), "target");
    assert!(target.last_request().has_header("via"), "tinyproxy signs what it forwards");
    let mut response = client.get(nginx.tls_url("/small.txt")).unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2, "ALPN reaches the target");
    assert!(!response.text().unwrap().is_empty());

    let client = through(Proxy::all(proxy.url()).tunnel(true));
    assert_eq!(client.get(target.url("/b")).unwrap().text().unwrap(), "target");
    assert!(!target.last_request().has_header("via"), "a tunnel is not looked into");
}

#[test]
fn proxies_are_chosen_by_scheme_and_host_and_can_be_taken_back() {
    let (proxy, target, nginx) = (Tinyproxy::start(), target(), nginx());
    let nowhere = "http://127.0.0.1:1";
    let client = HttpClient::builder()
        .proxy(Proxy::http(proxy.url()).and(Proxy::https(nowhere)))
        .tls(trusting(&nginx))
        .build()
        .unwrap();
    assert_eq!(client.get(target.url("/")).unwrap().status(), 200);
    assert!(target.last_request().has_header("via"));
    assert_eq!(client.get(nginx.tls_url("/small.txt")).unwrap_err().kind(), ErrorKind::ConnectionFailed);
    let request = || Request::get(target.url("/"));
    for proxy in [None, Some(Proxy::https(nowhere)), Some(Proxy::all(nowhere).no_proxy("10.0.0.0/8,127.0.0.0/8"))] {
        let request = request().proxy(proxy.clone()).body(()).unwrap();
        assert_eq!(client.send(request).unwrap().status(), 200);
        assert!(!target.last_request().has_header("via"), "{proxy:?}");
    }
    // One client, one handle, all ways in turn.
    assert_eq!(client.get(target.url("/")).unwrap().status(), 200);
    assert!(target.last_request().has_header("via"));
    let error = client.send(request().proxy(Proxy::all("gopher://x")).body(()).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
}

#[test]
fn a_proxy_that_wants_a_password_gets_it_and_nobody_else() {
    let (squid, target, nginx) = (Squid::start(), target(), nginx());
    let url = squid.url();
    let with_user = url.replace("http://", "http://anna:s3cret@");
    for proxy in [
        Proxy::all(&url).basic_auth("anna", "s3cret"),
        Proxy::all(&with_user),
        Proxy::all(&url).digest_auth("dora", "d1gest"),
        Proxy::all(&url).digest_auth("dora", "d1gest").tunnel(true),
    ] {
        assert!(!format!("{proxy:?}").contains("s3cret"), "{proxy:?}");
        let client = HttpClient::builder().proxy(proxy.clone()).tls(trusting(&nginx)).build().unwrap();
        for round in 0..2 {
            let response = client.get(target.url("/a"));
            assert_eq!(response.unwrap().status(), 200, "{proxy:?}, round {round}");
            assert_eq!(client.get(nginx.tls_url("/small.txt")).unwrap().status(), 200, "{proxy:?}, round {round}");
        }
        // Bodies from memory and streamed, sent twice or held back.
        let long = "x".repeat(200_000);
        for body in [Body::from(long.clone()), Body::from_reader(std::io::Cursor::new(long.clone()))] {
            let request = Request::post(target.url("/b")).body(body).unwrap();
            assert_eq!(client.send(request).unwrap().status(), 200, "{proxy:?}");
            assert_eq!(target.last_request().body.len(), long.len());
        }
    }
    for request in target.requests() {
        let head = String::from_utf8_lossy(&request.head).to_lowercase();
        assert!(!head.contains("authorization"), "{head}");
    }
}

#[test]
fn refusals_of_a_proxy_name_it_without_its_password() {
    let (squid, target, nginx) = (Squid::start(), target(), nginx());
    let place = squid.url();
    let check = |error: marmot::Error, kind: ErrorKind, words: &[&str]| {
        let all = format!("{} {error:?}", error.chain());
        assert_eq!(error.kind(), kind, "{all}");
        for word in words {
            assert!(error.to_string().contains(word), "{error}: no {word}");
        }
        assert!(!all.contains("c4nary"), "{all}");
    };
    for (proxy, status) in [
        (Proxy::all(&place).basic_auth("anna", "c4nary"), 407),
        (Proxy::all(place.replace("http://", "http://c4nary:c4nary@")), 407),
        (Proxy::all(&place).digest_auth("dora", "c4nary"), 407),
        (Proxy::all(&place), 407),
    ] {
        let client = through(proxy);
        let error = client.get(nginx.tls_url("/")).unwrap_err();
        check(error, ErrorKind::ProxyRefused, &[&place, &format!("status {status}")]);
        // Without a tunnel the proxy's answer is a response like any other, with its body.
        let mut response = client.get(target.url("/")).unwrap();
        assert_eq!(response.status(), status);
        assert!(response.text().unwrap().contains("Cache Access Denied"));
    }
    let known = || Proxy::all(&place).basic_auth("anna", "s3cret");
    check(through(known()).get("https://forbidden.test/").unwrap_err(), ErrorKind::ProxyRefused, &["403"]);
    assert_eq!(through(known()).get("http://forbidden.test/").unwrap().status(), 403);
    let closed = free_port();
    let url = format!("http://c4nary:c4nary@127.0.0.1:{closed}");
    let words = [&*format!("the proxy http://127.0.0.1:{closed}"), "connection refused"];
    check(through(Proxy::all(url)).get(target.url("/")).unwrap_err(), ErrorKind::ConnectionFailed, &words);
    let unknown = through(Proxy::all("http://c4nary:c4nary@proxy.invalid:1")).get(target.url("/")).unwrap_err();
    check(unknown, ErrorKind::NameResolution, &["http://proxy.invalid:1"]);
}

#[test]
fn a_tls_proxy_is_verified_by_settings_of_its_own() {
    let (squid, target, nginx) = (Squid::start(), target(), nginx());
    let its_own = || TlsConfig::new().roots(Roots::only(CaCertificates::file(squid.ca_pem_path())));
    let proxy = || Proxy::all(squid.tls_url()).basic_auth("anna", "s3cret");
    let client = HttpClient::builder().proxy(proxy()).proxy_tls(its_own()).tls(trusting(&nginx)).build().unwrap();
    assert_eq!(client.get(target.url("/")).unwrap().status(), 200);
    assert_eq!(client.get(nginx.tls_url("/small.txt")).unwrap().status(), 200, "TLS in TLS");
    assert_eq!(
        client.get(nginx.bad_url(crate::support::BadCert::Expired, "/")).unwrap_err(),
        ErrorKind::BadServerCertificate
    );
    for tls in [
        TlsConfig::new(),
        // Settings for proxies that have nothing to do with it.
        TlsConfig::new().roots(Roots::only(CaCertificates::file(nginx.ca_pem_path()))),
        TlsConfig::new().min_version(marmot::config::TlsVersion::V1_2),
    ] {
        // What is said about servers does not count.
        let client = HttpClient::builder().proxy(proxy()).tls(its_own()).danger_accept_invalid_certs(true);
        let error = client.proxy_tls(tls).build().unwrap().get(target.url("/")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadServerCertificate, "{}", error.chain());
        assert!(error.to_string().contains(&squid.tls_url()), "{error}");
    }
    let danger = TlsConfig::new().danger_accept_invalid_certs(true);
    let client = HttpClient::builder().proxy(proxy()).proxy_tls(danger).tls(trusting(&nginx)).build().unwrap();
    assert_eq!(client.get(target.url("/")).unwrap().status(), 200);
    let error = client.get(nginx.bad_url(crate::support::BadCert::Expired, "/")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadServerCertificate, "what is accepted of the proxy is not of the target");
}

#[test]
fn what_is_said_to_the_proxy_never_reaches_the_target() {
    let (proxy, target, other) = (Tinyproxy::start(), target(), target());
    let first_hop = target.url(&format!("/to?{}", other.url("/end")));
    // A proxy that is no tunnel could pass on what it is told, and tinyproxy does.
    for (tunnel, exclude) in [(true, ""), (true, "127.0.0.1"), (false, "127.0.0.1")] {
        let client = HttpClient::builder()
            .proxy(Proxy::all(proxy.url()).basic_auth("c4nary", "c4nary").tunnel(tunnel).no_proxy(exclude))
            .default_header("Proxy-Authorization", "Basic c4nary")
            .redirect_policy(RedirectPolicy::Follow)
            .build()
            .unwrap();
        let response = client.get(&first_hop).unwrap();
        assert_eq!(response.status(), 200);
    }
    // An HTTP server plays the proxy: it sees what is for it.
    let seen = Server::start(|_, responder| responder.text(200, "proxy"));
    let client = HttpClient::builder().proxy(Proxy::all(seen.origin())).build().unwrap();
    let request = Request::get("http://target.test/").header("Proxy-Authorization", "Basic own").body(()).unwrap();
    assert_eq!(client.send(request).unwrap().text().unwrap(), "proxy");
    assert_eq!(seen.last_request().header("proxy-authorization"), Some("Basic own"));
    assert_eq!(seen.last_request().target, "http://target.test/");
    // What is for the target is not said to the one who makes the tunnel.
    let refusing = Server::start(|_, responder| responder.send(403, &[], b"no tunnel"));
    let client = through(Proxy::all(refusing.origin()).basic_auth("anna", "s3cret"));
    let request = Request::get("https://target.test/p4th").basic_auth("c4nary", "c4nary").header("Cookie", "c4nary");
    let error = client.send(request.body(()).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProxyRefused);
    assert!(error.to_string().contains("status 403"), "{error}");
    let seen = refusing.last_request();
    assert_eq!((&*seen.method, &*seen.target), ("CONNECT", "target.test:443"));
    assert_eq!(seen.header("proxy-authorization"), Some("Basic YW5uYTpzM2NyZXQ="));
    let head = String::from_utf8_lossy(&seen.head).to_lowercase();
    for word in ["c4nary", "cookie", "\nauthorization", "p4th"] {
        assert!(!head.contains(word), "{head}");
    }
    for server in [&target, &other] {
        assert_eq!(server.requests().len(), 3);
        for request in server.requests() {
            let head = String::from_utf8_lossy(&request.head).to_lowercase();
            assert!(!head.contains("c4nary") && !head.contains("proxy-authorization"), "{head}");
        }
    }
}

#[test]
fn socks_proxies_work_for_clear_text_and_tls() {
    let (danted, target, nginx) = (Danted::start(), target(), nginx());
    // Dante knows no 4a; our own proxy does.
    for scheme in ["socks4", "socks5", "socks5h"] {
        let proxy = Proxy::all(format!("{scheme}://127.0.0.1:{}", danted.port()));
        let client = HttpClient::builder().proxy(proxy).tls(trusting(&nginx)).build().unwrap();
        assert_eq!(client.get(target.url("/")).unwrap().text().unwrap(), "target", "{scheme}");
        assert_eq!(client.get(nginx.tls_ip_url("/small.txt")).unwrap().status(), 200, "{scheme}");
    }
}

#[test]
fn socks_proxies_are_asked_for_names_or_addresses_as_their_scheme_says() {
    let target = target();
    let port = target.addr().port();
    for (scheme, version, named) in
        [("socks4", 4, false), ("socks4a", 4, true), ("socks5", 5, false), ("socks5h", 5, true)]
    {
        let socks = Socks::start(None);
        let client = through(Proxy::all(format!("{scheme}://anna@127.0.0.1:{}", socks.port())));
        let client_map = marmot::config::ResolveMap::new().add("name.test", port, ["127.0.0.1".parse().unwrap()]);
        let request = Request::get(format!("http://name.test:{port}/")).resolve(client_map).body(()).unwrap();
        assert_eq!(client.send(request).unwrap().text().unwrap(), "target", "{scheme}");
        let host = if named { "name.test" } else { "127.0.0.1" };
        let user = if version == 4 { "anna" } else { "" };
        let expected = Asked { version, user: user.into(), password: String::new(), host: host.into(), port };
        assert_eq!(socks.asked(), [expected], "{scheme}");
    }
}

#[test]
fn a_socks_proxy_with_a_password_lets_only_its_users_through() {
    let target = target();
    let socks = Socks::start(Some(("anna", "s3cret")));
    let url = format!("socks5h://127.0.0.1:{}", socks.port());
    let client = through(Proxy::all(&url).basic_auth("anna", "s3cret"));
    assert_eq!(client.get(target.url("/")).unwrap().status(), 200);
    assert_eq!((&*socks.asked()[0].user, &*socks.asked()[0].password), ("anna", "s3cret"));
    for wrong in [Proxy::all(&url).basic_auth("anna", "c4nary"), Proxy::all(&url)] {
        let error = through(wrong).get(target.url("/")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ProxyRefused, "{}", error.chain());
        assert!(error.to_string().contains(&url) && !error.chain().contains("c4nary"), "{}", error.chain());
    }
    let error = HttpClient::builder().proxy(Proxy::all(url).digest_auth("a", "b")).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    // The proxy lets us through, and the target is not there.
    let socks = Socks::start(None);
    let client = through(Proxy::all(format!("socks5://127.0.0.1:{}", socks.port())));
    let error = client.get(format!("http://127.0.0.1:{}/", free_port())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProxyRefused, "{}", error.chain());
    assert_eq!(target.requests().len(), 1);
}

#[test]
fn the_environment_is_obeyed_unless_told_otherwise() {
    if !is_alone("proxies::the_environment_is_obeyed_unless_told_otherwise") {
        return;
    }
    let Some(url) = std::env::var_os("MARMOT_TEST_URL") else {
        let (seen, target) = (Server::start(|_, responder| responder.text(200, "proxy")), target());
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "proxies::the_environment_is_obeyed_unless_told_otherwise", "--test-threads=1"])
            .env("MARMOT_TEST_URL", target.url("/"))
            .env("http_proxy", seen.origin().replace("http://", "http://anna:s3cret@"))
            .env("no_proxy", "excluded.test, localhost")
            .status();
        assert!(status.unwrap().success());
        assert_eq!(seen.requests().len(), 1);
        assert_eq!(seen.last_request().header("proxy-authorization"), Some("Basic YW5uYTpzM2NyZXQ="));
        assert_eq!(target.requests().len(), 3);
        return;
    };
    let url = url.to_str().unwrap();
    let client = HttpClient::new().unwrap();
    assert_eq!(client.get(url).unwrap().text().unwrap(), "proxy");
    let own = Request::get(url).proxy(None).body(()).unwrap();
    assert_eq!(client.send(own).unwrap().text().unwrap(), "target");
    assert_eq!(client.get(url.replace("127.0.0.1", "localhost")).unwrap().text().unwrap(), "target");
    let client = HttpClient::builder().proxy_from_env(false).build().unwrap();
    assert_eq!(client.get(url).unwrap().text().unwrap(), "target");
}
