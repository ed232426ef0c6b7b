//! The requests of a script as a picture: when each was under way, and what it waited for.

use std::time::Duration;

use marmot::script::RequestTrace;

use super::paint::Paint;

/// Columns of the picture.
const WIDTH: usize = 48;
/// Columns of the URLs.
const NAMES: usize = 36;

/// The lines of the picture, for two requests or more.
pub(crate) fn draw(traces: &[RequestTrace], paint: Paint) -> Vec<String> {
    let mut traces: Vec<&RequestTrace> = traces.iter().collect();
    traces.sort_by_key(|trace| trace.start);
    let [first, .., _] = traces[..] else { return Vec::new() };
    let begin = first.start;
    let end = traces.iter().map(|trace| trace.start + trace.time).max().unwrap_or_default();
    let all = (end - begin).max(Duration::from_micros(1));
    let column = |time: Duration| (time.as_secs_f64() / all.as_secs_f64() * WIDTH as f64) as usize;
    let mut lines = vec![format!(
        "{} requests in {}  {} connecting {} waiting {} receiving",
        traces.len(),
        shown(all),
        paint.yellow("▒"),
        paint.blue("░"),
        paint.green("█"),
    )];
    for trace in traces {
        let from = column(trace.start - begin).min(WIDTH - 1);
        let to = column(trace.start - begin + trace.time).clamp(from + 1, WIDTH);
        let (connecting, waiting) = shares(trace, to - from);
        let bar = format!(
            "{}{}{}{}{}",
            " ".repeat(from),
            paint.yellow(&"▒".repeat(connecting)),
            paint.blue(&"░".repeat(waiting)),
            paint.green(&"█".repeat(to - from - connecting - waiting)),
            " ".repeat(WIDTH - to),
        );
        let status = match &trace.result {
            Ok(status) if *status < 400 => paint.green(&status.to_string()),
            Ok(status) => paint.red(&status.to_string()),
            Err(_) => paint.red("ERR"),
        };
        lines.push(format!("{} {status} │{bar}│ {:>8}", name(trace), shown(trace.time)));
    }
    lines
}

/// How many columns of a bar are for connecting, and for waiting. What is not known to be either is receiving.
fn shares(trace: &RequestTrace, width: usize) -> (usize, usize) {
    let Some(metrics) = &trace.metrics else { return (0, width) };
    let total = metrics.total.as_secs_f64().max(1e-9);
    let part = |time: Duration| ((time.as_secs_f64() / total) * width as f64).round() as usize;
    let connecting = part(metrics.transfer_start).min(width);
    let answered = part(metrics.time_to_first_byte).clamp(connecting, width);
    (connecting, answered - connecting)
}

/// The method and the end of the URL, which tells requests apart.
fn name(trace: &RequestTrace) -> String {
    let url = trace.url.split_once("://").map_or(trace.url.as_str(), |(_, rest)| rest);
    let room = NAMES - trace.method.len() - 1;
    let count = url.chars().count();
    let url = if count <= room {
        url.to_owned()
    } else {
        format!("…{}", url.chars().skip(count - room + 1).collect::<String>())
    };
    format!("{:<NAMES$}", format!("{} {url}", trace.method))
}

fn shown(time: Duration) -> String {
    match time.as_secs_f64() * 1000.0 {
        ms if ms < 1.0 => format!("{:.0} us", ms * 1000.0),
        ms if ms < 1000.0 => format!("{ms:.1} ms"),
        ms => format!("{:.2} s", ms / 1000.0),
    }
}
