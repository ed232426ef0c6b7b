//! What the fake knows of Stripe's resources: their parameters, what becomes of them. Keeps nothing; knows no HTTP.

use serde_json::{Map, Value, json};

use super::Store;

pub type Params = Map<String, Value>;

/// A refusal: the status and Stripe's error.
#[derive(Debug)]
pub struct Refusal(pub u16, pub Value);

impl Refusal {
    pub fn invalid(message: impl Into<String>, param: &str, code: &str) -> Self {
        let error = json!({"type": "invalid_request_error", "message": message.into(), "param": param, "code": code});
        Self(400, error)
    }

    fn missing(param: &str) -> Self {
        Self::invalid(format!("Missing required param: {param}."), param, "parameter_missing")
    }

    pub fn no_such(what: &str, id: &str) -> Self {
        let mut refusal = Self::invalid(format!("No such {what}: '{id}'"), "id", "resource_missing");
        refusal.0 = 404;
        refusal
    }
}

type Answer = Result<Value, Refusal>;

/// The name in `object`, the prefix of ids, and the parameters of a resource; those with `!` must be there.
pub fn resource(path: &str) -> Option<(&'static str, &'static str, &'static [&'static str])> {
    Some(match path {
        "products" => ("product", "prod", &["name!", "description", "url", "active", "id", "metadata"]),
        "prices" => (
            "price",
            "price",
            &["currency!", "product!", "unit_amount!", "recurring", "nickname", "lookup_key", "active", "metadata"],
        ),
        "customers" => {
            ("customer", "cus", &["email", "name", "description", "phone", "payment_method", "address", "metadata"])
        }
        "coupons" => (
            "coupon",
            "coupon",
            &[
                "duration!",
                "percent_off",
                "amount_off",
                "currency",
                "duration_in_months",
                "max_redemptions",
                "name",
                "id",
                "metadata",
            ],
        ),
        "subscriptions" => (
            "subscription",
            "sub",
            &[
                "customer!",
                "items!",
                "trial_period_days",
                "discounts",
                "description",
                "default_payment_method",
                "payment_behavior",
                "collection_method",
                "cancel_at_period_end",
                "metadata",
            ],
        ),
        "payment_intents" => (
            "payment_intent",
            "pi",
            &[
                "amount!",
                "currency!",
                "customer",
                "description",
                "payment_method",
                "payment_method_types",
                "receipt_email",
                "capture_method",
                "setup_future_usage",
                "return_url",
                "off_session",
                "confirm",
                "metadata",
            ],
        ),
        _ => return None,
    })
}

/// Makes an object of checked parameters. Whole numbers and flags come as texts and are kept as what they are.
pub fn create(path: &str, params: &Params, store: &Store) -> Answer {
    let (object, prefix, known) = resource(path).ok_or_else(|| Refusal::no_such("resource", path))?;
    check_names(params, known)?;
    for name in known.iter().filter_map(|name| name.strip_suffix('!')) {
        params.get(name).ok_or_else(|| Refusal::missing(name))?;
    }
    let mut fields = typed(params)?;
    let id = fields.remove("id").and_then(|id| id.as_str().map(str::to_owned));
    let id = id.unwrap_or_else(|| format!("{prefix}_{}", store.next_number()));
    if store.find(path, &id).is_some() {
        return Err(Refusal::invalid(format!("{object} already exists."), "id", "resource_already_exists"));
    }
    let mut made = json!({"object": object, "created": 1_760_000_000, "livemode": false, "metadata": {}});
    for (name, value) in fields {
        made[name] = value;
    }
    made["id"] = id.clone().into();
    for (param, path, what) in [("customer", "customers", "customer"), ("product", "products", "product")] {
        if let Some(id) = params.get(param) {
            refer(store, path, what, id, param)?;
        }
    }
    match path {
        "coupons" if made["percent_off"].is_null() == made["amount_off"].is_null() => {
            Err(Refusal::missing("percent_off"))
        }
        "coupons" if !made["amount_off"].is_null() && made["currency"].is_null() => Err(Refusal::missing("currency")),
        "coupons" if made["duration"] == "repeating" && made["duration_in_months"].is_null() => {
            Err(Refusal::missing("duration_in_months"))
        }
        "subscriptions" => subscribe(made, store),
        "payment_intents" => {
            made["client_secret"] = format!("{id}_secret_x").into();
            made["amount_received"] = 0.into();
            let confirm = made["confirm"] == true;
            made["status"] = if made["payment_method"].is_null() {
                "requires_payment_method".into()
            } else {
                "requires_confirmation".into()
            };
            if confirm { act(made, "confirm", &Params::new()) } else { Ok(made) }
        }
        _ => Ok(made),
    }
}

/// Lays checked parameters over an object.
pub fn update(path: &str, mut old: Value, params: &Params) -> Answer {
    let (_, _, known) = resource(path).ok_or_else(|| Refusal::no_such("resource", path))?;
    check_names(params, known)?;
    for (name, value) in typed(params)? {
        match (name.as_str(), value) {
            ("metadata", Value::Object(entries)) => {
                for (key, value) in entries {
                    old["metadata"][key] = value;
                }
            }
            (name, value) if value == "" => old[name] = Value::Null,
            (name, value) => old[name] = value,
        }
    }
    Ok(old)
}

