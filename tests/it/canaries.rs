//! One string for each secret that a caller can give, and where each of them may and may not turn up.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Uri};
use marmot::config::{
    AwsSigV4, CaCertificates, ClientCertificate, Proxy, RedirectAction, RedirectPolicy, RetryPolicy, Roots, TlsConfig,
};
use marmot::cookies::CookieJar;
use marmot::multipart::{Form, Part};
use marmot::prelude::*;
use marmot::{Body, Error, ErrorKind, HttpClientBuilder};

use crate::support::{Request as Seen, Server, base64};

const HEADERS: [(&str, &str); 12] = [
    ("authorization", "c4nary-authorization"),
    ("cookie", "c=c4nary-cookie"),
    ("proxy-authorization", "c4nary-proxy-authorization"),
    ("x-api-key", "c4nary-api-key"),
    ("api-key", "c4nary-bare-key"),
    ("x-auth-token", "c4nary-auth-token"),
    ("x-amz-security-token", "c4nary-amz"),
    ("x-session-id", "c4nary-session"),
    ("x-webhook-signature", "c4nary-signature"),
    ("client-secret", "c4nary-secret"),
    ("x-jwt", "c4nary-jwt"),
    ("x-named", "c4nary-named"),
];

fn builder() -> HttpClientBuilder {
    HttpClient::builder()
        .redirect_policy(RedirectPolicy::Follow)
        .secret_headers(["x-named"])
        .timeout(Duration::from_secs(10))
}

fn headers() -> HeaderMap {
    let mut headers: HeaderMap =
        HEADERS.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect();
    let mut marked = HeaderValue::from_static("c4nary-marked");
    marked.set_sensitive(true);
    headers.insert("x-note", marked);
    headers.insert("x-plain", HeaderValue::from_static("plain"));
    headers
}

/// The ways in which a client holds a secret, each with what of it goes to the origin itself.
fn holders() -> Vec<(&'static str, HttpClientBuilder, HeaderMap, Vec<String>)> {
    let own = |text: &str| vec![text.to_owned()];
    let given: Vec<String> = HEADERS.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let to_origin: Vec<String> = given.iter().filter(|line| !line.starts_with("proxy")).cloned().collect();
    let defaults = builder().default_headers(&headers());
    vec![
        ("headers", builder(), headers(), [to_origin.clone(), own("x-note: c4nary-marked")].concat()),
        ("default headers", defaults, HeaderMap::new(), to_origin),
        ("basic", builder().basic_auth("anna", "c4nary"), HeaderMap::new(), own(&base64(b"anna:c4nary"))),
        ("bearer", builder().bearer_auth("c4nary-bearer"), HeaderMap::new(), own("c4nary-bearer")),
        ("digest", builder().digest_auth("c4nary-user", "c4nary"), HeaderMap::new(), vec![]),
        (
            "signed",
            builder().aws_sigv4(AwsSigV4::new("c4nary-key", "c4nary", "eu", "sqs").session_token("c4nary-token")),
            HeaderMap::new(),
            vec!["c4nary-key".to_owned(), "c4nary-token".to_owned()],
        ),
    ]
}

fn wire(request: &Seen) -> String {
    let raw = format!("{}{}", String::from_utf8_lossy(&request.head), request.text());
    raw.replace(&base64(b"anna:c4nary"), "c4nary")
}

/// A server that redirects whatever it is asked to where its query says, and asks the others for all it can ask for.
fn server() -> Server {
    Server::start(|request, responder| match request.query_value("to") {
        Some(to) => responder.send(307, &[("Location", &to)], b""),
        None if request.path() == "/challenge" => {
            let digest = "Digest realm=\"r\", nonce=\"n\", qop=\"auth\"";
            responder.send(401, &[("WWW-Authenticate", digest), ("WWW-Authenticate", "Basic realm=\"r\"")], b"")
        }
        None => responder.text(200, "here"),
    })
}

fn request(url: &str, headers: &HeaderMap) -> Request<&'static str> {
    let mut request = Request::post(url).body("body").unwrap();
    request.headers_mut().clone_from(headers);
    request
}

