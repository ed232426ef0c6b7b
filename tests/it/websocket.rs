//! WebSockets against a real server, tungstenite's, and against bytes that no decent server sends.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::{join, try_join_all};
use futures::{FutureExt, SinkExt, StreamExt};
use marmot::config::CaCertificates;
use marmot::error::TimeoutPhase;
use marmot::prelude::*;
use marmot::websocket::{CloseFrame, Message, Options};
use marmot::{CancelToken, ErrorKind};

use crate::support::websocket::{self as by_hand, close, frame};
use crate::support::{Authority, Conn, RawServer, Server};

const LIMIT: Duration = Duration::from_secs(10);
/// What "at once" may take on a machine that does other things as well.
const SOON: Duration = Duration::from_millis(500);

/// Answers every text and binary with itself.
fn echo(conn: impl Read + Write) {
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

/// Switches over and lets the closure do the rest.
fn raw_server(talk: impl Fn(Conn) + Send + Sync + 'static) -> RawServer {
    RawServer::start(move |mut conn, _, _| {
        if by_hand::accept(&mut conn).is_ok() {
            talk(conn);
        }
    })
}

fn url(server: &RawServer) -> String {
    format!("ws://{}/", server.addr())
}

fn client() -> HttpClient {
    HttpClient::new().unwrap()
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|number| (number % 251) as u8).collect()
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
        assert_eq!(socket.send("late".into()).await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::Close(Some(CloseFrame::new(1000, ""))));
        assert!(socket.next().await.is_none());
        assert!(socket.next().await.is_none());
    });
    assert!(server.wait_open(0, LIMIT));
}

#[test]
fn messages_of_all_sizes_are_echoed_by_a_real_server() {
    let server = echo_server();
    block_on(async {
        let mut socket = client().websocket(url(&server)).await.unwrap();
        for size in [0, 1, 125, 126, 127, 65535, 65536, 65537, 1 << 20, 5 << 20] {
            let message = Message::binary(bytes(size));
            socket.send(message.clone()).await.unwrap();
            assert!(socket.next().await.unwrap().unwrap() == message, "{size} bytes");
            let message = Message::text("\u{e4}".repeat(size / 2));
            socket.send(message.clone()).await.unwrap();
            assert!(socket.next().await.unwrap().unwrap() == message, "{size} bytes of text");
        }
    });
}

#[test]
fn the_two_halves_work_in_two_tasks() {
    const COUNT: usize = 2000;
    let server = echo_server();
    block_on(async {
        let (mut sink, stream) = client().websocket(url(&server)).await.unwrap().split();
        let send = async {
            for number in 0..COUNT {
                sink.feed(Message::text(number.to_string())).await.unwrap();
            }
            sink.flush().await.unwrap();
        };
        let receive = stream.take(COUNT).map(|message| message.unwrap()).collect::<Vec<_>>();
        let ((), received) = join(send, receive).await;
        assert!(received.iter().enumerate().all(|(number, message)| *message == Message::text(number.to_string())));
    });
}

#[test]
fn two_hundred_sockets_share_one_client() {
    let server = echo_server();
    let client = client();
    block_on(async {
        let mut sockets = try_join_all((0..200).map(|_| client.websocket(url(&server)))).await.unwrap();
        let rounds = sockets.iter_mut().enumerate().map(|(number, socket)| async move {
            for round in 0..5 {
                let message = Message::text(format!("{number} {round}"));
                socket.send(message.clone()).await.unwrap();
                assert_eq!(socket.next().await.unwrap().unwrap(), message);
            }
        });
        futures::future::join_all(rounds).await;
        assert_eq!(server.open(), 200);
        drop(sockets);
    });
    assert!(server.wait_open(0, LIMIT));
}

#[test]
fn any_executor_will_do() {
    async fn talk(url: String) {
        let mut socket = client().websocket(url).await.unwrap();
        socket.send("x".into()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("x"));
        socket.close().await.unwrap();
    }
    let server = echo_server();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async { tokio::spawn(talk(url(&server))).await.unwrap() });
    smol::block_on(talk(url(&server)));
}

