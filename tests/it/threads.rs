//! Which threads run agents, and how many agents a client has. What agents do is in `agents.rs`.

use std::cell::RefCell;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::{join_all, try_join_all};
use http::StatusCode;
use marmot::config::{CaCertificates, RedirectPolicy, RetryPolicy};
use marmot::handler::{Control, Decoder, Handler, Next};
use marmot::prelude::*;
use marmot::{Body, Error, ErrorKind, Response, ResponseFuture};

use crate::alone::is_alone;
use crate::support::{Nginx, Server};

/// Tells the thread on which it hears of its response, after so much work there.
struct Probe(Arc<Mutex<Option<ThreadId>>>, Duration);

impl Handler for Probe {
    fn on_request(&mut self, _: &mut Request<()>, _: &Control) -> Next {
        Next::read()
    }
    fn on_response(&mut self, _: Response<()>) -> Next {
        *self.0.lock().unwrap() = Some(thread::current().id());
        let end = Instant::now() + self.1;
        while Instant::now() < end {}
        Next::read()
    }
    fn on_response_readable(&mut self, decoder: &mut Decoder<'_>) -> Next {
        decoder.consume(usize::MAX);
        Next::read()
    }
    fn on_error(&mut self, error: Error) -> Next {
        panic!("{error}");
    }
}

fn probe(client: &HttpClient, url: &str, work: Duration) -> (marmot::Driving<Probe>, Arc<Mutex<Option<ThreadId>>>) {
    let seen = Arc::new(Mutex::new(None));
    (client.drive(Request::get(url).body(()).unwrap(), Probe(seen.clone(), work)), seen)
}

/// How many threads of this process have that name.
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let called =
        |path: std::path::PathBuf| std::fs::read_to_string(path.join("comm")).is_ok_and(|it| it.trim() == name);
    tasks.filter(|task| task.as_ref().is_ok_and(|task| called(task.path()))).count()
}

#[test]
fn blocking_calls_run_the_agent_themselves() {
    if !is_alone("threads::blocking_calls_run_the_agent_themselves") {
        return;
    }
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for _ in 0..3 {
        // Without a body there is nothing left to do when the head is here.
        client.get(server.url("/no-content")).unwrap();
    }
    assert_eq!(server.accepted(), 1);
    drop(client);
    for _ in 0..20 {
        HttpClient::new().unwrap().get(server.url("/no-content")).unwrap();
    }
    assert_eq!(threads("marmot-agent"), 0);
}

#[test]
fn one_thread_looks_after_the_idle_connections_of_all_clients() {
    if !is_alone("threads::one_thread_looks_after_the_idle_connections_of_all_clients") {
        return;
    }
    let wait_for = |lookouts| {
        let end = Instant::now() + Duration::from_secs(20);
        while threads("marmot-lookout") != lookouts {
            assert!(Instant::now() < end, "{lookouts}");
            thread::sleep(Duration::from_millis(20));
        }
    };
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let server = Server::faults();
    let before = descriptors();
    let this = Some(thread::current().id());
    let clients: Vec<HttpClient> = (0..10).map(|_| HttpClient::new().unwrap()).collect();
    let ask_all = || {
        for client in &clients {
            let seen = client.block_on(async {
                let (driving, seen) = probe(client, &server.url("/no-content"), Duration::ZERO);
                driving.await.unwrap();
                *seen.lock().unwrap()
            });
            assert_eq!(seen, this);
        }
        wait_for(1);
        // Until they are listened to, and then some.
        thread::sleep(Duration::from_millis(2500));
        assert_eq!((threads("marmot-lookout"), threads("marmot-agent")), (1, 0));
    };
    for _ in 0..3 {
        ask_all();
        assert_eq!(server.accepted(), 10);
    }
    server.close_connections();
    let end = Instant::now() + Duration::from_secs(10);
    while clients.iter().any(|client| client.stats().open > 0) {
        let stats = || clients.iter().map(HttpClient::stats).collect::<Vec<_>>();
        assert!(Instant::now() < end, "{} open at the server, {:?}", server.open(), stats());
        thread::sleep(Duration::from_millis(20));
    }
    // Nothing is left to look after, though the clients are there.
    wait_for(0);
    ask_all();
    assert_eq!(server.accepted(), 20);
    clients.iter().for_each(|client| client.shutdown(Duration::ZERO));
    wait_for(0);
    drop(clients);
    // Two pollers are kept for the next agents.
    assert!(descriptors() <= before + 8, "{} and {before}", descriptors());
}

