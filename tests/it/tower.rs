//! The client as a service inside of real layers of `tower` and `tower-http`, under tokio.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use marmot::http::header::{ACCEPT, HeaderMap, HeaderValue};
use marmot::prelude::*;
use marmot::{AsyncBody, Error, ErrorKind, Response};
use tower::retry::Policy;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_http::decompression::DecompressionLayer;
use tower_http::follow_redirect::{FollowRedirectLayer, RequestUri};
use tower_http::set_header::SetRequestHeaderLayer;
use tower_http::trace::TraceLayer;

use crate::support::{Server, faults, pattern};

const LONG: Duration = Duration::from_secs(10);

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

fn get(url: String) -> Request<AsyncBody> {
    Request::get(url).body(AsyncBody::empty()).unwrap()
}

/// All frames of a body.
async fn frames<B: http_body::Body<Data = Bytes>>(body: B) -> Result<(Vec<u8>, Option<HeaderMap>), B::Error> {
    let mut body = std::pin::pin!(body);
    let (mut data, mut trailers) = (Vec::new(), None);
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await.transpose()? {
        match frame.into_data() {
            Ok(chunk) => {
                assert!(trailers.is_none(), "trailers are last");
                data.extend_from_slice(&chunk);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    assert!(poll_fn(|cx| body.as_mut().poll_frame(cx)).await.is_none(), "the end stays the end");
    Ok((data, trailers))
}

#[test]
fn layers_go_around_the_client() {
    let server = Server::faults();
    run(async {
        let client = HttpClient::new().unwrap();
        let mut service = ServiceBuilder::new()
            .map_response(|response: Response<_>| response.map(AsyncBody::from_http_body))
            .layer(TraceLayer::new_for_http())
            .layer(SetRequestHeaderLayer::overriding(ACCEPT, HeaderValue::from_static("text/marmot")))
            .timeout(LONG)
            .concurrency_limit(2)
            .service(client);
        let service = ServiceExt::<Request<AsyncBody>>::ready(&mut service).await.unwrap();
        let mut response = service.call(get(server.url("/bytes/100000"))).await.unwrap();
        assert_eq!(response.bytes().await.unwrap(), pattern(100_000));
        assert_eq!(server.last_request().header("accept"), Some("text/marmot"));
    });
}

#[test]
fn a_reference_and_any_body_will_do() {
    let server = Server::faults();
    run(async {
        let client = HttpClient::new().unwrap();
        let mut service = &client;
        ServiceExt::<Request<&'static str>>::ready(&mut service).await.unwrap();
        let mut response = service.call(Request::post(server.url("/echo")).body("hello").unwrap()).await.unwrap();
        assert_eq!(response.text().await.unwrap(), "hello");
        let request = Request::post(server.url("/echo")).body(vec![1_u8, 2]).unwrap();
        let mut response = client.clone().oneshot(request).await.unwrap();
        assert_eq!(response.bytes().await.unwrap(), [1, 2]);
    });
}

#[test]
fn a_time_limit_of_a_layer_ends_the_request() {
    let server = Server::faults();
    run(async {
        let service = ServiceBuilder::new().timeout(Duration::from_millis(100)).service(HttpClient::new().unwrap());
        let error = service.oneshot(get(server.url("/stall-head"))).await.unwrap_err();
        assert!(error.is::<tower::timeout::error::Elapsed>(), "{error}");
        assert!(server.wait_for_close("/stall-head", LONG).is_some(), "the transfer ended with its future");
    });
}

/// Tries again what answers 503, and connections that failed.
#[derive(Clone)]
struct Again(usize);

impl Policy<Request<Bytes>, Response<AsyncBody>, Error> for Again {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<Bytes>,
        result: &mut Result<Response<AsyncBody>, Error>,
    ) -> Option<Self::Future> {
        let again = match result {
            Ok(response) => response.status() == 503,
            Err(error) => error.kind() == ErrorKind::ConnectionFailed,
        };
        let left = self.0.checked_sub(1).filter(|_| again)?;
        self.0 = left;
        Some(std::future::ready(()))
    }

    fn clone_request(&mut self, request: &Request<Bytes>) -> Option<Request<Bytes>> {
        Some(request.clone())
    }
}

#[test]
fn a_retry_layer_sends_again() {
    let hits = AtomicUsize::new(0);
    let server = Server::start(move |request, answer| match hits.fetch_add(1, SeqCst) {
        0 | 1 => answer.text(503, "busy"),
        _ => answer.text(200, &request.text()),
    });
    run(async {
        let service = ServiceBuilder::new().retry(Again(5)).service(HttpClient::new().unwrap());
        let request = Request::post(server.url("/")).body(Bytes::from_static(b"again")).unwrap();
        assert_eq!(service.oneshot(request).await.unwrap().text().await.unwrap(), "again");
        assert_eq!(server.requests().len(), 3);
    });
}

#[test]
fn a_concurrency_limit_holds() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (here, peak) = (now.clone(), most.clone());
    let server = Server::start(move |_, answer| {
        peak.fetch_max(here.fetch_add(1, SeqCst) + 1, SeqCst);
        answer.sleep(Duration::from_millis(20))?;
        here.fetch_sub(1, SeqCst);
        answer.text(200, "")
    });
    run(async {
        let service = ServiceBuilder::new().concurrency_limit(3).service(HttpClient::new().unwrap());
        let calls = (0..20).map(|_| service.clone().oneshot(get(server.url("/"))));
        for result in futures::future::join_all(calls).await {
            assert_eq!(result.unwrap().status(), 200);
        }
    });
    assert_eq!(most.load(SeqCst), 3);
}

#[test]
fn layers_follow_redirects_and_decompress() {
    let server = Server::faults();
    run(async {
        let client = HttpClient::builder().automatic_decompression(false).build().unwrap();
        let service = ServiceBuilder::new()
            .map_response(|response: Response<_>| response.map(AsyncBody::from_http_body))
            .layer(FollowRedirectLayer::new())
            .layer(DecompressionLayer::new())
            .service(client);
        let url = server.url("/redirect-to?url=/gzip&status=302");
        let mut response = service.clone().oneshot(get(url)).await.unwrap();
        assert!(response.extensions().get::<RequestUri>().unwrap().0.path() == "/gzip");
        assert_eq!(response.bytes().await.unwrap(), faults::encoded::plain());
        // An error within the body goes through the layers and stays what it is.
        let mut response = service.oneshot(get(server.url("/close/in-body"))).await.unwrap();
        assert_eq!(response.bytes().await.unwrap_err().kind(), ErrorKind::ResponseBodyTruncated);
    });
}

#[test]
fn a_response_is_a_body_of_frames_with_its_trailers_last() {
    let server = Server::faults();
    run(async {
        let client = HttpClient::new().unwrap();
        let body = client.get_async(server.url("/trailers")).await.unwrap().into_body();
        let (_, trailers) = frames(body).await.unwrap();
        assert_eq!(trailers.unwrap().len(), 2);
        // Through another body and back.
        let body = client.get_async(server.url("/trailers")).await.unwrap().into_body();
        let (_, trailers) = frames(AsyncBody::from_http_body(body)).await.unwrap();
        assert_eq!(trailers.unwrap().len(), 2);
        let mut body = client.get_async(server.url("/bytes/5000")).await.unwrap().into_body();
        assert_eq!(body.size_hint().exact(), Some(5000));
        futures::AsyncReadExt::read_exact(&mut body, &mut [0; 1000]).await.unwrap();
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(4000), false));
        assert_eq!(frames(body).await.unwrap(), (pattern(5000).split_off(1000), None));
        let body = client.get_async(server.url("/chunked/5000/100")).await.unwrap().into_body();
        assert_eq!(body.size_hint().exact(), None);
        assert_eq!(frames(body).await.unwrap().0, pattern(5000));
        let body = client.get_async(server.url("/close/in-body")).await.unwrap().into_body();
        assert_eq!(frames(body).await.unwrap_err().kind(), ErrorKind::ResponseBodyTruncated);
    });
}

