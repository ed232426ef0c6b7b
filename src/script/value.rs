//! Script values become JSON and back. What one side cannot hold is an error, never an approximation.

use std::fmt;
use std::sync::Arc;

use rhai::{Array, Blob, Dynamic, FnPtr, ImmutableString, Map};
use rust_decimal::Decimal;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::secret::{Kept, Secret};
use super::{run, steps};

/// Nesting beyond this is refused on the way out, as `serde_json` refuses it on the way in.
pub(super) const MAX_DEPTH: usize = 128;

/// Parses JSON text into a script value, as far as the memory budget of the script bears it.
///
/// # Errors
///
/// What is wrong with the text, with its line and column.
pub(crate) fn from_json(text: &[u8]) -> Result<Dynamic, String> {
    let mut parser = serde_json::Deserializer::from_slice(text);
    let value = ToDynamic.deserialize(&mut parser).map_err(|error| error.to_string())?;
    parser.end().map_err(|error| error.to_string())?;
    Ok(value)
}

/// A script value as JSON text, as far as the memory budget of the script bears it.
///
/// # Errors
///
/// Names the value that JSON has no form for.
pub(crate) fn to_json(value: &Dynamic) -> Result<String, String> {
    let mut writer = Writer { out: String::new(), secrets: None };
    writer.write(value, MAX_DEPTH)?;
    Ok(writer.out)
}

/// A script value as one of JSON.
///
/// # Errors
///
/// Those of [`to_json`].
pub(super) fn to_value(value: &Dynamic) -> Result<Value, String> {
    serde_json::from_str(&to_json(value)?).map_err(|error| error.to_string())
}

/// A value of JSON in a script.
pub(crate) fn from_value(value: Value) -> Result<Dynamic, String> {
    ToDynamic.deserialize(value).map_err(|error| error.to_string())
}

/// A script value as the JSON text of a request, where secrets stand as they are. Those that were found are added to the list.
pub(super) fn to_json_with_secrets(value: &Dynamic, secrets: &mut Vec<Arc<Kept>>) -> Result<String, String> {
    let mut writer = Writer { out: String::new(), secrets: Some(secrets) };
    writer.write(value, MAX_DEPTH)?;
    Ok(writer.out)
}

/// Whether a value is nested no deeper than so many levels.
pub(super) fn is_shallow(value: &Dynamic, levels: usize) -> bool {
    fn all<'a>(mut inner: impl Iterator<Item = &'a Dynamic>, levels: usize) -> bool {
        match levels.checked_sub(1) {
            Some(levels) => inner.all(|value| is_shallow(value, levels)),
            None => inner.next().is_none(),
        }
    }
    if let Some(items) = value.read_lock::<Array>() {
        return all(items.iter(), levels);
    }
    if let Some(entries) = value.read_lock::<Map>() {
        return all(entries.values(), levels);
    }
    if let Some(function) = value.read_lock::<FnPtr>() {
        return all(function.iter_curry(), levels);
    }
    true
}

/// Makes values while the text is read, so that there is no second form of it in memory.
struct ToDynamic;