#[test]
fn a_caller_who_waits_serves_the_others_and_leaves_them_to_a_thread() {
    let server = Arc::new(Server::faults());
    let client = HttpClient::new().unwrap();
    let (ready, is_ready) = mpsc::channel();
    let waiting = thread::spawn({
        let (client, server) = (client.clone(), server.clone());
        move || {
            ready.send(thread::current().id()).unwrap();
            client.get(server.url("/delay/600")).unwrap().consume().unwrap();
        }
    });
    let caller = is_ready.recv().unwrap();
    assert!(server.wait_for_heads(1, Duration::from_secs(10)));
    let (early, seen_early) = probe(&client, &server.url("/get"), Duration::ZERO);
    let (late, seen_late) = probe(&client, &server.url("/delay/1200"), Duration::ZERO);
    block_on(early).unwrap();
    assert_eq!(*seen_early.lock().unwrap(), Some(caller), "the caller runs everybody's transfers");
    waiting.join().unwrap();
    block_on(late).unwrap();
    assert!(seen_late.lock().unwrap().is_some_and(|thread| thread != caller), "and goes when its own is done");
}

/// Four callers who wait at once. Returns how many of them ran their transfer themselves.
fn four_callers(client: &HttpClient, url: &str) -> usize {
    let call = || {
        let seen = Arc::new(Mutex::new(None));
        let see = seen.clone();
        let request = Request::get(url).on_progress(move |_| *see.lock().unwrap() = Some(thread::current().id()));
        client.send(request.body(()).unwrap()).unwrap().consume().unwrap();
        let seen = seen.lock().unwrap().expect("the progress at the end is told");
        usize::from(seen == thread::current().id())
    };
    thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(call)).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    })
}

#[test]
fn callers_who_wait_at_once_run_an_agent_each_until_those_are_idle() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for _ in 0..2 {
        assert_eq!(four_callers(&client, &server.url("/delay/300")), 4);
        let stats = client.stats();
        assert_eq!((server.accepted(), stats.agents, stats.open), (4, 4, 4), "{stats:?}");
    }
    assert_eq!(client.stats().reused, 4);
    for _ in 0..5 {
        client.get(server.url("/no-content")).unwrap();
    }
    assert_eq!(server.accepted(), 4, "a caller by itself keeps to the first agent");
    let end = Instant::now() + Duration::from_secs(30);
    while client.stats().agents > 1 {
        assert!(Instant::now() < end, "{:?}", client.stats());
        thread::sleep(Duration::from_millis(200));
    }
    assert!(server.wait_open(1, Duration::from_secs(5)));
    assert_eq!(four_callers(&client, &server.url("/delay/300")), 4, "others take their place");
}

#[test]
fn callers_share_the_agents_that_were_asked_for() {
    let server = Server::faults();
    for builder in [
        HttpClient::builder().agents(1),
        HttpClient::builder().max_connections_per_host(4),
        HttpClient::builder().connection_cache_size(4),
    ] {
        let client = builder.build().unwrap();
        assert!(four_callers(&client, &server.url("/delay/300")) <= 1);
        assert_eq!(client.stats().agents, 1);
    }
}

#[test]
fn a_shutdown_ends_the_calls_of_all_who_wait() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    thread::scope(|scope| {
        let callers: Vec<_> =
            (0..4).map(|_| scope.spawn(|| client.get(server.url("/delay/30000")).unwrap_err().kind())).collect();
        assert!(server.wait_for_heads(4, Duration::from_secs(10)));
        client.shutdown(Duration::from_millis(100));
        for caller in callers {
            assert_eq!(caller.join().unwrap(), ErrorKind::ClientShutDown);
        }
    });
    assert!(server.wait_open(0, Duration::from_secs(5)));
}

