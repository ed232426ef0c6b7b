//! Which names usually stand for secrets. Compares names; sees no value.

/// Whether a header, a field or a parameter of this name usually carries a key. The name is lower case.
pub(crate) fn sounds_secret(name: &str) -> bool {
    const WORDS: [&str; 9] =
        ["auth", "authorization", "authentication", "key", "signature", "sig", "session", "credential", "credentials"];
    const PARTS: [&str; 5] = ["token", "secret", "password", "passwd", "apikey"];
    // It protects a request from being done twice, and nothing from being seen.
    name != "idempotency-key"
        && (name.split(['-', '_']).any(|word| WORDS.contains(&word)) || PARTS.iter().any(|part| name.contains(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_other_words() {
        for name in ["x-api-key", "api_key", "authorization", "x-amz-signature", "sig", "client_secret", "accesstoken"]
        {
            assert!(sounds_secret(name), "{name}");
        }
        for name in ["accept", "author", "x-author", "idempotency-key", "monkey", "keyboard", "design", "page"] {
            assert!(!sounds_secret(name), "{name}");
        }
    }
}
