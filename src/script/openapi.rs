//! `http::openapi`: documents of OpenAPI 3 become operations of an API. References are followed by `document`.
//!
//! Not read: `servers` of single paths and operations, `security` of operations, schemas below the top level of a body.

use std::collections::BTreeSet;

use http::Method;
use rhai::{Dynamic, Map, Module, NativeCallContext, Position};
use serde_json::{Map as Object, Value};
use url::Url;

use super::answer::Answer;
use super::client::Client;
use super::document::{Document, MAX_DEPTH};
use super::failure::Problem;
use super::object::{Api, Group, MAX_OPERATIONS, is_callable};
use super::operation::{Body, Field, Form, Operation, Param, Place, Style};
use super::path::{Template, encoded};
use super::rules::{Rule, shortened};
use super::source::Source;
use super::{Space, Thrown, value};

/// The most parameters of an operation.
const MAX_PARAMS: usize = 200;
/// The most fields of its body.
const MAX_FIELDS: usize = 1_000;
/// The most bytes of a server's URL, and of what its variables stand for.
const MAX_URL: usize = 2_000;
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

/// The object for a document that was found at a URL, or elsewhere.
fn openapi(client: &Client, document: &Value, url: Option<&str>, mut options: Map) -> Result<Map, Problem> {
    let document = Document::of(document)?;
    let query = keys(&document, &mut options)?;
    if !options.contains_key("base_url") {
        options.insert("base_url".into(), server(&document, url)?.into());
    }
    let base = options.get("base_url").map(ToString::to_string).unwrap_or_default();
    let info = document.root.get("info").and_then(Value::as_object);
    let word = |name: &str| info.and_then(|info| info.get(name)?.as_str()).unwrap_or_default().trim();
    let title = [word("title"), word("version"), &base].join(" ").trim().to_owned();
    Ok(Api::new(client, options, query, title)?.object(&operations(&document)?))
}

/// The URL of the first server, with the defaults of its variables.
fn server(document: &Document<'_>, url: Option<&str>) -> Result<String, String> {
    let first = document.root.get("servers").and_then(|servers| servers.get(0)).and_then(Value::as_object);
    // Without any it is the place of the document (OpenAPI 3.1, 4.8.1).
    let mut text = first.and_then(|server| server.get("url")?.as_str()).unwrap_or("/").to_owned();
    let variables = first.and_then(|server| server.get("variables")?.as_object());
    for (name, variable) in variables.into_iter().flatten() {
        let default = variable.get("default").and_then(Value::as_str);
        let default = default.ok_or_else(|| format!("the server's variable `{}` has no default", shortened(name)))?;
        // A default may hold what others stand for.
        if text.len().max(default.len()) > MAX_URL {
            return Err("the server's URL is too long".into());
        }
        text = text.replace(&format!("{{{name}}}"), default);
    }
    if text.contains("://") {
        return Ok(text);
    }
    let Some(url) = url else {
        return Err("the document names no server by a whole URL; give it as the option `base_url`".into());
    };
    let joined = Url::parse(url).and_then(|url| url.join(&text));
    joined.map(String::from).map_err(|error| format!("the server's URL `{text}` is none: {error}"))
}