#[test]
fn a_caller_inside_of_a_handler_runs_another_agent() {
    struct Nested(HttpClient, String, Option<u16>);
    impl Handler for Nested {
        fn on_request(&mut self, _: &mut Request<()>, _: &Control) -> Next {
            Next::read()
        }
        fn on_response(&mut self, _: Response<()>) -> Next {
            let request = Request::get(&self.1).redirect_policy(RedirectPolicy::Follow).retry(RetryPolicy::default());
            self.2 = self.0.send(request.body(()).unwrap()).ok().map(|response| response.status().as_u16());
            Next::read()
        }
        fn on_response_readable(&mut self, decoder: &mut Decoder<'_>) -> Next {
            decoder.consume(usize::MAX);
            Next::read()
        }
    }
    let server = Server::faults();
    let (outer, inner) = (HttpClient::new().unwrap(), HttpClient::new().unwrap());
    let nested = Nested(inner, server.url("/get"), None);
    let nested = outer.drive(Request::get(server.url("/get")).body(()).unwrap(), nested).wait().unwrap();
    assert_eq!(nested.2, Some(200));
    assert_eq!(outer.get(server.url("/get")).unwrap().status(), 200, "the outer agent is none the worse");
    // What is sent again is as well for an agent that this thread can run.
    for path in ["/redirect/3", "/status/503"] {
        let nested = Nested(outer.clone(), server.url(path), None);
        let nested = outer.drive(Request::get(server.url("/get")).body(()).unwrap(), nested).wait().unwrap();
        assert_eq!(nested.2, Some(if path == "/status/503" { 503 } else { 200 }));
    }

    // Of the same client too, whoever runs its agent: it would wait for itself.
    let nginx = Nginx::start().unwrap_or_else(|why| panic!("{why}"));
    let url = nginx.tls_url("/small.txt");
    let builder = || HttpClient::builder().ca_certificates(CaCertificates::file(nginx.ca_pem_path()));
    for client in [builder().build().unwrap(), builder().agents(1).max_connections(1).build().unwrap()] {
        let nested = || Nested(client.clone(), url.clone(), None);
        let request = || Request::get(&url).body(()).unwrap();
        assert_eq!(client.drive(request(), nested()).wait().unwrap().2, Some(200), "on the agent's thread");
        let (seen, see) = mpsc::channel();
        let again = (client.clone(), url.clone());
        let progress = move |_| seen.send(again.0.get(&again.1).unwrap().status()).unwrap();
        let request = Request::get(&url).on_progress(progress).body(()).unwrap();
        assert_eq!(client.send(request).unwrap().status(), 200);
        assert_eq!(see.recv_timeout(Duration::from_secs(10)).unwrap(), 200, "on the caller's");
    }
}

#[test]
fn a_thread_that_runs_a_future_runs_its_transfers() {
    if !is_alone("threads::a_thread_that_runs_a_future_runs_its_transfers") {
        return;
    }
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let this = thread::current().id();
    let ask = async || {
        let (driving, seen) = probe(&client, &server.url("/bytes/300000"), Duration::ZERO);
        driving.await.unwrap();
        *seen.lock().unwrap()
    };
    let seen = client.block_on(async {
        // Nothing is under way when the future begins.
        smol::future::yield_now().await;
        let mut seen = vec![ask().await];
        seen.extend(join_all((0..20).map(|_| ask())).await);
        seen.push(ask().await);
        assert_eq!(threads("marmot-agent"), 0);
        seen
    });
    assert_eq!(seen.len(), 22);
    assert!(seen.iter().all(|thread| *thread == Some(this)));
}

#[test]
fn whoever_runs_a_future_serves_the_others_and_leaves_them_to_a_thread() {
    let server = Arc::new(Server::faults());
    let client = HttpClient::new().unwrap();
    let (other, seen) = client.block_on(async {
        let slow = client.get_async(server.url("/delay/600"));
        let other = thread::spawn({
            let (client, server) = (client.clone(), server.clone());
            move || {
                assert!(server.wait_for_heads(1, Duration::from_secs(10)));
                let (late, seen_late) = probe(&client, &server.url("/delay/1200"), Duration::ZERO);
                let (early, seen_early) = probe(&client, &server.url("/get"), Duration::ZERO);
                block_on(async {
                    early.await.unwrap();
                    late.await.unwrap();
                });
                [seen_early, seen_late].map(|seen| *seen.lock().unwrap())
            }
        });
        slow.await.unwrap();
        (other, thread::current().id())
    });
    let [early, late] = other.join().unwrap();
    assert_eq!(early, Some(seen));
    assert!(late.is_some_and(|thread| thread != seen));
}

#[test]
fn threads_that_run_futures_at_once_are_not_in_each_others_way() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let lengths: Vec<usize> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    client.block_on(async {
                        let asked = (0..20)
                            .map(|_| async { client.get_async(server.url("/bytes/100000")).await?.bytes().await });
                        try_join_all(asked).await.unwrap().iter().map(|bytes| bytes.len()).sum()
                    })
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(lengths, [2_000_000; 4]);
}

