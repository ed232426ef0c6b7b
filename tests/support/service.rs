//! A small API that keeps what it is given, with what scripts meet out there: pages, jobs, tokens, events, forms. It knows
//! nothing that no example script needs.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::request::{base64, percent_decode};
use super::watched::Watched;
use super::{Request, Responder, Server};

/// The client that gets tokens, and its secret.
pub const CLIENT: (&str, &str) = ("meadow", "c4nary-secret");

/// The largest file that it takes.
const MOST: usize = 1 << 20;

/// The service, until it is dropped.
pub struct Service {
    server: Server,
    state: Arc<Watched<State>>,
}

#[derive(Default)]
struct State {
    /// By the first word of the path. The field `id` or, if there is one, `name` is the key.
    lists: BTreeMap<String, Vec<Value>>,
    numbers: u64,
    /// The next requests with this method and beginning of the target are answered so; 0 resets the connection.
    faults: VecDeque<(&'static str, u16)>,
    /// What writes to lists have to bring, if anything.
    bearer: Option<&'static str>,
    /// Of items now, and the most so far.
    at_once: (usize, usize),
    /// The token that is taken, and how often it will still be.
    token: (String, usize),
    uses: usize,
    asked: HashMap<String, usize>,
}

impl Service {
    pub fn start() -> Self {
        let state = Arc::new(Watched::new(State { uses: usize::MAX, ..State::default() }));
        let server = Server::start({
            let state = Arc::clone(&state);
            move |request, r| answer(&state, request, r)
        });
        Self { server, state }
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    pub fn origin(&self) -> String {
        self.server.origin()
    }

    /// Adds to a list, with an id where there is none.
    pub fn keep(&self, list: &str, item: Value) {
        self.state.update(|state| state.add(list, item));
    }

    /// What is in a list.
    pub fn list(&self, list: &str) -> Vec<Value> {
        self.state.read(|state| state.lists.get(list).cloned().unwrap_or_default())
    }

    /// Answers the next requests that begin so, as in `GET /items`, with these statuses; 0 resets the connection.
    pub fn fail(&self, line: &'static str, statuses: &[u16]) {
        self.state.update(|state| state.faults.extend(statuses.iter().map(|status| (line, *status))));
    }

    /// Demands this token of whoever writes to a list.
    pub fn guard_with(&self, token: &'static str) {
        self.state.update(|state| state.bearer = Some(token));
    }

    /// Makes the tokens that it gives good for so many requests.
    pub fn limit_tokens(&self, uses: usize) {
        self.state.update(|state| state.uses = uses);
    }

    /// The most requests for single items that were under way at once.
    pub fn most_at_once(&self) -> usize {
        self.state.read(|state| state.at_once.1)
    }
}

impl State {
    fn add(&mut self, list: &str, mut item: Value) -> Value {
        self.numbers += 1;
        if item.get("id").is_none() && item.get("name").is_none() {
            item["id"] = json!(self.numbers);
        }
        self.lists.entry(list.to_owned()).or_default().push(item.clone());
        item
    }

    fn fault(&mut self, request: &Request) -> Option<u16> {
        let line = format!("{} {}", request.method, request.target);
        let at = self.faults.iter().position(|(beginning, _)| line.starts_with(beginning))?;
        self.faults.remove(at).map(|(_, status)| status)
    }

