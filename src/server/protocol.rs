//! Messages of JSON-RPC 2.0: what one asks for, and what is answered. Pure: calls nothing, waits for nothing.

use jsonrpsee_types::{ErrorObjectOwned, Id, InvalidRequest, Request, Response, ResponsePayload};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::code;

/// The deepest nesting of a message.
const DEPTH: usize = 64;

/// What a message asks for.
pub(super) enum Message {
    One(Item),
    Batch(Vec<Item>),
    /// It is answered by this error, and by nothing else.
    Wrong(ErrorObjectOwned),
}

/// One request within a message.
pub(super) enum Item {
    /// Answered unless it has no id.
    Call { id: Option<Id<'static>>, method: String, params: Option<Box<RawValue>> },
    /// Answered by an error.
    Wrong(Id<'static>, ErrorObjectOwned),
}

impl Item {
    /// What its answer is known by.
    pub(super) fn id(&self) -> Id<'static> {
        match self {
            Self::Call { id, .. } => id.clone().unwrap_or(Id::Null),
            Self::Wrong(id, _) => id.clone(),
        }
    }
}

/// Reads a message. A batch has so many requests at most.
pub(super) fn read(text: &[u8], most: usize) -> Message {
    let Ok(text) = std::str::from_utf8(text) else {
        return Message::Wrong(code::error(code::PARSE, "a message is UTF-8", None));
    };
    if depth(text) > DEPTH {
        return Message::Wrong(code::limit(format!("a message is nested at most {DEPTH} levels deep"), None));
    }
    if !text.trim_start().starts_with('[') {
        return match serde_json::from_str::<&RawValue>(text) {
            Ok(raw) => Message::One(item(raw)),
            Err(error) => Message::Wrong(code::error(code::PARSE, format!("the message is no JSON: {error}"), None)),
        };
    }
    match serde_json::from_str::<Vec<&RawValue>>(text) {
        Ok(batch) if batch.is_empty() => {
            Message::Wrong(code::error(code::INVALID_REQUEST, "the batch has no requests", None))
        }
        Ok(batch) if batch.len() > most => {
            let message = format!("the batch has {} requests, and {most} are allowed", batch.len());
            Message::Wrong(code::limit(message, None))
        }
        Ok(batch) => Message::Batch(batch.into_iter().map(item).collect()),
        Err(error) => Message::Wrong(code::error(code::PARSE, format!("the message is no JSON: {error}"), None)),
    }
}

fn item(raw: &RawValue) -> Item {
    let text = raw.get();
    if let Ok(request) = serde_json::from_str::<Request<'_>>(text) {
        // A request with an id, which may be null; one without is a notification.
        return Item::Call {
            id: Some(request.id.clone().into_owned()),
            method: request.method.into_owned(),
            params: request.params.map(std::borrow::Cow::into_owned),
        };
    }
    if let Ok(notification) = serde_json::from_str::<jsonrpsee_types::Notification<'_, Option<Box<RawValue>>>>(text) {
        return Item::Call { id: None, method: notification.method.into_owned(), params: notification.params };
    }
    let id = serde_json::from_str::<InvalidRequest<'_>>(text).map_or(Id::Null, |invalid| invalid.id.into_owned());
    let message =
        "a request has `\"jsonrpc\": \"2.0\"`, a `method` and an `id`, and no parameters or an array or an object";
    Item::Wrong(id, code::error(code::INVALID_REQUEST, message, None))
}

/// How deep arrays and objects are nested, without parsing them.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The answer to a request.
pub(super) fn answer(id: Id<'static>, result: Result<Value, ErrorObjectOwned>) -> String {
    let payload = match result {
        Ok(value) => ResponsePayload::success(value),
        Err(error) => ResponsePayload::error(error),
    };
    // Plain data with text keys, which JSON can always say.
    serde_json::to_string(&Response::new(payload, id)).unwrap_or_default()
}

/// The answer to a message that nobody looks into.
pub(super) fn refusal(text: &[u8], error: ErrorObjectOwned) -> String {
    let id = serde_json::from_slice::<InvalidRequest<'_>>(text).map_or(Id::Null, |request| request.id.into_owned());
    answer(id, Err(error))
}

/// The answers to a batch; none where it had notifications only.
pub(super) fn answers(answers: &[String]) -> Option<String> {
    (!answers.is_empty()).then(|| format!("[{}]", answers.join(",")))
}

