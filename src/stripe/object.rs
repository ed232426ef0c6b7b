//! What Stripe answers with, in a script: all its fields, and the id that it stands for. Methods that send are in
//! `package`.

use std::sync::Arc;

use rhai::{Dynamic, ImmutableString, Map, Module};
use serde_json::Value;

use crate::script::{Space, Thrown, value};

/// An object of Stripe's.
#[derive(Clone)]
pub(super) struct Object(Arc<Fields>);

struct Fields {
    id: ImmutableString,
    all: Map,
}

impl Object {
    /// An answer becomes an object if it has an id, else what it is.
    ///
    /// # Errors
    ///
    /// Names a number that is too large.
    pub(super) fn of(answer: Value) -> Result<Dynamic, String> {
        let answer = value::from_value(answer)?;
        let id = answer.read_lock::<Map>().and_then(|map| map.get("id")?.clone().into_immutable_string().ok());
        let Some(id) = id else { return Ok(answer) };
        Ok(Dynamic::from(Self(Arc::new(Fields { id, all: answer.cast() }))))
    }

    pub(super) fn id(&self) -> &str {
        &self.0.id
    }

    /// What Stripe calls it.
    pub(super) fn kind(&self) -> String {
        self.get("object").into_string().unwrap_or_default()
    }

    fn get(&self, name: &str) -> Dynamic {
        self.0.all.get(name).cloned().unwrap_or_default()
    }
}

/// The id that a value stands for: a text, or an object.
pub(super) fn id_of(given: &Dynamic) -> Option<String> {
    match given.read_lock::<Object>() {
        Some(object) => Some(object.id().to_owned()),
        None => given.read_lock::<ImmutableString>().map(|text| text.to_string()),
    }
}

/// The id where one is wanted: also that of an object within another.
pub(super) fn reference(given: &Dynamic) -> Option<String> {
    let inner = given.read_lock::<Map>().and_then(|map| map.get("id").cloned());
    id_of(inner.as_ref().unwrap_or(given)).filter(|id| !id.is_empty())
}

pub(super) fn register(module: &mut Module) {
    module.set_custom_type::<Object>("StripeObject");
    module.set_indexer_get_fn(|object: &mut Object, name: &str| Ok(object.get(name)));
    let plain = |name: &str| Space::Plain.function(name);
    for name in ["to_string", "to_debug"] {
        plain(name).set_into_module(module, |object: &mut Object| -> Result<ImmutableString, Thrown> {
            Ok(object.0.id.clone())
        });
    }
    plain("to_map").set_into_module(module, |object: &mut Object| -> Result<Map, Thrown> { Ok(object.0.all.clone()) });
    plain("contains").set_into_module(module, |object: &mut Object, name: &str| -> Result<bool, Thrown> {
        Ok(object.0.all.contains_key(name))
    });
    // It is equal to what stands for the same: without these, the language finds an object and a text unequal.
    for (name, equal) in [("==", true), ("!=", false)] {
        plain(name).set_into_module(module, move |one: &mut Object, other: Object| -> Result<bool, Thrown> {
            Ok((one.id() == other.id()) == equal)
        });
        plain(name).set_into_module(module, move |one: &mut Object, other: &str| -> Result<bool, Thrown> {
            Ok((one.id() == other) == equal)
        });
        plain(name).set_into_module(module, move |one: &str, other: Object| -> Result<bool, Thrown> {
            Ok((one == other.id()) == equal)
        });
    }
}
