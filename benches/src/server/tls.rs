//! TLS: HTTP/2 and HTTP/1.1 as ALPN decides, by hyper on threads of its own. Knows no uploads and no waiting.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::{BLOCK, SMALL, stream_length};

/// Starts to serve. Answers the port, and the certificate in PEM form.
pub(super) fn start() -> io::Result<(u16, String)> {
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    // By name, as a peer brings another provider into this program.
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || runtime.block_on(accept(&listener, &acceptor)));
    Ok((port, made.cert.pem()))
}

async fn accept(listener: &TcpListener, acceptor: &TlsAcceptor) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // What goes wrong shows itself at the client.
            let _ = talk(stream, &acceptor).await;
        });
    }
}

async fn talk(stream: TcpStream, acceptor: &TlsAcceptor) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let (io, service) = (TokioIo::new(stream), service_fn(answer));
    if is_http2 {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await?;
    } else {
        hyper::server::conn::http1::Builder::new().serve_connection(io, service).await?;
    }
    Ok(())
}

async fn answer(request: Request<Incoming>) -> Result<Response<Canned>, Infallible> {
    static STREAM: [u8; BLOCK] = [b's'; BLOCK];
    let path = request.uri().path();
    let body = match stream_length(path) {
        Some(left) => Some(Canned { left, block: &STREAM }),
        None if path == "/small" => Some(Canned { left: SMALL.len() as u64, block: SMALL.as_bytes() }),
        None => None,
    };
    let mut response = Response::new(Canned { left: 0, block: &[] });
    match body {
        Some(body) => *response.body_mut() = body,
        None => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    Ok(response)
}

/// A body of known length that repeats one block.
struct Canned {
    left: u64,
    block: &'static [u8],
}

impl Body for Canned {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let size = self.left.min(self.block.len() as u64) as usize;
        self.left -= size as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&self.block[..size])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