#[test]
fn the_blocking_twin_sends_receives_iterates_and_closes() {
    let server = echo_server();
    let mut socket = client().websocket_blocking(url(&server)).unwrap();
    socket.send("one").unwrap();
    assert_eq!(socket.recv().unwrap(), Some(Message::text("one")));
    let error = socket.recv_timeout(Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Deadline));
    for number in 0..100 {
        socket.feed(vec![number; 1000]).unwrap();
    }
    let received: Vec<_> = socket.by_ref().take(100).map(|message| message.unwrap().as_bytes()[0]).collect();
    assert_eq!(received, (0..100).collect::<Vec<u8>>());
    let answer = socket.close(4001, "enough").unwrap();
    assert_eq!(answer, Some(CloseFrame::new(4001, "enough")));
    assert_eq!(socket.recv().unwrap(), None);

    let token = CancelToken::new();
    let socket = client().websocket_blocking(url(&server)).unwrap();
    let mut socket = socket.cancelled_by(token.clone());
    let canceller = std::thread::spawn(move || token.cancel());
    assert_eq!(socket.recv().unwrap_err().kind(), ErrorKind::Cancelled);
    canceller.join().unwrap();
}

#[test]
fn the_request_is_a_plain_upgrade_with_the_callers_headers_and_settings() {
    let (sender, heads) = mpsc::channel();
    let server = RawServer::start(move |mut conn, _, _| {
        let head = by_hand::read_head(&mut conn).unwrap();
        let answer = format!("{}Sec-WebSocket-Protocol: v2\r\nX-Own: 1\r\n\r\n", by_hand::switching(&head));
        conn.write_all(answer.as_bytes()).unwrap();
        sender.send(head).unwrap();
        conn.wait_hangup(LIMIT);
    });
    let client = HttpClient::builder().default_header("x-default", "d").build().unwrap();
    let request = Request::get(format!("http://{}/chat?room=1", server.addr()))
        .header("origin", "https://example.org")
        .header("sec-websocket-protocol", "v3")
        .basic_auth("user", "password")
        .user_agent("tester")
        .body(Options::new().subprotocol("v2").subprotocol("v1"));
    let socket = block_on(client.websocket_with(request.unwrap())).unwrap();
    assert_eq!(socket.protocol(), Some("v2"));
    assert_eq!(socket.response().headers()["x-own"], "1");
    assert_eq!(socket.response().remote_addr(), Some(server.addr()));
    let head = heads.recv().unwrap().to_ascii_lowercase();
    let mut lines: Vec<_> = head.trim_end().lines().filter(|line| !line.starts_with("sec-websocket-key: ")).collect();
    assert_eq!(lines.remove(0), "get /chat?room=1 http/1.1");
    lines.sort_unstable();
    let host = format!("host: {}", server.addr());
    let mut expected = vec![
        "accept: */*",
        "authorization: basic dxnlcjpwyxnzd29yza==",
        "connection: upgrade",
        &host,
        "origin: https://example.org",
        "sec-websocket-protocol: v3, v2, v1",
        "sec-websocket-version: 13",
        "upgrade: websocket",
        "user-agent: tester",
        "x-default: d",
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn masks_and_keys_are_fresh() {
    let (sender, masks) = mpsc::channel();
    let server = RawServer::start(move |mut conn, _, _| {
        let head = by_hand::accept(&mut conn).unwrap();
        let key =
            head.lines().find(|line| line.to_ascii_lowercase().starts_with("sec-websocket-key")).unwrap().to_owned();
        let masks: Vec<_> =
            (0..200).map_while(|_| by_hand::read_masked_frame(&mut conn).ok()).map(|(_, mask)| mask).collect();
        sender.send((key, masks)).unwrap();
    });
    let client = client();
    let mut keys = HashSet::new();
    let mut all = HashSet::new();
    for _ in 0..3 {
        let mut socket = client.websocket_blocking(url(&server)).unwrap();
        for _ in 0..200 {
            socket.feed("the same text").unwrap();
        }
        let (key, masks) = masks.recv().unwrap();
        assert_eq!(masks.len(), 200);
        keys.insert(key);
        all.extend(masks);
    }
    assert_eq!(keys.len(), 3);
    // 600 random numbers of 32 bits hold an equal pair once in 24,000 runs, two of them practically never.
    assert!(all.len() >= 599, "{}", all.len());
}

#[test]
fn a_server_that_does_not_switch_is_told_with_its_answer() {
    let server = RawServer::start(|mut conn, _, _| {
        let head = by_hand::read_head(&mut conn).unwrap();
        let status = head.split(['/', ' ']).nth(2).unwrap();
        let _ = write!(conn, "HTTP/1.1 {status} Nope\r\nLocation: /other\r\nWWW-Authenticate: Basic\r\n");
        let _ = conn.write_all(b"Content-Length: 5\r\n\r\nhello");
        conn.wait_hangup(LIMIT);
    });
    let client = client();
    for status in [200, 204, 302, 400, 401, 403, 404, 426, 500, 503] {
        let error = block_on(client.websocket(format!("{}{status}", url(&server)))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UpgradeRefused, "{}", error.chain());
        let response = error.response().unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()["www-authenticate"], "Basic");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
    assert!(server.wait_open(0, LIMIT));
}

#[test]
fn a_switch_to_something_else_is_a_violation() {
    let server = RawServer::start(|mut conn, index, _| {
        let head = by_hand::read_head(&mut conn).unwrap();
        let good = by_hand::switching(&head);
        let answer = match index {
            0 => by_hand::switching("Sec-WebSocket-Key: another\r\n"),
            1 => good.replace("websocket", "h2c"),
            2 => good.replace("Connection: Upgrade", "Connection: close"),
            3 => format!("{good}Sec-WebSocket-Extensions: permessage-deflate\r\n"),
            4 => format!("{good}Sec-WebSocket-Protocol: chat\r\n"),
            _ => good.split("Sec-WebSocket-Accept").next().unwrap().to_owned(),
        };
        let _ = conn.write_all(format!("{answer}\r\n").as_bytes());
        conn.wait_hangup(LIMIT);
    });
    let client = client();
    for case in 0..6 {
        let error = block_on(client.websocket(url(&server))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ProtocolViolation, "{case}: {}", error.chain());
    }
    assert!(server.wait_open(0, LIMIT));
}

#[test]
fn what_cannot_be_opened_is_refused_before_anything_is_sent() {
    let server = echo_server();
    let client = HttpClient::builder().allowed_hosts(["example.org"]).build().unwrap();
    assert_eq!(block_on(client.websocket(url(&server))).unwrap_err().kind(), ErrorKind::EgressDenied);
    let client = self::client();
    for url in ["ftp://localhost/", "/path", "ws://user:password@localhost/", "ws://", "not a url"] {
        assert_eq!(block_on(client.websocket(url)).unwrap_err().kind(), ErrorKind::InvalidRequest, "{url}");
    }
    let post = Request::post(url(&server)).body(()).unwrap();
    assert_eq!(block_on(client.websocket_with(post)).unwrap_err().kind(), ErrorKind::InvalidRequest);
    // The schemes are for WebSockets only.
    assert_eq!(client.get(url(&server)).unwrap_err().kind(), ErrorKind::InvalidRequest);
    assert_eq!(server.accepted(), 0);
}

#[test]
fn messages_that_cannot_be_sent_are_refused_and_the_connection_stands() {
    let server = echo_server();
    let mut socket = client().websocket_blocking(url(&server)).unwrap();
    for message in [
        Message::Ping(vec![0; 126].into()),
        Message::Pong(vec![0; 126].into()),
        Message::Close(Some(CloseFrame::new(1005, ""))),
        Message::Close(Some(CloseFrame::new(1000, "x".repeat(124)))),
    ] {
        assert_eq!(socket.send(message).unwrap_err().kind(), ErrorKind::InvalidRequest);
    }
    socket.send(Message::Ping(b"there?".to_vec().into())).unwrap();
    assert_eq!(socket.recv().unwrap(), Some(Message::Pong(b"there?".to_vec().into())));
    socket.send(Message::Close(None)).unwrap();
    assert_eq!(socket.recv().unwrap(), Some(Message::Close(None)));
    assert_eq!(socket.recv().unwrap(), None);
}

#[test]
fn a_message_over_the_limit_closes_with_1009() {
    let (sender, frames) = mpsc::channel();
    let server = raw_server(move |mut conn| {
        // Half of it in a first fragment, and no more than the head of the second.
        let _ = conn.write_all(&[&frame(0x02, &[0; 600])[..], &[0x80, 126, 1, 145]].concat());
        let _ = sender.send(by_hand::read_to_close(&mut conn));
    });
    let request = Request::get(url(&server)).body(Options::new().max_message_size(1000)).unwrap();
    let mut socket = client().websocket_blocking_with(request).unwrap();
    assert_eq!(socket.recv().unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(socket.recv().unwrap(), None);
    assert_eq!(socket.send("x").unwrap_err().kind(), ErrorKind::TooLarge);
    let frames = frames.recv().unwrap();
    assert_eq!((frames.len(), frames[0].first, &frames[0].payload[..]), (1, 0x88, &1009_u16.to_be_bytes()[..]));
}

#[test]
fn a_connection_that_ends_without_a_close_is_an_error() {
    let server = raw_server(|mut conn| match conn.index() {
        0 => {}
        1 => conn.reset(),
        2 => conn.write_all(&frame(0x81, b"half a frame")[..7]).unwrap(),
        3 => conn.write_all(&[0x81]).unwrap(),
        _ => conn.write_all(&frame(0x01, b"half a message")).unwrap(),
    });
    let client = client();
    for case in 0..5 {
        // A reset may overtake the answer to the handshake.
        let error = match client.websocket_blocking(url(&server)) {
            Ok(mut socket) => {
                let error = socket.recv().unwrap_err();
                assert_eq!(socket.recv().unwrap(), None);
                assert!(socket.send("x").is_err());
                error
            }
            Err(error) if case == 1 => error,
            Err(error) => panic!("{case}: {}", error.chain()),
        };
        assert_eq!(error.kind(), ErrorKind::Io, "{case}: {}", error.chain());
        assert!(error.is_network());
    }
}

#[test]
fn a_flood_of_pings_costs_a_few_pongs() {
    const PINGS: u32 = 200_000;
    let (sender, pongs) = mpsc::channel();
    let server = raw_server(move |mut conn| {
        let flood: Vec<u8> = (0..PINGS).flat_map(|number| frame(0x89, &number.to_be_bytes())).collect();
        // Nothing is read meanwhile, so that the client's answers do not get through.
        conn.write_all(&flood).unwrap();
        conn.write_all(&close(1000, b"")).unwrap();
        let frames = by_hand::read_to_close(&mut conn);
        let _ =
            sender.send(frames.into_iter().filter(|frame| frame.first == 0x8a).map(|frame| frame.payload).collect());
    });
    let mut socket = client().websocket_blocking(url(&server)).unwrap();
    let mut pings = 0;
    while let Some(message) = socket.recv().unwrap() {
        pings += u32::from(matches!(message, Message::Ping(_)));
    }
    assert_eq!(pings, PINGS);
    let pongs: Vec<Vec<u8>> = pongs.recv().unwrap();
    assert!(!pongs.is_empty() && pongs.len() <= PINGS as usize);
    assert!(pongs.windows(2).all(|two| two[0] < two[1]), "answers are in order and none is given twice");
}

#[test]
fn a_slow_reader_stops_the_server_and_loses_nothing() {
    const MESSAGE: usize = 64 << 10;
    const COUNT: usize = 1024;
    let (sender, stuck) = mpsc::channel();
    let server = raw_server(move |mut conn| {
        let bytes = frame(0x82, &bytes(MESSAGE)).repeat(COUNT);
        conn.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut written = 0;
        while written < bytes.len() {
            match conn.write(&bytes[written..]) {
                Ok(amount) => written += amount,
                Err(_) => break,
            }
        }
        sender.send(written).unwrap();
        conn.set_write_timeout(Some(LIMIT)).unwrap();
        conn.write_all(&bytes[written..]).unwrap();
        conn.write_all(&close(1000, b"")).unwrap();
        by_hand::read_to_close(&mut conn);
    });
    let mut socket = client().websocket_blocking(url(&server)).unwrap();
    let written = stuck.recv().unwrap();
    // The kernel's buffers take some megabytes, the queue one.
    assert!(written < 24 << 20, "{written} bytes were taken without a reader");
    let expected = Message::binary(bytes(MESSAGE));
    let mut count = 0;
    loop {
        match socket.recv().unwrap().unwrap() {
            Message::Close(_) => break,
            message => assert!(message == expected),
        }
        count += 1;
    }
    assert_eq!(count, COUNT);
}

#[test]
fn a_slow_server_stops_the_sender_and_gets_everything_to_the_last_byte() {
    const MESSAGE: usize = 256 << 10;
    let (go, going) = mpsc::channel::<()>();
    let going = Arc::new(std::sync::Mutex::new(going));
    let (sender, received) = mpsc::channel();
    let server = raw_server(move |mut conn| {
        going.lock().unwrap().recv().unwrap();
        sender.send(by_hand::read_to_close(&mut conn)).unwrap();
        let _ = conn.write_all(&close(1000, b""));
    });
    block_on(async {
        let mut socket = client().websocket(url(&server)).await.unwrap();
        let mut count = 0;
        // Until the sink has not been ready for a while: all buffers are full.
        while let Ok(()) = futures::select_biased! {
            ready = futures::future::poll_fn(|cx| socket.poll_ready_unpin(cx)).fuse() => ready.map_err(|_| ()),
            () = after(Duration::from_millis(300)).fuse() => Err(()),
        } {
            socket.start_send_unpin(Message::binary(bytes(MESSAGE))).unwrap();
            count += 1;
        }
        assert!(count < 100, "{count} messages were taken");
        assert!(socket.flush().now_or_never().is_none());
        go.send(()).unwrap();
        // Nothing follows: what libcurl holds must go out by itself.
        socket.flush().await.unwrap();
        socket.close().await.unwrap();
        let frames = received.recv().unwrap();
        assert_eq!(frames.len(), count + 1);
        assert!(frames[..count].iter().all(|frame| frame.payload == bytes(MESSAGE)));
    });
}

async fn after(time: Duration) {
    smol::Timer::after(time).await;
}

#[test]
fn what_libcurl_holds_of_the_last_message_goes_out_when_the_server_reads_again() {
    // The number of messages to read; while it is none, a pong is sent.
    let (go, going) = mpsc::channel::<usize>();
    let going = Arc::new(std::sync::Mutex::new(going));
    let (sender, received) = mpsc::channel();
    let server = raw_server(move |mut conn| {
        let count = loop {
            match going.lock().unwrap().recv() {
                Ok(0) => conn.write_all(&frame(0x8a, b"")).unwrap(),
                Ok(count) => break count,
                Err(_) => return,
            }
        };
        let frames: Vec<_> = (0..count).map_while(|_| by_hand::read_frame(&mut conn).ok()).collect();
        let _ = sender.send(frames);
        conn.wait_hangup(LIMIT);
    });
    block_on(async {
        let mut socket = client().websocket(url(&server)).await.unwrap();
        let message = bytes(50_000);
        let mut count = 0;
        // Something to read makes libcurl ask for something to send, and try to, even when the socket is not ready. In the
        // end that is in vain, and then there is nothing left to ask for: sending is paused with a message in libcurl.
        loop {
            socket.feed(Message::binary(message.clone())).await.unwrap();
            count += 1;
            for _ in 0..2 {
                go.send(0).unwrap();
                assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong(Default::default()));
            }
            let flushed = futures::select_biased! {
                result = socket.flush().fuse() => result.is_ok(),
                () = after(Duration::from_millis(100)).fuse() => false,
            };
            if !flushed {
                break;
            }
        }
        go.send(count).unwrap();
        futures::select_biased! {
            result = socket.flush().fuse() => result.unwrap(),
            () = after(LIMIT).fuse() => panic!("the flush does not end"),
        }
        let frames = received.recv_timeout(LIMIT).unwrap();
        assert_eq!(frames.len(), count);
        assert!(frames.iter().all(|frame| frame.payload == message));
    });
}

#[test]
fn a_dropped_socket_is_gone_at_once() {
    let (sender, times) = mpsc::channel();
    let server = raw_server(move |mut conn| {
        // To the end of what the client's kernel has taken.
        let _ = conn.read_to_end(&mut Vec::new());
        sender.send(Instant::now()).unwrap();
    });
    let client = client();
    // An idle one, one in the middle of a message, and one that is being opened.
    for size in [0, 30 << 20] {
        let mut socket = client.websocket_blocking(url(&server)).unwrap();
        socket.feed(bytes(size)).unwrap();
        let dropped = Instant::now();
        drop(socket);
        assert!(times.recv_timeout(LIMIT).unwrap().saturating_duration_since(dropped) < SOON);
    }
    let silent = RawServer::start(|conn, _, _| {
        conn.wait_hangup(LIMIT);
    });
    let connecting = client.websocket(url(&silent));
    assert!(silent.wait_accepted(1, LIMIT));
    drop(connecting);
    assert!(silent.wait_open(0, SOON));
}

#[test]
fn a_received_close_is_answered_even_if_the_socket_is_dropped_then() {
    let (sender, frames) = mpsc::channel();
    let server = raw_server(move |mut conn| {
        conn.write_all(&close(1001, b"going away")).unwrap();
        sender.send(by_hand::read_to_close(&mut conn)).unwrap();
    });
    for _ in 0..20 {
        let mut socket = client().websocket_blocking(url(&server)).unwrap();
        let expected = CloseFrame::new(CloseFrame::AWAY, "going away");
        assert_eq!(socket.recv().unwrap(), Some(Message::Close(Some(expected))));
        drop(socket);
        let frames = frames.recv().unwrap();
        assert_eq!((frames.len(), &frames[0].payload[..]), (1, &1001_u16.to_be_bytes()[..]));
    }
}

#[test]
fn a_close_that_is_not_answered_times_out() {
    let (done, told) = mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let server = raw_server(move |_conn| {
        // A hang-up is not seen behind unread data.
        let _ = told.lock().unwrap().recv();
    });
    let options = || Options::new().close_timeout(Duration::from_millis(100));
    let open = || client().websocket_blocking_with(Request::get(url(&server)).body(options()).unwrap()).unwrap();
    let mut socket = open();
    let error = socket.close(1000, "").unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Close), "{}", error.chain());
    // The same behind messages that the server does not take.
    let mut socket = open();
    socket.feed(bytes(12 << 20)).unwrap();
    let error = socket.close(1000, "").unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Close), "{}", error.chain());
    drop(done);
    assert!(server.wait_open(0, LIMIT));
}