#[test]
fn size_hints_tell_of_what_is_left() {
    assert!(AsyncBody::empty().is_end_stream());
    assert_eq!(AsyncBody::empty().size_hint().exact(), Some(0));
    let mut bytes = AsyncBody::from("hello");
    assert_eq!((bytes.size_hint().exact(), bytes.is_end_stream()), (Some(5), false));
    let sized = || AsyncBody::from_reader_sized(futures::io::Cursor::new("hello"), 5);
    let mut reader = sized();
    assert_eq!(reader.size_hint().exact(), Some(5));
    run(async {
        futures::AsyncReadExt::read_exact(&mut bytes, &mut [0; 2]).await.unwrap();
        assert_eq!(bytes.size_hint().exact(), Some(3));
        futures::AsyncReadExt::read_exact(&mut reader, &mut [0; 2]).await.unwrap();
        assert_eq!(reader.size_hint().exact(), None, "it is not counted");
        assert_eq!(frames(reader).await.unwrap().0, b"llo");
    });
    assert_eq!(AsyncBody::from_http_body(sized()).size_hint().exact(), Some(5));
    assert_eq!(AsyncBody::from_reader(futures::io::Cursor::new("x")).size_hint().exact(), None);
}

/// A body of somebody else: two chunks, trailers, perhaps an error.
struct Foreign {
    step: usize,
    exact: bool,
    fails: bool,
}

