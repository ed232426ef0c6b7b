//! Steps around requests: what they see, in which order, and what they may do.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use marmot::config::{RedirectAction, RedirectPolicy, RetryPolicy};
use marmot::interceptor::{self, Interceptor, InterceptorFuture, Next};
use marmot::prelude::*;
use marmot::{AsyncBody, ErrorKind, Response};

use crate::support::Server;

/// Writes down what passes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Writer {
    name: &'static str,
    log: Log,
}

impl Log {
    fn writer(&self, name: &'static str) -> Writer {
        Writer { name, log: self.clone() }
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Interceptor for Writer {
    fn intercept<'a>(&'a self, request: Request<AsyncBody>, next: Next<'a>) -> InterceptorFuture<'a> {
        Box::pin(async move {
            self.log.0.lock().unwrap().push(format!("{} > {}", self.name, request.uri().path()));
            let result = next.run(request).await;
            let seen = result.as_ref().map_or_else(|error| error.kind().name().into(), |r| r.status().to_string());
            self.log.0.lock().unwrap().push(format!("{} < {seen}", self.name));
            result
        })
    }
}

#[test]
fn outer_steps_see_the_request_once_and_network_steps_see_every_hop() {
    let server = Server::faults();
    let log = Log::default();
    let client = HttpClient::builder()
        .redirect_policy(RedirectPolicy::Follow)
        .interceptor(log.writer("first"))
        .interceptor(log.writer("second"))
        .network_interceptor(log.writer("network"))
        .build()
        .unwrap();
    let response = client.get(server.url("/redirect/1")).unwrap();
    assert_eq!(response.history().len(), 1);
    assert_eq!(
        log.lines(),
        [
            "first > /redirect/1",
            "second > /redirect/1",
            "network > /redirect/1",
            "network < 302 Found",
            "network > /get",
            "network < 200 OK",
            "second < 200 OK",
            "first < 200 OK",
        ]
    );
}

#[test]
fn a_step_may_change_answer_and_repeat_requests() {
    let server = Server::faults();
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let client = HttpClient::builder()
        .interceptor(interceptor::from_fn(|mut request: Request<AsyncBody>, next: Next<'_>| {
            if request.uri().path() == "/cached" {
                return Box::pin(std::future::ready(Ok(Response::new(AsyncBody::from("from the cache")))));
            }
            request.headers_mut().insert("x-added", "yes".parse().unwrap());
            next.run(request)
        }))
        .interceptor(interceptor::from_fn(move |request: Request<AsyncBody>, next: Next<'_>| {
            let count = count.clone();
            Box::pin(async move {
                let uri = request.uri().clone();
                let first = next.run(request).await?;
                count.fetch_add(1, SeqCst);
                if first.status() != 503 {
                    return Ok(first);
                }
                count.fetch_add(1, SeqCst);
                let path = uri.to_string().replace("/status/503", "/status/200");
                next.run(Request::get(path).body(AsyncBody::empty())?).await
            })
        }))
        .build()
        .unwrap();
    assert_eq!(client.get("http://never.test/cached").unwrap().text().unwrap(), "from the cache");
    assert_eq!(client.get(server.url("/get")).unwrap().status(), 200);
    assert_eq!(server.last_request().header("x-added"), Some("yes"));
    assert_eq!(client.get(server.url("/status/503")).unwrap().status(), 200);
    assert_eq!(tries.load(SeqCst), 3);
}

#[test]
fn the_request_starts_before_the_first_poll_and_ends_with_its_future() {
    let server = Server::faults();
    let client = HttpClient::builder().interceptor(Log::default().writer("x")).build().unwrap();
    let future = client.get_async(server.url("/stall-head"));
    assert!(server.wait_for_heads(1, std::time::Duration::from_secs(10)));
    drop(future);
    assert!(server.wait_for_close("/stall-head", std::time::Duration::from_secs(10)).is_some());
}

#[test]
fn settings_of_a_request_reach_through_the_steps() {
    let server = Server::faults();
    let client = HttpClient::builder().interceptor(Log::default().writer("x")).build().unwrap();
    let request =
        Request::get(server.url("/stall-head")).timeout(std::time::Duration::from_millis(50)).body(()).unwrap();
    assert_eq!(client.send(request).unwrap_err().kind(), ErrorKind::Timeout);
}

