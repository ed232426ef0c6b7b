//! The server of the demo: a small API about marmots on a loopback port. Keeps nothing after it stops.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Form, Json, Path, Query};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect};
use axum::routing::{get, post};
use tokio::sync::oneshot;

/// Ends the server when dropped.
pub(super) struct DemoServer {
    pub(super) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl DemoServer {
    pub(super) fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let thread = std::thread::Builder::new().name("demo-server".into()).spawn(move || {
            runtime.block_on(async {
                let _ = ready.send(());
                tokio::select! {
                    _ = axum::serve(listener, routes()) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_timeout(Duration::from_millis(100));
        })?;
        let _ = is_ready.recv();
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for DemoServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Words = std::collections::BTreeMap<String, String>;

fn routes() -> Router {
    Router::new()
        .route("/", get(|| async { "Welcome to the burrow." }))
        .route("/marmots", get(list).post(add))
        .route("/marmots/{id}", get(one))
        .route("/form", post(|Form(form): Form<Words>| async move { Json(form) }))
        .route("/headers", get(headers))
        .route("/old-burrow", get(|| async { Redirect::temporary("/halfway") }))
        .route("/halfway", get(|| async { Redirect::temporary("/") }))
        .route("/slow/{ms}", get(slow))
}

const NAMES: [&str; 4] = ["Alma", "Bruno", "Cleo", "Dario"];

async fn list(Query(query): Query<Words>) -> impl IntoResponse {
    let like = query.get("like").map(|text| text.to_lowercase()).unwrap_or_default();
    let found: Vec<&str> = NAMES.into_iter().filter(|name| name.to_lowercase().contains(&like)).collect();
    Json(found)
}

async fn one(Path(id): Path<usize>) -> impl IntoResponse {
    match NAMES.get(id) {
        Some(name) => (StatusCode::OK, (*name).to_owned()),
        None => (StatusCode::NOT_FOUND, format!("no marmot lives in burrow {id}")),
    }
}

async fn add(Json(mut marmot): Json<serde_json::Map<String, serde_json::Value>>) -> impl IntoResponse {
    marmot.insert("id".into(), NAMES.len().into());
    (StatusCode::CREATED, [(header::LOCATION, "/marmots/4")], Json(marmot))
}

async fn headers(headers: HeaderMap) -> impl IntoResponse {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("nobody");
    let whistle = headers.get("x-whistle").and_then(|whistle| whistle.to_str().ok()).unwrap_or("silence");
    let answer = [(header::SET_COOKIE, "burrow=north"), (header::SET_COOKIE, "season=spring")];
    (AppendHeaders(answer), format!("{agent} whistles: {whistle}"))
}

async fn slow(Path(ms): Path<u64>) -> impl IntoResponse {
    tokio::time::sleep(Duration::from_millis(ms.min(5000))).await;
    format!("worth {ms} ms of waiting")
}
