//! What scripts describe before it is created: one type for each resource, so that a method of another one is unknown to
//! the language itself. Sends nothing.

use std::marker::PhantomData;

use rhai::{Dynamic, INT, Map, Module, NativeCallContext};

use super::object;
use super::params::{Params, nested};
use super::resource::{self, Kind, Resource};
use crate::script::{Space, Thrown, failure};

/// A resource as a type.
pub(super) trait Type: Clone + Send + Sync + 'static {
    const RESOURCE: &'static Resource;
    /// What the language calls its builder.
    const NAME: &'static str;
}

macro_rules! types {
    ($($name:ident = $resource:ident;)*) => {
        $(
            #[derive(Clone)]
            pub(super) struct $name;

            impl Type for $name {
                const RESOURCE: &'static Resource = &resource::$resource;
                const NAME: &'static str = concat!(stringify!($name), "Builder");
            }
        )*
    };
}

types! {
    Product = PRODUCT;
    Price = PRICE;
    Customer = CUSTOMER;
    Coupon = COUPON;
    Subscription = SUBSCRIPTION;
    PaymentIntent = PAYMENT_INTENT;
}

/// The parameters of something to create.
#[derive(Clone)]
pub(super) struct Builder<T> {
    pub(super) params: Params,
    of: PhantomData<T>,
}

impl<T> Default for Builder<T> {
    fn default() -> Self {
        Self { params: Params::new(), of: PhantomData }
    }
}

/// What a method gives back: the builder, for the next one.
type Changed<T> = Result<Builder<T>, Thrown>;

impl<T: Type> Builder<T> {
    fn change(
        &mut self,
        ctx: &NativeCallContext,
        change: impl FnOnce(&mut Params) -> Result<(), String>,
    ) -> Changed<T> {
        match change(&mut self.params) {
            Ok(()) => Ok(self.clone()),
            Err(message) => Err(failure::invalid(&message, ctx.call_position())),
        }
    }
}

/// The methods that all have, but `create`.
pub(super) fn register<T: Type>(module: &mut Module) {
    module.set_custom_type::<Builder<T>>(T::NAME);
    // They change what they are called on, which the language then refuses for a constant.
    let method = |name: &str| Space::Plain.function(name).with_purity(false);
    for &(name, param, kind) in T::RESOURCE.fields {
        let set = move |ctx: NativeCallContext, builder: &mut Builder<T>, given: Dynamic| -> Changed<T> {
            builder.change(&ctx, |params| {
                params.put(param, kind.value(name, &given)?);
                Ok(())
            })
        };
        method(name).set_into_module(module, set);
    }
    let entry = |ctx: NativeCallContext, builder: &mut Builder<T>, key: &str, value: Dynamic| -> Changed<T> {
        builder.change(&ctx, |params| params.put_value(&nested("metadata", key)?, &value))
    };
    method("metadata").set_into_module(module, entry);
    let entries = |ctx: NativeCallContext, builder: &mut Builder<T>, map: Map| -> Changed<T> {
        builder.change(&ctx, |params| params.put_value("metadata", &map.into()))
    };
    method("metadata").set_into_module(module, entries);
    let any = |ctx: NativeCallContext, builder: &mut Builder<T>, name: &str, value: Dynamic| -> Changed<T> {
        builder.change(&ctx, |params| params.put_value(name, &value))
    };
    method("set").set_into_module(module, any);
    let key = |ctx: NativeCallContext, builder: &mut Builder<T>, key: Dynamic| -> Changed<T> {
        builder.change(&ctx, |params| params.set_key(&key))
    };
    method("idempotency_key").set_into_module(module, key);
}

/// The methods that only some have.
pub(super) fn register_special(module: &mut Module) {
    let method = |name: &str| Space::Plain.function(name).with_purity(false);
    let recurring = |ctx: NativeCallContext, price: &mut Builder<Price>, interval: &str| {
        price.change(&ctx, |params| every(params, interval, 1))
    };
    method("recurring").set_into_module(module, recurring);
    let recurring = |ctx: NativeCallContext, price: &mut Builder<Price>, interval: &str, count: INT| {
        price.change(&ctx, |params| every(params, interval, count))
    };
    method("recurring").set_into_module(module, recurring);

    let add = |ctx: NativeCallContext, subscription: &mut Builder<Subscription>, price: Dynamic| {
        subscription.change(&ctx, |params| add_entry(params, "items", "price", &price, None))
    };
    method("add_price").set_into_module(module, add);
    let add = |ctx: NativeCallContext, subscription: &mut Builder<Subscription>, price: Dynamic, quantity: Dynamic| {
        subscription.change(&ctx, |params| {
            let quantity = Kind::Whole.value("add_price", &quantity)?;
            add_entry(params, "items", "price", &price, Some(&quantity))
        })
    };
    method("add_price").set_into_module(module, add);
    for (name, field) in [("coupon", "coupon"), ("promotion_code", "promotion_code")] {
        let add = move |ctx: NativeCallContext, subscription: &mut Builder<Subscription>, id: Dynamic| {
            subscription.change(&ctx, |params| add_entry(params, "discounts", field, &id, None))
        };
        method(name).set_into_module(module, add);
    }
}

fn every(params: &mut Params, interval: &str, count: INT) -> Result<(), String> {
    if !["day", "week", "month", "year"].contains(&interval) {
        return Err(format!("`recurring` takes \"day\", \"week\", \"month\" or \"year\", not {interval:?}"));
    }
    if count < 1 {
        return Err(format!("`recurring` takes a count of 1 or more, not {count}"));
    }
    params.put("recurring[interval]", interval.to_owned());
    params.put("recurring[interval_count]", count.to_string());
    Ok(())
}

fn add_entry(
    params: &mut Params,
    list: &str,
    field: &str,
    given: &Dynamic,
    quantity: Option<&str>,
) -> Result<(), String> {
    let id = object::reference(given).ok_or_else(|| {
        format!("a {field} is given by its id or as an object, not by a value of type {}", given.type_name())
    })?;
    let quantity = quantity.map(|quantity| ("quantity", quantity));
    params.push(list, &[Some((field, id.as_str())), quantity].into_iter().flatten().collect::<Vec<_>>());
    Ok(())
}
