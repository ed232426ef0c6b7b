//! What a value may be: the rules that an API's description has for a parameter or a field, in the words of JSON Schema.
//! Reads no documents and sends nothing.

use regex_lite::{Regex, RegexBuilder};
use rhai::{Array, Dynamic, ImmutableString};
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Map, Value};

use super::value;

/// The most bytes that a compiled pattern may take.
const MAX_PATTERN: usize = 64 << 10;
/// The choices that a message names.
const SHOWN: usize = 10;

/// The rules for one value. Without any, it may be anything.
#[derive(Default)]
pub(super) struct Rule {
    kinds: Vec<Kind>,
    choices: Vec<Value>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    pattern: Option<Regex>,
    /// For each item of an array.
    pub(super) items: Option<Box<Rule>>,
    pub(super) default: Option<Dynamic>,
}

impl Rule {
    /// Reads `type`, `nullable`, `enum`, `const`, `minimum`, `maximum`, `pattern` and `default`; `items` are the caller's.
    /// A pattern of a dialect that is not ours is left out.
    pub(super) fn of(schema: &Map<String, Value>) -> Result<Self, String> {
        let mut kinds = match schema.get("type") {
            None => Vec::new(),
            Some(Value::Array(names)) => names.iter().map(Kind::named).collect::<Result<_, _>>()?,
            Some(name) => vec![Kind::named(name)?],
        };
        if !kinds.is_empty() && schema.get("nullable") == Some(&Value::Bool(true)) {
            kinds.push(Kind::Null);
        }
        let choices = match (schema.get("enum"), schema.get("const")) {
            (Some(Value::Array(choices)), _) => choices.clone(),
            (Some(_), _) => return Err("`enum` is an array".into()),
            (None, only) => only.cloned().into_iter().collect(),
        };
        let number = |name: &str| match schema.get(name) {
            None => Ok(None),
            Some(given) => given.as_f64().map(Some).ok_or_else(|| format!("`{name}` is a number")),
        };
        Ok(Self {
            kinds,
            choices,
            minimum: number("minimum")?,
            maximum: number("maximum")?,
            pattern: schema.get("pattern").and_then(Value::as_str).and_then(compiled),
            items: None,
            default: schema.get("default").cloned().map(value::from_value).transpose()?,
        })
    }

    /// Any string.
    pub(super) fn text() -> Self {
        Self { kinds: vec![Kind::Text], ..Self::default() }
    }

    pub(super) fn has_pattern(&self) -> bool {
        self.pattern.is_some()
    }

    /// Whether a map can be such a value at all.
    pub(super) fn takes_maps(&self) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&Kind::Object)
    }

    /// What is wrong with a value, as the end of a sentence that begins with its name.
    pub(super) fn check(&self, given: &Dynamic) -> Result<(), String> {
        let kind = Kind::of(given);
        if !self.kinds.is_empty() && !self.kinds.iter().any(|own| own.takes(kind)) {
            let names: Vec<_> = self.kinds.iter().map(|kind| kind.name()).collect();
            let name = if kind == Kind::Other { given.type_name() } else { kind.name() };
            return Err(format!("is {}, not {name}", names.join(" or ")));
        }
        if kind == Kind::Null && self.kinds.contains(&Kind::Null) {
            return Ok(());
        }
        self.check_size(given)?;
        if let (Some(pattern), Some(text)) = (&self.pattern, given.read_lock::<ImmutableString>())
            && !pattern.is_match(&text)
        {
            return Err(format!(
                "does not match the pattern `{}`: `{}`",
                shortened(pattern.as_str()),
                shortened(&text)
            ));
        }
        if !self.choices.is_empty() {
            let own = value::to_value(given)?;
            if !self.choices.iter().any(|choice| is_same(choice, &own)) {
                return Err(format!("is one of {}, not {}", self.list_choices(), shown(&own)));
            }
        }
        if let (Some(rule), Some(items)) = (&self.items, given.read_lock::<Array>()) {
            for (index, item) in items.iter().enumerate() {
                rule.check(item).map_err(|wrong| format!("has an item, number {}, that {wrong}", index + 1))?;
            }
        }
        Ok(())
    }

    fn check_size(&self, given: &Dynamic) -> Result<(), String> {
        let number = given.as_float().ok().or_else(|| given.as_int().ok().map(|int| int as f64));
        let Some(number) = number.or_else(|| given.as_decimal().ok().and_then(|decimal| decimal.to_f64())) else {
            return Ok(());
        };
        match (self.minimum, self.maximum) {
            (Some(least), _) if number < least => Err(format!("is at least {least}, not {given}")),
            (_, Some(most)) if number > most => Err(format!("is at most {most}, not {given}")),
            _ => Ok(()),
        }
    }

    fn list_choices(&self) -> String {
        let mut names: Vec<_> = self.choices.iter().take(SHOWN).map(shown).collect();
        if self.choices.len() > SHOWN {
            names.push(format!("{} more", self.choices.len() - SHOWN));
        }
        names.join(", ")
    }

    /// The rules in words.
    pub(super) fn describe(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        let kinds: Vec<_> = self.kinds.iter().map(|kind| kind.word()).collect();
        words.extend((!kinds.is_empty()).then(|| kinds.join(" or ")));
        words.extend(self.minimum.map(|least| format!("at least {least}")));
        words.extend(self.maximum.map(|most| format!("at most {most}")));
        words.extend((!self.choices.is_empty()).then(|| format!("one of {}", self.list_choices())));
        words.extend(self.default.as_ref().map(|default| format!("default {}", shortened(&default.to_string()))));
        words.join(", ")
    }
}

