//! `http::api`: APIs as scripts and files describe them, operation by operation. Sends nothing itself.

use rhai::{Map, Module, NativeCallContext, Position};
use serde_json::{Map as Object, Value};

use super::answer::Answer;
use super::client::{self, Client};
use super::failure::Problem;
use super::object::{Api, Group, MAX_OPERATIONS, is_callable};
use super::operation::{Body, Field, Form, Operation, Param, Place, Style};
use super::path::Template;
use super::rules::{Rule, unknown};
use super::source::Source;
use super::{Space, Thrown, spec, value};

/// What a description has besides the options of a client.
const OWN: [&str; 2] = ["resources", "description"];
const OPERATION: [&str; 6] = ["method", "path", "params", "body", "result", "description"];
const PARAM: [&str; 11] =
    ["in", "type", "required", "default", "enum", "minimum", "maximum", "pattern", "items", "explode", "description"];

/// The object for a description.
fn api(client: &Client, mut options: Map) -> Result<Map, Problem> {
    let known = [client::OPTIONS, &OWN].concat();
    if let Some(name) = options.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(spec::unknown(name, &known).into());
    }
    let resources = options.remove("resources").ok_or("the option `resources` is missing")?;
    let title = options.remove("description").map_or(Ok(String::new()), |text| spec::text(&text, "description"))?;
    let Some(base) = options.get("base_url").map(ToString::to_string) else {
        return Err("the option `base_url` is missing".into());
    };
    let (mut group, mut left) = (Group::default(), MAX_OPERATIONS);
    fill(&mut group, "", object(&value::to_value(&resources)?, "resources")?, &mut left)?;
    let title = [title, base].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("  ");
    Ok(Api::new(client, options, Vec::new(), title)?.object(&group))
}

/// Adds operations, and groups of them, so many at most. Errors name them.
fn fill(group: &mut Group, above: &str, resources: &Object<String, Value>, left: &mut usize) -> Result<(), String> {
    for (name, given) in resources {
        *left = left.checked_sub(1).ok_or_else(|| format!("there are more than {MAX_OPERATIONS} operations"))?;
        let full = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        if !is_callable(name) {
            return Err(format!("{full}: a script cannot call `{name}`; choose another name"));
        }
        match given {
            Value::Object(inner) if !is_operation(inner) => {
                let mut below = Group::default();
                fill(&mut below, &full, inner, left)?;
                group.add_group(name, below);
            }
            _ => {
                let operation = operation(&full, given).map_err(|message| format!("{full}: {message}"))?;
                group.add(name, operation);
            }
        }
    }
    Ok(())
}

/// A map is an operation if it has its words, and not operations that are named so.
fn is_operation(map: &Object<String, Value>) -> bool {
    let is = |name: &str, test: fn(&str) -> bool| map.get(name).and_then(Value::as_str).is_some_and(test);
    is("path", |path| path.starts_with('/')) || is("method", |method| !method.contains('/'))
}

fn operation(name: &str, given: &Value) -> Result<Operation, String> {
    let empty = Object::new();
    let (map, method, path) = match given {
        Value::String(line) => {
            let (method, path) = line.trim().split_once(' ').ok_or("an operation is as in \"GET /pets/{id}\"")?;
            (&empty, method, path.trim_start())
        }
        Value::Object(map) => {
            known(map, &OPERATION, "word")?;
            let path = map.get("path").ok_or("the `path` is missing")?;
            (map, map.get("method").map_or(Ok("GET"), |method| text(method, "method"))?, text(path, "path")?)
        }
        _ => return Err("an operation is a string, as in \"GET /pets/{id}\", or a map".into()),
    };
    let wrong = || format!("`{method}` is not a method");
    let method: http::Method = method.to_ascii_uppercase().parse().map_err(|_| wrong())?;
    let path = Template::parse(path)?;
    let params = match map.get("params") {
        Some(params) => Some(object(params, "params")?),
        None => None,
    };
    let body = match map.get("body") {
        // What is said of parameters is all there is to say.
        None | Some(Value::Bool(false)) if params.is_some() || map.contains_key("body") => None,
        None if [http::Method::GET, http::Method::HEAD, http::Method::DELETE].contains(&method) => None,
        None | Some(Value::Bool(true)) => Some(Form::Json),
        Some(Value::String(form)) if form == "json" => Some(Form::Json),
        Some(Value::String(form)) if form == "form" => Some(Form::Urlencoded),
        Some(_) => return Err("`body` is true, \"json\" or \"form\"".into()),
    };
    let answer = match map.get("result").map(Value::as_str) {
        None | Some(Some("json")) => Answer::Json,
        Some(Some("text")) => Answer::Text,
        Some(Some("response")) => Answer::Response,
        Some(_) => return Err("`result` is \"json\", \"text\" or \"response\"".into()),
    };
    Ok(Operation {
        name: name.to_owned(),
        params: all_params(&path, params.unwrap_or(&empty))?,
        open: params.is_none(),
        body: body.map(|form| Body { form, rule: Rule::default(), required: false, fields: Vec::new(), open: true }),
        answer,
        description: map.get("description").map_or(Ok(""), |words| text(words, "description"))?.to_owned(),
        method,
        path,
    })
}

