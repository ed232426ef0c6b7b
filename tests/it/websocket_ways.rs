//! WebSockets with the client's settings: through proxies, under egress policies, with configured credentials.

use marmot::ErrorKind;
use marmot::config::{EgressPolicy, Proxy};
use marmot::prelude::*;
use marmot::websocket::Message;

use crate::support::{RawServer, Socks, Tinyproxy};

/// Answers every message with itself.
fn echo_server() -> RawServer {
    RawServer::start(|conn, _, _| {
        let Ok(mut socket) = tungstenite::accept(conn) else { return };
        while let Ok(message) = socket.read() {
            if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                break;
            }
        }
    })
}

fn url(server: &RawServer) -> String {
    format!("ws://localhost:{}/", server.addr().port())
}

#[track_caller]
fn echoes(client: &HttpClient, server: &RawServer) {
    let mut socket = client.websocket_blocking(url(server)).unwrap_or_else(|error| panic!("{}", error.chain()));
    socket.send("through").unwrap();
    assert_eq!(socket.recv().unwrap(), Some(Message::Text("through".into())));
    socket.close(1000, "").unwrap();
}

#[test]
fn a_websocket_passes_http_and_socks_proxies() {
    let server = echo_server();
    let proxy = Tinyproxy::start();
    echoes(&HttpClient::builder().proxy(Proxy::all(proxy.url())).build().unwrap(), &server);
    let socks = Socks::start(None);
    let through = Proxy::all(format!("socks5h://127.0.0.1:{}", socks.port()));
    echoes(&HttpClient::builder().proxy(through).build().unwrap(), &server);
    assert_eq!(socks.asked().len(), 1);
    let nowhere = HttpClient::builder().proxy(Proxy::all("http://127.0.0.1:1")).build().unwrap();
    assert_eq!(nowhere.websocket_blocking(url(&server)).unwrap_err().kind(), ErrorKind::ConnectionFailed);
}

#[test]
fn an_egress_policy_holds_for_websockets() {
    let server = echo_server();
    let accepted = server.accepted();
    let client = HttpClient::builder().egress(EgressPolicy::public_internet()).build().unwrap();
    for url in [url(&server), format!("ws://{}/", server.addr()), format!("ws://2130706433:{}/", server.addr().port())]
    {
        assert_eq!(client.websocket_blocking(url).unwrap_err().kind(), ErrorKind::EgressDenied);
    }
    assert_eq!(server.accepted(), accepted);
    let policy = EgressPolicy::public_internet().allow_addresses(["127.0.0.0/8", "::1"]);
    echoes(&HttpClient::builder().egress(policy).build().unwrap(), &server);
}

#[test]
fn the_handshake_carries_default_headers_and_credentials() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let server = RawServer::start(move |mut conn, _, _| {
        let head = crate::support::websocket::read_head(&mut conn).unwrap_or_default();
        let _ = sender.lock().unwrap().send(head.to_ascii_lowercase());
        let _ = std::io::Write::write_all(&mut conn, b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    });
    let client = HttpClient::builder().bearer_auth("t0ken").default_header("x-team", "marmots").build().unwrap();
    let error = client.websocket_blocking(url(&server)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UpgradeRefused);
    assert_eq!(error.response().unwrap().status(), 401);
    let head = receiver.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
    assert!(head.contains("authorization: bearer t0ken\r\n") && head.contains("x-team: marmots\r\n"), "{head}");
    assert!(!format!("{error:?}").contains("t0ken"));
}

#[test]
fn cookies_go_along_with_the_handshake_and_are_kept() {
    let server = RawServer::start(|mut conn, _, _| {
        let Ok(head) = crate::support::websocket::read_head(&mut conn) else { return };
        let known = head.to_ascii_lowercase().contains("cookie: session=1\r\n");
        let cookie = if known { "Set-Cookie: seen=1\r\n" } else { "Set-Cookie: session=1\r\n" };
        let answer = format!("{}{cookie}\r\n", crate::support::websocket::switching(&head));
        let _ = std::io::Write::write_all(&mut conn, answer.as_bytes());
        let _ = std::io::Read::read(&mut conn, &mut [0; 100]);
    });
    let jar = marmot::cookies::CookieJar::new();
    let client = HttpClient::builder().cookie_jar(jar.clone()).build().unwrap();
    drop(client.websocket_blocking(url(&server)).unwrap());
    assert_eq!(jar.len(), 1);
    drop(client.websocket_blocking(url(&server)).unwrap());
    let names: Vec<_> = jar.cookies().iter().map(|cookie| cookie.name().into_owned()).collect();
    assert!(names.contains(&"seen".to_owned()), "{names:?}");
}