#[test]
fn a_server_that_keeps_the_connection_after_the_closes_is_left() {
    let server = raw_server(|mut conn| {
        by_hand::read_to_close(&mut conn);
        conn.write_all(&close(1000, b"")).unwrap();
        assert!(conn.wait_hangup(Duration::from_secs(3)), "the client holds the connection");
    });
    let mut socket = client().websocket_blocking(url(&server)).unwrap();
    assert_eq!(socket.close(1000, "").unwrap(), Some(CloseFrame::new(1000, "")));
    assert!(server.wait_open(0, Duration::from_secs(3)));
}

#[test]
fn a_silent_server_is_pinged_and_given_up() {
    let server = raw_server(|mut conn| {
        // Two pings are answered; the third is not.
        for _ in 0..2 {
            let ping = by_hand::read_frame(&mut conn).unwrap();
            assert_eq!(ping.first, 0x89);
            conn.write_all(&frame(0x8a, &ping.payload)).unwrap();
        }
        conn.wait_hangup(LIMIT);
    });
    let options = Options::new().ping_interval(Duration::from_millis(50));
    let mut socket = client().websocket_blocking_with(Request::get(url(&server)).body(options).unwrap()).unwrap();
    let started = Instant::now();
    // The pongs are not shown: the pings were not the caller's.
    let error = socket.recv().unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Pong), "{}", error.chain());
    assert!(started.elapsed() >= Duration::from_millis(150));
}

