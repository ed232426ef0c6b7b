//! The log of the service, on stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use super::Common;

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object in each line.
    Json,
}

/// Writes the log from now on.
///
/// # Errors
///
/// Where the filter is not one.
pub(super) fn start(common: &Common) -> Result<(), String> {
    let filter = common.log.as_deref().unwrap_or("info");
    let filter = EnvFilter::builder().parse(filter).map_err(|error| format!("--log `{filter}`: {error}"))?;
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match common.log_format.unwrap_or_default() {
        Format::Text => {
            let colors = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(colors).with_target(false).try_init()
        }
        Format::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
    };
    started.map_err(|error| error.to_string())
}