/// The types of JSON Schema, and what scripts have beyond them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Bool,
    Integer,
    Number,
    Text,
    Array,
    Object,
    Other,
}

impl Kind {
    fn named(name: &Value) -> Result<Self, String> {
        Ok(match name.as_str() {
            Some("null") => Self::Null,
            Some("boolean") => Self::Bool,
            Some("integer") => Self::Integer,
            Some("number") => Self::Number,
            Some("string") => Self::Text,
            Some("array") => Self::Array,
            Some("object") => Self::Object,
            _ => {
                let names = "string, integer, number, boolean, array, object, null";
                return Err(format!("there is no type {}; there are {names}", shown(name)));
            }
        })
    }

    fn of(given: &Dynamic) -> Self {
        if given.is_unit() {
            Self::Null
        } else if given.is_bool() {
            Self::Bool
        } else if given.is_int() || given.as_decimal().is_ok_and(|decimal| decimal.is_integer()) {
            Self::Integer
        } else if given.is_float() || given.is_decimal() {
            Self::Number
        } else if given.is_string() || given.is_char() {
            Self::Text
        } else if given.is_array() {
            Self::Array
        } else if given.is_map() {
            Self::Object
        } else {
            Self::Other
        }
    }

    fn takes(self, given: Self) -> bool {
        self == given || (self == Self::Number && given == Self::Integer)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Null => "()",
            Self::Bool => "a bool",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Text => "a string",
            Self::Array => "an array",
            Self::Object => "a map",
            Self::Other => "something else",
        }
    }

    fn word(self) -> &'static str {
        self.name().trim_start_matches("an ").trim_start_matches("a ")
    }
}

fn compiled(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern).size_limit(MAX_PATTERN).build().ok()
}

fn is_same(choice: &Value, own: &Value) -> bool {
    choice == own || choice.as_f64().is_some_and(|choice| own.as_f64() == Some(choice))
}

/// A value in a message.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{}`", shortened(text)),
        other => shortened(&other.to_string()),
    }
}