#[test]
fn pings_wait_for_a_slow_reader_and_go_on_after_it() {
    const COUNT: usize = 40;
    let server = raw_server(|mut conn| {
        let _ = conn.write_all(&frame(0x82, &[0; 64 << 10]).repeat(COUNT));
        conn.wait_hangup(LIMIT);
    });
    let options = Options::new().ping_interval(Duration::from_millis(50));
    let mut socket = client().websocket_blocking_with(Request::get(url(&server)).body(options).unwrap()).unwrap();
    // The queue is full long before the end, and longer than it takes to give a silent server up.
    std::thread::sleep(Duration::from_millis(300));
    for _ in 0..COUNT {
        assert_eq!(socket.recv().unwrap().map(|message| message.len()), Some(64 << 10));
    }
    assert_eq!(socket.recv().unwrap_err().timeout_phase(), Some(TimeoutPhase::Pong));
}

#[test]
fn the_total_timeout_is_for_opening_only() {
    let silent = RawServer::start(|conn, _, _| {
        conn.wait_hangup(LIMIT);
    });
    let client = HttpClient::builder().timeout(Duration::from_millis(150)).build().unwrap();
    let error = block_on(client.websocket(url(&silent))).unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Response), "{}", error.chain());
    assert!(silent.wait_open(0, LIMIT));

    let server = raw_server(|mut conn| {
        conn.stop().sleep(Duration::from_millis(400)).unwrap();
        conn.write_all(&frame(0x81, b"late")).unwrap();
        conn.wait_hangup(LIMIT);
    });
    let mut socket = client.websocket_blocking(url(&server)).unwrap();
    assert_eq!(socket.recv().unwrap(), Some(Message::text("late")));
}

