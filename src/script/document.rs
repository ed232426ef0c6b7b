//! An OpenAPI document: its parts, and the references between them. What is read of it is counted, so that a small document
//! cannot describe something endless. Makes no operations.

use std::cell::Cell;
use std::sync::LazyLock;

use percent_encoding::percent_decode_str;
use serde_json::{Map as Object, Value};

use super::rules::{Rule, shortened};

/// References that lead to references.
const MAX_HOPS: usize = 32;
/// Schemas within schemas that are put together.
pub(super) const MAX_DEPTH: usize = 32;
/// What may be read, with what is read again for each reference to it: about as many bytes.
const MAX_READ: usize = 64 << 20;
/// What it costs to read anything, and to compile a pattern.
const COST: usize = 64;
const PATTERN_COST: usize = 4096;
/// The most characters of a description that are kept.
const MAX_WORDS: usize = 300;

static ANYTHING: LazyLock<Object<String, Value>> = LazyLock::new(Object::new);

pub(super) struct Document<'a> {
    pub(super) root: &'a Object<String, Value>,
    whole: &'a Value,
    left: Cell<usize>,
}

impl<'a> Document<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self, String> {
        let root = value.as_object().ok_or("the document is not a map")?;
        match root.get("openapi").and_then(Value::as_str) {
            Some(version) if version.starts_with("3.0") || version.starts_with("3.1") => {}
            Some(version) => return Err(format!("OpenAPI {} is not known; 3.0 and 3.1 are", shortened(version))),
            None if root.contains_key("swagger") => {
                return Err("the document is of Swagger 2, which is not known; OpenAPI 3.0 and 3.1 are".into());
            }
            None => return Err("the document has no `openapi`, the version of OpenAPI".into()),
        }
        Ok(Self { root, whole: value, left: Cell::new(MAX_READ) })
    }

    /// Counts things that are read.
    pub(super) fn count(&self, things: usize) -> Result<(), String> {
        self.spend(things.saturating_mul(COST))
    }

    fn spend(&self, cost: usize) -> Result<(), String> {
        let left = self.left.get().checked_sub(cost);
        self.left.set(left.ok_or("the document describes more than can be read")?);
        Ok(())
    }

    /// The map that a value is, or refers to.
    pub(super) fn resolve(&self, mut value: &'a Value) -> Result<&'a Object<String, Value>, String> {
        let mut reference = "";
        for _ in 0..MAX_HOPS {
            self.count(1)?;
            let map = match value {
                Value::Object(map) => map,
                // A schema may be no more than that (JSON Schema 2020-12, 4.3.2).
                Value::Bool(_) => return Ok(&ANYTHING),
                _ => return Err("there is something that is not a map where a map is due".into()),
            };
            let Some(text) = map.get("$ref") else { return Ok(map) };
            reference = text.as_str().ok_or("a `$ref` is not a string")?;
            value = self.find(reference)?;
        }
        Err(format!("the reference `{}` leads round in a circle", shortened(reference)))
    }

    fn find(&self, reference: &str) -> Result<&'a Value, String> {
        let wrong = |what: &str| format!("the reference `{}` {what}", shortened(reference));
        let pointer =
            reference.strip_prefix('#').ok_or_else(|| wrong("leads to another document, which is not read"))?;
        let pointer = percent_decode_str(pointer).decode_utf8_lossy();
        self.whole.pointer(&pointer).ok_or_else(|| wrong("leads nowhere"))
    }

    /// The rules of a schema, and of the items of an array one level down.
    pub(super) fn rule(&self, schema: &'a Value) -> Result<Rule, String> {
        let schema = self.resolve(schema)?;
        let mut rule = self.plain_rule(schema)?;
        if let Some(items) = schema.get("items") {
            rule.items = Some(Box::new(self.plain_rule(self.resolve(items)?)?));
        }
        Ok(rule)
    }

    fn plain_rule(&self, schema: &Object<String, Value>) -> Result<Rule, String> {
        for name in ["enum", "const", "default"] {
            if let Some(copied) = schema.get(name) {
                self.spend(copied.to_string().len() * 4)?;
            }
        }
        if schema.contains_key("pattern") {
            self.spend(PATTERN_COST)?;
        }
        Rule::of(schema)
    }

    /// A name that is kept.
    pub(super) fn name(&self, name: &str) -> Result<String, String> {
        self.spend(COST + name.len())?;
        Ok(name.to_owned())
    }

    /// The first of the texts that a thing is described by, in one line.
    pub(super) fn words(&self, map: &Object<String, Value>) -> Result<String, String> {
        let texts = ["summary", "description"].into_iter().filter_map(|name| map.get(name)?.as_str());
        let text = texts.map(str::trim).find(|text| !text.is_empty()).unwrap_or_default();
        let text: String = text.lines().next().unwrap_or_default().chars().take(MAX_WORDS).collect();
        self.spend(text.len())?;
        Ok(text)
    }
}
