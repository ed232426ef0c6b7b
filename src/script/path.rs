//! Templates of paths, as `/pets/{id}`, and values in URLs. A value never changes where a path leads. Sends nothing.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands for itself anywhere in a URL (RFC 3986, 2.3); all else of a value is encoded.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What a template itself may not hold as it is (RFC 3986, 3.3).
const LITERAL: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'|');

/// The most bytes of a template.
const MAX_LENGTH: usize = 2_000;

/// A path with names for values to come.
pub(super) struct Template {
    text: String,
    parts: Vec<Part>,
}

enum Part {
    Literal(String),
    Name(String),
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("the path `{}` {what}", super::rules::shortened(text));
        if !text.starts_with('/') {
            return Err(wrong("does not begin with a slash"));
        }
        if text.len() > MAX_LENGTH {
            return Err(wrong("is too long"));
        }
        if text.contains(['?', '#']) {
            return Err(wrong("has a query or a fragment; parameters of a query are given apart"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or_else(|| wrong("has a brace that is not closed"))?;
            if name.is_empty() || name.contains(['{', '/']) || literal.contains('}') {
                return Err(wrong("has braces that do not hold a name"));
            }
            if parts.iter().any(|part| matches!(part, Part::Name(other) if other == name)) {
                return Err(wrong(&format!("names `{name}` twice")));
            }
            parts.push(Part::Literal(utf8_percent_encode(literal, LITERAL).to_string()));
            parts.push(Part::Name(name.to_owned()));
            rest = after;
        }
        if rest.contains('}') {
            return Err(wrong("has a brace that is not opened"));
        }
        parts.push(Part::Literal(utf8_percent_encode(rest, LITERAL).to_string()));
        let template = Self { text: text.to_owned(), parts };
        template.fill(|_| "x")?;
        Ok(template)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// The path with values, which are encoded already. One whose segments would be read as "here" or "up" is refused:
    /// whoever normalises it, also on the way, would ask for something else.
    pub(super) fn fill<'a>(&self, value: impl Fn(&str) -> &'a str) -> Result<String, String> {
        let mut path = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => path.push_str(text),
                Part::Name(name) => path.push_str(value(name)),
            }
        }
        let is_dots = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
        if path.split('/').any(is_dots) {
            return Err(format!("the path `{path}` has a segment of dots, which leads elsewhere"));
        }
        Ok(path)
    }
}

/// A value, or a name, for a path or a query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, VALUE).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_within_their_segment() {
        let template = Template::parse("/pets/{id}/photos of {day}").unwrap();
        assert_eq!(template.names().collect::<Vec<_>>(), ["id", "day"]);
        let fill = |id: &str| template.fill(|name| if name == "id" { encoded(id).leak() } else { "1%2F2" });
        assert_eq!(fill("a/b?c#d%2f\\ü").unwrap(), "/pets/a%2Fb%3Fc%23d%252f%5C%C3%BC/photos%20of%201%2F2");
        assert_eq!(fill("../x").unwrap(), "/pets/..%2Fx/photos%20of%201%2F2");
        for up in [".", ".."] {
            assert!(fill(up).unwrap_err().contains("leads elsewhere"));
        }
        let pair = Template::parse("/{a}{b}").unwrap();
        assert!(pair.fill(|_| ".").is_err());
    }

    #[test]
    fn wrong_templates_are_refused() {
        for (text, why) in [
            ("pets", "does not begin with a slash"),
            ("/pets?x={x}", "has a query"),
            ("/pets/{id", "not closed"),
            ("/pets/id}", "not opened"),
            ("/pets/}{id}", "do not hold a name"),
            ("/pets/{}", "do not hold a name"),
            ("/{a}/{a}", "names `a` twice"),
            ("/a/../b", "leads elsewhere"),
            ("/a/%2E%2e/b", "leads elsewhere"),
            ("/a/.{x}/..", "leads elsewhere"),
        ] {
            let error = Template::parse(text).err().unwrap();
            assert!(error.contains(why), "{text}: {error}");
        }
        let long: String = (0..1_000).map(|n| format!("/{{n{n}}}")).collect();
        assert!(Template::parse(&long).err().unwrap().ends_with("is too long"));
    }
}