/// Takes `api_key` out of the option `auth`: keys in headers become headers, those in the query are given back.
fn keys(document: &Document<'_>, options: &mut Map) -> Result<Vec<String>, String> {
    let given = match options.get_mut("auth").and_then(|auth| auth.write_lock::<Map>()) {
        Some(mut auth) if auth.contains_key("api_key") => {
            if auth.len() > 1 {
                return Err("`auth` is one of #{user, password}, #{bearer} and #{api_key}".into());
            }
            auth.remove("api_key").unwrap_or_default()
        }
        _ => return Ok(Vec::new()),
    };
    options.remove("auth");
    let schemes = document.root.get("components").and_then(|components| components.get("securitySchemes")?.as_object());
    let mut found = Vec::new();
    for (scheme, described) in schemes.into_iter().flatten() {
        let described = document.resolve(described)?;
        let word = |name: &str| described.get(name).and_then(Value::as_str).unwrap_or_default();
        if word("type") == "apiKey" {
            found.push((scheme.as_str(), word("in"), word("name")));
        }
    }
    let by_name = given.clone().try_cast::<Map>();
    let all = found.iter().map(|(scheme, ..)| format!("`{scheme}`")).collect::<Vec<_>>().join(", ");
    let mut query = Vec::new();
    let given = match by_name {
        Some(given) => given,
        None if found.len() == 1 => Map::from_iter([(found[0].0.into(), given)]),
        None if found.is_empty() => return Err("`api_key` is given, and the document has no scheme with a key".into()),
        None => {
            return Err(format!(
                "the document has keys for {all}; give them by name, as in #{{api_key: #{{name: key}}}}"
            ));
        }
    };
    for (name, key) in given {
        let key = super::spec::text(&key, "api_key")?;
        match found.iter().find(|(scheme, ..)| *scheme == name) {
            Some((_, "header", header)) => {
                let headers = options.entry("headers".into()).or_insert_with(|| Map::new().into());
                if let Some(mut headers) = headers.write_lock::<Map>() {
                    headers.insert((*header).into(), key.into());
                }
            }
            Some((_, "query", param)) => query.push(format!("{}={}", encoded(param), encoded(&key))),
            Some(_) => return Err(format!("the key `{name}` is a cookie, and those are the client's own business")),
            None => return Err(format!("the document has no key `{name}`; it has {all}")),
        }
    }
    Ok(query)
}

/// All operations, by name.
fn operations(document: &Document<'_>) -> Result<Group, String> {
    let empty = Object::new();
    let paths = match document.root.get("paths") {
        None => &empty,
        Some(paths) => paths.as_object().ok_or("`paths` is not a map")?,
    };
    let mut group = Group::default();
    for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
        let item = document.resolve(item).map_err(|message| format!("{path}: {message}"))?;
        for method in METHODS {
            let Some(described) = item.get(method) else { continue };
            if group.len() == MAX_OPERATIONS {
                return Err(format!("there are more than {MAX_OPERATIONS} operations"));
            }
            let name = name_of(&group, described, method, path)?;
            let operation = operation(document, &name, method, path, item, described)
                .map_err(|message| format!("{name} ({method} {path}): {message}"))?;
            group.add(&name, operation);
        }
    }
    Ok(group)
}

/// What a script calls an operation: by its id, with underscores for what a name cannot hold, or else by method and path.
fn name_of(group: &Group, described: &Value, method: &str, path: &str) -> Result<String, String> {
    let plain = |text: &str| {
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_")
    };
    let id = described.get("operationId").and_then(Value::as_str).map(plain);
    let spare = id.iter().map(|id| format!("{id}_")).next();
    let by_path = plain(&format!("{method} {path}"));
    let names = id.into_iter().chain(spare).chain([by_path]);
    let mut free = names.filter(|name| is_callable(name) && !group.contains(name));
    free.next().ok_or_else(|| format!("{method} {path}: there is no name left for this operation"))
}

fn operation<'a>(
    document: &Document<'a>,
    name: &str,
    method: &str,
    path: &str,
    item: &'a Object<String, Value>,
    described: &'a Value,
) -> Result<Operation, String> {
    let described = document.resolve(described)?;
    let path = Template::parse(path)?;
    let lists = [item.get("parameters"), described.get("parameters")];
    Ok(Operation {
        name: document.name(name)?,
        method: method.to_ascii_uppercase().parse::<Method>().map_err(|error| error.to_string())?,
        params: params(document, &path, lists.into_iter().flatten())?,
        open: false,
        body: described.get("requestBody").map(|body| self::body(document, body)).transpose()?,
        answer: Answer::ByType,
        description: document.words(described)?,
        path,
    })
}

