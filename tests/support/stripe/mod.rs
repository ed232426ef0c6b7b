//! A fake of Stripe on loopback: resources, pages, idempotency, and faults on demand. Made for the tests of the client;
//! it checks what the client sends, and knows nothing that no test needs.

mod form;
mod resources;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use self::resources::Refusal;
use super::watched::Watched;
use super::{Request, Responder, Server};

/// The one key that it takes.
pub const KEY: &str = "sk_test_c4nary";

/// What befalls the next request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is answered with this status and these headers instead of being carried out.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// It is carried out after this time.
    Slow(Duration),
    /// The connection is reset before it is carried out.
    Reset,
    /// It is carried out, and the connection reset instead of an answer.
    ResetAfter,
    /// It is carried out, and half of the answer's body comes.
    Cut,
}

impl Fault {
    /// An error in Stripe's form.
    pub fn status(status: u16) -> Self {
        let error = json!({"error": {"type": "api_error", "code": "injected", "message": "An error was asked for."}});
        Self::Answer(status, Vec::new(), error.to_string())
    }

    /// The same with a header.
    pub fn with_header(status: u16, name: &'static str, value: impl ToString) -> Self {
        match Self::status(status) {
            Self::Answer(status, _, body) => Self::Answer(status, vec![(name, value.to_string())], body),
            other => other,
        }
    }
}

/// What is there, by path, in the order in which it was made.
#[derive(Default)]
pub struct Store {
    objects: Watched<HashMap<String, Vec<Value>>>,
    numbers: AtomicU64,
}

impl Store {
    fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn find(&self, path: &str, id: &str) -> Option<Value> {
        self.objects.read(|all| all.get(path)?.iter().find(|object| object["id"] == id).cloned())
    }

    fn all(&self, path: &str) -> Vec<Value> {
        self.objects.read(|all| all.get(path).cloned().unwrap_or_default())
    }

    /// Keeps an object in place of the one with its id.
    fn keep(&self, path: &str, object: Value) -> Value {
        self.objects.update(|objects| {
            let all = objects.entry(path.to_owned()).or_default();
            match all.iter_mut().find(|old| old["id"] == object["id"]) {
                Some(old) => *old = object.clone(),
                None => all.push(object.clone()),
            }
        });
        object
    }

    fn remove(&self, path: &str, id: &Value) {
        self.objects.update(|all| all.entry(path.to_owned()).or_default().retain(|object| object["id"] != *id));
    }
}

/// A write that was carried out: its path and body, and how it was answered.
type Carried = (String, String, u16, Value);

#[derive(Default)]
struct State {
    store: Store,
    carried: Watched<HashMap<String, Carried>>,
    faults: Watched<VecDeque<Fault>>,
}

/// The fake.
pub struct Stripe {
    server: Server,
    state: Arc<State>,
}

impl Stripe {
    pub fn start() -> Self {
        let state = Arc::new(State::default());
        let server = Server::start({
            let state = Arc::clone(&state);
            move |request, responder| state.serve(request, responder)
        });
        Self { server, state }
    }

    /// `http://127.0.0.1:PORT`
    pub fn origin(&self) -> String {
        self.server.origin()
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What befalls the next requests, one each.
    pub fn faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.faults.update(|waiting| waiting.extend(faults));
    }

    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// `POST /v1/prices`, in order.
    pub fn lines(&self) -> Vec<String> {
        self.requests().iter().map(|request| format!("{} {}", request.method, request.target)).collect()
    }

    /// The objects at a path, like `customers`.
    pub fn objects(&self, path: &str) -> Vec<Value> {
        self.state.store.all(path)
    }
}

impl State {
    fn serve(&self, request: &Request, responder: &mut Responder<'_>) -> io::Result<()> {
        let fault = self.faults.update(VecDeque::pop_front);
        match &fault {
            Some(Fault::Answer(status, headers, body)) => {
                let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                return responder.send(*status, &headers, body.as_bytes());
            }
            Some(Fault::Reset) => {
                responder.reset();
                return Ok(());
            }
            Some(Fault::Slow(time)) => responder.sleep(*time)?,
            Some(Fault::ResetAfter | Fault::Cut) | None => {}
        }
        let (status, body, replayed) = self.answer(request);
        let body = body.to_string();
        match fault {
            Some(Fault::ResetAfter) => {
                responder.reset();
                Ok(())
            }
            Some(Fault::Cut) => {
                let length = body.len().to_string();
                responder.head(status, &[("Content-Type", "application/json"), ("Content-Length", &length)])?;
                responder.body(&body.as_bytes()[..body.len() / 2])?;
                responder.reset();
                Ok(())
            }
            _ => {
                let id = format!("req_{}", self.store.next_number());
                let replayed = if replayed { "true" } else { "false" };
                let headers =
                    [("Content-Type", "application/json"), ("Request-Id", &*id), ("Idempotent-Replayed", replayed)];
                responder.send(status, &headers, body.as_bytes())
            }
        }
    }

