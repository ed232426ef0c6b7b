//! Which recorded request stands for a live one, and what differs if none does. Pure.

use std::ops::BitOr;
use std::sync::Arc;

use http::Uri;
use serde_json::Value;

use super::super::redact::boundary;
use super::entry::{Content, RecordedRequest};

/// What must be the same for a recorded exchange to answer a request. Parts are joined with `|`.
///
/// # Examples
///
/// ```
/// use marmot::cassette::{Cassette, Match};
///
/// // The server's port differs from run to run.
/// let cassette = Cassette::replay("api.jsonl").match_on(Match::METHOD | Match::PATH | Match::QUERY);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match(u8);

impl Match {
    /// The method.
    pub const METHOD: Self = Self(1);
    /// Scheme, host and port.
    pub const ORIGIN: Self = Self(2);
    /// The path.
    pub const PATH: Self = Self(4);
    /// The query, in any order of its parameters.
    pub const QUERY: Self = Self(8);
    /// Origin, path and query.
    pub const URL: Self = Self(2 | 4 | 8);
    /// The body. JSON may differ in the order of its keys and in blanks, `multipart` in its boundary.
    pub const BODY: Self = Self(16);
    /// All of them; the default.
    pub const ALL: Self = Self(1 | 2 | 4 | 8 | 16);

    fn has(self, part: Self) -> bool {
        self.0 & part.0 != 0
    }
}

impl BitOr for Match {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A caller's own rule: the live request and a recorded one.
type Rule = Arc<dyn Fn(&RecordedRequest, &RecordedRequest) -> bool + Send + Sync>;

#[derive(Clone)]
pub(super) enum Matching {
    Parts(Match),
    Rule(Rule),
}

impl Matching {
    /// Whether the request's body is looked at.
    pub(super) fn needs_body(&self) -> bool {
        match self {
            Self::Parts(parts) => parts.has(Match::BODY),
            Self::Rule(_) => true,
        }
    }

    pub(super) fn matches(&self, live: &RecordedRequest, recorded: &RecordedRequest) -> bool {
        match self {
            Self::Parts(parts) => differences(live, recorded, *parts).is_empty(),
            Self::Rule(rule) => rule(live, recorded),
        }
    }

    /// What keeps the two apart, the most telling first.
    pub(super) fn differences(&self, live: &RecordedRequest, recorded: &RecordedRequest) -> Vec<Difference> {
        match self {
            Self::Parts(parts) => differences(live, recorded, *parts),
            Self::Rule(_) => differences(live, recorded, Match::ALL),
        }
    }
}

impl std::fmt::Debug for Matching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Parts(parts) => parts.fmt(f),
            Self::Rule(_) => f.write_str("a rule"),
        }
    }
}

/// One part that differs.
#[derive(Debug)]
pub(super) struct Difference {
    /// The larger, the less the two have to do with each other.
    pub(super) weight: u32,
    pub(super) words: String,
}

fn differences(live: &RecordedRequest, recorded: &RecordedRequest, parts: Match) -> Vec<Difference> {
    let mut all = Vec::new();
    let mut differ = |part: Match, weight: u32, same: bool, words: &dyn Fn() -> String| {
        if parts.has(part) && !same {
            all.push(Difference { weight, words: words() });
        }
    };
    let both = |name: &str, live: &str, recorded: &str| {
        format!("the {name} is `{}`, recorded is `{}`", short(live), short(recorded))
    };
    differ(Match::METHOD, 4, live.method == recorded.method, &|| both("method", &live.method, &recorded.method));
    match (live.url.parse::<Uri>(), recorded.url.parse::<Uri>()) {
        (Ok(a), Ok(b)) => {
            let origin = |uri: &Uri| {
                let authority = uri.authority().map(|authority| authority.as_str().to_ascii_lowercase());
                format!("{}://{}", uri.scheme_str().unwrap_or_default(), authority.unwrap_or_default())
            };
            let (here, there) = (origin(&a), origin(&b));
            differ(Match::ORIGIN, 8, here == there, &|| both("origin", &here, &there));
            differ(Match::PATH, 6, a.path() == b.path(), &|| both("path", a.path(), b.path()));
            let (here, there) = (query(&a), query(&b));
            differ(Match::QUERY, 2, here == there, &|| query_words(&here, &there));
        }
        _ => differ(Match::URL, 16, live.url == recorded.url, &|| both("URL", &live.url, &recorded.url)),
    }
    differ(Match::BODY, 1, same_body(live, recorded), &|| body_words(live, recorded));
    all
}

fn query(uri: &Uri) -> Vec<(String, String)> {
    let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let mut pairs: Vec<_> = pairs.into_owned().collect();
    pairs.sort();
    pairs
}

fn query_words(live: &[(String, String)], recorded: &[(String, String)]) -> String {
    let only = |these: &[(String, String)], those: &[(String, String)]| {
        let pairs = these.iter().filter(|pair| !those.contains(pair));
        short(&pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&"))
    };
    format!("the query has `{}`, recorded is `{}`", only(live, recorded), only(recorded, live))
}

fn same_body(live: &RecordedRequest, recorded: &RecordedRequest) -> bool {
    let (a, b) = (&live.body, &recorded.body);
    match (&a.bytes, &b.bytes) {
        (Some(x), Some(y)) if x == y => true,
        (Some(_), Some(_)) => {
            let json = |content: &Content| serde_json::from_slice::<Value>(content.bytes.as_deref()?).ok();
            let same_json = json(a).is_some_and(|here| Some(here) == json(b));
            same_json || multipart(live).is_some_and(|here| Some(here) == multipart(recorded))
        }
        (None, None) => a.hash == b.hash && a.length == b.length,
        _ => false,
    }
}

/// A multipart body with a boundary that is always the same.
fn multipart(request: &RecordedRequest) -> Option<Vec<u8>> {
    let kind = std::str::from_utf8(request.header("content-type")?).ok()?;
    let boundary = boundary(kind)?.as_bytes();
    let body = request.body()?;
    let mut out = Vec::with_capacity(body.len());
    let mut at = 0;
    while at < body.len() {
        if body[at..].starts_with(boundary) {
            out.push(b'-');
            at += boundary.len();
        } else {
            out.push(body[at]);
            at += 1;
        }
    }
    Some(out)
}

fn body_words(live: &RecordedRequest, recorded: &RecordedRequest) -> String {
    let (Some(here), Some(there)) = (live.body(), recorded.body()) else {
        return format!("the body has {} bytes, recorded are {}", live.body.length, recorded.body.length);
    };
    let place = here.iter().zip(there).take_while(|(a, b)| a == b).count();
    let from = |bytes: &[u8]| {
        let start = place.saturating_sub(10);
        short(&String::from_utf8_lossy(&bytes[start..bytes.len().min(start + 60)]))
    };
    format!("the body differs from byte {place} on: `{}`, recorded is `{}`", from(here), from(there))
}

/// So much of a text that it fits into a message.
fn short(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
