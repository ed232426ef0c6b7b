//! Server-sent events over real connections: reconnects, ids, delays, ends, limits, both faces. The format itself is
//! tested in `client/sse.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::stream::{FusedStream, Stream, StreamExt};
use marmot::prelude::*;
use marmot::{AsyncBody, CancelToken, ErrorKind, Event, EventStream};

use crate::support::{Request as Seen, Responder, Server};

const STREAM: (&str, &str) = ("Content-Type", "text/event-stream");
const SHORT: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_secs(20);

/// A server whose answers are numbered.
fn serve<F>(answer: F) -> Server
where
    F: Fn(usize, &Seen, &mut Responder<'_>) -> std::io::Result<()> + Send + Sync + 'static,
{
    let count = AtomicUsize::new(0);
    Server::start(move |request, responder| answer(count.fetch_add(1, SeqCst), request, responder))
}

fn events(server: &Server) -> EventStream {
    HttpClient::new().unwrap().events(server.url("/events")).unwrap().retry_delay(SHORT)
}

fn data(items: Vec<Result<Event, marmot::Error>>) -> Vec<String> {
    items.into_iter().map(|item| item.unwrap().data).collect()
}

#[test]
fn events_arrive_while_the_response_goes_on() {
    let (go_on, wait) = std::sync::mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let server = serve(move |_, _, responder| {
        responder.start_chunked(200, &[("Content-Type", "Text/Event-Stream; charset=utf-8")])?;
        for piece in ["data: on", "e\n", "\n", "event: x\ndata: two\nid: 2\n\n"] {
            responder.chunk(piece.as_bytes())?;
            if piece.ends_with("\n\n") || piece == "\n" {
                wait.lock().unwrap().recv().unwrap();
            }
        }
        responder.stall()
    });
    let mut events = events(&server);
    block_on(async {
        assert_eq!(events.next().await.unwrap().unwrap().data, "one");
        go_on.send(()).unwrap();
        let event = events.next().await.unwrap().unwrap();
        assert_eq!((&*event.kind, &*event.data, &*event.id), ("x", "two", "2"));
        assert_eq!(events.last_event_id(), "2");
        go_on.send(()).unwrap();
    });
    let seen = server.last_request();
    assert_eq!(seen.header("accept"), Some("text/event-stream"));
    assert_eq!(seen.header("cache-control"), Some("no-store"));
    assert!(!seen.has_header("last-event-id") && !seen.has_header("accept-encoding"));
}

#[test]
fn dropping_the_stream_ends_its_connection_at_once() {
    let server = serve(|_, _, responder| {
        responder.start_chunked(200, &[STREAM])?;
        responder.chunk(b"data: a\n\n")?;
        responder.stall()
    });
    // A rest that is drained to save the connection takes half a second, always; a busy machine is late now and then.
    let quick = (0..5).any(|attempt| {
        let mut events = HttpClient::new().unwrap().events(server.url(&format!("/{attempt}"))).unwrap();
        block_on(events.next()).unwrap().unwrap();
        let dropped = Instant::now();
        drop(events);
        let close = server.wait_for_close(&format!("/{attempt}"), LONG).unwrap();
        close.at.saturating_duration_since(dropped) < Duration::from_millis(300)
    });
    assert!(quick);
}

#[test]
fn a_lost_connection_is_made_again_after_the_last_event() {
    let server = serve(|number, _, responder| match number {
        0 => {
            responder.start_chunked(200, &[STREAM])?;
            responder.chunk("id: grün\ndata: a\n\nid: 9\ndata: never compl".as_bytes())?;
            responder.reset();
            Ok(())
        }
        1 => {
            responder.head(200, &[STREAM, ("Connection", "close")])?;
            responder.body(b"data: b\n\n")?;
            responder.close();
            Ok(())
        }
        2 => responder.send(200, &[STREAM], b"id\ndata: c\n\n"),
        3 => responder.send(200, &[STREAM], b"data: d\n\n"),
        _ => responder.send(204, &[], b""),
    });
    let mut events = events(&server);
    assert_eq!(data(block_on((&mut events).collect())), ["a", "b", "c", "d"]);
    assert!(events.is_terminated() && block_on(events.next()).is_none());
    let ids: Vec<_> =
        server.requests().iter().map(|request| request.header("last-event-id").map(str::to_owned)).collect();
    assert_eq!(ids, [None, Some("grün".into()), Some("grün".into()), None, None]);
}

#[test]
fn the_delay_is_the_one_that_the_server_asked_for() {
    let server = serve(|number, _, responder| match number {
        0 => responder.send(200, &[STREAM], b"retry: 300\ndata: a\n\n"),
        _ => responder.send(204, &[], b""),
    });
    let events = events(&server);
    assert_eq!(block_on(events.collect::<Vec<_>>()).len(), 1);
    let requests = server.requests();
    assert!(requests[1].at - requests[0].at >= Duration::from_millis(300));
}

#[test]
fn temporary_failures_are_tried_again_and_success_forgets_them() {
    let server = serve(|number, _, responder| match number {
        0 | 2 | 6 => responder.text(503, "busy"),
        1 | 5 => responder.text(429, "slower"),
        3 | 7 => {
            responder.reset();
            Ok(())
        }
        4 | 8 => responder.send(200, &[STREAM], b"data: a\n\n"),
        _ => responder.send(204, &[], b""),
    });
    let events = events(&server).max_retry_delay(SHORT).max_attempts(5);
    assert_eq!(data(block_on(events.collect())), ["a", "a"]);
    assert_eq!(server.requests().len(), 10);
}

#[test]
fn retry_after_holds_the_next_attempt_back() {
    let server = serve(|number, _, responder| match number {
        0 => responder.send(503, &[("Retry-After", "1")], b""),
        _ => responder.send(204, &[], b""),
    });
    assert!(block_on(events(&server).next()).is_none());
    let requests = server.requests();
    assert!(requests[1].at - requests[0].at >= Duration::from_secs(1));
}

#[test]
fn too_many_failures_in_a_row_end_the_stream_with_the_last_one() {
    let server = serve(|_, _, responder| responder.text(500, "broken"));
    let mut failing = events(&server).max_attempts(3);
    let error = block_on(failing.next()).unwrap().unwrap_err();
    assert_eq!((error.kind(), error.status().map(|status| status.as_u16())), (ErrorKind::UnexpectedStatus, Some(500)));
    assert_eq!(error.url(), Some(&*server.url("/events")));
    assert!(block_on(failing.next()).is_none());
    assert_eq!(server.requests().len(), 3);

    let url = server.url("/events");
    drop(server);
    let mut refused = HttpClient::new().unwrap().events(url).unwrap().retry_delay(SHORT).max_attempts(2);
    assert_eq!(block_on(refused.next()).unwrap().unwrap_err().kind(), ErrorKind::ConnectionFailed);
}

#[test]
fn what_a_later_attempt_cannot_mend_is_an_error_at_once() {
    let server = serve(|number, request, responder| match request.path() {
        "/html" => responder.send(200, &[("Content-Type", "text/html")], b"data: a\n\n"),
        "/bare" => responder.send(200, &[], b"data: a\n\n"),
        "/loop" => responder.send(302, &[("Location", &format!("/loop?{number}"))], b""),
        _ => responder.text(404, "not here"),
    });
    let client = HttpClient::new().unwrap();
    for (path, kind, requests) in [
        ("/missing", ErrorKind::UnexpectedStatus, 1),
        ("/html", ErrorKind::InvalidResponseBody, 1),
        ("/bare", ErrorKind::InvalidResponseBody, 1),
        ("/loop", ErrorKind::TooManyRedirects, 11),
    ] {
        let before = server.requests().len();
        let mut events = client.events(server.url(path)).unwrap();
        assert_eq!(block_on(events.next()).unwrap().unwrap_err().kind(), kind, "{path}");
        assert!(block_on(events.next()).is_none(), "{path}");
        assert_eq!(server.requests().len() - before, requests, "{path}");
    }
    assert_eq!(client.events("not a url").unwrap_err().kind(), ErrorKind::InvalidRequest);
    let mut events = client.events("ftp://127.0.0.1/").unwrap();
    assert_eq!(block_on(events.next()).unwrap().unwrap_err().kind(), ErrorKind::InvalidRequest);
}

#[test]
fn redirects_are_followed_each_time_from_the_first_url() {
    let server = serve(|number, request, responder| match (request.path(), number) {
        ("/events", _) => responder.send(307, &[("Location", "/there")], b""),
        (_, 1) => responder.send(200, &[STREAM], b"id: 1\ndata: a\n\n"),
        _ => responder.send(204, &[], b""),
    });
    assert_eq!(data(block_on(events(&server).collect())), ["a"]);
    let targets: Vec<_> = server.requests().iter().map(|request| request.target.clone()).collect();
    assert_eq!(targets, ["/events", "/there", "/events", "/there"]);
    assert_eq!(server.last_request().header("last-event-id"), Some("1"));

    let request = Request::get(server.url("/events")).redirect_policy(marmot::config::RedirectPolicy::None);
    let mut events = HttpClient::new().unwrap().events_with(request.body(()).unwrap());
    let error = block_on(events.next()).unwrap().unwrap_err();
    assert_eq!(error.status().map(|status| status.as_u16()), Some(307), "a request that says no is obeyed");
}

#[test]
fn an_event_or_line_beyond_the_limit_ends_the_stream() {
    for body in ["data: 0123456789\ndata: 0123456789\n\n", ":0123456789012345678901234567890123456789"] {
        let server = serve(move |_, _, responder| {
            responder.start_chunked(200, &[STREAM])?;
            responder.chunk(b"data: a\n\n")?;
            responder.chunk(body.as_bytes())?;
            responder.stall()
        });
        let mut events = events(&server).max_event_size(20);
        assert_eq!(block_on(events.next()).unwrap().unwrap().data, "a");
        assert_eq!(block_on(events.next()).unwrap().unwrap_err().kind(), ErrorKind::TooLarge);
        assert!(block_on(events.next()).is_none());
        assert!(server.wait_for_close("/events", LONG).is_some());
    }
}

#[test]
fn a_request_of_ones_own_keeps_its_head_and_sends_its_body_each_time() {
    let server = serve(|number, _, responder| match number {
        0 => responder.send(200, &[STREAM], b"data: a\n\n"),
        _ => responder.send(204, &[], b""),
    });
    let client =
        HttpClient::builder().timeout(Duration::from_millis(1)).default_header("accept", "*/*").build().unwrap();
    let request = || Request::post(server.url("/ask")).header("cache-control", "no-cache").header("x-key", "k");
    let events = client.events_with(request().body("question").unwrap()).retry_delay(SHORT);
    assert_eq!(data(block_on(events.collect())), ["a"], "the client's time limit is not one for streams");
    for seen in server.requests() {
        assert_eq!((&*seen.method, seen.text().as_str(), seen.header("x-key")), ("POST", "question", Some("k")));
        assert_eq!(seen.header_values("accept").collect::<Vec<_>>(), [b"text/event-stream"]);
        assert_eq!(seen.header_values("cache-control").collect::<Vec<_>>(), [b"no-cache"]);
    }

    let server = serve(|_, _, responder| responder.send(200, &[STREAM], b"data: a\n\n"));
    let once = AsyncBody::from_reader(futures::io::Cursor::new("question"));
    let request = Request::post(server.url("/ask")).body(once).unwrap();
    let mut events = client.events_with(request).retry_delay(SHORT);
    assert_eq!(block_on(events.next()).unwrap().unwrap().data, "a");
    assert_eq!(block_on(events.next()).unwrap().unwrap_err().kind(), ErrorKind::RequestBodyNotRewindable);
}

#[test]
fn without_reconnects_the_first_response_is_the_whole_stream() {
    let server = serve(|number, _, responder| match number {
        0 => responder.send(200, &[STREAM], b"data: a\n\ndata: b\n\ndata: cut"),
        1 => {
            responder.head(200, &[STREAM, ("Content-Length", "100")])?;
            responder.body(b"data: a\n\n")?;
            responder.close();
            Ok(())
        }
        _ => responder.text(503, "busy"),
    });
    let kinds = || {
        let items: Vec<_> = block_on(events(&server).reconnect(false).collect());
        items.into_iter().map(|item| item.map(|event| event.data).map_err(|error| error.kind())).collect::<Vec<_>>()
    };
    assert_eq!(kinds(), [Ok("a".into()), Ok("b".into())]);
    assert_eq!(kinds(), [Ok("a".into()), Err(ErrorKind::ResponseBodyTruncated)]);
    assert_eq!(kinds(), [Err(ErrorKind::UnexpectedStatus)]);
}

#[test]
fn a_silent_connection_is_given_up_and_made_again() {
    let server = serve(|number, _, responder| match number {
        0 => responder.stall(),
        1 => {
            responder.start_chunked(200, &[STREAM])?;
            responder.chunk(b"id: 1\ndata: a\n\n")?;
            // Comments keep it open for longer than the limit.
            for _ in 0..10 {
                responder.sleep(Duration::from_millis(100))?;
                responder.chunk(b":\n")?;
            }
            responder.chunk(b"id: 2\ndata: b\n\n")?;
            responder.stall()
        }
        _ => responder.send(204, &[], b""),
    });
    let events = events(&server).idle_timeout(Duration::from_millis(600));
    assert_eq!(data(block_on(events.collect())), ["a", "b"]);
    assert_eq!(server.last_request().header("last-event-id"), Some("2"));
}

#[test]
fn an_earlier_run_is_resumed() {
    let server = serve(|_, _, responder| responder.send(204, &[], b""));
    assert!(block_on(events(&server).resume_after("41").next()).is_none());
    assert_eq!(server.last_request().header("last-event-id"), Some("41"));
    assert!(block_on(events(&server).resume_after("4\u{1}").next()).is_none());
    assert!(!server.last_request().has_header("last-event-id"), "what no header can carry is left out");
}

#[test]
fn every_executor_will_do_and_a_stream_may_change_it() {
    fn is_send<T: Stream + Send + Unpin + 'static>(stream: T) -> T {
        stream
    }
    let server = serve(|_, _, responder| responder.send(200, &[STREAM], b"data: a\n\n"));
    let mut events = is_send(events(&server));
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..2 {
        assert_eq!(tokio.block_on(events.next()).unwrap().unwrap().data, "a");
        assert_eq!(smol::block_on(events.next()).unwrap().unwrap().data, "a");
        // Polled here while it waits to connect again, woken there.
        let polled = block_on(futures::future::poll_immediate(events.next()));
        assert!(polled.is_none_or(|item| item.is_some()));
        events = thread::spawn(move || {
            assert!(block_on(events.next()).unwrap().is_ok());
            events
        })
        .join()
        .unwrap();
    }
}

