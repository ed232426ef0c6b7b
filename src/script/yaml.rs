//! YAML becomes the values of JSON, with the types of its core schema (YAML 1.2.2, 10.3). Neither depth nor aliases make
//! something endless of a small text. No merge keys, and no types of tags but strings.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

/// Nesting beyond this is refused, as `serde_json` does.
const MAX_DEPTH: usize = 128;
/// About as many bytes are made of a text, with what its aliases repeat.
const MAX_SIZE: usize = 128 << 20;
/// What a value costs beside its text.
const COST: usize = 32;

/// Parses one document.
///
/// # Errors
///
/// What is wrong with the text, with its line, and without the text.
pub(super) fn from_yaml(text: &str) -> Result<Value, String> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| format!("{} (line {})", error.info(), error.marker().line()))?;
        builder.take(event).map_err(|message| format!("{message} (line {})", span.start.line()))?;
    }
    builder.root.ok_or_else(|| "there is nothing in it".into())
}

#[derive(Default)]
struct Builder {
    /// The collections that are open, the innermost last.
    open: Vec<Open>,
    /// What aliases may repeat, with its size.
    anchors: HashMap<usize, (Value, usize)>,
    root: Option<Value>,
    size: usize,
}

struct Open {
    anchor: usize,
    /// The size of all before it.
    before: usize,
    items: Items,
}

enum Items {
    List(Vec<Value>),
    /// The entries, and a key whose value is to come.
    Map(Map<String, Value>, Option<String>),
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => Err("there is more than one document".into()),
            Event::SequenceStart(anchor, _) => self.enter(anchor, Items::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.enter(anchor, Items::Map(Map::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Scalar(text, style, anchor, tag) => {
                let before = self.size;
                self.grow(COST + text.len())?;
                let plain = style == ScalarStyle::Plain && tag.is_none_or(|tag| tag.suffix != "str");
                if self.awaits_key() {
                    return self.set_key(text.into_owned());
                }
                let value = if plain { plain_value(&text) } else { Value::String(text.into_owned()) };
                self.add(value, anchor, before)
            }
            Event::Alias(anchor) => {
                let (value, size) = self.anchors.get(&anchor).cloned().ok_or("an alias is of nothing before it")?;
                let before = self.size;
                self.grow(size)?;
                match value {
                    Value::String(text) if self.awaits_key() => self.set_key(text),
                    value => self.add(value, 0, before),
                }
            }
            _ => Ok(()),
        }
    }

    fn grow(&mut self, size: usize) -> Result<(), String> {
        self.size += size;
        if self.size > MAX_SIZE { Err("its aliases make too much of it".into()) } else { Ok(()) }
    }

    fn enter(&mut self, anchor: usize, items: Items) -> Result<(), String> {
        if self.awaits_key() {
            return Err("a key is a list or a map".into());
        }
        if self.open.len() == MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
        }
        let before = self.size;
        self.grow(COST)?;
        self.open.push(Open { anchor, before, items });
        Ok(())
    }

    fn leave(&mut self) -> Result<(), String> {
        let Some(Open { anchor, before, items }) = self.open.pop() else { return Ok(()) };
        let value = match items {
            Items::List(items) => items.into(),
            Items::Map(entries, _) => entries.into(),
        };
        self.add(value, anchor, before)
    }

    fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { items: Items::Map(_, None), .. }))
    }

    fn set_key(&mut self, text: String) -> Result<(), String> {
        if let Some(Open { items: Items::Map(entries, key), .. }) = self.open.last_mut() {
            if entries.contains_key(&text) {
                return Err("a key is there twice".into());
            }
            *key = Some(text);
        }
        Ok(())
    }

    /// Puts a value where it belongs. Its size is what was added since `before`.
    fn add(&mut self, value: Value, anchor: usize, before: usize) -> Result<(), String> {
        if anchor > 0 {
            let size = self.size - before;
            self.grow(size)?;
            self.anchors.insert(anchor, (value.clone(), size));
        }
        match self.open.last_mut().map(|open| &mut open.items) {
            None => self.root = Some(value),
            Some(Items::List(items)) => items.push(value),
            Some(Items::Map(entries, key)) => {
                let key = key.take().ok_or("a key is a list or a map")?;
                entries.insert(key, value);
            }
        }
        Ok(())
    }
}

/// What a text without quotes stands for.
fn plain_value(text: &str) -> Value {
    let radix = |prefix: &str, radix: u32| i64::from_str_radix(text.strip_prefix(prefix)?, radix).ok();
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) => text.into(),
        _ => {
            let int = text.parse::<i64>().ok().or_else(|| radix("0x", 16)).or_else(|| radix("0o", 8));
            // `inf` and `nan` have no form in JSON.
            let float =
                || text.parse().ok().filter(|_| text.contains(|c: char| c.is_ascii_digit())).and_then(Number::from_f64);
            let number = int.map(Number::from).or_else(|| text.parse::<u64>().ok().map(Number::from)).or_else(float);
            number.map_or_else(|| text.into(), Value::Number)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_becomes_json() {
        let text = r#"# A comment
openapi: 3.0.3
info: {title: "A: b", version: 1.5, when: 2024-01-02}
list:
  - 1
  - -2.5e3
  - 0x1F
  - 18446744073709551615
  - "1"
  - !!str 7
  - yes
  - ~
  - true
  - .inf
200: ok
words: |
  two
  lines
folded: >-
  one
  line
same: &name [a, b]
again: *name
? key
: value
"#;
        let expected = json!({
            "openapi": "3.0.3",
            "info": {"title": "A: b", "version": 1.5, "when": "2024-01-02"},
            "list": [1, -2500.0, 31, 18446744073709551615_u64, "1", "7", "yes", null, true, ".inf"],
            "200": "ok",
            "words": "two\nlines\n",
            "folded": "one line",
            "same": ["a", "b"],
            "again": ["a", "b"],
            "key": "value",
        });
        assert_eq!(from_yaml(text).unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_without_the_text() {
        for (text, expected) in [
            ("", "there is nothing in it"),
            ("a: 1\na: 2", "a key is there twice (line 2)"),
            ("[1]: 2", "a key is a list or a map (line 1)"),
            ("a: 1\n---\nb: 2", "there is more than one document (line 2)"),
        ] {
            assert_eq!(from_yaml(text).unwrap_err(), expected);
        }
        for text in ["a: *c4nary", "a: [c4nary", "c4nary: \"", "c4nary: a: b", "\tc4nary: 1\n - 2"] {
            let error = from_yaml(text).unwrap_err();
            assert!(error.contains("(line ") && !error.contains("c4nary"), "{error}");
        }
    }

    #[test]
    fn a_small_text_makes_nothing_endless() {
        let mut laughs = String::from("l0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n");
        for n in 1..12 {
            let before = vec![format!("*a{}", n - 1); 10].join(", ");
            laughs.push_str(&format!("l{n}: &a{n} [{before}]\n"));
        }
        assert!(from_yaml(&laughs).unwrap_err().starts_with("its aliases make too much of it"));
        for text in ["[".repeat(10_000), "- ".repeat(10_000), "a: {".repeat(200)] {
            assert!(from_yaml(&text).is_err());
        }
        let deep: String = (0..10_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
        assert!(from_yaml(&deep).unwrap_err().contains("nested deeper than 128"));
    }
}