#[test]
fn the_handle_serves_requests_again_after_a_websocket() {
    let sockets = echo_server();
    let server = Server::start(|request, responder| responder.text(200, &request.target));
    let client = client();
    for round in 0..5 {
        let mut socket = client.websocket_blocking(url(&sockets)).unwrap();
        socket.send("x").unwrap();
        assert_eq!(socket.recv().unwrap(), Some(Message::text("x")));
        socket.close(1000, "").unwrap();
        assert_eq!(client.get(server.url(&format!("/{round}"))).unwrap().text().unwrap(), format!("/{round}"));
        let mut response = client.post(server.url("/post"), "body").unwrap();
        assert_eq!(response.text().unwrap(), "/post");
    }
    assert_eq!(server.requests().len(), 10);
    assert_eq!(server.requests()[1].header("upgrade"), None);
}

#[test]
fn shutting_the_client_down_ends_its_sockets() {
    let server = echo_server();
    let client = client();
    let mut socket = client.websocket_blocking(url(&server)).unwrap();
    socket.send("x").unwrap();
    client.shutdown(Duration::from_millis(10));
    assert_eq!(socket.recv().unwrap(), Some(Message::text("x")));
    assert_eq!(socket.recv().unwrap_err().kind(), ErrorKind::ClientShutDown);
    assert_eq!(socket.send("y").unwrap_err().kind(), ErrorKind::ClientShutDown);
    assert_eq!(client.websocket_blocking(url(&server)).unwrap_err().kind(), ErrorKind::ClientShutDown);
    assert!(server.wait_open(0, LIMIT));
}