/// The parameters of a path and of an operation; those of the operation win.
fn params<'a>(
    document: &Document<'a>,
    path: &Template,
    lists: impl Iterator<Item = &'a Value>,
) -> Result<Vec<Param>, String> {
    let mut found: Vec<(&str, &str, &Object<String, Value>)> = Vec::new();
    for given in lists.flat_map(|list| list.as_array().into_iter().flatten()) {
        let map = document.resolve(given)?;
        let word = |name: &str| map.get(name).and_then(Value::as_str);
        let name = word("name").ok_or("a parameter has no `name`")?;
        let place = word("in").ok_or_else(|| format!("the parameter `{name}` has no `in`"))?;
        // Those are not parameters, whatever a document says (OpenAPI 3.1, 4.8.12.2).
        let is_ours = ["accept", "content-type", "authorization"].contains(&name.to_ascii_lowercase().as_str());
        let is_nowhere = place == "path" && !path.names().any(|other| other == name);
        if !(is_ours && place == "header" || is_nowhere) {
            found.retain(|(other, at, _)| (*other, *at) != (name, place));
            found.push((name, place, map));
        }
        if found.len() > MAX_PARAMS {
            return Err(format!("there are more than {MAX_PARAMS} parameters"));
        }
    }
    let mut params: Vec<Param> = Vec::new();
    // Of two of one name that of the path is known by it.
    found.sort_by_key(|(_, place, _)| *place != "path");
    for (name, place, map) in found {
        let param =
            param(document, name, place, map).map_err(|message| format!("the parameter `{name}`: {message}"))?;
        if !params.iter().any(|other| other.field.name == name) {
            params.push(param);
        } else if param.field.required {
            return Err(format!("two parameters that are required are named `{name}`"));
        }
    }
    for name in path.names() {
        if !params.iter().any(|param| param.field.name == name) {
            params.push(Param::in_path(name));
        }
    }
    Ok(params)
}

fn param<'a>(
    document: &Document<'a>,
    name: &str,
    place: &str,
    map: &'a Object<String, Value>,
) -> Result<Param, String> {
    let style = map.get("style").and_then(Value::as_str);
    let explode = map.get("explode").and_then(Value::as_bool);
    let place = match (place, style) {
        ("query", None | Some("form")) if explode != Some(false) => Place::Query(Style::Repeated),
        ("query", None | Some("form")) => Place::Query(Style::Joined(",")),
        ("query", Some("spaceDelimited" | "pipeDelimited")) if explode == Some(true) => Place::Query(Style::Repeated),
        ("query", Some("spaceDelimited")) => Place::Query(Style::Joined("%20")),
        ("query", Some("pipeDelimited")) => Place::Query(Style::Joined("%7C")),
        ("query", Some("deepObject")) => Place::Query(Style::Deep),
        ("path", None | Some("simple")) => Place::Path,
        ("header", _) => Place::Header,
        ("cookie", _) => Place::Cookie,
        ("query" | "path", Some(style)) => return Err(format!("the style `{}` is not known", shortened(style))),
        (place, _) => return Err(format!("there is no place `{}`", shortened(place))),
    };
    let mut rule = match map.get("schema") {
        Some(schema) => document.rule(schema)?,
        // Encoded by its `content`, which is for whoever calls.
        None if map.contains_key("content") => Rule::text(),
        None => Rule::default(),
    };
    let required = map.get("required") == Some(&Value::Bool(true));
    // A server knows its own defaults.
    rule.default = rule.default.filter(|_| required);
    let required = required && place != Place::Cookie || place == Place::Path;
    Ok(Param { field: Field { name: document.name(name)?, rule, required, description: document.words(map)? }, place })
}

