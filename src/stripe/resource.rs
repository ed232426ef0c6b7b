//! The resources of Stripe that scripts have words for: a table of their paths, fields and actions. Sends nothing.

use rhai::Dynamic;

use super::{object, params};

/// One of Stripe's resources.
pub(super) struct Resource {
    /// What Stripe calls it in `object`, and what the functions of scripts are called by.
    pub(super) object: &'static str,
    /// Where it is.
    pub(super) path: &'static str,
    /// The methods of its builder that take one value: their name, the parameter, what it may be.
    pub(super) fields: &'static [(&'static str, &'static str, Kind)],
    pub(super) actions: &'static [Action],
}

/// What can be done with one that is there.
pub(super) struct Action {
    pub(super) name: &'static str,
    /// Where it is posted to below the object's path; without, the object itself is deleted.
    pub(super) segment: Option<&'static str>,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    /// An object, or its id.
    Reference,
    /// Money in its smallest unit.
    Amount,
    Currency,
    /// A whole number of 0 or more.
    Whole,
    /// From 0 to 100, perhaps with a fraction.
    Percent,
    Flag,
}

const DELETE: Action = Action { name: "delete", segment: None };

pub(super) static RESOURCES: [&Resource; 6] = [&PRODUCT, &PRICE, &CUSTOMER, &COUPON, &SUBSCRIPTION, &PAYMENT_INTENT];

pub(super) static PRODUCT: Resource = Resource {
    object: "product",
    path: "products",
    fields: &[
        ("id", "id", Kind::Text),
        ("name", "name", Kind::Text),
        ("description", "description", Kind::Text),
        ("url", "url", Kind::Text),
        ("active", "active", Kind::Flag),
    ],
    actions: &[DELETE],
};

pub(super) static PRICE: Resource = Resource {
    object: "price",
    path: "prices",
    fields: &[
        ("amount", "unit_amount", Kind::Amount),
        ("unit_amount", "unit_amount", Kind::Amount),
        ("currency", "currency", Kind::Currency),
        ("product", "product", Kind::Reference),
        ("nickname", "nickname", Kind::Text),
        ("lookup_key", "lookup_key", Kind::Text),
        ("active", "active", Kind::Flag),
    ],
    actions: &[],
};

pub(super) static CUSTOMER: Resource = Resource {
    object: "customer",
    path: "customers",
    fields: &[
        ("email", "email", Kind::Text),
        ("name", "name", Kind::Text),
        ("description", "description", Kind::Text),
        ("phone", "phone", Kind::Text),
        ("payment_method", "payment_method", Kind::Reference),
    ],
    actions: &[DELETE],
};

pub(super) static COUPON: Resource = Resource {
    object: "coupon",
    path: "coupons",
    fields: &[
        ("id", "id", Kind::Text),
        ("name", "name", Kind::Text),
        ("percent", "percent_off", Kind::Percent),
        ("percent_off", "percent_off", Kind::Percent),
        ("amount", "amount_off", Kind::Amount),
        ("amount_off", "amount_off", Kind::Amount),
        ("currency", "currency", Kind::Currency),
        ("duration", "duration", Kind::Text),
        ("months", "duration_in_months", Kind::Whole),
        ("duration_in_months", "duration_in_months", Kind::Whole),
        ("max_redemptions", "max_redemptions", Kind::Whole),
    ],
    actions: &[DELETE],
};

pub(super) static SUBSCRIPTION: Resource = Resource {
    object: "subscription",
    path: "subscriptions",
    fields: &[
        ("customer", "customer", Kind::Reference),
        ("trial_days", "trial_period_days", Kind::Whole),
        ("description", "description", Kind::Text),
        ("payment_method", "default_payment_method", Kind::Reference),
        ("payment_behavior", "payment_behavior", Kind::Text),
        ("collection_method", "collection_method", Kind::Text),
        ("cancel_at_period_end", "cancel_at_period_end", Kind::Flag),
    ],
    actions: &[Action { name: "cancel", segment: None }],
};