/// The parameters that are described, and those of the path that are not, which may be any text or number.
fn all_params(path: &Template, described: &Object<String, Value>) -> Result<Vec<Param>, String> {
    let bare = path.names().filter(|name| !described.contains_key(*name)).map(|name| Ok(Param::in_path(name)));
    let described = described.iter().map(|(name, given)| {
        let given = object(given, name)?;
        param(name, given, path.names().any(|other| other == name))
            .map_err(|message| format!("the parameter `{name}`: {message}"))
    });
    bare.chain(described).collect()
}

fn param(name: &str, given: &Object<String, Value>, is_in_path: bool) -> Result<Param, String> {
    known(given, &PARAM, "word")?;
    let flag = |name: &str, usual: bool| match given.get(name) {
        None => Ok(usual),
        Some(given) => given.as_bool().ok_or_else(|| format!("`{name}` is a bool")),
    };
    let style = if flag("explode", true)? { Style::Repeated } else { Style::Joined(",") };
    let place = match given.get("in").map(Value::as_str) {
        None if is_in_path => Place::Path,
        None => Place::Query(style),
        Some(Some("path")) => Place::Path,
        Some(Some("query")) => Place::Query(style),
        Some(Some("header")) => Place::Header,
        Some(_) => return Err("`in` is \"path\", \"query\" or \"header\"".into()),
    };
    if is_in_path != (place == Place::Path) {
        return Err(format!("the path has {}place for it", if is_in_path { "a " } else { "no " }));
    }
    let mut rule = Rule::of(given)?;
    if given.contains_key("pattern") && !rule.has_pattern() {
        return Err("`pattern` is no regular expression, or too large".into());
    }
    if let Some(items) = given.get("items") {
        rule.items = Some(Box::new(Rule::of(object(items, "items")?)?));
    }
    let description = given.get("description").map_or(Ok(""), |words| text(words, "description"))?.to_owned();
    let required = flag("required", false)? || is_in_path;
    Ok(Param { field: Field { name: name.to_owned(), rule, required, description }, place })
}

fn known(map: &Object<String, Value>, names: &[&str], what: &str) -> Result<(), String> {
    let other = map.keys().find(|name| !names.contains(&name.as_str()));
    other.map_or(Ok(()), |name| Err(unknown(what, name, names.iter().copied())))
}

fn object<'a>(given: &'a Value, name: &str) -> Result<&'a Object<String, Value>, String> {
    given.as_object().ok_or_else(|| format!("`{name}` is a map"))
}

fn text<'a>(given: &'a Value, name: &str) -> Result<&'a str, String> {
    given.as_str().ok_or_else(|| format!("`{name}` is a string"))
}

/// The object for a description in a file or at a URL, and for options beside it.
fn load(client: &Client, place: &str, options: Map, at: Position) -> Result<Map, Thrown> {
    let source = Source::load(client, place, at)?;
    let invalid = |problem: Problem| problem.about(&format!("`{place}`")).thrown(at);
    let described = value::from_value(source.value).map_err(|message| invalid(message.into()))?;
    let mut all = described.try_cast::<Map>().ok_or_else(|| invalid("it is not a map".into()))?;
    all.extend(options);
    api(client, all).map_err(invalid)
}

/// `http::api`.
pub(super) fn register(module: &mut Module, client: &Client) {
    let space = Space::Http;
    let own = client.clone();
    space.function("api").set_into_module(module, move |ctx: NativeCallContext, options: Map| {
        api(&own, options).map_err(|problem| problem.thrown(ctx.call_position()))
    });
    let own = client.clone();
    space.function("api").set_into_module(module, move |ctx: NativeCallContext, place: &str| {
        load(&own, place, Map::new(), ctx.call_position())
    });
    let own = client.clone();
    space.function("api").set_into_module(module, move |ctx: NativeCallContext, place: &str, options: Map| {
        load(&own, place, options, ctx.call_position())
    });
}
