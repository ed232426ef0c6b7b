//! Asynchronous functions of the host program, as functions that a script waits for or gets a promise of.

use std::any::{Any, TypeId};
use std::fmt::Display;
use std::sync::Arc;

use futures::channel::oneshot;
use futures::future::{AbortHandle, BoxFuture, abortable};
use rhai::{Dynamic, ImmutableString, NativeCallContext, Position};

use super::engine::ScriptEngine;
use super::host::Executor;
use super::promise::{Outcome, Promise};
use super::{failure, run};

/// An asynchronous function that scripts can call, with up to five arguments: of the types of Rhai (`i64`, `f64`, `bool`,
/// `String`, [`Array`](rhai::Array), [`Map`](rhai::Map), [`Dynamic`]) or of the program. Implemented for functions and
/// closures; see [`ScriptEngine::register_async`].
pub trait AsyncFunction<Arguments>: Send + Sync + 'static {
    #[doc(hidden)]
    fn types() -> Vec<TypeId>;

    /// Starts it; nothing runs before the future is polled.
    #[doc(hidden)]
    fn call(&self, arguments: &mut [&mut Dynamic]) -> BoxFuture<'static, Result<Dynamic, String>>;
}

macro_rules! functions {
    ($($argument:ident)*) => {
        impl<F, Fut, T, E, $($argument),*> AsyncFunction<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = Result<T, E>> + Send + 'static,
            T: Any + Clone + Send + Sync,
            E: Display,
            $($argument: Any + Clone + Send + Sync,)*
        {
            fn types() -> Vec<TypeId> {
                vec![$(type_of::<$argument>()),*]
            }

            #[allow(unused_mut, unused_variables, non_snake_case, irrefutable_let_patterns, reason = "for the one without arguments")]
            fn call(&self, arguments: &mut [&mut Dynamic]) -> BoxFuture<'static, Result<Dynamic, String>> {
                let mut arguments = arguments.iter_mut();
                $(let $argument = arguments.next().and_then(|given| take::<$argument>(given));)*
                let ($(Some($argument),)*) = ($($argument,)*) else {
                    return Box::pin(async { Err("an argument has the wrong type".to_owned()) });
                };
                let future = self($($argument),*);
                Box::pin(async { future.await.map(Dynamic::from).map_err(|error| error.to_string()) })
            }
        }
    };
}

functions!();
functions!(A);
functions!(A B);
functions!(A B C);
functions!(A B C D);
functions!(A B C D G);

/// As the language tells types apart: it has its own for strings.
fn type_of<T: 'static>() -> TypeId {
    let own = TypeId::of::<T>();
    if own == TypeId::of::<String>() { TypeId::of::<ImmutableString>() } else { own }
}

/// The value of an argument.
fn take<T: Any + Clone + Send + Sync>(given: &mut Dynamic) -> Option<T> {
    let mut taken: Option<T> = None;
    let slot: &mut dyn Any = &mut taken;
    if let Some(text) = slot.downcast_mut::<Option<String>>() {
        *text = given.read_lock::<ImmutableString>().map(|text| text.to_string());
    } else if let Some(any) = slot.downcast_mut::<Option<Dynamic>>() {
        *any = Some(given.clone());
    } else {
        taken = given.clone().try_cast::<T>();
    }
    taken
}

impl ScriptEngine {
    /// Makes an asynchronous function of the program callable: by its name it is waited for, with `_async` added to the name
    /// it gives a promise. An error is thrown as a map of the kind `host`, with its text as `message`.
    ///
    /// While a script waits, its time limit and its cancel token hold: the future is dropped then. It is polled on the
    /// script's thread, or runs where [`executor`](super::ScriptEngineBuilder::executor) says.
    ///
    /// # Examples
    ///
    /// ```
    /// use marmot::script::ScriptEngine;
    /// use std::io;
    ///
    /// async fn stock(item: String, least: i64) -> io::Result<bool> {
    ///     Ok(item == "hay" && least < 100) // a query of a database, say
    /// }
    ///
    /// let mut engine = ScriptEngine::new();
    /// engine.register_async("stock", stock);
    /// let both = engine.run(r#"
    ///     let later = stock_async("hay", 50);
    ///     [stock("grass", 1), later.wait()]
    /// "#)?;
    /// assert_eq!(both.to_string(), "[false, true]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn register_async<Arguments: 'static>(
        &mut self,
        name: &str,
        function: impl AsyncFunction<Arguments>,
    ) -> &mut Self {
        let function = Arc::new(function);
        let types = arguments_of(&*function);
        for (name, later) in [(name.to_owned(), false), (format!("{name}_async"), true)] {
            let (function, executor) = (function.clone(), self.executor().cloned());
            let call = move |ctx: NativeCallContext, arguments: &mut [&mut Dynamic]| {
                let at = ctx.call_position();
                let work = started(executor.as_ref(), function.call(arguments), at);
                if later {
                    return Ok(Dynamic::from(Promise::start(&run::current(), work)));
                }
                match run::wait_until(work, None)? {
                    Some(Err(thrown)) => Err(failure::again(thrown, at)),
                    Some(Ok(value)) => Ok(value),
                    None => Ok(Dynamic::UNIT),
                }
            };
            self.engine_mut().register_raw_fn::<Dynamic>(name, &types, call);
        }
        self
    }
}

fn arguments_of<Arguments, F: AsyncFunction<Arguments>>(_: &F) -> Vec<TypeId> {
    F::types()
}

/// Ends a future that was handed to an executor when nobody waits for it any more.
struct Abort(AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The function's future, on its executor if there is one.
fn started(
    executor: Option<&Executor>,
    future: BoxFuture<'static, Result<Dynamic, String>>,
    at: Position,
) -> BoxFuture<'static, Outcome> {
    let told = move |result: Result<Dynamic, String>| {
        result.map_err(|message| Dynamic::from(failure::describe("host", &message, None, at)))
    };
    let Some(executor) = executor else { return Box::pin(async move { told(future.await) }) };
    let (future, handle) = abortable(future);
    let (done, result) = oneshot::channel();
    executor(Box::pin(async move {
        if let Ok(result) = future.await {
            // Nobody waits for it any more: nothing is lost.
            let _ = done.send(result);
        }
    }));
    let abort = Abort(handle);
    Box::pin(async move {
        let _abort = abort;
        told(result.await.unwrap_or_else(|_| Err("its executor has dropped the function".into())))
    })
}