pub(super) static PAYMENT_INTENT: Resource = Resource {
    object: "payment_intent",
    path: "payment_intents",
    fields: &[
        ("amount", "amount", Kind::Amount),
        ("currency", "currency", Kind::Currency),
        ("customer", "customer", Kind::Reference),
        ("description", "description", Kind::Text),
        ("payment_method", "payment_method", Kind::Reference),
        ("receipt_email", "receipt_email", Kind::Text),
        ("capture_method", "capture_method", Kind::Text),
        ("setup_future_usage", "setup_future_usage", Kind::Text),
        ("return_url", "return_url", Kind::Text),
        ("off_session", "off_session", Kind::Flag),
        ("confirm", "confirm", Kind::Flag),
    ],
    actions: &[
        Action { name: "confirm", segment: Some("confirm") },
        Action { name: "capture", segment: Some("capture") },
        Action { name: "cancel", segment: Some("cancel") },
    ],
};

/// The resource that Stripe calls so.
pub(super) fn named(object: &str) -> Option<&'static Resource> {
    RESOURCES.into_iter().find(|resource| resource.object == object)
}

impl Resource {
    pub(super) fn action(&self, name: &str) -> Option<&Action> {
        self.actions.iter().find(|action| action.name == name)
    }
}

impl Kind {
    /// The value as it is sent.
    ///
    /// # Errors
    ///
    /// What the method takes instead.
    pub(super) fn value(self, method: &str, given: &Dynamic) -> Result<String, String> {
        let wrong = |takes: &str| format!("`{method}` takes {takes}, not {given}, of type {}", given.type_name());
        match self {
            Self::Text => given.clone().into_string().map_err(|_| wrong("a text")),
            Self::Reference => object::reference(given).ok_or_else(|| wrong("an object or its id")),
            Self::Amount => params::amount(method, given),
            Self::Currency => currency(given).ok_or_else(|| wrong("a currency of three letters, as \"usd\"")),
            Self::Whole => match given.as_int() {
                Ok(number) if number >= 0 => Ok(number.to_string()),
                _ => Err(wrong("a whole number of 0 or more")),
            },
            Self::Percent => {
                let number = given.as_int().map(|number| number as f64).or_else(|_| given.as_float());
                let fits = number.is_ok_and(|number| (0.0..=100.0).contains(&number));
                if fits { Ok(given.to_string()) } else { Err(wrong("a number from 0 to 100")) }
            }
            Self::Flag => given.as_bool().map(|flag| flag.to_string()).map_err(|_| wrong("true or false")),
        }
    }
}

fn currency(given: &Dynamic) -> Option<String> {
    let text = given.clone().into_string().ok()?;
    let is_one = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_one.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_their_field_takes() {
        let text = Dynamic::from;
        let table: &[(Kind, Dynamic, Option<&str>)] = &[
            (Kind::Text, text("a"), Some("a")),
            (Kind::Text, Dynamic::from(5_i64), None),
            (Kind::Reference, text("prod_1"), Some("prod_1")),
            (Kind::Reference, text(""), None),
            (Kind::Reference, Dynamic::UNIT, None),
            (Kind::Amount, Dynamic::from(2999_i64), Some("2999")),
            (Kind::Amount, Dynamic::from(29.99), None),
            (Kind::Currency, text("USD"), Some("usd")),
            (Kind::Currency, text("dollar"), None),
            (Kind::Currency, text("u$d"), None),
            (Kind::Whole, Dynamic::from(14_i64), Some("14")),
            (Kind::Whole, Dynamic::from(-1_i64), None),
            (Kind::Whole, Dynamic::from(1.5), None),
            (Kind::Percent, Dynamic::from(25_i64), Some("25")),
            (Kind::Percent, Dynamic::from(12.5), Some("12.5")),
            (Kind::Percent, Dynamic::from(101_i64), None),
            (Kind::Percent, Dynamic::from(f64::NAN), None),
            (Kind::Flag, Dynamic::TRUE, Some("true")),
            (Kind::Flag, text("true"), None),
        ];
        for (kind, given, expected) in table {
            let value = kind.value("method", given);
            assert_eq!(value.as_deref().ok(), *expected, "{kind:?} {given:?}");
            assert!(value.err().is_none_or(|message| message.contains("`method`")));
        }
    }

    #[test]
    fn no_resource_has_a_method_twice() {
        for resource in RESOURCES {
            for (at, (method, ..)) in resource.fields.iter().enumerate() {
                assert!(
                    resource.fields[..at].iter().all(|(other, ..)| other != method),
                    "{} {method}",
                    resource.object
                );
            }
            assert!(std::ptr::eq(named(resource.object).unwrap(), resource));
        }
    }
}
