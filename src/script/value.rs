//! Script values become JSON and back. What one side cannot hold is an error, never an approximation.

use rhai::{Array, Blob, Dynamic, ImmutableString, Map};
use rust_decimal::Decimal;
use serde_json::{Number, Value};

/// Nesting beyond this is refused on the way out, as `serde_json` refuses it on the way in.
const MAX_DEPTH: usize = 128;

/// Parses JSON text into a script value.
///
/// # Errors
///
/// What is wrong with the text, with its line and column.
pub(crate) fn from_json(text: &[u8]) -> Result<Dynamic, String> {
    serde_json::from_slice::<Value>(text).map_err(|error| error.to_string()).and_then(to_dynamic)
}

/// A script value as JSON text.
///
/// # Errors
///
/// Names the value that JSON has no form for.
pub(super) fn to_json(value: &Dynamic) -> Result<String, String> {
    to_value(value, MAX_DEPTH).map(|value| value.to_string())
}

/// JSON as a script value.
///
/// # Errors
///
/// Names a number that is too large.
pub(crate) fn to_dynamic(value: Value) -> Result<Dynamic, String> {
    Ok(match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(bool) => bool.into(),
        Value::Number(number) => number_to_dynamic(&number)?,
        Value::String(text) => text.into(),
        Value::Array(items) => items.into_iter().map(to_dynamic).collect::<Result<Array, _>>()?.into(),
        Value::Object(entries) => {
            let entries = entries.into_iter().map(|(key, value)| Ok((key.into(), to_dynamic(value)?)));
            entries.collect::<Result<Map, String>>()?.into()
        }
    })
}

fn number_to_dynamic(number: &Number) -> Result<Dynamic, String> {
    if let Some(int) = number.as_i64() {
        return Ok(int.into());
    }
    if let Some(int) = number.as_u64() {
        // Beyond a signed integer of 64 bits; a float would round it.
        return Ok(Decimal::from(int).into());
    }
    number.as_f64().map(Dynamic::from).ok_or_else(|| format!("the number {number} is too large"))
}

fn to_value(value: &Dynamic, depth: usize) -> Result<Value, String> {
    let Some(deeper) = depth.checked_sub(1) else {
        return Err(format!("nested deeper than {MAX_DEPTH} levels"));
    };
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(bool) = value.as_bool() {
        return Ok(bool.into());
    }
    if let Ok(int) = value.as_int() {
        return Ok(int.into());
    }
    if let Ok(float) = value.as_float() {
        return Number::from_f64(float).map(Value::Number).ok_or_else(|| format!("{float} has no form in JSON"));
    }
    if let Ok(decimal) = value.as_decimal() {
        return decimal_to_value(decimal);
    }
    if let Ok(char) = value.as_char() {
        return Ok(char.to_string().into());
    }
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return Ok(text.as_str().into());
    }
    if let Some(items) = value.read_lock::<Array>() {
        return items.iter().map(|item| to_value(item, deeper)).collect();
    }
    if let Some(entries) = value.read_lock::<Map>() {
        let entries = entries.iter().map(|(key, value)| Ok((key.to_string(), to_value(value, deeper)?)));
        return entries.collect::<Result<serde_json::Map<_, _>, String>>().map(Value::Object);
    }
    Err(format!("a value of type `{}` has no form in JSON", type_name(value)))
}

fn decimal_to_value(decimal: Decimal) -> Result<Value, String> {
    let text = decimal.normalize().to_string();
    let number: Number = text.parse().map_err(|_| format!("{text} has no form in JSON"))?;
    // Parsing falls back to a float; the digits tell whether that one is the same number.
    let same = number.to_string().parse::<Decimal>().is_ok_and(|back| back == decimal);
    if same {
        Ok(Value::Number(number))
    } else {
        Err(format!("the decimal {text} has more digits than a float can hold"))
    }
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
