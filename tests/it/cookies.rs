//! Cookies on the wire: kept, sent, shared, limited to their origins. The rules alone are tested beside them.

use marmot::config::RedirectPolicy;
use marmot::cookies::CookieJar;
use marmot::prelude::*;

use crate::support::Server;

#[test]
fn a_jar_keeps_and_sends_and_is_shared() {
    let server = Server::faults();
    let jar = CookieJar::new();
    let client = HttpClient::builder().cookie_jar(jar.clone()).build().unwrap();
    let response = client.get(server.url("/cookies/set?a=1&b=two")).unwrap();
    assert_eq!(response.cookie_jar().map(CookieJar::len), Some(2));
    client.get(server.url("/get")).unwrap();
    assert_eq!(server.last_request().header("cookie"), Some("a=1; b=two"));

    let other = HttpClient::builder().cookie_jar(jar.clone()).build().unwrap();
    other.get(server.url("/get")).unwrap();
    assert_eq!(server.last_request().header("cookie"), Some("a=1; b=two"));
    jar.clear();
    other.get(server.url("/get")).unwrap();
    assert_eq!(server.last_request().header("cookie"), None);
}

#[test]
fn without_a_jar_nothing_is_kept_and_a_request_can_leave_it_out_or_bring_its_own() {
    let server = Server::faults();
    let plain = HttpClient::new().unwrap();
    plain.get(server.url("/cookies/set?a=1")).unwrap();
    plain.get(server.url("/get")).unwrap();
    assert_eq!(server.last_request().header("cookie"), None);

    let client = HttpClient::builder().cookies().build().unwrap();
    client.get(server.url("/cookies/set?a=1")).unwrap();
    let request = Request::get(server.url("/get")).cookie_jar(None).body(()).unwrap();
    client.send(request).unwrap();
    assert_eq!(server.last_request().header("cookie"), None);
    let own = CookieJar::new();
    own.set("own=jar", &server.url("/").parse().unwrap()).unwrap();
    client.send(Request::get(server.url("/get")).cookie_jar(own).body(()).unwrap()).unwrap();
    assert_eq!(server.last_request().header("cookie"), Some("own=jar"));
    client.send(Request::get(server.url("/get")).header("cookie", "mine=0").body(()).unwrap()).unwrap();
    assert_eq!(server.last_request().header("cookie"), Some("mine=0; a=1"));
}

#[test]
fn redirects_set_and_get_cookies_of_each_hop_and_of_no_other_host() {
    let server = Server::start(|request, answer| match request.target.as_str() {
        "/login" => answer.send(302, &[("Location", "/home"), ("Set-Cookie", "session=s3; Path=/; HttpOnly")], b""),
        "/away" => {
            let there =
                format!("http://localhost:{}/there", request.header("host").unwrap().rsplit(':').next().unwrap());
            answer.send(302, &[("Location", &there)], b"")
        }
        _ => answer.text(200, request.header("cookie").unwrap_or("none")),
    });
    let client = HttpClient::builder().cookies().redirect_policy(RedirectPolicy::Follow).build().unwrap();
    assert_eq!(client.get(server.url("/login")).unwrap().text().unwrap(), "session=s3");
    assert_eq!(client.get(server.url("/away")).unwrap().text().unwrap(), "none");
    assert_eq!(client.get(server.url("/again")).unwrap().text().unwrap(), "session=s3");
}

#[test]
fn a_jar_comes_back_from_its_file() {
    let server = Server::start(|request, answer| match request.target.as_str() {
        "/set" => answer.send(200, &[("Set-Cookie", "kept=1; Max-Age=3600"), ("Set-Cookie", "session=2")], b""),
        _ => answer.text(200, request.header("cookie").unwrap_or("none")),
    });
    let jar = CookieJar::new();
    let client = HttpClient::builder().cookie_jar(jar.clone()).build().unwrap();
    client.get(server.url("/set")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for name in ["cookies.txt", "cookies.json"] {
        let path = dir.path().join(name);
        jar.save_to(&path).unwrap();
        let back = CookieJar::new();
        back.load_from(&path).unwrap();
        let client = HttpClient::builder().cookie_jar(back).build().unwrap();
        let text = client.get(server.url("/")).unwrap().text().unwrap();
        assert!(text.contains("kept=1"), "{name}: {text}");
    }
}
