//! The commands of the binary, one file each. The library does not know them.

pub(crate) mod check;
pub(crate) mod client;
pub(crate) mod demo;
mod demo_server;
mod host;
mod paint;
pub(crate) mod permissions;
mod pretty;
mod progress;
pub(crate) mod repl;
pub(crate) mod run;
pub(crate) mod serve;
mod waterfall;

use marmot::script::RequestTrace;

/// One line about a request: what was asked, what came, where the time went.
fn trace_line(trace: &RequestTrace) -> String {
    let RequestTrace { method, url, redirected_to, result, metrics, bytes, .. } = trace;
    let mut line = format!("{method} {url}");
    if let Some(there) = redirected_to {
        line.push_str(&format!(" -> {there}"));
    }
    match result {
        Ok(status) => line.push_str(&format!(" {status}")),
        Err(why) => line.push_str(&format!(" failed: {why}")),
    }
    if let Some(metrics) = metrics {
        let ms = |time: std::time::Duration| format!("{:.1}", time.as_secs_f64() * 1000.0);
        line.push_str(&format!(
            " dns={} connect={} tls={} first-byte={} total={} ms, {bytes} bytes",
            ms(metrics.name_lookup),
            ms(metrics.connect),
            ms(metrics.secure_connect),
            ms(metrics.time_to_first_byte),
            ms(metrics.total),
        ));
    }
    line
}
