//! Asynchronous functions of the host program in scripts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use marmot::script::rhai::{Array, Dynamic, Map};
use marmot::script::{CancelToken, ScriptEngine, ScriptErrorKind};

/// Says when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_function_is_waited_for_or_gives_a_promise() {
    let mut engine = ScriptEngine::new();
    engine
        .register_async("nothing", || async { Ok::<_, String>(()) })
        .register_async("add", |a: i64, b: f64| async move { Ok::<_, String>(a as f64 + b) })
        .register_async("greet", |name: String| async move { Ok::<_, String>(format!("hello {name}")) })
        .register_async(
            "count",
            |items: Array, more: Map| async move { Ok::<_, String>((items.len() + more.len()) as i64) },
        )
        .register_async("kind", |any: Dynamic| async move { Ok::<_, String>(any.type_name().to_owned()) })
        .register_async("five", |a: i64, b: i64, c: i64, d: i64, e: bool| async move {
            Ok::<_, String>(if e { a + b + c + d } else { 0 })
        });
    let seen = engine.run(
        r#"
        let later = greet_async("you");
        [nothing(), add(1, 0.5), greet("me"), count([1, 2], #{ a: 1 }), kind([]), five(1, 2, 3, 4, true), later.wait()]
        "#,
    );
    assert_eq!(seen.unwrap().to_string(), r#"[(), 1.5, "hello me", 3, "array", 10, "hello you"]"#);
}

#[test]
fn its_error_is_thrown_with_the_line() {
    let mut engine = ScriptEngine::new();
    engine.register_async("fail", |why: String| async move { Err::<(), _>(why) });
    for source in ["\nfail(\"no rows\")", "\nfail_async(\"no rows\").wait()"] {
        let error = engine.run(source).unwrap_err();
        let map = error.value().unwrap().clone().cast::<Map>();
        assert_eq!((map["kind"].to_string(), map["message"].to_string()), ("host".into(), "no rows".into()));
        assert_eq!((map["line"].as_int(), error.line()), (Ok(2), Some(2)), "{source}");
    }
    assert!(engine.run("fail(1)").is_err(), "an argument of another type");
}

#[test]
fn the_deadline_and_the_token_of_the_script_end_it() {
    for with_executor in [false, true] {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let mut builder = ScriptEngine::builder();
        if with_executor {
            builder = builder.executor(move |future| drop(handle.spawn(future)));
        }
        let mut engine = builder.build().unwrap();
        let dropped = Arc::new(AtomicBool::new(false));
        let seen = dropped.clone();
        engine.register_async("hang", move || {
            let held = Dropped(seen.clone());
            async move {
                let _held = held;
                std::future::pending::<Result<(), String>>().await
            }
        });
        let start = Instant::now();
        for source in ["hang()", "hang_async().wait()", "let p = hang_async(); sleep(60)"] {
            dropped.store(false, Ordering::SeqCst);
            let script = engine.compile("hang", source).unwrap();
            let error = script.time_limit(Duration::from_millis(100)).run().unwrap_err();
            assert_eq!(error.kind(), ScriptErrorKind::TimeLimit, "{source}");
            while !dropped.load(Ordering::SeqCst) {
                assert!(start.elapsed() < Duration::from_secs(10), "{source}: the future goes on");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let token = CancelToken::new();
        let cancel = token.clone();
        let waiting = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            cancel.cancel();
        });
        let error = engine.compile("hang", "hang()").unwrap().cancel(token).run().unwrap_err();
        assert_eq!(error.kind(), ScriptErrorKind::Cancelled);
        waiting.join().unwrap();
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
}

#[test]
fn many_run_side_by_side_on_the_executor_of_the_program() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    let mut engine = ScriptEngine::builder().executor(move |future| drop(handle.spawn(future))).build().unwrap();
    let most = Arc::new(AtomicUsize::new(0));
    let running = Arc::new(AtomicUsize::new(0));
    let (top, now) = (most.clone(), running.clone());
    engine.register_async("query", move |n: i64| {
        let (top, now) = (top.clone(), now.clone());
        async move {
            top.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // A timer of the runtime: without it this would panic.
            tokio::time::sleep(Duration::from_millis(100)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, String>(n * 2)
        }
    });
    let start = Instant::now();
    let doubled = engine.run("http_each(0..20, 10, |n| query_async(n))").unwrap().cast::<Array>();
    let doubled: Vec<i64> = doubled.into_iter().map(|value| value.as_int().unwrap()).collect();
    assert_eq!(doubled, (0..20).map(|n| n * 2).collect::<Vec<i64>>());
    assert_eq!(most.load(Ordering::SeqCst), 10);
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
}