/// Confirms, captures or cancels a payment.
pub fn act(mut intent: Value, action: &str, params: &Params) -> Answer {
    let known: &[_] = match action {
        "confirm" => &["payment_method", "return_url"],
        "capture" => &["amount_to_capture"],
        "cancel" => &["cancellation_reason"],
        _ => return Err(Refusal::no_such("action", action)),
    };
    check_names(params, known)?;
    if let Some(method) = params.get("payment_method") {
        intent["payment_method"] = method.clone();
    }
    let status = intent["status"].as_str().unwrap_or_default().to_owned();
    let unexpected = || {
        let message = format!("This PaymentIntent has a status of {status}: {action} is not possible.");
        Err(Refusal::invalid(message, "", "payment_intent_unexpected_state"))
    };
    let next = match (action, status.as_str()) {
        ("confirm", "requires_payment_method" | "requires_confirmation") => match intent["payment_method"].as_str() {
            None => return unexpected(),
            Some("pm_card_chargeDeclined") => {
                let error = json!({"type": "card_error", "code": "card_declined", "decline_code": "generic_decline",
                    "message": "Your card was declined.", "param": "payment_method"});
                return Err(Refusal(402, error));
            }
            Some(_) if intent["capture_method"] == "manual" => "requires_capture",
            Some(_) => "succeeded",
        },
        ("capture", "requires_capture") => "succeeded",
        ("cancel", "succeeded" | "canceled") | ("confirm" | "capture", _) => return unexpected(),
        _ => "canceled",
    };
    if next == "succeeded" {
        let part = typed(params)?.remove("amount_to_capture");
        intent["amount_received"] = part.unwrap_or_else(|| intent["amount"].clone());
    }
    intent["status"] = next.into();
    Ok(intent)
}

fn subscribe(mut made: Value, store: &Store) -> Answer {
    let mut items = Vec::new();
    for (index, item) in made["items"].as_array().into_iter().flatten().enumerate() {
        let price = refer(store, "prices", "price", &item["price"], &format!("items[{index}][price]"))?;
        if price["recurring"].is_null() {
            return Err(Refusal::invalid("The price is not recurring.", "items", "price_not_recurring"));
        }
        let quantity = item.get("quantity").cloned().unwrap_or_else(|| 1.into());
        items.push(
            json!({"id": format!("si_{index}"), "object": "subscription_item", "price": price, "quantity": quantity}),
        );
    }
    if items.is_empty() {
        return Err(Refusal::missing("items"));
    }
    for discount in made["discounts"].as_array().into_iter().flatten() {
        refer(store, "coupons", "coupon", &discount["coupon"], "discounts[0][coupon]")?;
    }
    let days = made["trial_period_days"].as_i64();
    made["items"] = json!({"object": "list", "data": items, "has_more": false});
    made["trial_end"] = days.map(|days| 1_760_000_000 + days * 86_400).into();
    made["status"] = if days.is_some() { "trialing" } else { "active" }.into();
    Ok(made)
}

fn refer(store: &Store, path: &str, what: &str, id: &Value, param: &str) -> Answer {
    let id = id.as_str().ok_or_else(|| Refusal::missing(param))?;
    store.find(path, id).ok_or_else(|| Refusal::invalid(format!("No such {what}: '{id}'"), param, "resource_missing"))
}

fn check_names(params: &Params, known: &[&str]) -> Result<(), Refusal> {
    let unknown = params.keys().find(|name| !known.iter().any(|known| known.trim_end_matches('!') == *name));
    match unknown {
        Some(name) => Err(Refusal::invalid(format!("Received unknown parameter: {name}"), name, "parameter_unknown")),
        None => Ok(()),
    }
}

/// Texts of parameters as what they mean; those of money must be whole, and currencies have three small letters.
fn typed(params: &Params) -> Result<Params, Refusal> {
    let mut fields = Params::new();
    for (name, value) in params {
        let value = match (name.as_str(), value.as_str()) {
            (
                "amount" | "unit_amount" | "amount_off" | "amount_to_capture" | "trial_period_days"
                | "duration_in_months" | "max_redemptions",
                Some(text),
            ) => match text.parse::<i64>() {
                Ok(number) => number.into(),
                Err(_) => {
                    return Err(Refusal::invalid(
                        format!("Invalid integer: {text}"),
                        name,
                        "parameter_invalid_integer",
                    ));
                }
            },
            ("percent_off", Some(text)) => {
                let number: f64 = text.parse().map_err(|_| Refusal::invalid("Invalid decimal", name, "invalid"))?;
                number.into()
            }
            ("active" | "confirm" | "off_session" | "cancel_at_period_end", Some(text)) => (text == "true").into(),
            ("currency", Some(text)) if text.len() != 3 || !text.bytes().all(|byte| byte.is_ascii_lowercase()) => {
                return Err(Refusal::invalid(format!("Invalid currency: {text}"), name, "currency_invalid"));
            }
            _ => value.clone(),
        };
        fields.insert(name.clone(), value);
    }
    Ok(fields)
}