impl<'de> DeserializeSeed<'de> for ToDynamic {
    type Value = Dynamic;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Dynamic, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ToDynamic {
    type Value = Dynamic;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Dynamic, E> {
        Ok(Dynamic::UNIT)
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Dynamic, E> {
        Ok(bool.into())
    }

    fn visit_i64<E>(self, int: i64) -> Result<Dynamic, E> {
        Ok(int.into())
    }

    fn visit_u64<E>(self, int: u64) -> Result<Dynamic, E> {
        // Beyond a signed integer of 64 bits; a float would round it.
        Ok(i64::try_from(int).map_or_else(|_| Decimal::from(int).into(), Dynamic::from))
    }

    fn visit_f64<E>(self, float: f64) -> Result<Dynamic, E> {
        Ok(float.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Dynamic, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Dynamic, A::Error> {
        let mut array = Array::new();
        while let Some(item) = items.next_element_seed(ToDynamic)? {
            array.push(item);
            check_room()?;
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Dynamic, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            map.insert(name.into(), entries.next_value_seed(ToDynamic)?);
            check_room()?;
        }
        Ok(map.into())
    }
}

fn check_room<E: de::Error>() -> Result<(), E> {
    if steps::room() > 0 {
        return Ok(());
    }
    let _ended = run::out_of_memory(0);
    Err(E::custom("there is no memory left for it"))
}

struct Writer<'a> {
    out: String,
    secrets: Option<&'a mut Vec<Arc<Kept>>>,
}

impl Writer<'_> {
    fn push(&mut self, text: &str) -> Result<(), String> {
        if self.out.len().saturating_add(text.len().saturating_mul(2)) > steps::room() {
            let _ended = run::out_of_memory(self.out.len().saturating_add(text.len()));
            return Err("there is no memory left for it".into());
        }
        self.out.push_str(text);
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        self.push(&json_text(text))
    }

    fn write(&mut self, value: &Dynamic, depth: usize) -> Result<(), String> {
        let Some(deeper) = depth.checked_sub(1) else {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        };
        if value.is_unit() {
            return self.push("null");
        }
        if let Ok(bool) = value.as_bool() {
            return self.push(if bool { "true" } else { "false" });
        }
        if let Ok(int) = value.as_int() {
            return self.push(&int.to_string());
        }
        if let Ok(float) = value.as_float() {
            let number = Number::from_f64(float).ok_or_else(|| format!("{float} has no form in JSON"))?;
            return self.push(&number.to_string());
        }
        if let Ok(decimal) = value.as_decimal() {
            return self.push(&decimal_number(decimal)?.to_string());
        }
        if let Ok(char) = value.as_char() {
            return self.text(char.encode_utf8(&mut [0; 4]));
        }
        if let Some(text) = value.read_lock::<ImmutableString>() {
            return self.text(&text);
        }
        if let Some(items) = value.read_lock::<Array>() {
            self.push("[")?;
            for (place, item) in items.iter().enumerate() {
                self.push(if place == 0 { "" } else { "," })?;
                self.write(item, deeper)?;
            }
            return self.push("]");
        }
        if let Some(entries) = value.read_lock::<Map>() {
            self.push("{")?;
            for (place, (name, value)) in entries.iter().enumerate() {
                self.push(if place == 0 { "" } else { "," })?;
                self.text(name)?;
                self.push(":")?;
                self.write(value, deeper)?;
            }
            return self.push("}");
        }
        if let Some(secret) = value.read_lock::<Secret>() {
            let Some(secrets) = &mut self.secrets else {
                return Err(format!("{} can be sent, and nothing else can be done with it", *secret));
            };
            secrets.push(secret.kept().clone());
            let text = json_text(&secret.reveal());
            self.out.push_str(&text);
            return Ok(());
        }
        Err(format!("a value of type `{}` has no form in JSON", type_name(value)))
    }
}

/// Text in quotes, with the escapes of JSON.
fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn decimal_number(decimal: Decimal) -> Result<Number, String> {
    let text = decimal.normalize().to_string();
    let number: Number = text.parse().map_err(|_| format!("{text} has no form in JSON"))?;
    // Parsing falls back to a float; the digits tell whether that one is the same number.
    let same = number.to_string().parse::<Decimal>().is_ok_and(|back| back == decimal);
    if same { Ok(number) } else { Err(format!("the decimal {text} has more digits than a float can hold")) }
}

fn type_name(value: &Dynamic) -> &str {
    if value.is::<Blob>() { "blob" } else { value.type_name() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn round(text: &str) {
        let value = from_json(text.as_bytes()).unwrap();
        assert_eq!(to_json(&value).unwrap(), text);
    }

    #[test]
    fn json_goes_both_ways_without_loss() {
        for text in [
            "null",
            "true",
            "0",
            "-1",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "18446744073709551615",
            "1.0",
            "0.1",
            "1e+300",
            "-2.5e-10",
            "\"\"",
            "\"grüße \\\"quoted\\\" \\n \u{1f600} \\u0000\"",
            "[]",
            "[1,[2,[null,false]]]",
            "{}",
            "{\"a\":{\"b\":[{}]},\"ä\":1}",
        ] {
            round(text);
        }
    }

    #[test]
    fn what_json_cannot_hold_is_an_error() {
        for value in [
            Dynamic::from(f64::NAN),
            Dynamic::from(f64::INFINITY),
            Dynamic::from_blob(vec![1]),
            Dynamic::from("0.12345678901234567890123".parse::<Decimal>().unwrap()),
        ] {
            assert!(to_json(&value).is_err(), "{value:?}");
        }
        let mut deep = Dynamic::from_array(vec![]);
        for _ in 0..200 {
            deep = Dynamic::from_array(vec![deep]);
        }
        assert!(to_json(&deep).is_err());
    }

    #[test]
    fn decimals_with_an_exact_float_pass() {
        assert_eq!(to_json(&Dynamic::from("19.99".parse::<Decimal>().unwrap())).unwrap(), "19.99");
        assert_eq!(to_json(&Dynamic::from("20.00".parse::<Decimal>().unwrap())).unwrap(), "20");
    }
}
