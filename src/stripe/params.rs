//! The parameters of a request, in the order of the calls that gave them, and their form on the wire. Checks amounts of
//! money and names; sends nothing.

use std::fmt::Display;

use rhai::{Array, Dynamic, ImmutableString, Map};
use url::form_urlencoded::Serializer;

use super::error::StripeError;
use super::object;

/// The parameters of a request to Stripe. Nested ones have the names that a form gives them: `metadata[order]`,
/// `items[0][price]`.
///
/// # Examples
///
/// ```
/// use marmot::stripe::Params;
///
/// let params = Params::new().set("amount", 2999).set("metadata[order]", "6735").idempotency_key("order-6735");
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "parameters do nothing until they are sent"]
pub struct Params {
    pairs: Vec<(String, String)>,
    key: Option<String>,
}

impl Params {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a parameter. One that was set before keeps its place and gets the new value.
    pub fn set(mut self, name: &str, value: impl Display) -> Self {
        self.put(name, value.to_string());
        self
    }

    /// The key by which Stripe knows this write again: sent twice within a day, it is carried out once. From 1 to 255
    /// visible ASCII characters. Default: a random one for each call, the same for its retries.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    pub(super) fn put(&mut self, name: &str, value: String) {
        match self.pairs.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.pairs.push((name.to_owned(), value)),
        }
    }

    /// Adds an entry to a list: `items[0][price]`, `items[1][price]`.
    pub(super) fn push(&mut self, list: &str, fields: &[(&str, &str)]) {
        let entry = |index: usize| format!("{list}[{index}]");
        let is_there = |index: &usize| self.pairs.iter().any(|(name, _)| name.starts_with(&entry(*index)));
        let index = (0..).take_while(is_there).count();
        for (field, value) in fields {
            self.put(&format!("{}[{field}]", entry(index)), (*value).to_owned());
        }
    }

    /// Sets a parameter to what a script gave: maps and arrays become nested names, `()` the empty text, which unsets.
    ///
    /// # Errors
    ///
    /// Names the value that has no form, or is money and no whole number.
    pub(super) fn put_value(&mut self, name: &str, given: &Dynamic) -> Result<(), String> {
        if let Some(map) = given.read_lock::<Map>() {
            let mut entries = map.iter();
            return entries.try_for_each(|(key, value)| self.put_value(&nested(name, key)?, value));
        }
        if let Some(items) = given.read_lock::<Array>() {
            let mut items = items.iter().enumerate();
            return items.try_for_each(|(index, item)| self.put_value(&format!("{name}[{index}]"), item));
        }
        let value = scalar(name, given)?;
        self.put(name, value);
        Ok(())
    }

    /// All entries of a map, but `idempotency_key`, which is no parameter.
    pub(super) fn put_all(&mut self, options: &Map) -> Result<(), String> {
        for (name, value) in options {
            match name.as_str() {
                "idempotency_key" => self.set_key(value)?,
                name => self.put_value(name, value)?,
            }
        }
        Ok(())
    }

    pub(super) fn set_key(&mut self, given: &Dynamic) -> Result<(), String> {
        let key = given.read_lock::<ImmutableString>();
        let key = key.ok_or_else(|| format!("`idempotency_key` is a text, not {}", given.type_name()))?;
        self.key = Some(key.to_string());
        Ok(())
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(known, _)| known == name)?;
        Some(self.pairs.remove(at).1)
    }

    /// The key to send a write with: what was given, or what the run of a script gives, or a random one.
    pub(super) fn key_to_send(&self, of_run: impl FnOnce() -> Option<String>) -> Result<String, StripeError> {
        match &self.key {
            Some(key) if (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(key.clone())
            }
            Some(_) => Err(StripeError::invalid("an idempotency key has from 1 to 255 visible ASCII characters")),
            None => {
                if let Some(key) = of_run() {
                    return Ok(key);
                }
                let mut random = [0; 16];
                getrandom::fill(&mut random)
                    .map_err(|error| StripeError::invalid(format!("the system gives no random numbers: {error}")))?;
                Ok(format!("marmot-{:032x}", u128::from_ne_bytes(random)))
            }
        }
    }

    pub(super) fn encode(&self) -> String {
        Serializer::new(String::new()).extend_pairs(&self.pairs).finish()
    }
}

/// The name of an entry. Brackets in its key would make it another one.
pub(super) fn nested(name: &str, key: &str) -> Result<String, String> {
    if key.is_empty() || key.contains(['[', ']']) {
        return Err(format!("a key of `{name}` is empty or holds a bracket: {key:?}"));
    }
    Ok(format!("{name}[{key}]"))
}

/// A money amount by its name: `amount`, `unit_amount`, `amount_off`, nested or not. `unit_amount_decimal` and
/// `amount_percent` have fractions, and metadata is the caller's.
fn is_amount(name: &str) -> bool {
    let mut steps = name.split(['[', ']']).filter(|step| !step.is_empty());
    let is_metadata = steps.clone().any(|step| step == "metadata");
    let last = steps.next_back().unwrap_or_default();
    let has = |word: &str| last.split('_').any(|part| part == word);
    has("amount") && !has("decimal") && !has("percent") && !is_metadata
}