/// The parameters of a method: an object, or an array in the order of the names.
pub(super) fn params<T: DeserializeOwned>(params: Option<&RawValue>, names: &[&str]) -> Result<T, ErrorObjectOwned> {
    let given = params.map_or("{}", RawValue::get);
    let value: Value = serde_json::from_str(given).map_err(|error| code::params(error.to_string()))?;
    let object = match value {
        Value::Object(object) => object,
        Value::Null => Map::new(),
        Value::Array(values) if values.len() <= names.len() => {
            names.iter().map(|name| (*name).to_owned()).zip(values).collect()
        }
        Value::Array(values) => {
            let expected = if names.is_empty() { "none".to_owned() } else { format!("at most {}", names.join(", ")) };
            return Err(code::params(format!("{} parameters, where {expected} are expected", values.len())));
        }
        _ => return Err(code::params("parameters are an array or an object")),
    };
    serde_json::from_value(Value::Object(object)).map_err(|error| code::params(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(text: &str) -> i32 {
        match read(text.as_bytes(), 3) {
            Message::Wrong(error) | Message::One(Item::Wrong(_, error)) => error.code(),
            _ => 0,
        }
    }

    #[test]
    fn requests_and_notifications_are_told_apart() {
        let Message::One(Item::Call { id, method, params }) =
            read(br#" {"jsonrpc":"2.0","method":"play","params":["1+1"],"id":7}"#, 3)
        else {
            panic!("a call")
        };
        assert_eq!((id, method.as_str()), (Some(Id::Number(7)), "play"));
        assert_eq!(params.unwrap().get(), r#"["1+1"]"#);
        for text in [r#"{"jsonrpc":"2.0","method":"play"}"#, r#"{"jsonrpc":"2.0","method":"play","params":{}}"#] {
            assert!(matches!(read(text.as_bytes(), 3), Message::One(Item::Call { id: None, .. })), "{text}");
        }
        let null = read(br#"{"jsonrpc":"2.0","method":"play","id":null}"#, 3);
        assert!(matches!(null, Message::One(Item::Call { id: Some(Id::Null), .. })));
    }

    #[test]
    fn what_is_wrong_has_the_code_of_the_specification() {
        for text in ["", "{", "nonsense", "[1,", "\u{1}"] {
            assert_eq!(wrong(text), code::PARSE, "{text}");
        }
        for text in ["1", "{}", r#"{"jsonrpc":"1.0","method":"a","id":1}"#, r#"{"method":"a","id":1}"#, "[]", "\"x\""] {
            assert_eq!(wrong(text), code::INVALID_REQUEST, "{text}");
        }
        assert_eq!(wrong("[1,2,3,4]"), code::LIMIT);
        assert_eq!(wrong(&format!("{}{}", "[".repeat(65), "]".repeat(65))), code::LIMIT);
        assert_eq!(wrong(&"[".repeat(100_000)), code::LIMIT);
        assert!(matches!(read(b"\xff", 3), Message::Wrong(error) if error.code() == code::PARSE));
        let Message::Batch(batch) = read(br#"[1,{"jsonrpc":"2.0","method":"a","id":1}]"#, 3) else { panic!("a batch") };
        assert!(matches!(&batch[..], [Item::Wrong(Id::Null, _), Item::Call { .. }]));
    }

    #[test]
    fn brackets_in_texts_do_not_count() {
        assert_eq!(depth(r#"{"a": "[[[[\"[[", "b": [1]}"#), 2);
    }

    #[test]
    fn parameters_come_by_name_or_by_place() {
        #[derive(serde::Deserialize, PartialEq, Debug)]
        #[serde(deny_unknown_fields)]
        struct Two {
            a: i64,
            b: Option<String>,
        }
        let read = |text: &str| {
            let raw = RawValue::from_string(text.to_owned()).unwrap();
            params::<Two>(Some(&raw), &["a", "b"]).map_err(|error| error.message().to_owned())
        };
        assert_eq!(read(r#"[1, "x"]"#).unwrap(), Two { a: 1, b: Some("x".into()) });
        assert_eq!(read(r#"{"a": 1}"#).unwrap(), Two { a: 1, b: None });
        assert!(read("[1, \"x\", 3]").unwrap_err().contains("a, b"));
        assert!(read(r#"{"a": 1, "c": 2}"#).unwrap_err().contains('c'));
        assert!(read("{}").unwrap_err().contains('a'));
        assert_eq!(answer(Id::Number(1), Ok(json!({"a": 1}))), r#"{"jsonrpc":"2.0","id":1,"result":{"a":1}}"#);
    }
}