#[test]
fn blocking_calls_may_be_made_inside_of_a_future() {
    let server = Server::faults();
    for client in [HttpClient::new().unwrap(), HttpClient::builder().agents(1).build().unwrap()] {
        let url = server.url("/bytes/3000000");
        let (length, other) = client.block_on(async {
            let other = client.get_async(&url);
            // With a transfer of this thread under way: of the same agent, of another one, with a future of its own.
            let response = client.get_async(&url).await.unwrap();
            let mut body = Body::from(response.into_body());
            let mut length = std::io::copy(&mut body, &mut std::io::sink()).unwrap();
            length += client.get(&url).unwrap().copy_to(std::io::sink()).unwrap();
            length += client.block_on(async { client.get_async(&url).await?.bytes().await }).unwrap().len() as u64;
            let (driving, seen) = probe(&client, &url, Duration::ZERO);
            driving.wait().unwrap();
            assert!(seen.lock().unwrap().is_some());
            // What was under way before has not been forgotten.
            (length, other.await.unwrap().bytes().await.unwrap().len())
        });
        assert_eq!((length, other), (9_000_000, 3_000_000));
    }
}

#[test]
fn a_future_that_waits_by_other_ways_does_not_wait_for_itself() {
    let server = Arc::new(Server::faults());
    let (client, other) = (HttpClient::new().unwrap(), HttpClient::new().unwrap());
    let (url, redirect) = (server.url("/bytes/3000000"), server.url("/redirect/3"));
    let follow = || Request::get(&redirect).redirect_policy(marmot::config::RedirectPolicy::Follow).body(()).unwrap();
    // What was started outside is waited for inside, by the same client and by another one.
    let inside = |by: &HttpClient| client.block_on(async { by.block_on(client.get_async(&url)) }).unwrap().status();
    assert_eq!((inside(&client), inside(&other)), (StatusCode::OK, StatusCode::OK));
    // Later transfers of a call begin while it is waited for.
    assert_eq!(client.block_on(async { client.send(follow()).unwrap().status() }), 200);
    let both = client.block_on(async {
        let before = client.get_async(&url);
        let status = client.send(follow()).unwrap().status();
        (status, before.await.unwrap().bytes().await.unwrap().len())
    });
    assert_eq!(both, (StatusCode::OK, 3_000_000));
    // The first one begins only then.
    let event = client.block_on(async { client.events_blocking(server.url("/events/3")).unwrap().next().unwrap() });
    assert!(event.is_ok());
    // The body of an upload comes from a transfer of the future's own.
    let echoed = client.block_on(async {
        let body = client.get_async(&url).await.unwrap().into_body();
        client.post(server.url("/slow-read-upload?rate=50000000"), Body::from(body)).unwrap().text().unwrap()
    });
    assert!(echoed.contains("3000000"), "{echoed}");
    // A future that never sleeps.
    let done = std::cell::Cell::new(false);
    client.block_on(async {
        let ask = async {
            client.get_async(&url).await.unwrap().bytes().await.unwrap();
            done.set(true);
        };
        let spin = async {
            while !done.get() {
                smol::future::yield_now().await;
            }
        };
        futures::join!(ask, spin)
    });
}

#[test]
fn what_comes_during_a_blocking_call_inside_of_a_future_is_not_missed() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let blocking = async {
        let response = client.get_async(server.url("/delay-body/600")).await.unwrap();
        std::io::copy(&mut Body::from(response.into_body()), &mut std::io::sink()).unwrap()
    };
    // The first one is answered while the thread waits for the rest of the second, and nothing happens after that.
    let (first, second) =
        client.block_on(async { futures::join!(client.get_async(server.url("/delay/200")), blocking) });
    assert_eq!(first.unwrap().status(), 200);
    assert!(second > 0);
}

#[test]
fn a_future_is_woken_when_another_agent_comes_along_after_a_blocking_call() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let quick = || client.get_async(server.url("/no-content"));
    client.block_on(async {
        quick().await.unwrap();
        // The agent at hand has this one, so that it goes on with another thread when the call takes the thread away.
        let slow = client.get_async(server.url("/delay/60000"));
        client.get(server.url("/no-content")).unwrap();
        // Another agent comes along, in the same poll.
        quick().await.unwrap();
        drop(slow);
    });
}

