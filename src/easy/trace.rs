//! A span for each transfer, with the field names of OpenTelemetry's HTTP conventions. Without the feature it is nothing.
//!
//! The span's parent is the caller's. It is open from the start of the transfer to its end; `error.type` is the status
//! from 400 on, or the kind of the error.

/// How often a request was sent before; a step that sends it again puts this into its extensions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resent(pub(crate) u32);

#[cfg(not(feature = "tracing"))]
pub(super) use off::Trace;
#[cfg(feature = "tracing")]
pub(super) use on::Trace;

#[cfg(not(feature = "tracing"))]
mod off {
    use http::Request;

    use crate::error::Error;
    use crate::head::Head;

    pub(in crate::easy) struct Trace;

    impl Trace {
        pub(in crate::easy) fn begin(_request: &Request<()>) -> Self {
            Self
        }

        pub(in crate::easy) fn responded(&self, _head: &Head) {}

        pub(in crate::easy) fn completed(&self, _received: u64) {}

        pub(in crate::easy) fn failed(&self, _error: &Error) {}
    }
}

#[cfg(feature = "tracing")]
mod on {
    use http::{Request, Version};
    use tracing::field::Empty;

    use super::Resent;
    use crate::error::Error;
    use crate::head::Head;
    use crate::port::port;
    use crate::secret::without_secrets;

    /// Nothing where nobody listens, which is nearly always: many transfers may wait.
    pub(in crate::easy) struct Trace(Option<Box<tracing::Span>>);

    impl Trace {
        pub(in crate::easy) fn begin(request: &Request<()>) -> Self {
            let uri = request.uri();
            let span = tracing::info_span!(
                "request",
                otel.name = request.method().as_str(),
                otel.kind = "client",
                otel.status_code = Empty,
                http.request.method = request.method().as_str(),
                http.request.resend_count = Empty,
                http.response.status_code = Empty,
                http.response.body.size = Empty,
                url.full = Empty,
                url.scheme = uri.scheme_str(),
                server.address = uri.host(),
                server.port = Empty,
                network.peer.address = Empty,
                network.peer.port = Empty,
                network.protocol.name = "http",
                network.protocol.version = Empty,
                error.type = Empty,
            );
            if span.is_disabled() {
                return Self(None);
            }
            // What takes work is done for a subscriber only.
            span.record("url.full", without_secrets(uri));
            span.record("server.port", port(uri));
            if let Some(Resent(count)) = request.extensions().get().filter(|Resent(count)| *count > 0) {
                span.record("http.request.resend_count", count);
            }
            Self(Some(Box::new(span)))
        }

        pub(in crate::easy) fn responded(&self, head: &Head) {
            let Some(span) = self.0.as_deref() else { return };
            let status = head.status();
            span.record("http.response.status_code", status.as_u16());
            if status.is_client_error() || status.is_server_error() {
                span.record("error.type", status.as_str());
                span.record("otel.status_code", "ERROR");
            }
            span.record("network.protocol.version", version(head.version()));
            if let Some(remote) = head.facts().and_then(|facts| facts.ends.remote()) {
                span.record("network.peer.address", tracing::field::display(remote.ip()));
                span.record("network.peer.port", remote.port());
            }
            tracing::debug!(parent: span, status = status.as_u16(), "head received");
        }

        pub(in crate::easy) fn completed(&self, received: u64) {
            let Some(span) = self.0.as_deref() else { return };
            span.record("http.response.body.size", received);
            tracing::debug!(parent: span, "complete");
        }

        pub(in crate::easy) fn failed(&self, error: &Error) {
            let Some(span) = self.0.as_deref() else { return };
            span.record("error.type", error.kind().name());
            span.record("otel.status_code", "ERROR");
            tracing::debug!(parent: span, error = %error.chain(), "failed");
        }
    }

    fn version(version: Version) -> &'static str {
        match version {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            Version::HTTP_3 => "3",
            _ => "1.1",
        }
    }
}
