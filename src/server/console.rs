//! The console: a page for operators, served from the program itself. It talks to the same methods as every client.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header;

/// Nothing but the server's own files and connections; no script from elsewhere can run in the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Paths, kinds and texts.
const FILES: [(&str, &str, &str); 21] = [
    ("/", "text/html; charset=utf-8", include_str!("console/index.html")),
    ("/console.css", STYLE, include_str!("console/console.css")),
    ("/forms.css", STYLE, include_str!("console/forms.css")),
    ("/tables.css", STYLE, include_str!("console/tables.css")),
    ("/runs.css", STYLE, include_str!("console/runs.css")),
    ("/icon.svg", "image/svg+xml", include_str!("console/icon.svg")),
    ("/code.js", SCRIPT, include_str!("console/code.js")),
    ("/console.js", SCRIPT, include_str!("console/console.js")),
    ("/dead.js", SCRIPT, include_str!("console/dead.js")),
    ("/dom.js", SCRIPT, include_str!("console/dom.js")),
    ("/format.js", SCRIPT, include_str!("console/format.js")),
    ("/job.js", SCRIPT, include_str!("console/job.js")),
    ("/library.js", SCRIPT, include_str!("console/library.js")),
    ("/live.js", SCRIPT, include_str!("console/live.js")),
    ("/queue.js", SCRIPT, include_str!("console/queue.js")),
    ("/refresh.js", SCRIPT, include_str!("console/refresh.js")),
    ("/rpc.js", SCRIPT, include_str!("console/rpc.js")),
    ("/run.js", SCRIPT, include_str!("console/run.js")),
    ("/runs.js", SCRIPT, include_str!("console/runs.js")),
    ("/trail.js", SCRIPT, include_str!("console/trail.js")),
    ("/waterfall.js", SCRIPT, include_str!("console/waterfall.js")),
];

/// The page and what belongs to it.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, (path, kind, text)| {
        let file = move || async move {
            let headers = [
                (header::CONTENT_TYPE, *kind),
                (header::CONTENT_SECURITY_POLICY, POLICY),
                // Looked for again each time, as a new version of the program may have another.
                (header::CACHE_CONTROL, "no-cache"),
            ];
            (headers, *text).into_response()
        };
        router.route(path, get(file))
    })
}
