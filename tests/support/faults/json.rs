//! Just enough JSON to describe a request. Writes only, parses nothing.

use super::Request;

/// A JSON string; bytes that are not UTF-8 become U+FFFD.
pub(super) fn quote(bytes: &[u8]) -> String {
    let mut text = String::from('"');
    for letter in String::from_utf8_lossy(bytes).chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            '\u{0}'..='\u{1f}' => text.push_str(&format!("\\u{:04x}", u32::from(letter))),
            _ => text.push(letter),
        }
    }
    text.push('"');
    text
}

/// An object of values that are JSON already.
pub(super) fn object<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let fields: Vec<_> =
        fields.into_iter().map(|(name, value)| format!("{}:{value}", quote(name.as_bytes()))).collect();
    format!("{{{}}}", fields.join(","))
}

/// Lower-case names to values; repeats are joined as RFC 9110, 5.3 has it.
pub(super) fn headers(request: &Request) -> String {
    let grouped = group(request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())));
    object(grouped.iter().map(|(name, values)| (name.as_str(), quote(&values.join(&b", "[..])))))
}

/// Names to a string, or to an array of strings where a name is repeated.
pub(super) fn query(request: &Request) -> String {
    let grouped = group(request.query().into_iter().map(|(name, value)| (name, value.into_bytes())));
    object(grouped.iter().map(|(name, values)| {
        let quoted: Vec<_> = values.iter().map(|value| quote(value)).collect();
        let value = if quoted.len() == 1 { quoted[0].clone() } else { format!("[{}]", quoted.join(",")) };
        (name.as_str(), value)
    }))
}

/// Values by name, names in the order of their first appearance.
fn group(pairs: impl Iterator<Item = (String, Vec<u8>)>) -> Vec<(String, Vec<Vec<u8>>)> {
    let mut groups: Vec<(String, Vec<Vec<u8>>)> = Vec::new();
    for (name, value) in pairs {
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => groups.push((name, vec![value])),
        }
    }
    groups
}