fn body<'a>(document: &Document<'a>, described: &'a Value) -> Result<Body, String> {
    let described = document.resolve(described)?;
    let content = described.get("content").and_then(Value::as_object).ok_or("the `requestBody` has no `content`")?;
    let plain = |kind: &str| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json =
        |kind: &str| matches!(plain(kind).as_str(), "application/json" | "*/*") || plain(kind).ends_with("+json");
    let is_form = |kind: &str| plain(kind) == "application/x-www-form-urlencoded";
    let json = content.iter().find(|(kind, _)| is_json(kind)).map(|(_, media)| (Form::Json, media));
    let form = content.iter().find(|(kind, _)| is_form(kind)).map(|(_, media)| (Form::Urlencoded, media));
    let raw = content.iter().next().map(|(kind, media)| (Form::Raw(kind.clone()), media));
    let (form, media) = json.or(form).or(raw).ok_or("the `requestBody` has no `content`")?;
    let schema = media.get("schema").filter(|_| !matches!(form, Form::Raw(_)));
    let required = described.get("required") == Some(&Value::Bool(true));
    let mut body = Body { form, rule: Rule::default(), required, fields: Vec::new(), open: false };
    if let Some(schema) = schema {
        body.rule = document.rule(schema)?;
        let mut needed = BTreeSet::new();
        collect(document, schema, &mut body, &mut needed, MAX_DEPTH)
            .map_err(|message| format!("the body: {message}"))?;
        for field in &mut body.fields {
            field.required |= needed.remove(field.name.as_str());
        }
        for name in needed {
            body.add(Field { name: document.name(name)?, required: true, ..Field::default() });
        }
    }
    body.open |= body.fields.is_empty();
    Ok(body)
}

/// Gathers the fields of a schema, and of those that it is made of. Names that are needed may be those of others.
fn collect<'a>(
    document: &Document<'a>,
    schema: &'a Value,
    body: &mut Body,
    needed: &mut BTreeSet<&'a str>,
    depth: usize,
) -> Result<(), String> {
    let schema = document.resolve(schema)?;
    let depth = depth.checked_sub(1).ok_or("its schemas are nested too deep, or in a circle")?;
    for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        collect(document, part, body, needed, depth)?;
    }
    let mut is_read_only = BTreeSet::new();
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let wrong = |message| format!("the field `{}`: {message}", shortened(name));
        let described = document.resolve(property).map_err(wrong)?;
        if described.get("readOnly") == Some(&Value::Bool(true)) {
            is_read_only.insert(name.as_str());
        }
        let rule = document.rule(property).map_err(wrong)?;
        let description = document.words(described)?;
        body.add(Field { name: document.name(name)?, rule, required: false, description });
        check_count(body.fields.len())?;
    }
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        document.count(1)?;
        if !is_read_only.contains(name) {
            needed.insert(name);
            check_count(needed.len())?;
        }
    }
    let may_have_more = |more: &Value| *more != Value::Bool(false);
    body.open |= schema.get("additionalProperties").is_some_and(may_have_more)
        || schema.contains_key("oneOf")
        || schema.contains_key("anyOf");
    Ok(())
}

fn check_count(fields: usize) -> Result<(), String> {
    if fields > MAX_FIELDS { Err(format!("it has more than {MAX_FIELDS} fields")) } else { Ok(()) }
}

/// The object for a document in a file or at a URL.
fn load(client: &Client, place: &str, options: Map, at: Position) -> Result<Map, Thrown> {
    let source = Source::load(client, place, at)?;
    openapi(client, &source.value, source.url.as_deref(), options)
        .map_err(|problem| problem.about(&format!("`{place}`")).thrown(at))
}

/// The object for a document that a script has.
fn take(client: &Client, document: Map, options: Map, at: Position) -> Result<Map, Thrown> {
    let document = value::to_value(&Dynamic::from(document));
    document
        .map_err(Problem::Invalid)
        .and_then(|document| openapi(client, &document, None, options))
        .map_err(|problem| problem.thrown(at))
}

/// `http::openapi`.
pub(super) fn register(module: &mut Module, client: &Client) {
    let space = Space::Http;
    let own = client.clone();
    space.function("openapi").set_into_module(module, move |ctx: NativeCallContext, place: &str| {
        load(&own, place, Map::new(), ctx.call_position())
    });
    let own = client.clone();
    space.function("openapi").set_into_module(module, move |ctx: NativeCallContext, place: &str, options: Map| {
        load(&own, place, options, ctx.call_position())
    });
    let own = client.clone();
    space.function("openapi").set_into_module(module, move |ctx: NativeCallContext, document: Map| {
        take(&own, document, Map::new(), ctx.call_position())
    });
    let own = client.clone();
    space.function("openapi").set_into_module(module, move |ctx: NativeCallContext, document: Map, options: Map| {
        take(&own, document, options, ctx.call_position())
    });
}