#[test]
fn a_wake_is_not_lost_to_a_blocking_call_that_visits_the_same_agent() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let (sender, receiver) = futures::channel::oneshot::channel();
    client.block_on(async {
        client.get_async(server.url("/no-content")).await.unwrap();
        let slow = async {
            // The wake for the receiver comes while this is polled, and the call is made by the agent that was at hand.
            sender.send(()).unwrap();
            client.get(server.url("/no-content")).unwrap();
            client.get_async(server.url("/delay/60000")).await
        };
        let received = async { receiver.await.unwrap() };
        futures::future::select(pin!(received), pin!(slow)).await;
    });
}

#[test]
fn a_future_that_panics_leaves_the_client_as_it_is() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let other = client.get_async(server.url("/delay/300"));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        client.block_on(async {
            client.get_async(server.url("/get")).await.unwrap();
            panic!("meant to");
        })
    }));
    assert!(panic.is_err());
    assert_eq!(client.block_on(other).unwrap().status(), 200);
    assert_eq!(client.block_on(async { client.get_async(server.url("/get")).await.unwrap().status() }), 200);
    assert_eq!(client.get(server.url("/get")).unwrap().status(), 200);
    client.block_on(async { client.shutdown_async(Duration::from_secs(5)).await });
}

/// Keeps an agent busy until another one has joined it, or the time is over.
async fn saturate(client: &HttpClient, url: &str, time: Duration) -> Result<(), Error> {
    let end = Instant::now() + time;
    // Each of them always has a request under way, so that the agent has no rest.
    let lanes = (0..8).map(|_| async {
        // On a machine with more to do than cores an agent may have to ask several times for a whole core.
        while client.stats().agents < 2 && Instant::now() < end {
            probe(client, url, Duration::from_millis(5)).0.await?;
        }
        Ok::<_, Error>(())
    });
    try_join_all(lanes.collect::<Vec<_>>()).await.map(drop)
}

#[test]
fn a_saturated_agent_is_joined_by_another_one() {
    let server = Server::faults();
    let busy = |most: usize, own: bool| {
        let client = HttpClient::builder().agents(most).build().unwrap();
        let (url, time) = (server.url("/no-content"), Duration::from_secs(if most > 1 { 60 } else { 2 }));
        let work = saturate(&client, &url, time);
        if own { client.block_on(work) } else { block_on(work) }.unwrap();
        let stats = client.stats();
        assert_eq!(stats.started, stats.completed, "{stats:?}");
        stats.agents
    };
    assert_eq!(busy(2, false), 2);
    assert_eq!(busy(2, true), 2, "also where the thread that runs the futures runs the first agent");
    assert_eq!(busy(1, false), 1);
}

#[test]
fn an_agent_that_a_thread_runs_again_and_again_is_joined_by_another_one() {
    let server = Server::faults();
    let client = HttpClient::builder().agents(2).build().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while client.stats().agents < 2 {
        assert!(Instant::now() < end);
        // None of these takes long enough for a verdict.
        let few = (0..4).map(|_| probe(&client, &server.url("/no-content"), Duration::from_millis(3)).0);
        client.block_on(try_join_all(few.collect::<Vec<_>>())).unwrap();
    }
}

#[test]
fn a_thread_whose_agent_nobody_joins_takes_another_one_as_soon_as_it_can() {
    if thread::available_parallelism().unwrap().get() < 2 {
        return;
    }
    let server = Server::faults();
    // Those that are left to the crew end there.
    let end = Instant::now() + Duration::from_secs(60);
    beside_a_slow_one(&server, |_, elsewhere| {
        assert!(Instant::now() < end);
        elsewhere == 0
    });
}

#[test]
fn a_thread_keeps_its_agent_where_there_is_no_thread_for_it() {
    if !is_alone("threads::a_thread_keeps_its_agent_where_there_is_no_thread_for_it") {
        return;
    }
    let server = Server::faults();
    let mut asked = 0;
    beside_a_slow_one(&server, |start, elsewhere| {
        asked += 1;
        // The server has a thread for each connection by then.
        if asked == 25 {
            forbid_threads();
        }
        assert_eq!(elsewhere, 0);
        // The other agent is free for much longer than it takes to see that this one has too much to do.
        start.elapsed() < Duration::from_secs(2)
    });
}

