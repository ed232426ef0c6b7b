//! WebSockets: a chat of two tasks on one socket, and the blocking twin. Starts its own server; asserts what it shows.

use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::join;
use futures::{SinkExt, StreamExt};
use marmot::websocket::{CloseFrame, Message, Options};
use marmot::{Error, ErrorKind, HttpClient, Request};
use tungstenite::handshake::server::{Request as Asked, Response as Answer};

fn main() -> Result<(), Error> {
    let server = start_server();
    let client = HttpClient::new()?;
    block_on(two_tasks(&client, server))?;
    blocking(&client, server)?;
    refused(&client, server)
}

/// One task sends, another one receives.
async fn two_tasks(client: &HttpClient, server: SocketAddr) -> Result<(), Error> {
    let request = Request::get(format!("ws://{server}/shout"))
        .body(Options::new().subprotocol("shout.v1").ping_interval(Duration::from_secs(30)))?;
    let socket = client.websocket_with(request).await?;
    println!("open, with the subprotocol {:?}", socket.protocol());
    assert_eq!(socket.protocol(), Some("shout.v1"));

    let (mut sink, mut stream) = socket.split();
    let send = async {
        for word in ["one", "two", "three"] {
            sink.send(word.into()).await?;
        }
        // Completes when the server has closed too.
        sink.close().await
    };
    let receive = async {
        let mut heard = Vec::new();
        while let Some(message) = stream.next().await {
            println!("received {message:?}");
            heard.push(message?);
        }
        Ok::<_, Error>(heard)
    };
    let (sent, heard) = join(send, receive).await;
    sent?;
    let expected: Vec<_> = ["ONE", "TWO", "THREE"].map(Message::text).into();
    assert_eq!(heard?[..3], expected);
    Ok(())
}

/// The same without an executor.
fn blocking(client: &HttpClient, server: SocketAddr) -> Result<(), Error> {
    let mut socket = client.websocket_blocking(format!("ws://{server}/shout"))?;
    socket.send("hello")?;
    let answer = socket.recv_timeout(Duration::from_secs(5))?;
    println!("received {answer:?}");
    assert_eq!(answer, Some(Message::text("HELLO")));
    let close = socket.close(CloseFrame::NORMAL, "that was all")?;
    println!("closed: {close:?}");
    assert_eq!(close.map(|frame| frame.code), Some(CloseFrame::NORMAL));
    Ok(())
}

/// A server that wants no WebSocket says why.
fn refused(client: &HttpClient, server: SocketAddr) -> Result<(), Error> {
    match client.websocket_blocking(format!("ws://{server}/secret")) {
        Err(error) if error.kind() == ErrorKind::UpgradeRefused => {
            println!("{error}");
            assert_eq!(error.response().map(|response| response.status().as_u16()), Some(403));
            Ok(())
        }
        Err(error) => Err(error),
        Ok(_) => panic!("the server let us in"),
    }
}

/// Answers texts in capitals, at `/shout` only.
fn start_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let Ok(mut socket) = tungstenite::accept_hdr(stream, admit) else { return };
                while let Ok(message) = socket.read() {
                    if let Ok(text) = message.to_text()
                        && message.is_text()
                    {
                        let _ = socket.send(text.to_uppercase().into());
                    }
                }
            });
        }
    });
    address
}

#[allow(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
fn admit(request: &Asked, mut answer: Answer) -> Result<Answer, marmot::Response<Option<String>>> {
    if request.uri().path() != "/shout" {
        let mut refusal = marmot::Response::new(None);
        *refusal.status_mut() = marmot::http::StatusCode::FORBIDDEN;
        return Err(refusal);
    }
    if let Some(protocol) = request.headers().get("sec-websocket-protocol") {
        answer.headers_mut().insert("sec-websocket-protocol", protocol.clone());
    }
    Ok(answer)
}