#[test]
fn secrets_stay_with_their_origin_whoever_holds_them() {
    for (what, builder, headers, expected) in holders() {
        let client = builder.build().unwrap();
        for path in ["/end", "/challenge"] {
            let (first, second) = (server(), server());
            let port = first.addr().port();
            let elsewhere = [
                ("another port", format!("{}{path}", second.origin())),
                ("another name", format!("http://localhost:{port}{path}")),
                ("another form", format!("http://127.0.0.2:{port}{path}")),
            ];
            for (other, target) in elsewhere {
                // There at once, and by way of the origin itself.
                for way in [first.url(&format!("/?to={target}")), first.url(&format!("/?to=/%3fto={target}"))] {
                    let before = (first.requests().len(), second.requests().len());
                    // Where nobody listens, nobody hears.
                    let _ = client.send(request(&way, &headers));
                    let (heard, away): (Vec<Seen>, Vec<Seen>) = first.requests()[before.0..]
                        .iter()
                        .cloned()
                        .partition(|seen| seen.header("host") == Some(&first.addr().to_string()));
                    for line in &expected {
                        assert!(
                            heard.iter().all(|seen| wire(seen).contains(line.as_str()) || what == "basic"),
                            "{what}: {line}"
                        );
                    }
                    for seen in away.iter().chain(&second.requests()[before.1..]) {
                        assert!(!wire(seen).contains("c4nary"), "{what} to {other}: {}", wire(seen));
                        assert_eq!(seen.text(), "body");
                    }
                    assert!(heard.iter().all(|seen| !wire(seen).contains("c4nary-proxy")), "a proxy's is no origin's");
                }
            }
            assert!(second.requests().len() >= 2, "{what}: the other origin was asked");
        }
    }
}

#[test]
fn a_policy_of_ones_own_gives_no_secret_away() {
    for (what, builder, headers, _) in holders() {
        let (first, second) = (server(), server());
        let target: Uri = second.url("/end").parse().unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let (sink, to) = (shown.clone(), target.clone());
        let policy = RedirectPolicy::custom(3, move |hop| {
            write!(SharedText(&sink), "{hop:?}").unwrap();
            *hop.uri = to.clone();
            RedirectAction::Follow
        });
        let client = builder.redirect_policy(policy).build().unwrap();
        client.send(request(&first.url("/?to=/end"), &headers)).unwrap();
        assert!(!wire(&second.last_request()).contains("c4nary"), "{what}: {}", wire(&second.last_request()));
        assert_eq!(second.last_request().header("host"), Some(second.addr().to_string().as_str()));
        let shown = shown.lock().unwrap();
        assert!(shown.contains("RedirectHop") && !shown.contains("c4nary"), "{what}: {shown}");
    }
}

struct SharedText<'a>(&'a Mutex<String>);

impl Write for SharedText<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_jar_and_a_url_keep_to_their_host() {
    let (first, second) = (server(), server());
    let jar = CookieJar::new();
    jar.set("jar=c4nary-jar; Path=/", &first.url("/").parse().unwrap()).unwrap();
    let client = builder().cookie_jar(jar).url_credentials(true).build().unwrap();
    let with_user = |url: String| url.replace("//", "//anna:c4nary@");
    let there = format!("http://localhost:{}/end", second.addr().port());
    client.get(with_user(first.url(&format!("/?to={there}")))).unwrap();
    assert!(wire(&first.last_request()).contains("Basic c4nary") && wire(&first.last_request()).contains("c4nary-jar"));
    assert!(!wire(&second.last_request()).contains("c4nary"), "{}", wire(&second.last_request()));
    // Cookies know no ports (RFC 6265bis 1), credentials do.
    client.get(with_user(first.url(&format!("/?to={}", second.url("/end"))))).unwrap();
    assert_eq!(second.last_request().header("cookie"), Some("jar=c4nary-jar"));
    assert!(!second.last_request().has_header("authorization"));
}

#[test]
fn what_came_back_from_elsewhere_has_lost_its_secrets_for_good() {
    let (first, second) = (server(), server());
    let back = second.url(&format!("/?to={}", first.url("/end")));
    for (what, builder, headers, _) in holders() {
        let client = builder.retry(RetryPolicy::new()).build().unwrap();
        client.send(request(&first.url(&format!("/?to={back}")), &headers)).unwrap();
        assert_eq!(first.last_request().path(), "/end");
        assert!(!wire(&first.last_request()).contains("c4nary"), "{what}");
    }
}

