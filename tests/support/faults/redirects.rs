//! Routes that send the client elsewhere. Nothing here follows or checks where that is.

use super::{Route, route};

pub(super) const ROUTES: &[Route] = &[
    route("/redirect/{n}", |call, r| {
        let next = match call.number::<u32>(0)? {
            0 | 1 => String::from("/get"),
            hops => format!("/redirect/{}", hops - 1),
        };
        r.send(302, &[("Location", &next)], b"elsewhere\n")
    }),
    route("/redirect-to", |call, r| {
        let url = call.request.query_value("url").unwrap_or_default();
        r.send(call.option("status", 302)?, &[("Location", &url)], b"elsewhere\n")
    }),
    route("/redirect-loop", |_, r| r.send(302, &[("Location", "/redirect-loop")], b"round and round\n")),
    route("/redirect-bad", |_, r| r.send(302, &[("Location", "http://[bad")], b"nowhere\n")),
    route("/redirect-no-location", |_, r| r.send(302, &[], b"somewhere\n")),
];