#[test]
fn an_iterator_blocks_for_each_event() {
    let server = serve(|number, _, responder| match number {
        0 | 1 => responder.send(200, &[STREAM], b"retry: 10\nid: 1\ndata: a\n\ndata: b\n\n"),
        _ => responder.send(204, &[], b""),
    });
    let client = HttpClient::new().unwrap();
    let mut events = client.events_blocking(server.url("/events")).unwrap();
    assert_eq!(data(events.by_ref().collect()), ["a", "b", "a", "b"]);
    assert_eq!(events.last_event_id(), "1");
    assert!(events.next().is_none());
}

#[test]
fn a_token_or_a_deadline_ends_an_iterator_and_its_connection() {
    let server = serve(|_, _, responder| {
        responder.start_chunked(200, &[STREAM])?;
        responder.chunk(b"data: a\n\n")?;
        responder.stall()
    });
    let token = CancelToken::new();
    let mut cancelled = events(&server).blocking().cancel_token(token.clone());
    assert_eq!(cancelled.next().unwrap().unwrap().data, "a");
    let canceller = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        token.cancel();
    });
    assert_eq!(cancelled.next().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(cancelled.next().is_none());
    assert!(server.wait_open(0, LONG));
    canceller.join().unwrap();

    let deadline = Instant::now() + Duration::from_millis(700);
    let mut late = events(&server).blocking().deadline(deadline);
    assert_eq!(late.next().unwrap().unwrap().data, "a");
    assert_eq!(late.next().unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    assert!(Instant::now() >= deadline && late.next().is_none());
    assert!(server.wait_open(0, LONG));
}

#[test]
fn a_token_ends_the_wait_for_the_next_attempt_and_a_spate_of_events() {
    let server = serve(|_, request, responder| match request.path() {
        "/busy" => responder.send(503, &[("Retry-After", "3600")], b""),
        _ => {
            responder.start_chunked(200, &[STREAM])?;
            while responder.chunk(&b":\n".repeat(4096)).is_ok() {}
            Ok(())
        }
    });
    let client = HttpClient::new().unwrap();
    for path in ["/busy", "/comments"] {
        let token = CancelToken::new();
        let mut events = client.events_blocking(server.url(path)).unwrap().cancel_token(token.clone());
        let requests = server.requests().len();
        let waiting = thread::spawn(move || events.next().unwrap().unwrap_err().kind());
        assert!(server.wait_for_requests(requests + 1, LONG));
        thread::sleep(Duration::from_millis(100));
        token.cancel();
        assert_eq!(waiting.join().unwrap(), ErrorKind::Cancelled, "{path}");
    }
}

#[test]
fn a_wait_for_one_event_may_be_short_without_losing_any() {
    let (go_on, wait) = std::sync::mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let server = serve(move |number, _, responder| {
        if number > 0 {
            return responder.send(204, &[], b"");
        }
        responder.start_chunked(200, &[STREAM])?;
        responder.chunk(b"data: hal")?;
        wait.lock().unwrap().recv().unwrap();
        responder.chunk(b"ves\n\n")?;
        responder.end_chunks(&[])
    });
    let mut events = events(&server).blocking();
    for _ in 0..3 {
        assert_eq!(events.next_within(Duration::from_millis(30)).unwrap_err().kind(), ErrorKind::Timeout);
    }
    go_on.send(()).unwrap();
    assert_eq!(events.next_within(LONG).unwrap().unwrap().data, "halves");
    assert_eq!(events.next_within(LONG).unwrap(), None);
    assert_eq!(server.requests().len(), 2);

    let mut expired = self::events(&server).blocking().deadline(Instant::now());
    assert_eq!(expired.next_within(LONG).unwrap_err().kind(), ErrorKind::Timeout);
    assert!(expired.next().is_none(), "the end of all patience ends the stream");
}

#[test]
fn many_streams_at_once_each_get_their_own() {
    let server = serve(|_, request, responder| {
        let target = request.target.clone();
        responder.send(200, &[STREAM], format!("data: {target}\n\n").as_bytes())
    });
    let client = Arc::new(HttpClient::new().unwrap());
    let all = (0..20).map(|number| {
        let events = client.events(server.url(&format!("/{number}"))).unwrap().retry_delay(SHORT);
        async move { data(events.take(3).collect().await) == vec![format!("/{number}"); 3] }
    });
    assert!(block_on(futures::future::join_all(all)).into_iter().all(|good| good));
}