fn scalar(name: &str, given: &Dynamic) -> Result<String, String> {
    if is_amount(name) && !given.is_unit() {
        return amount(name, given);
    }
    if let Some(id) = object::id_of(given) {
        return Ok(id);
    }
    let simple = given.is_int() || given.is_float() || given.is_decimal() || given.is_bool() || given.is_unit();
    if simple {
        Ok(given.to_string())
    } else {
        Err(format!("`{name}` is a text, a number, a bool, a map or an array, not {}", given.type_name()))
    }
}

/// Money in its smallest unit.
pub(super) fn amount(name: &str, given: &Dynamic) -> Result<String, String> {
    match given.as_int() {
        Ok(amount) if amount >= 0 => Ok(amount.to_string()),
        Ok(amount) => Err(format!("`{name}` is {amount}: an amount is not negative")),
        Err(other) => Err(format!(
            "`{name}` is {given}, of type {other}: money is a whole number of the currency's smallest unit, as 2999 for 29.99"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(source: &str) -> Dynamic {
        rhai::Engine::new().eval(source).unwrap()
    }

    #[test]
    fn parameters_keep_their_order_and_are_encoded() {
        let mut params = Params::new().set("name", "Größe & more").set("amount", 5).set("metadata[b c]", "=");
        params.push("items", &[("price", "price_1"), ("quantity", "2")]);
        params.push("items", &[("price", "price_2")]);
        params.push("discounts", &[("coupon", "c")]);
        let params = params.set("name", "again");
        assert_eq!(
            params.encode(),
            "name=again&amount=5&metadata%5Bb+c%5D=%3D&items%5B0%5D%5Bprice%5D=price_1&items%5B0%5D%5Bquantity%5D=2\
             &items%5B1%5D%5Bprice%5D=price_2&discounts%5B0%5D%5Bcoupon%5D=c"
        );
        assert_eq!(Params::new().set("n", "ö+%\r\n").encode(), "n=%C3%B6%2B%25%0D%0A");
    }

    #[test]
    fn lists_longer_than_ten_keep_their_entries_apart() {
        let mut params = Params::new();
        for n in 0..12 {
            params.push("items", &[("price", &n.to_string())]);
        }
        for (n, (name, value)) in params.pairs.iter().enumerate() {
            assert_eq!(
                (name.as_str(), value.as_str()),
                (format!("items[{n}][price]").as_str(), n.to_string().as_str())
            );
        }
        assert_eq!(params.pairs.len(), 12);
    }

    #[test]
    fn maps_and_arrays_become_nested_names() {
        let given = map(r#"#{ a: #{ b: [1, #{ c: true }], d: () }, e: "x", f: 1.5, id: 3 }"#);
        let mut params = Params::new();
        params.put_value("top", &given).unwrap();
        let pairs: Vec<_> = params.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("top[a][b][0]", "1"),
                ("top[a][b][1][c]", "true"),
                ("top[a][d]", ""),
                ("top[e]", "x"),
                ("top[f]", "1.5"),
                ("top[id]", "3"),
            ]
        );
        assert!(params.put_value("top", &map("#{ \"a][b\": 1 }")).unwrap_err().contains("bracket"));
        assert!(params.put_value("top", &map("blob(1, 1)")).is_err());
    }

    #[test]
    fn money_is_whole_wherever_it_stands() {
        for (name, given, fine) in [
            ("amount", "29.99", false),
            ("amount", "30.0", false),
            ("amount", "\"2999\"", false),
            ("amount", "-1", false),
            ("amount", "2999", true),
            ("unit_amount", "1.5", false),
            ("items[0][price_data][unit_amount]", "1.5", false),
            ("amount_off", "1.5", false),
            ("unit_amount_decimal", "\"0.5\"", true),
            ("percent_off", "12.5", true),
            ("transfer_data[amount_percent]", "12.5", true),
            ("metadata[amount]", "12.5", true),
            ("subscription_data[metadata][amount]", "12.5", true),
        ] {
            let result = Params::new().put_value(name, &map(given));
            assert_eq!(result.is_ok(), fine, "{name} {given}");
            assert!(result.err().is_none_or(|message| message.contains(name) && message.contains("amount")));
        }
    }

    #[test]
    fn keys_are_random_or_checked() {
        let none = || None;
        let first = Params::new().key_to_send(none).unwrap();
        assert_ne!(first, Params::new().key_to_send(none).unwrap());
        assert_eq!(Params::new().key_to_send(|| Some("of the run".into())).unwrap(), "of the run");
        assert_eq!(first.len(), "marmot-".len() + 32);
        assert_eq!(Params::new().idempotency_key("k".repeat(255)).key_to_send(none).unwrap().len(), 255);
        for key in ["", "a b", "a\nb", "ö", &"k".repeat(256)] {
            assert!(Params::new().idempotency_key(key).key_to_send(none).is_err(), "{key:?}");
        }
    }
}