#[test]
fn a_custom_redirect_policy_may_edit_stop_and_refuse() {
    let server = Server::faults();
    let client = HttpClient::builder()
        .redirect_policy(RedirectPolicy::custom(5, |hop| match hop.uri.path() {
            "/redirect/2" => RedirectAction::Stop,
            "/get" if hop.followed == 0 => RedirectAction::Refuse("not there".into()),
            "/redirect/5" => {
                *hop.uri = hop.uri.to_string().replace("/redirect/5", "/anything?edited").parse().unwrap();
                hop.headers.insert("x-edited", "1".parse().unwrap());
                RedirectAction::Follow
            }
            _ => RedirectAction::Follow,
        }))
        .build()
        .unwrap();
    let stopped = client.get(server.url("/redirect/4")).unwrap();
    assert_eq!((stopped.status().as_u16(), stopped.history().len()), (302, 1));
    assert!(stopped.effective_uri().unwrap().path() == "/redirect/3");
    let error = client.get(server.url("/redirect/1")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAllowed);
    assert!(error.to_string().contains("not there"), "{error}");
    let edited = client.get(server.url("/redirect/6")).unwrap();
    assert_eq!(edited.effective_uri().unwrap().query(), Some("edited"));
    assert_eq!(server.last_request().header("x-edited"), Some("1"));
}

#[test]
fn a_policy_that_sends_a_redirect_elsewhere_leaves_the_secrets_behind() {
    let (first, second) = (Server::faults(), Server::faults());
    let elsewhere = second.url("/get");
    let client = HttpClient::builder()
        .redirect_policy(RedirectPolicy::custom(5, move |hop| {
            *hop.uri = elsewhere.parse().unwrap();
            hop.headers.insert("x-new-token", "meant for there".parse().unwrap());
            RedirectAction::Follow
        }))
        .bearer_auth("c0nfigured")
        .build()
        .unwrap();
    let request =
        Request::get(first.url("/redirect/1")).header("x-api-key", "k3y").header("x-plain", "p").body(()).unwrap();
    assert_eq!(client.send(request).unwrap().status(), 200);
    assert!(first.last_request().header("authorization").is_some());
    let there = second.last_request();
    assert_eq!(there.header("authorization"), None);
    assert_eq!(there.header("x-api-key"), None);
    assert_eq!(there.header("x-plain"), Some("p"));
    assert_eq!(there.header("x-new-token"), Some("meant for there"));
}

#[test]
fn retries_go_around_redirects_and_inside_of_outer_steps() {
    let hits = AtomicUsize::new(0);
    let server = Server::start(move |request, answer| match request.target.as_str() {
        "/start" => answer.send(302, &[("Location", "/end")], b""),
        _ if hits.fetch_add(1, SeqCst) == 0 => answer.text(503, "busy"),
        _ => answer.text(200, "done"),
    });
    let log = Log::default();
    let client = HttpClient::builder()
        .redirect_policy(RedirectPolicy::Follow)
        .retry(RetryPolicy::new().backoff(std::time::Duration::ZERO, std::time::Duration::ZERO))
        .interceptor(log.writer("outer"))
        .build()
        .unwrap();
    let mut response = client.get(server.url("/start")).unwrap();
    assert_eq!(response.text().unwrap(), "done");
    assert_eq!((response.attempts(), response.history().len()), (2, 1));
    assert_eq!(log.lines().len(), 2);
    let targets: Vec<_> = server.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/start", "/end", "/start", "/end"]);
}

#[test]
fn a_step_that_never_answers_is_ended_by_the_total_time() {
    let client = HttpClient::builder()
        .interceptor(interceptor::from_fn(|_: Request<AsyncBody>, _: Next<'_>| Box::pin(std::future::pending())))
        .build()
        .unwrap();
    let request = Request::get("http://never.test/").timeout(std::time::Duration::from_millis(50)).body(()).unwrap();
    let start = std::time::Instant::now();
    assert_eq!(client.send(request).unwrap_err().kind(), ErrorKind::Timeout);
    assert!(start.elapsed() < std::time::Duration::from_secs(5));
}