    /// The status, the body, and whether a write was answered as the first time.
    fn answer(&self, request: &Request) -> (u16, Value, bool) {
        if request.header("authorization") != Some(&format!("Bearer {KEY}")) {
            let error = json!({"type": "invalid_request_error",
                "message": format!("Invalid API Key provided: {}", request.header("authorization").unwrap_or("none"))});
            return (401, json!({"error": error}), false);
        }
        let key = request.header("idempotency-key").filter(|_| request.method != "GET");
        let again = key.and_then(|key| self.carried.read(|all| all.get(key).cloned()));
        match again {
            Some((path, body, status, answer)) if path == request.path() && body == request.text() => {
                return (status, answer, true);
            }
            Some(_) => {
                let error = json!({"type": "idempotency_error",
                    "message": "Keys for idempotent requests can only be used with the same parameters."});
                return (400, json!({"error": error}), false);
            }
            None => {}
        }
        let (status, body) = match self.carry_out(request) {
            Ok(answer) => (200, answer),
            Err(Refusal(status, error)) => (status, json!({"error": error})),
        };
        if let Some(key) = key {
            let carried = (request.path().to_owned(), request.text(), status, body.clone());
            self.carried.update(|all| all.insert(key.to_owned(), carried));
        }
        (status, body, false)
    }

    fn carry_out(&self, request: &Request) -> Result<Value, Refusal> {
        let malformed = |why: String| Refusal::invalid(why, "", "parameter_invalid");
        let path: Vec<&str> = request.path().trim_start_matches('/').split('/').collect();
        let form = if request.method == "POST" { request.text() } else { String::new() };
        let params = form::tree(&form).map_err(malformed)?;
        let store = &self.store;
        let decoded = path.get(2).map(|id| String::from_utf8_lossy(&super::percent_decode(id)).into_owned());
        let there = |path: &str| {
            let id = decoded.as_deref().unwrap_or_default();
            store.find(path, id).ok_or_else(|| Refusal::no_such(path.trim_end_matches('s'), id))
        };
        match (request.method.as_str(), &path[..]) {
            ("POST", ["v1", resource]) => Ok(store.keep(resource, resources::create(resource, &params, store)?)),
            ("POST", ["v1", resource, _]) => {
                Ok(store.keep(resource, resources::update(resource, there(resource)?, &params)?))
            }
            ("POST", ["v1", "payment_intents", _, action]) => {
                let done = resources::act(there("payment_intents")?, action, &params)?;
                Ok(store.keep("payment_intents", done))
            }
            ("GET", ["v1", resource]) => self.page(resource, &request.query().into_iter().collect()),
            ("GET", ["v1", resource, _]) => there(resource),
            ("DELETE", ["v1", "subscriptions", _]) => {
                let mut ended = there("subscriptions")?;
                ended["status"] = "canceled".into();
                Ok(store.keep("subscriptions", ended))
            }
            ("DELETE", ["v1", resource @ ("products" | "customers" | "coupons"), _]) => {
                let gone = there(resource)?;
                store.remove(resource, &gone["id"]);
                Ok(json!({"id": gone["id"], "object": gone["object"], "deleted": true}))
            }
            _ => Err(Refusal::no_such("path", request.path())),
        }
    }

    /// The newest first, as Stripe has it.
    fn page(&self, path: &str, query: &HashMap<String, String>) -> Result<Value, Refusal> {
        resources::resource(path).ok_or_else(|| Refusal::no_such("resource", path))?;
        let mut all = self.store.all(path);
        all.reverse();
        for (name, wanted) in query.iter().filter(|(name, _)| !["limit", "starting_after"].contains(&name.as_str())) {
            all.retain(|object| object[name] == *wanted);
        }
        let limit: usize = query.get("limit").map_or(Ok(10), |limit| limit.parse()).unwrap_or(0);
        if !(1..=100).contains(&limit) {
            return Err(Refusal::invalid("limit is from 1 to 100", "limit", "parameter_invalid_integer"));
        }
        let start = match query.get("starting_after") {
            None => 0,
            Some(last) => 1 + all.iter().position(|object| object["id"] == *last).unwrap_or(all.len()),
        };
        let page: Vec<_> = all.iter().skip(start).take(limit).cloned().collect();
        Ok(
            json!({"object": "list", "has_more": start + page.len() < all.len(), "data": page, "url": format!("/v1/{path}")}),
        )
    }
}
