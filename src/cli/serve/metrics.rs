//! `/metrics` and `/healthz` of a worker.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use marmot::http::header;
use marmot::telemetry::Telemetry;

/// Answers at an address for as long as the process runs.
pub(super) async fn serve(address: SocketAddr, telemetry: Telemetry) -> io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    tracing::info!("metrics at http://{}/metrics", listener.local_addr()?);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let render = move || async move { ([(header::CONTENT_TYPE, kind)], telemetry.render()) };
    let router = Router::new().route("/metrics", get(render)).route("/healthz", get(async || "ok\n"));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::warn!(%error, "metrics are not answered any more");
        }
    });
    Ok(())
}