impl http_body::Body for Foreign {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        self.step += 1;
        Poll::Ready(match self.step {
            1 => Some(Ok(Frame::data(Bytes::from_static(b"one ")))),
            2 => {
                // It is asked again when it says so.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            3 if self.fails => Some(Err(std::io::Error::other("broken on purpose"))),
            3 => Some(Ok(Frame::data(Bytes::from_static(b"two")))),
            4 => Some(Ok(Frame::trailers(HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("x"))])))),
            5 => None,
            _ => panic!("polled after its end"),
        })
    }

    fn size_hint(&self) -> SizeHint {
        if self.exact { SizeHint::with_exact(7) } else { SizeHint::default() }
    }
}

#[test]
fn a_body_of_somebody_else_can_be_sent() {
    let server = Server::faults();
    run(async {
        let client = HttpClient::new().unwrap();
        for exact in [true, false] {
            let body = AsyncBody::from_http_body(Foreign { step: 0, exact, fails: false });
            let request = Request::post(server.url("/echo")).body(body).unwrap();
            assert_eq!(client.clone().oneshot(request).await.unwrap().text().await.unwrap(), "one two");
            assert_eq!(server.last_request().header("content-length"), exact.then_some("7"));
        }
        let body = AsyncBody::from_http_body(Foreign { step: 0, exact: false, fails: true });
        let error = client.post_async(server.url("/echo"), body).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RequestBody);
        assert!(error.chain().contains("broken on purpose"), "{}", error.chain());
        let (data, trailers) =
            frames(AsyncBody::from_http_body(Foreign { step: 0, exact: false, fails: false })).await.unwrap();
        assert_eq!((data, trailers.unwrap().len()), (b"one two".to_vec(), 1));
    });
}

#[test]
fn a_service_may_stand_in_for_the_client() {
    // What is written against the trait takes the client and a stand-in alike.
    async fn status<S>(service: S, url: String) -> u16
    where
        S: Service<Request<AsyncBody>, Response = Response<AsyncBody>>,
        S::Error: std::fmt::Debug,
    {
        service.oneshot(get(url)).await.unwrap().status().as_u16()
    }
    let server = Server::faults();
    run(async {
        assert_eq!(status(HttpClient::new().unwrap(), server.url("/status/404")).await, 404);
        let stand_in = tower::service_fn(|_: Request<AsyncBody>| async {
            Ok::<_, Infallible>(Response::builder().status(418).body(AsyncBody::from("tea")).unwrap())
        });
        assert_eq!(status(stand_in, String::from("/")).await, 418);
    });
}
