//! Where the `Link` headers of a response lead (RFC 8288), by relation. Pure: follows none of them.

use rhai::Map;
use url::Url;

/// The target of the first link of each relation, absolute. What is no link is passed over.
pub(super) fn by_relation<'a>(values: impl Iterator<Item = &'a str>, base: &str) -> Map {
    let mut links = Map::new();
    let Ok(base) = Url::parse(base) else { return links };
    for mut rest in values {
        while let Some((target, after)) = rest.split_once('<').and_then(|(_, rest)| rest.split_once('>')) {
            let (params, others) = split(after, ',');
            rest = others;
            // With an anchor, it is a link of something else.
            let (Ok(target), Some(relations), None) =
                (base.join(target.trim()), param(params, "rel"), param(params, "anchor"))
            else {
                continue;
            };
            for relation in relations.split_ascii_whitespace() {
                links.entry(relation.to_ascii_lowercase().into()).or_insert_with(|| target.to_string().into());
            }
        }
    }
    links
}

/// The first parameter of that name, without its quotes.
fn param<'a>(mut params: &'a str, name: &str) -> Option<&'a str> {
    while !params.is_empty() {
        let (first, rest) = split(params, ';');
        params = rest;
        if let Some((_, value)) = first.split_once('=').filter(|(own, _)| own.trim().eq_ignore_ascii_case(name)) {
            return Some(value.trim().trim_matches('"'));
        }
    }
    None
}

/// What stands before and after the first such mark that is not within quotes.
fn split(text: &str, mark: char) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    let end = text.find(|letter| {
        if !std::mem::take(&mut escaped) {
            match letter {
                '\\' => escaped = quoted,
                '"' => quoted = !quoted,
                _ => return letter == mark && !quoted,
            }
        }
        false
    });
    end.map_or((text, ""), |end| (&text[..end], &text[end + mark.len_utf8()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(values: &[&str]) -> Vec<String> {
        let map = by_relation(values.iter().copied(), "https://a.test/list/items?page=1");
        map.iter().map(|(relation, target)| format!("{relation} {target}")).collect()
    }

    #[test]
    fn each_relation_has_its_first_target() {
        let both = r#"<https://a.test/x?a=1,2;b>; rel="next", </last>; title="a, \"b\"; rel=no"; REL=last"#;
        assert_eq!(links(&[both]), ["last https://a.test/last", "next https://a.test/x?a=1,2;b"]);
        assert_eq!(
            links(&["<?page=2>;rel=\"next start\"", "<c>; rel=next; rel=x"]),
            ["next https://a.test/list/items?page=2", "start https://a.test/list/items?page=2"]
        );
    }

    #[test]
    fn what_is_no_link_of_the_response_is_passed_over() {
        assert!(links(&["", "next", "<a", "<a>", "<a>; rel", "<a>; rel=\"\"", "<http://[>; rel=next"]).is_empty());
        assert!(links(&["<a>; rel=next; anchor=\"#b\""]).is_empty());
        assert_eq!(
            links(&["<http://[>; rel=next, <b>; rel=prev; x=\"open, <c>; rel=next"]),
            ["prev https://a.test/list/b"]
        );
    }
}