#[test]
fn a_socket_outlives_its_client() {
    let server = echo_server();
    let mut socket = client().websocket_blocking(url(&server)).unwrap();
    for _ in 0..3 {
        socket.send("x").unwrap();
        assert_eq!(socket.recv().unwrap(), Some(Message::text("x")));
    }
    socket.close(1000, "").unwrap();
}

#[test]
fn sockets_are_secure_where_the_scheme_says_so() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let authority = Authority::new().unwrap();
    let leaf = authority.leaf(None).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let server = RawServer::start(move |conn, index, _| {
        let session = rustls::ServerConnection::new(config.clone()).unwrap();
        let mut stream = rustls::StreamOwned::new(session, conn);
        echo(&mut stream);
        // One ends TLS as it should, the next ends the connection only.
        if index % 2 == 0 {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    let url = format!("wss://localhost:{}/", server.addr().port());
    assert_eq!(block_on(client().websocket(&url)).unwrap_err().kind(), ErrorKind::BadServerCertificate);
    let client = HttpClient::builder().ca_certificates(CaCertificates::pem(authority.pem())).build().unwrap();
    for _ in 0..4 {
        let mut socket = client.websocket_blocking(&url).unwrap();
        for size in [0, 125, 126, 65535, 65536, 1 << 20] {
            let message = Message::binary(bytes(size));
            socket.send(message.clone()).unwrap();
            assert!(socket.recv().unwrap() == Some(message), "{size} bytes");
        }
        // Where TLS is not ended, libcurl with rustls may lose the frame; that is no failure of the close.
        let answer = socket.close(1000, "").unwrap();
        assert!(answer.is_none_or(|frame| frame.code == 1000));
    }
}