/// Sends requests on this thread while another thread has the client's first agent in hand, for 300 ms, and until it is no
/// longer to `go_on`. That is told when it began, and how many were answered on other threads. None may fail.
fn beside_a_slow_one(server: &Server, go_on: impl FnMut(Instant, usize) -> bool) {
    // One that is told how many agents to have has no others.
    let client = HttpClient::new().unwrap();
    let slow = thread::spawn({
        let (client, url) = (client.clone(), server.url("/delay/300"));
        move || client.get(url).unwrap().status()
    });
    assert!(server.wait_for_heads(1, Duration::from_secs(10)));
    let this = Some(thread::current().id());
    let (start, go_on) = (Instant::now(), RefCell::new(go_on));
    let (url, elsewhere) = (server.url("/no-content"), AtomicUsize::new(0));
    client.block_on(async {
        let lanes = (0..8).map(async |_| {
            while go_on.borrow_mut()(start, elsewhere.load(Relaxed)) {
                let (driving, seen) = probe(&client, &url, Duration::from_millis(5));
                driving.await.unwrap();
                elsewhere.fetch_add(usize::from(*seen.lock().unwrap() != this), Relaxed);
            }
        });
        join_all(lanes).await
    });
    assert_eq!(slow.join().unwrap(), StatusCode::OK);
}

/// From now on this process gets no more threads.
#[allow(unsafe_code, reason = "std neither limits threads nor changes users")]
fn forbid_threads() {
    const NOBODY: libc::uid_t = 65534;
    let limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
    // SAFETY: touches no memory.
    if unsafe { libc::geteuid() } == 0 {
        // The limit does not hold for root.
        // SAFETY: touches no memory. What this process may do concerns no other test.
        assert_eq!(unsafe { libc::setuid(NOBODY) }, 0);
    }
    // SAFETY: `limit` is readable and of the type that the call expects.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit) }, 0);
    assert!(thread::Builder::new().spawn(|| {}).is_err());
}

#[test]
fn what_a_thread_starts_while_it_runs_an_agent_is_for_that_agent() {
    let server = Server::faults();
    let client = HttpClient::builder().agents(2).build().unwrap();
    client.block_on(saturate(&client, &server.url("/no-content"), Duration::from_secs(60))).unwrap();
    assert_eq!(client.stats().agents, 2);
    let here = Some(thread::current().id());
    let ask = async |host: &str| {
        let (driving, seen) = probe(&client, &server.url("/no-content").replace("127.0.0.1", host), Duration::ZERO);
        driving.await.unwrap();
        *seen.lock().unwrap()
    };
    client.block_on(async {
        // Until then the crew has not yet put the agent to rest that had most to do.
        let end = Instant::now() + Duration::from_secs(60);
        while ask("127.0.0.1").await != here {
            assert!(Instant::now() < end);
        }
        // Each is of an origin of its own, half of which would be the other agent's.
        for number in 0..16 {
            assert_eq!(ask(&format!("n{number}.localhost")).await, here, "{number}");
        }
    });
}

#[test]
fn requests_that_only_wait_leave_one_agent_alone() {
    let server = Server::faults();
    let client = HttpClient::builder().agents(4).build().unwrap();
    let all = (0..100).map(|_| client.get_async(server.url("/delay/300")));
    block_on(try_join_all(all.collect::<Vec<_>>())).unwrap();
    assert_eq!(client.stats().agents, 1);
}

/// Makes requests when its thread ends, and tells what became of one and that another one has begun.
struct AtEnd {
    client: HttpClient,
    url: String,
    told: mpsc::Sender<(Result<Response<Body>, Error>, ResponseFuture)>,
}

impl Drop for AtEnd {
    fn drop(&mut self) {
        let _ = self.told.send((self.client.get(&self.url), self.client.get_async(&self.url)));
    }
}

#[test]
fn a_thread_can_make_requests_while_it_ends() {
    thread_local! {
        static AT_END: std::cell::RefCell<Option<AtEnd>> = const { std::cell::RefCell::new(None) };
    }
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    for first in [false, true] {
        let (told, became) = mpsc::channel();
        let at_end = AtEnd { client: client.clone(), url: server.url("/bytes/3"), told };
        let (client, url) = (client.clone(), server.url("/bytes/3"));
        thread::spawn(move || {
            AT_END.set(Some(at_end));
            if first {
                // What the crate keeps for the thread is gone before the other ends.
                client.get(&url).unwrap();
                block_on(client.get_async(&url)).unwrap();
            }
        })
        .join()
        .unwrap();
        let (response, begun) = became.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(response.unwrap().status(), 200);
        assert_eq!(block_on(begun).unwrap().status(), 200);
    }
}
