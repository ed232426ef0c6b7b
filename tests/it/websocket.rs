//! WebSockets against a real server, tungstenite's, and against bytes that no decent server sends.

use std::time::Duration;

use futures::executor::block_on;
use futures::{SinkExt, StreamExt};
use marmot::HttpClient;
use marmot::websocket::{CloseFrame, Message};

use crate::support::{Conn, RawServer};

const LIMIT: Duration = Duration::from_secs(10);

/// Answers every message with itself.
fn echo(conn: Conn) {
    let Ok(mut socket) = tungstenite::accept(conn) else { return };
    while let Ok(message) = socket.read() {
        if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
            break;
        }
    }
}

fn echo_server() -> RawServer {
    RawServer::start(|conn, _, _| echo(conn))
}

fn url(server: &RawServer) -> String {
    format!("ws://{}/", server.addr())
}

fn client() -> HttpClient {
    HttpClient::new().unwrap()
}

#[test]
fn text_goes_and_comes_back_and_both_sides_close() {
    let server = echo_server();
    block_on(async {
        let mut socket = client().websocket(url(&server)).await.unwrap();
        assert_eq!(socket.response().status(), 101);
        assert_eq!(socket.protocol(), None);
        socket.send("hello".into()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
        socket.close().await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::Close(Some(CloseFrame::new(1000, ""))));
        assert!(socket.next().await.is_none());
    });
    assert!(server.wait_open(0, LIMIT));
}
