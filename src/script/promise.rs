//! Requests that a script has started and will wait for later. All of them ride on the client's agents; no thread is
//! started for one.

use std::mem;
use std::ops::{Range, RangeInclusive};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::{AbortHandle, abortable};
use http::Method;
use rhai::{Array, Dynamic, FnPtr, INT, ImmutableString, Map, Module, NativeCallContext, Position};

use super::client::Client;
use super::run::{self, Run};
use super::{Space, Thrown, failure};

/// What became of it: a value, or what is thrown.
pub(super) type Outcome = Result<Dynamic, Dynamic>;

/// A value that is not here yet.
#[derive(Clone)]
pub(super) struct Promise(Arc<Inner>);

struct Inner {
    /// The run that it belongs to.
    run: u64,
    state: Mutex<State>,
}

enum State {
    Pending(AbortHandle),
    Settled(Outcome),
}

impl Promise {
    /// Takes work that is under way.
    pub(super) fn start(run: &Run, work: impl Future<Output = Outcome> + Send + 'static) -> Self {
        let (work, handle) = abortable(work);
        let promise = Self(Arc::new(Inner { run: run.number, state: Mutex::new(State::Pending(handle)) }));
        let own = promise.clone();
        run.tasks.start(async move {
            // Cancelled: nobody needs to hear of it.
            let Ok(outcome) = work.await else { return true };
            let well = outcome.is_ok();
            *own.state() = State::Settled(outcome);
            well
        });
        promise
    }

