//! The server that the examples of `docs/script-reference.md` talk to as `api.example.org`: pets, and a route for each thing
//! that can be shown. Keeps nothing: each request finds the same two pets.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use super::{RawServer, Request, Responder, Server};

/// The token that `/private` wants.
pub const TOKEN: &str = "t0ken";

pub fn start() -> Server {
    Server::start(answer)
}

/// Its WebSockets: each message comes back.
pub fn start_websocket() -> RawServer {
    RawServer::start(|conn, _, _| {
        let Ok(mut socket) = tungstenite::accept(conn) else { return };
        while let Ok(message) = socket.read() {
            if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                break;
            }
        }
    })
}

fn pets() -> [Value; 2] {
    [json!({"id": 1, "name": "Alma"}), json!({"id": 7, "name": "Edda"})]
}

fn answer(request: &Request, responder: &mut Responder<'_>) -> io::Result<()> {
    let path = request.path().trim_end_matches('/');
    let id: Option<u64> = path.strip_prefix("/pets/").and_then(|id| id.parse().ok());
    match (request.method.as_str(), path) {
        ("GET", "/pets") => responder.json(200, &listed(request).to_string()),
        ("POST", "/pets") => {
            let body = created(request, 8);
            responder.send(201, &[("Content-Type", "application/json"), ("Location", "/pets/8")], body.as_bytes())
        }
        ("OPTIONS", "/pets") => responder.send(204, &[("Allow", "GET, POST, OPTIONS")], b""),
        ("DELETE", _) if id.is_some() => responder.send(204, &[], b""),
        ("PUT" | "PATCH", _) if id.is_some() => responder.json(200, &created(request, 7)),
        ("GET", _) if id.is_some() => match pets().iter().find(|pet| pet["id"] == json!(id)) {
            Some(pet) => responder.json(200, &pet.to_string()),
            None => responder.json(404, r#"{"error":"there is no such pet"}"#),
        },
        ("GET", "/old") => responder.send(301, &[("Location", "/pets/7")], b""),
        ("GET", "/slow") => {
            responder.sleep(Duration::from_secs(5))?;
            responder.text(200, "at last")
        }
        ("GET", "/pages") => responder.send(200, &[("Link", "</pages?page=2>; rel=\"next\"")], b"page 1"),
        ("GET", "/busy") => responder.send(503, &[("Retry-After", "2")], b"busy"),
        ("GET" | "HEAD", "/photo") => responder.send(200, &[("Content-Type", "image/jpeg")], &[7; 1000]),
        ("GET", "/log") => responder.text(200, "first\nsecond\nthird\n"),
        ("GET", "/login") => responder.send(200, &[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], b"welcome"),
        ("GET", "/events") => {
            let events = "data: one\n\nevent: price\ndata: two\n\ndata: [DONE]\n\n";
            responder.send(200, &[("Content-Type", "text/event-stream")], events.as_bytes())
        }
        ("GET", "/private") => match request.header("authorization") {
            Some(header) if header == format!("Bearer {TOKEN}") => responder.text(200, "come in"),
            _ => responder.text(401, "who are you?"),
        },
        ("POST" | "PUT", "/echo") => responder.send(200, &[], &request.body),
        ("POST", "/graphql") => responder.json(200, &queried(request).to_string()),
        ("GET", "/openapi.json") => responder.json(200, &document().to_string()),
        _ => responder.text(404, "there is nothing"),
    }
}

fn listed(request: &Request) -> Value {
    let query = request.query();
    let option = |name: &str| query.iter().find(|(other, _)| other == name).map(|(_, value)| value.to_lowercase());
    let like = option("like").unwrap_or_default();
    let limit = option("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let is_like = |pet: &Value| pet["name"].as_str().is_some_and(|name| name.to_lowercase().contains(&like));
    pets().into_iter().filter(is_like).take(limit).collect()
}

/// What was sent, with an id.
fn created(request: &Request, id: u64) -> String {
    let mut pet: Value = serde_json::from_str(&request.text()).unwrap_or_default();
    pet["id"] = id.into();
    pet.to_string()
}

fn queried(request: &Request) -> Value {
    let query: Value = serde_json::from_str(&request.text()).unwrap_or_default();
    match pets().into_iter().find(|pet| pet["id"] == query["variables"]["id"]) {
        Some(pet) => json!({"data": {"pet": {"name": pet["name"]}}}),
        None => json!({"errors": [{"message": "there is no field nonsense"}], "data": null}),
    }
}

fn document() -> Value {
    let limit = json!({"name": "limit", "in": "query", "schema": {"type": "integer"}});
    let id = json!({"name": "id", "in": "path", "required": true, "schema": {"type": "integer"}});
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Pets", "version": "1"},
        "servers": [{"url": "/"}],
        "paths": {
            "/pets": {"get": {"operationId": "listPets", "parameters": [limit]}},
            "/pets/{id}": {"get": {"operationId": "showPet", "parameters": [id]}},
        },
    })
}