/// A text that is not too long for a message.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The message for a name that is none of those.
pub(super) fn unknown<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    // The distance takes as many steps as both names have letters together, and more.
    let own: String = name.chars().take(60).collect();
    let short = names.clone().filter(|name| name.len() <= 60).take(1_000);
    let near = short.map(|other| (strsim::damerau_levenshtein(&own, other), other)).min();
    let name = shortened(name);
    match near {
        Some((steps, near)) if steps <= (own.len() / 3).clamp(1, 3) => {
            format!("there is no {what} `{name}`; did you mean `{near}`?")
        }
        _ => {
            let all: Vec<_> = names.take(2 * SHOWN).map(|name| format!("`{}`", shortened(name))).collect();
            let all = if all.is_empty() { "it has none".into() } else { format!("there are {}", all.join(", ")) };
            format!("there is no {what} `{name}`; {all}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(schema: &str) -> Rule {
        Rule::of(serde_json::from_str::<Value>(schema).unwrap().as_object().unwrap()).unwrap()
    }

    #[track_caller]
    fn wrong(schema: &str, given: impl Into<Dynamic>) -> String {
        rule(schema).check(&given.into()).unwrap_err()
    }

    #[test]
    fn a_value_is_of_the_type_and_within_the_bounds() {
        let schema = r#"{"type": "integer", "minimum": 1, "maximum": 5}"#;
        assert_eq!(rule(schema).check(&3.into()), Ok(()));
        assert_eq!(wrong(schema, "3"), "is an integer, not a string");
        assert_eq!(wrong(schema, 3.5), "is an integer, not a number");
        assert_eq!(wrong(schema, 0), "is at least 1, not 0");
        assert_eq!(wrong(schema, 6), "is at most 5, not 6");
        assert_eq!(rule(r#"{"type": "number"}"#).check(&3.into()), Ok(()));
        assert_eq!(wrong(r#"{"type": ["string", "null"]}"#, 1), "is a string or (), not an integer");
        assert_eq!(rule(r#"{"type": "string", "nullable": true, "enum": ["a"]}"#).check(&Dynamic::UNIT), Ok(()));
        assert_eq!(wrong(r#"{"type": "string"}"#, Dynamic::from_blob(vec![1])), "is a string, not blob");
        assert_eq!(rule("{}").check(&Dynamic::from_blob(vec![1])), Ok(()));
    }

    #[test]
    fn a_value_is_one_of_the_choices_and_matches_the_pattern() {
        assert_eq!(wrong(r#"{"enum": ["a", 2]}"#, "b"), "is one of `a`, 2, not `b`");
        assert_eq!(rule(r#"{"enum": ["a", 2]}"#).check(&2.0.into()), Ok(()));
        assert_eq!(wrong(r#"{"const": true}"#, false), "is one of true, not false");
        assert_eq!(wrong(r#"{"pattern": "^a+$"}"#, "b"), "does not match the pattern `^a+$`: `b`");
        assert!(!rule(r#"{"pattern": "(?=a)b"}"#).has_pattern(), "no dialect of ours");
        assert!(!rule(r#"{"pattern": "((((a{99}){99}){99}){99})"}"#).has_pattern(), "too large");
        let many: Vec<_> = (0..1000).collect();
        let message = wrong(&format!("{{\"enum\": {many:?}}}"), -1);
        assert!(message.ends_with("9, 990 more, not -1"), "{message}");
    }

    #[test]
    fn items_are_checked_each() {
        let mut list = rule(r#"{"type": "array"}"#);
        list.items = Some(Box::new(rule(r#"{"type": "string"}"#)));
        let given: Array = vec!["a".into(), 1.into()];
        assert_eq!(list.check(&given.into()).unwrap_err(), "has an item, number 2, that is a string, not an integer");
    }

    #[test]
    fn a_wrong_schema_says_what_is_wrong_with_it() {
        let wrong =
            |schema: &str| Rule::of(serde_json::from_str::<Value>(schema).unwrap().as_object().unwrap()).err().unwrap();
        assert!(wrong(r#"{"type": "int"}"#).starts_with("there is no type `int`; there are string, integer"));
        assert_eq!(wrong(r#"{"enum": 1}"#), "`enum` is an array");
        assert_eq!(wrong(r#"{"minimum": "1"}"#), "`minimum` is a number");
    }

    #[test]
    fn an_unknown_name_is_answered_with_a_near_one_or_all() {
        let names = ["id", "limit"];
        let message = |name: &str| unknown("parameter", name, names.iter().copied());
        assert_eq!(message("limt"), "there is no parameter `limt`; did you mean `limit`?");
        assert_eq!(message("color"), "there is no parameter `color`; there are `id`, `limit`");
        assert_eq!(unknown("parameter", "x", [].into_iter()), "there is no parameter `x`; it has none");
    }
}