    /// Counts the requests for something, from 1.
    fn count(&mut self, what: &str) -> usize {
        let count = self.asked.entry(what.to_owned()).or_default();
        *count += 1;
        *count
    }
}

fn answer(state: &Watched<State>, request: &Request, r: &mut Responder<'_>) -> io::Result<()> {
    match state.update(|state| state.fault(request)) {
        Some(0) => {
            r.reset();
            return Ok(());
        }
        Some(status) => {
            return r.send(status, &[("Retry-After", "0"), ("Content-Type", "text/plain")], b"out of order");
        }
        None => {}
    }
    let words: Vec<&str> = request.path().split('/').skip(1).collect();
    match (request.method.as_str(), words.as_slice()) {
        ("POST", ["upload"]) => upload(request, r),
        ("GET", ["events"]) => events(request, r),
        ("POST", ["jobs"]) => start_job(state, request, r),
        ("GET", ["jobs", kind]) => job(state, kind, r),
        ("POST", ["token"]) => token(state, request, r),
        ("GET", [path @ ("account" | "orders")]) => guarded(state, path, request, r),
        ("POST", ["graphql"]) => burrow(request, r),
        (_, [list]) => whole_list(state, list, request, r),
        (_, [list, key]) => single(state, list, key, request, r),
        _ => r.text(404, "not here"),
    }
}

fn body_of(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}

fn send(r: &mut Responder<'_>, status: u16, headers: &[(&str, &str)], body: &Value) -> io::Result<()> {
    let headers: Vec<_> = headers.iter().copied().chain([("Content-Type", "application/json")]).collect();
    r.send(status, &headers, body.to_string().as_bytes())
}

fn may_write(state: &Watched<State>, request: &Request) -> bool {
    let bearer = state.read(|state| state.bearer);
    bearer.is_none_or(|token| request.header("authorization") == Some(&format!("Bearer {token}")))
}

/// `GET` is one page, with a link to the next; `POST` adds, once for each idempotency key.
fn whole_list(state: &Watched<State>, list: &str, request: &Request, r: &mut Responder<'_>) -> io::Result<()> {
    if request.method == "POST" {
        if !may_write(state, request) {
            return r.text(401, "who are you?");
        }
        let again = request.header("idempotency-key").is_some_and(|key| state.update(|state| state.count(key) > 1));
        let item = if again { body_of(request) } else { state.update(|state| state.add(list, body_of(request))) };
        return send(r, 201, &[], &item);
    }
    let number =
        |name: &str, default: usize| request.query_value(name).map_or(default, |text| text.parse().expect("a number"));
    let (page, size) = (number("page", 1), number("per_page", 100));
    let mut all = state.read(|state| state.lists.get(list).cloned().unwrap_or_default());
    if let Some(field) = request.query_value("sort") {
        all.sort_by_key(|item| item[field.as_str()].to_string());
    }
    let items: Vec<_> = all.iter().skip((page - 1) * size).take(size).cloned().collect();
    let last = all.len().div_ceil(size);
    let link = |page: usize, relation: &str| format!("</{list}?page={page}&per_page={size}>; rel=\"{relation}\"");
    let link = format!("{}, {}", link(last, "last"), link(page + 1, "next"));
    let headers = if page < last { vec![("Link", link.as_str())] } else { vec![] };
    send(r, 200, &headers, &items.into())
}

/// One thing of a list, by its key. Takes a while, so that several are under way at once.
fn single(state: &Watched<State>, list: &str, key: &str, request: &Request, r: &mut Responder<'_>) -> io::Result<()> {
    let key = String::from_utf8_lossy(&percent_decode(key)).into_owned();
    let number = key.parse::<u64>().ok();
    let is_it = |item: &Value| item["name"] == key || (number.is_some() && item["id"].as_u64() == number);
    if request.method == "GET" {
        state.update(|state| {
            state.at_once.0 += 1;
            state.at_once.1 = state.at_once.1.max(state.at_once.0);
        });
        let slept = r.sleep(Duration::from_millis(if key == "7" { 120 } else { 15 }));
        state.update(|state| state.at_once.0 -= 1);
        slept?;
    } else if !may_write(state, request) {
        return r.text(401, "who are you?");
    }
    let found = state.update(|state| {
        let items = state.lists.get_mut(list)?;
        let at = items.iter().position(is_it)?;
        match request.method.as_str() {
            "DELETE" => drop(items.remove(at)),
            "PUT" => {
                let id = items[at]["id"].clone();
                items[at] = body_of(request);
                items[at]["id"] = id;
            }
            _ => return Some(items[at].clone()),
        }
        Some(Value::Null)
    });
    match found {
        Some(Value::Null) => r.send(204, &[], b""),
        Some(item) => send(r, 200, &[], &item),
        None => r.text(404, "no such thing"),
    }
}

/// A form with a file, which takes a while.
fn upload(request: &Request, r: &mut Responder<'_>) -> io::Result<()> {
    let form = request.text();
    let is_form = request.header("content-type").is_some_and(|kind| kind.starts_with("multipart/form-data; boundary="));
    if !is_form || !form.contains("name=\"file\"; filename=\"") || !form.contains("name=\"title\"") {
        return r.text(400, "a form with a title and a file, please");
    }
    if request.body.len() > MOST {
        return r.text(413, "no more than 1 MiB");
    }
    r.sleep(Duration::from_millis(1200))?;
    send(r, 201, &[], &json!({"id": "file-1"}))
}

/// The first connection breaks off; the next one goes on after its last event, and then nothing comes.
fn events(request: &Request, r: &mut Responder<'_>) -> io::Result<()> {
    match request.query_value("end") {
        Some(_) => return r.send(204, &[], b""),
        None => r.start_chunked(200, &[("Content-Type", "text/event-stream")])?,
    }
    if request.header("last-event-id").is_none() {
        r.chunk(b"retry: 20\n\nevent: progress\nid: 1\ndata: 50 percent\n\n")?;
        return r.end_chunks(&[]);
    }
    r.chunk(b"event: progress\nid: 2\ndata: 90 percent\n\nevent: done\nid: 3\ndata: 17 bales\n\n: silence\n\n")?;
    r.stall()
}

fn start_job(state: &Watched<State>, request: &Request, r: &mut Responder<'_>) -> io::Result<()> {
    let kind = body_of(request)["kind"].as_str().unwrap_or_default().to_owned();
    if !matches!(kind.as_str(), "report" | "broken" | "endless") {
        return r.text(400, "no such kind of job");
    }
    state.update(|state| state.asked.clear());
    let place = format!("/jobs/{kind}");
    send(r, 202, &[("Location", &place), ("Retry-After", "1")], &Value::Null)
}

/// A report is done when it is asked for the third time. An endless job is never.
fn job(state: &Watched<State>, kind: &str, r: &mut Responder<'_>) -> io::Result<()> {
    match (kind, state.update(|state| state.count(kind))) {
        ("broken", _) => send(r, 200, &[], &json!({"status": "failed", "reason": "no hay"})),
        ("report", 3..) => send(r, 200, &[], &json!({"status": "done", "result": "17 bales"})),
        (_, count) => send(r, 200, &[], &json!({"status": "running", "percent": count * 30})),
    }
}

fn token(state: &Watched<State>, request: &Request, r: &mut Responder<'_>) -> io::Result<()> {
    let credentials = format!("Basic {}", base64(format!("{}:{}", CLIENT.0, CLIENT.1).as_bytes()));
    if request.header("authorization") != Some(&credentials) {
        return send(r, 401, &[], &json!({"error": "invalid_client"}));
    }
    if !request.text().split('&').any(|pair| pair == "grant_type=client_credentials") {
        return send(r, 400, &[], &json!({"error": "unsupported_grant_type"}));
    }
    let token = state.update(|state| {
        state.numbers += 1;
        state.token = (format!("token-{}", state.numbers), state.uses);
        state.token.0.clone()
    });
    send(r, 200, &[], &json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}))
}

/// What needs a token that is not used up.
fn guarded(state: &Watched<State>, path: &str, request: &Request, r: &mut Responder<'_>) -> io::Result<()> {
    let allowed = state.update(|state| {
        let (token, uses) = &mut state.token;
        let allowed = *uses > 0 && request.header("authorization") == Some(&format!("Bearer {token}"));
        *uses = uses.saturating_sub(usize::from(allowed));
        allowed
    });
    match allowed {
        true => send(r, 200, &[], &json!({"path": path})),
        false => send(r, 401, &[("WWW-Authenticate", "Bearer error=\"invalid_token\"")], &Value::Null),
    }
}

/// GraphQL's answer to the one question that there is: a letter is a metre.
fn burrow(request: &Request, r: &mut Responder<'_>) -> io::Result<()> {
    match body_of(request)["variables"]["name"].as_str() {
        Some("nobody") => {
            let error = json!({"data": {"burrow": null}, "errors": [{"message": "nobody lives there"}]});
            send(r, 200, &[], &error)
        }
        Some(name) => send(r, 200, &[], &json!({"data": {"burrow": {"depth": name.len()}}})),
        None => send(r, 400, &[], &json!({"errors": [{"message": "the variable `name` is missing"}]})),
    }
}
