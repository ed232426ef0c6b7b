//! Tokens and quoted strings of header fields (RFC 9110 5.6). Pure; knows no header.

/// Takes pieces off the front of a field's value. A piece that is not there is `None` and takes nothing, except for a
/// quoted string that does not end.
pub(super) struct Lexer<'a>(&'a [u8]);

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// Skips spaces and tabs, then tells whether nothing is left.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.skip_spaces();
        self.0.is_empty()
    }

    /// One byte of punctuation, spaces before and after it skipped.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        self.skip_spaces();
        let Some(rest) = self.0.strip_prefix(&[byte]) else { return false };
        self.0 = rest;
        self.skip_spaces();
        true
    }

    pub(super) fn token(&mut self) -> Option<&'a str> {
        let length = self.0.iter().take_while(|byte| is_token(**byte)).count();
        let (token, rest) = self.0.split_at(length);
        self.0 = rest;
        // Tokens are ASCII.
        str::from_utf8(token).ok().filter(|token| !token.is_empty())
    }

    /// What stands in quotes, the backslashes of escapes removed. `None` if it is not UTF-8, too.
    pub(super) fn quoted(&mut self) -> Option<String> {
        let mut rest = self.0.strip_prefix(b"\"")?.iter();
        let mut text = Vec::new();
        loop {
            match rest.next()? {
                b'"' => break,
                b'\\' => text.push(*rest.next()?),
                byte => text.push(*byte),
            }
        }
        self.0 = rest.as_slice();
        String::from_utf8(text).ok()
    }

    /// A token or a quoted string.
    pub(super) fn value(&mut self) -> Option<String> {
        if self.0.first() == Some(&b'"') { self.quoted() } else { self.token().map(str::to_owned) }
    }

    fn skip_spaces(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Digits only; a number that is too large becomes the largest.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The members of a list (RFC 9110 5.6.1): split at commas that are not in quotes. Empty ones are left out.
pub(super) fn members(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let split = text.split(move |byte| {
        let was_escaped = escaped;
        escaped = quoted && *byte == b'\\' && !was_escaped;
        quoted ^= *byte == b'"' && !was_escaped;
        *byte == b',' && !quoted
    });
    split.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_do_not_split() {
        let split = |text: &'static str| members(text.as_bytes()).map(<[u8]>::len).collect::<Vec<_>>();
        assert_eq!(split("ab, c,, ,d"), [2, 1, 1]);
        assert_eq!(split(r#"a="b,c",d"#), [7, 1]);
        assert_eq!(split(r#"a="b\",c",d"#), [9, 1]);
        assert_eq!(split(r#"a="b\\",c"#), [7, 1]);
        assert_eq!(split(r#"a="b,c"#), [6]);
    }

    #[test]
    fn quotes_hold_escapes() {
        assert_eq!(Lexer::new(br#""a\"b\\c""#).quoted().as_deref(), Some(r#"a"b\c"#));
        assert_eq!(Lexer::new(br#""a"#).quoted(), None);
        assert_eq!(Lexer::new(br#""a\"#).quoted(), None);
        assert_eq!(Lexer::new(b"\"\xFF\"").quoted(), None);
        assert_eq!(seconds("0010"), Some(10));
        assert_eq!(seconds("99999999999999999999999"), Some(u64::MAX));
        assert_eq!(seconds("+1"), None);
        assert_eq!(seconds(""), None);
    }
}
