//! A form with nested names as a tree of JSON. Answers nothing.

use serde_json::{Map, Value};

use super::super::request::parse_query;

/// `a[b][0]=x` becomes `{"a": {"b": ["x"]}}`. All values are texts.
///
/// # Errors
///
/// A name that is no name, or one that is given twice.
pub fn tree(form: &str) -> Result<Map<String, Value>, String> {
    let mut root = Map::new();
    for (name, value) in parse_query(form) {
        put(&mut root, &steps(&name)?, value).map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(root.into_iter().map(|(name, value)| (name, with_lists(value))).collect())
}

fn steps(name: &str) -> Result<Vec<&str>, String> {
    let (first, rest) = name.split_once('[').unwrap_or((name, ""));
    let mut steps = vec![first];
    if !rest.is_empty() {
        let inner = rest.strip_suffix(']').ok_or_else(|| format!("{name}: a bracket is open"))?;
        steps.extend(inner.split("]["));
    }
    match steps.iter().any(|step| step.is_empty() || step.contains(['[', ']'])) {
        true => Err(format!("{name}: no name of a parameter")),
        false => Ok(steps),
    }
}

fn put(map: &mut Map<String, Value>, steps: &[&str], value: String) -> Result<(), &'static str> {
    match steps {
        [] => Err("empty"),
        [last] => match map.insert((*last).to_owned(), value.into()) {
            None => Ok(()),
            Some(_) => Err("given twice"),
        },
        [first, rest @ ..] => match map.entry(*first).or_insert_with(|| Value::Object(Map::new())) {
            Value::Object(inner) => put(inner, rest, value),
            _ => Err("both a value and a map"),
        },
    }
}

/// Maps whose keys count from 0 are lists.
fn with_lists(value: Value) -> Value {
    let Value::Object(map) = value else { return value };
    if !map.is_empty() && (0..map.len()).all(|index| map.contains_key(&index.to_string())) {
        let entry = |index: usize| with_lists(map[&index.to_string()].clone());
        return (0..map.len()).map(entry).collect();
    }
    map.into_iter().map(|(name, value)| (name, with_lists(value))).collect::<Map<_, _>>().into()
}
