//! Connections: accepted, within limits, with TLS where it is wanted, and ended when the server stops. Knows no path.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use super::options::ServerOptions;
use super::patient::Patient;
use crate::telemetry::{Connection, Kind, Refused, Telemetry};

/// How long to wait after the system has refused to accept a connection, for want of descriptors for instance.
const AFTER_FAILURE: Duration = Duration::from_millis(50);
/// The most streams of an HTTP/2 connection.
const STREAMS: u32 = 100;

/// The place of a connection among those that there may be, until the last copy is dropped. Each request carries one, for
/// WebSockets that outlive theirs.
#[derive(Clone)]
pub(super) struct Place {
    _place: Arc<OwnedSemaphorePermit>,
}

/// Accepts connections until `stopping` says so. Returns those that are there, to be ended.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    options: &ServerOptions,
    telemetry: &Telemetry,
    mut stopping: watch::Receiver<bool>,
) -> GracefulShutdown {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(options.patience).max_buf_size(64 << 10);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(options.silence)
        .keep_alive_timeout(options.patience)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(64 << 10);
    let builder = Arc::new(builder);
    let places = Arc::new(Semaphore::new(options.connections));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Ok(_) = stopping.wait_for(|stopping| *stopping) => break,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no connection is accepted");
                tokio::time::sleep(AFTER_FAILURE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            telemetry.refused.get_or_create(&Refused { why: "connections" }).inc();
            continue;
        };
        // Without it small messages wait for the acknowledgement of earlier ones.
        let _ = stream.set_nodelay(true);
        let (tls, builder, router) = (tls.clone(), builder.clone(), router.clone());
        let (patience, watcher) = (options.patience, graceful.watcher());
        let open = telemetry.connections.get_or_create_owned(&Connection { kind: Kind::Http });
        tokio::spawn(async move {
            let place = Place { _place: Arc::new(place) };
            open.inc();
            let ended = match tls {
                None => handle(Patient::new(stream, patience), from, place, &builder, router, watcher).await,
                Some(tls) => match timeout(patience, tls.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        handle(Patient::new(stream, patience), from, place, &builder, router, watcher).await
                    }
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(_) => Err("the TLS handshake took too long".into()),
                },
            };
            if let Err(error) = ended {
                tracing::debug!(%from, error, "a connection has ended");
            }
            open.dec();
        });
    }
    graceful
}

async fn handle<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    from: SocketAddr,
    place: Place,
    builder: &auto::Builder<TokioExecutor>,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), String> {
    let service = hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(from));
        request.extensions_mut().insert(place.clone());
        // A router is always ready.
        router.clone().call(request)
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    watcher.watch(connection).await.map_err(|error| error.to_string())
}

/// TLS with a certificate and its key, in files of PEM.
pub(super) fn tls(certificate: &[u8], key: &[u8]) -> io::Result<TlsAcceptor> {
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::crypto::aws_lc_rs;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let wrong = |what: &str, why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {why}"));
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong("the certificate", error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong("the certificate", "there is none in the file".into()));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong("the key", error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| wrong("the certificate and its key", error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
