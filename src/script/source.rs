//! Where descriptions of APIs come from: files, URLs, and their formats. Does not know what they describe.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use http::Method;
use rhai::{Dynamic, Map, Position};
use serde_json::Value;

use super::client::Client;
use super::failure::Problem;
use super::sandbox::Sandbox;
use super::{Thrown, answer, failure, yaml};

/// The most bytes of a description.
const MAX_BYTES: u64 = 16 << 20;

/// A description, and the URL that it was fetched from.
pub(super) struct Source {
    pub(super) value: Value,
    pub(super) url: Option<String>,
}

impl Source {
    /// Reads a file, or fetches a URL.
    pub(super) fn load(client: &Client, place: &str, at: Position) -> Result<Self, Thrown> {
        let lower = place.to_ascii_lowercase();
        let (text, url) = if lower.starts_with("http://") || lower.starts_with("https://") {
            let (text, url) = fetch(client, place, at)?;
            (text, Some(url))
        } else {
            let text = read_description(&client.host().sandbox, place);
            (text.map_err(|problem| problem.thrown(at))?, None)
        };
        let value = parse(place, &text).map_err(|message| failure::invalid(&message, at))?;
        Ok(Self { value, url })
    }
}

/// The text of a file that the sandbox lets scripts read.
fn read_description(sandbox: &Sandbox, path: &str) -> Result<String, Problem> {
    let path = sandbox.check_readable(Path::new(path)).map_err(|denied| Problem::denied(&denied, path))?;
    read(&path).map_err(Problem::Invalid)
}

fn read(path: &Path) -> Result<String, String> {
    let name = path.display();
    let wrong = |error: std::io::Error| format!("`{name}` cannot be read: {error}");
    // Opening a pipe would wait for whoever writes to it.
    if !std::fs::metadata(path).map_err(wrong)?.is_file() {
        return Err(format!("`{name}` is not a file"));
    }
    let mut text = String::new();
    File::open(path).map_err(wrong)?.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(wrong)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("`{name}` is larger than {} MiB", MAX_BYTES >> 20));
    }
    Ok(text)
}

fn fetch(client: &Client, url: &str, at: Position) -> Result<(String, String), Thrown> {
    let most = i64::try_from(MAX_BYTES).unwrap_or(i64::MAX);
    let options = Map::from_iter([("max_size".into(), Dynamic::from(most))]);
    let reply = client.call(at, client.spec(&Method::GET, url, None, Some(&options)))?;
    if let Some(refusal) = answer::refusal(&reply, at) {
        return Err(failure::again(refusal, at));
    }
    let text = reply.text().map_err(|error| failure::thrown(&error, at))?;
    Ok((text, reply.url()))
}

/// Reads TOML and JSON where the name says so, JSON where it looks like it, and else YAML. What is wrong is told without the
/// text, which may be of any file.
fn parse(name: &str, text: &str) -> Result<Value, String> {
    let text = text.trim_start_matches('\u{feff}');
    let ending = |end: &str| name.to_ascii_lowercase().ends_with(end);
    if ending(".toml") {
        return toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count());
            format!("`{name}` is not TOML: {} (line {})", error.message(), line.max(1))
        });
    }
    if ending(".json") || text.trim_start().starts_with(['{', '[']) {
        return serde_json::from_str(text).map_err(|error| format!("`{name}` is not JSON: {error}"));
    }
    yaml::from_yaml(text).map_err(|message| format!("`{name}` is not YAML: {message}"))
}