    /// One that is settled from the beginning.
    fn settled(value: Dynamic) -> Self {
        Self(Arc::new(Inner { run: run::current().number, state: Mutex::new(State::Settled(Ok(value))) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outcome(&self) -> Option<Outcome> {
        match &*self.state() {
            State::Settled(outcome) => Some(outcome.clone()),
            State::Pending(_) => None,
        }
    }

    /// As `outcome`, and not copied where nobody else has this promise.
    fn into_outcome(self) -> Option<Outcome> {
        match Arc::try_unwrap(self.0).map(|own| own.state.into_inner().unwrap_or_else(PoisonError::into_inner)) {
            Ok(State::Settled(outcome)) => Some(outcome),
            Ok(State::Pending(_)) => None,
            Err(shared) => Self(shared).outcome(),
        }
    }

    fn failure(&self) -> Option<Dynamic> {
        match &*self.state() {
            State::Settled(Err(thrown)) => Some(thrown.clone()),
            _ => None,
        }
    }

    fn is_ready(&self) -> bool {
        matches!(&*self.state(), State::Settled(_))
    }

    /// Ends the work, unless it has ended. Whoever waits for it is told.
    fn cancel(&self, at: Position) {
        let mut state = self.state();
        if let State::Pending(handle) = &*state {
            handle.abort();
            *state = State::Settled(Err(failure::describe("cancelled", "the request was cancelled", None, at).into()));
        }
    }

    /// Waits, no longer than to the deadline: `None` then.
    fn wait(&self, deadline: Option<Instant>, at: Position) -> Result<Option<Dynamic>, Thrown> {
        if self.0.run != run::current().number && !self.is_ready() {
            return Err(failure::invalid("a promise can be waited for only by the run that made it", at));
        }
        match run::wait_until(std::future::poll_fn(|_| self.outcome().map_or(Poll::Pending, Poll::Ready)), deadline)? {
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(thrown)) => Err(failure::again(thrown, at)),
            None => Ok(None),
        }
    }
}

/// Cancels those that are still under way when a script does not get what it waits for.
struct Group {
    promises: Vec<Promise>,
    at: Position,
}

impl Group {
    /// Ready when all have ended, or one of them not well.
    fn poll_all(&self, seen: &mut (u64, usize)) -> Poll<()> {
        let (failed, next) = seen;
        let (_, now_failed) = run::current().tasks.counts();
        if *failed != now_failed && self.failure().is_some() {
            return Poll::Ready(());
        }
        *failed = now_failed;
        self.poll_settled(next)
    }

    /// Ready when all have ended. Those before `next` have.
    fn poll_settled(&self, next: &mut usize) -> Poll<()> {
        while self.promises.get(*next).is_some_and(Promise::is_ready) {
            *next += 1;
        }
        if *next == self.promises.len() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn failure(&self) -> Option<Dynamic> {
        self.promises.iter().find_map(Promise::failure)
    }

    /// What became of each, as maps.
    fn into_outcomes(mut self) -> Array {
        let promises = mem::take(&mut self.promises);
        let told = promises.into_iter().filter_map(Promise::into_outcome).map(|outcome| {
            let (name, value) = match outcome {
                Ok(value) => ("value", value),
                Err(thrown) => ("error", thrown),
            };
            Dynamic::from_map(Map::from_iter([("ok".into(), (name == "value").into()), (name.into(), value)]))
        });
        told.collect()
    }

    /// The values in order, or the first failure.
    fn into_values(mut self) -> Result<Array, Thrown> {
        if let Some(thrown) = self.failure() {
            return Err(failure::again(thrown, self.at));
        }
        let promises = mem::take(&mut self.promises);
        Ok(promises
            .into_iter()
            .map(|promise| promise.into_outcome().and_then(Result::ok).unwrap_or_default())
            .collect())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for promise in &self.promises {
            promise.cancel(self.at);
        }
    }
}

impl Client {
    /// A promise, a URL to get or a map of options becomes a promise; anything else is given back.
    fn promise_of(&self, item: Dynamic, at: Position) -> Result<Result<Promise, Dynamic>, Thrown> {
        if let Some(promise) = item.read_lock::<Promise>() {
            return Ok(Ok(promise.clone()));
        }
        let url = item.read_lock::<ImmutableString>().map(|url| url.clone());
        let spec = if let Some(url) = &url {
            self.spec(&Method::GET, url, None, None)
        } else if let Some(options) = item.read_lock::<Map>().filter(|map| map.contains_key("url")) {
            self.spec_of(&options)
        } else {
            return Ok(Err(item.clone()));
        };
        self.start(at, spec).map(Ok)
    }

    fn promises_of(&self, items: Array, at: Position) -> Result<Group, Thrown> {
        let mut group = Group { promises: Vec::with_capacity(items.len()), at };
        for item in items {
            match self.promise_of(item, at)? {
                Ok(promise) => group.promises.push(promise),
                Err(other) => {
                    let detail = format!(
                        "the items are promises, URLs or maps of options with a `url`, not {}",
                        other.type_name()
                    );
                    return Err(failure::invalid(&detail, at));
                }
            }
        }
        Ok(group)
    }

    /// Starts all, and waits until `is_done`.
    fn gather(&self, items: Array, at: Position, mut is_done: impl FnMut(&Group) -> Poll<()>) -> Result<Group, Thrown> {
        run::wait(self.http(), || {
            let started = self.promises_of(items, at);
            async {
                let group = started?;
                std::future::poll_fn(|_| is_done(&group)).await;
                Ok(group)
            }
        })?
    }

    fn all(&self, items: Array, at: Position) -> Result<Array, Thrown> {
        let mut seen = (u64::MAX, 0);
        self.gather(items, at, |group| group.poll_all(&mut seen))?.into_values()
    }

    fn settle(&self, items: Array, at: Position) -> Result<Array, Thrown> {
        let mut next = 0;
        Ok(self.gather(items, at, |group| group.poll_settled(&mut next))?.into_outcomes())
    }

    fn race(&self, items: Array, at: Position) -> Result<Dynamic, Thrown> {
        if items.is_empty() {
            return Err(failure::invalid("there is nothing in the race", at));
        }
        let winner = |group: &Group| group.promises.iter().find_map(|promise| promise.outcome().and_then(Result::ok));
        let mut ended = u64::MAX;
        let group = self.gather(items, at, |group| {
            let (now_ended, _) = run::current().tasks.counts();
            if mem::replace(&mut ended, now_ended) == now_ended {
                return Poll::Pending;
            }
            let over = winner(group).is_some() || group.promises.iter().all(Promise::is_ready);
            if over { Poll::Ready(()) } else { Poll::Pending }
        })?;
        winner(&group).ok_or_else(|| failure::again(group.failure().unwrap_or_default(), at))
    }

    /// Calls `make` for each item, with no more than `limit` of the requests that it starts under way. Goes on after one
    /// that fails only if that is `tolerated`.
    fn each(
        &self,
        ctx: &NativeCallContext,
        items: Dynamic,
        limit: INT,
        make: &FnPtr,
        tolerated: bool,
    ) -> Result<Group, Thrown> {
        let at = ctx.call_position();
        let items = items_of(items).map_err(|message| failure::invalid(&message, at))?;
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
        let limit = limit.ok_or_else(|| failure::invalid("the limit of requests at once is above zero", at))?;
        let mut group = Group { promises: Vec::new(), at };
        let mut pending = Vec::new();
        for item in items {
            let made = make.call_within_context::<Dynamic>(ctx, (item,))?;
            let promise = self.promise_of(made, at)?.unwrap_or_else(Promise::settled);
            pending.push(promise.clone());
            group.promises.push(promise);
            self.wait_for_some(&mut pending, limit - 1, tolerated, at)?;
        }
        self.wait_for_some(&mut pending, 0, tolerated, at)?;
        Ok(group)
    }

    /// Waits until no more than `most` are under way, and takes out those that have ended.
    fn wait_for_some(
        &self,
        pending: &mut Vec<Promise>,
        most: usize,
        tolerated: bool,
        at: Position,
    ) -> Result<(), Thrown> {
        let mut ended = u64::MAX;
        let failure = run::wait(self.http(), || {
            std::future::poll_fn(|_| {
                let (now_ended, _) = run::current().tasks.counts();
                if mem::replace(&mut ended, now_ended) == now_ended {
                    return Poll::Pending;
                }
                let thrown = if tolerated { None } else { pending.iter().find_map(Promise::failure) };
                if thrown.is_some() {
                    return Poll::Ready(thrown);
                }
                pending.retain(|promise| !promise.is_ready());
                if pending.len() <= most { Poll::Ready(None) } else { Poll::Pending }
            })
        })?;
        failure.map_or(Ok(()), |thrown| Err(failure::again(thrown, at)))
    }
}

/// The items of an array or a range, one after another: a range may be longer than any memory.
fn items_of(items: Dynamic) -> Result<Box<dyn Iterator<Item = Dynamic>>, String> {
    if let Some(range) = items.read_lock::<Range<INT>>() {
        return Ok(Box::new(range.clone().map(Dynamic::from)));
    }
    if let Some(range) = items.read_lock::<RangeInclusive<INT>>() {
        return Ok(Box::new(range.clone().map(Dynamic::from)));
    }
    let items = items.into_array().map_err(|other| format!("the items are an array or a range, not {other}"))?;
    Ok(Box::new(items.into_iter()))
}

pub(super) fn register_type(module: &mut Module) {
    module.set_custom_type::<Promise>("Promise");
    module.set_getter_fn("ready", |promise: &mut Promise| {
        run::go_on();
        Ok(promise.is_ready())
    });
    Space::Plain.function("wait").set_into_module(module, |ctx: NativeCallContext, promise: &mut Promise| {
        promise.wait(None, ctx.call_position()).map(Option::unwrap_or_default)
    });
    let wait = |ctx: NativeCallContext, promise: &mut Promise, milliseconds: INT| {
        let time = Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
        promise.wait(Instant::now().checked_add(time), ctx.call_position()).map(Option::unwrap_or_default)
    };
    Space::Plain.function("wait").set_into_module(module, wait);
    let cancel = |ctx: NativeCallContext, promise: &mut Promise| -> Result<(), Thrown> {
        promise.cancel(ctx.call_position());
        Ok(())
    };
    Space::Plain.function("cancel").set_into_module(module, cancel);
    for name in ["to_string", "to_debug"] {
        Space::Plain.function(name).set_into_module(module, |promise: &mut Promise| -> Result<String, Thrown> {
            let state = match &*promise.state() {
                State::Pending(_) => "pending",
                State::Settled(Ok(_)) => "ready",
                State::Settled(Err(_)) => "failed",
            };
            Ok(format!("Promise({state})"))
        });
    }
}

pub(super) fn register(module: &mut Module, client: &Client, space: Space) {
    let own = client.clone();
    let all = move |ctx: NativeCallContext, items: Array| own.all(items, ctx.call_position());
    space.function("all").set_into_module(module, all);
    let own = client.clone();
    let settle = move |ctx: NativeCallContext, items: Array| own.settle(items, ctx.call_position());
    space.function("settle").set_into_module(module, settle);
    let own = client.clone();
    let race = move |ctx: NativeCallContext, items: Array| own.race(items, ctx.call_position());
    space.function("race").set_into_module(module, race);
    let own = client.clone();
    let settle = move |ctx: NativeCallContext, items: Dynamic, limit: INT, make: FnPtr| {
        own.each(&ctx, items, limit, &make, true).map(Group::into_outcomes)
    };
    space.function("settle").set_into_module(module, settle);
    let own = client.clone();
    let each = move |ctx: NativeCallContext, items: Dynamic, limit: INT, make: FnPtr| {
        own.each(&ctx, items, limit, &make, false)?.into_values()
    };
    space.function("each").set_into_module(module, each);
}