#[test]
fn debug_of_what_is_configured_shows_no_secret() {
    let identity = ClientCertificate::pem("c4nary chain", "c4nary key").password("c4nary");
    let tls = TlsConfig::new().client_certificate(identity.clone());
    let tls = tls.roots(Roots::only(CaCertificates::pem("not a secret")));
    let proxy =
        Proxy::all("http://anna:c4nary@127.0.0.1:1").and(Proxy::http("http://p:1").basic_auth("c4nary", "c4nary"));
    let sign = AwsSigV4::new("c4nary", "c4nary", "eu", "s3").session_token("c4nary");
    let jar = CookieJar::new();
    let url: Uri = "http://127.0.0.1/".parse().unwrap();
    jar.set("name=c4nary; Max-Age=100", &url).unwrap();
    let mut shown =
        format!("{identity:?}{tls:#?}{proxy:?}{sign:?}{jar:?}{:?}{:?}", jar.cookies(), jar.get_for_url(&url));
    let form = Form::new().text("password", "c4nary").part("other", Part::text("c4nary"));
    shown += &format!("{form:?}{:?}{:?}", Part::text("c4nary"), Body::from("c4nary"));
    for (_, builder, _, _) in holders() {
        let builder = builder.proxy(proxy.clone()).tls(tls.clone()).cookie_jar(jar.clone());
        shown += &format!("{builder:?}{builder:#?}");
        let client = builder.tls(TlsConfig::new().client_certificate(None)).build().unwrap();
        shown += &format!("{client:?}{client:#?}{:?}", client.clone().stats());
    }
    assert!(shown.contains("default_headers") && shown.contains("plain"), "what is no secret shows");
    assert!(
        !shown.contains("c4nary"),
        "{}",
        shown.split("c4nary").next().unwrap().chars().rev().take(200).collect::<String>()
    );
}

#[test]
fn errors_and_results_show_no_secret() {
    let mut shown = String::new();
    let mut show =
        |error: Error| shown += &format!("{error}|{error:?}|{error:#?}|{}|{:?}\n", error.chain(), error.url());
    let secret = "anna:c4nary@127.0.0.1:1/?api_key=c4nary&access_token=c4nary&sig=c4nary&X-Amz-Signature=c4nary";
    let with_user = HttpClient::builder().url_credentials(true).build().unwrap();
    show(with_user.get(format!("http://{secret}")).unwrap_err());
    show(HttpClient::new().unwrap().get(format!("http://{secret}")).unwrap_err());
    show(with_user.get(format!("ftp://{secret}")).unwrap_err());
    show(with_user.get("http://anna:c4nary%@127.0.0.1/").unwrap_err());
    let folder = tempfile::tempdir().unwrap();
    let download = with_user.download(format!("http://{secret}"), folder.path().join("file")).unwrap();
    show(download.max_attempts(1).send().unwrap_err());
    for (_, builder, headers, _) in holders() {
        let client = builder.url_credentials(true).build().unwrap();
        show(client.send(request(&format!("http://{secret}"), &headers)).unwrap_err());
        let proxy = Proxy::all("http://anna:c4nary@127.0.0.1:1");
        let request = request("http://127.0.0.1:2/", &headers).proxy(proxy);
        show(client.send(request).unwrap_err());
    }
    let cookie = CookieJar::new().set("a=c4nary; Secure", &"http://a.test/".parse().unwrap()).unwrap_err();
    show(cookie);
    for builder in [
        HttpClient::builder().bearer_auth("c4nary c4nary"),
        HttpClient::builder().basic_auth("a:c4nary", "c4nary"),
        HttpClient::builder().basic_auth("a", "c4nary\n"),
        HttpClient::builder().digest_auth("a", "c4nary\n"),
        HttpClient::builder().proxy(Proxy::all("nonsense://a:c4nary@p")),
        HttpClient::builder().proxy(Proxy::all("http://a:c4nary%@p")),
        HttpClient::builder().default_header("x-api-key", "c4nary\n"),
        HttpClient::builder().aws_sigv4(AwsSigV4::new("c4nary\n", "c4nary", "eu", "s3")),
    ] {
        show(builder.build().unwrap_err());
    }
    let server =
        Server::start(|_, responder| responder.send(302, &[("Location", "http://a:c4nary@exa mple/?key=c4nary")], b""));
    let error = builder().build().unwrap().get(server.url("/")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProtocolViolation);
    show(error);
    let server = Server::start(|_, responder| responder.send(200, &[("Set-Cookie", "session=c4nary")], b"content"));
    let done =
        HttpClient::new().unwrap().download(server.url("/"), folder.path().join("done")).unwrap().send().unwrap();
    assert_eq!(done.response.headers()["set-cookie"], "session=c4nary");
    shown += &format!("{done:?}");
    assert!(!shown.contains("c4nary"), "{}", shown.lines().find(|line| line.contains("c4nary")).unwrap());
}

#[test]
fn a_download_leaves_no_secret_for_others_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start(|_, responder| {
        responder.head(200, &[("Content-Length", "100"), ("ETag", "\"1\"")])?;
        responder.body(b"some of it")?;
        responder.close();
        Ok(())
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let download = HttpClient::new().unwrap().download(server.url("/?signature=c4nary"), &path).unwrap();
    download.max_attempts(1).send().unwrap_err();
    let info = folder.path().join("file.part.info");
    assert_eq!(std::fs::metadata(&info).unwrap().permissions().mode() & 0o077, 0, "only the owner may read it");
}
