//! One operation of an API: what it takes, and the request that becomes of it. Checks all that is given before anything is
//! sent; sends nothing itself.

use std::collections::HashMap;

use http::Method;
use rhai::{Array, Blob, Dynamic, Map};

use super::answer::Answer;
use super::path::{Template, encoded};
use super::rules::{Rule, unknown};
use super::spec::scalar;

/// One operation, by its description.
pub(super) struct Operation {
    /// As scripts call it, as in `pets.get`.
    pub(super) name: String,
    pub(super) method: Method,
    pub(super) path: Template,
    pub(super) params: Vec<Param>,
    /// Whether names that are neither parameters nor fields go into the query.
    pub(super) open: bool,
    pub(super) body: Option<Body>,
    pub(super) answer: Answer,
    pub(super) description: String,
}

/// A name, and what it may stand for.
#[derive(Default)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) rule: Rule,
    pub(super) required: bool,
    pub(super) description: String,
}

pub(super) struct Param {
    pub(super) field: Field,
    pub(super) place: Place,
}

/// Where a parameter goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query(Style),
    Header,
    Cookie,
}

/// How arrays and maps stand in a query.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// The name again for each item; an entry of a map is a parameter of its own.
    Repeated,
    /// All items with this between them.
    Joined(&'static str),
    /// `name[key]=value`.
    Deep,
}

pub(super) struct Body {
    pub(super) form: Form,
    /// The body as a whole.
    pub(super) rule: Rule,
    pub(super) required: bool,
    pub(super) fields: Vec<Field>,
    /// Whether there may be fields beyond these.
    pub(super) open: bool,
}

pub(super) enum Form {
    Json,
    Urlencoded,
    /// A string or a blob of this content type.
    Raw(String),
}

impl Operation {
    /// The options of a request for what a call gives, and a query beside that. Its path is below the base.
    pub(super) fn request(&self, given: Option<Dynamic>, query: &[String]) -> Result<Map, String> {
        let (mut names, mut body) = self.arguments(given)?;
        let mut sent = Sent { query: query.to_vec(), ..Sent::default() };
        for Param { field, place } in &self.params {
            let given = names.remove(field.name.as_str()).filter(|given| !given.is_unit());
            match given.or_else(|| field.rule.default.clone()) {
                Some(given) => {
                    let added = field.rule.check(&given).and_then(|()| sent.add(&field.name, &given, *place));
                    added.map_err(|wrong| format!("the parameter `{}` {wrong}", field.name))?;
                }
                None if field.required => return Err(format!("the parameter `{}` is missing", field.name)),
                None => {}
            }
        }
        if let (Some(own), Some(given)) = (&self.body, names.get("body"))
            && own.is_whole(given)
        {
            body = names.remove("body").filter(|given| !given.is_unit());
        }
        let mut fields = Map::new();
        for (name, given) in names {
            let is_field = |own: &Body| own.open || own.has_field(&name);
            if body.is_none() && self.body.as_ref().is_some_and(is_field) {
                fields.insert(name, given);
            } else if self.open && given.is_unit() {
                // Left out, as everywhere in a query.
            } else if self.open {
                sent.add(&name, &given, Place::Query(Style::Repeated))
                    .map_err(|wrong| format!("the parameter `{name}` {wrong}"))?;
            } else {
                return Err(unknown("parameter", &name, self.names()));
            }
        }
        let mut options = Map::new();
        if let Some(own) = &self.body {
            if body.is_none() && (!fields.is_empty() || own.required) && own.is_map() {
                body = Some(fields.into());
            }
            match body {
                Some(body) => {
                    own.check(&body, &self.params)?;
                    own.put(body, &mut options, &mut sent.headers)?;
                }
                None if own.required => return Err("the body is missing; it is given as `body`".into()),
                None => {}
            }
        }
        let path = self.path.fill(|name| sent.path.get(name).map(String::as_str).unwrap_or_default())?;
        let query = if sent.query.is_empty() { String::new() } else { format!("?{}", sent.query.join("&")) };
        options.insert("method".into(), self.method.as_str().into());
        options.insert("url".into(), format!("{path}{query}").into());
        options.insert("headers".into(), sent.headers.into());
        Ok(options)
    }

    /// What a call gives: names with values, and the body if that is all. A single value is the parameter of the path, if
    /// there is one, or else the body.
    fn arguments(&self, given: Option<Dynamic>) -> Result<(Map, Option<Dynamic>), String> {
        let given = match given {
            None => return Ok((Map::new(), None)),
            Some(given) => given.flatten(),
        };
        let given = match given.try_cast_result::<Map>() {
            Ok(names) => return Ok((names, None)),
            Err(other) => other,
        };
        let mut in_path = self.path.names();
        match (in_path.next(), in_path.next()) {
            (Some(name), None) => Ok((Map::from_iter([(name.into(), given)]), None)),
            (None, _) if self.body.is_some() => Ok((Map::new(), Some(given))),
            _ => Err(format!("it takes a map of parameters, as in {}, not {}", self.call(), given.type_name())),
        }
    }

    /// What it knows of.
    fn known(&self) -> impl Iterator<Item = &Field> + Clone {
        let is_param = |name: &str| self.params.iter().any(|param| param.field.name == name);
        let fields = self.body.iter().flat_map(|body| &body.fields).filter(move |field| !is_param(&field.name));
        self.params.iter().map(|param| &param.field).chain(fields)
    }

    fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.known().map(|field| field.name.as_str())
    }

    /// How it is called.
    fn call(&self) -> String {
        let mut names: Vec<_> = self.known().filter(|field| field.required).map(|field| field.name.as_str()).collect();
        let more = self.open || self.body.is_some() || self.known().any(|field| !field.required);
        names.extend(more.then_some("…"));
        if names.is_empty() {
            format!("{}()", self.name)
        } else {
            format!("{}(#{{ {} }})", self.name, names.join(", "))
        }
    }

    /// What there is to know about it, in some lines.
    pub(super) fn help(&self) -> String {
        let mut text = format!("{}  {} {}\n", self.call(), self.method, self.path.as_str());
        let mut line = |words: &str| text.push_str(&format!("    {words}\n"));
        if !self.description.is_empty() {
            line(&self.description);
        }
        for Param { field, place } in &self.params {
            let place = match place {
                Place::Path => "path",
                Place::Query(_) => "query",
                Place::Header => "header",
                Place::Cookie => "cookie",
            };
            line(&field.help(place));
        }
        for field in self.body.iter().flat_map(|body| &body.fields) {
            line(&field.help("body"));
        }
        text
    }
}

impl Param {
    /// One of a path, of which nothing is said.
    pub(super) fn in_path(name: &str) -> Self {
        let field = Field { name: name.to_owned(), required: true, ..Field::default() };
        Self { field, place: Place::Path }
    }
}

impl Field {
    fn help(&self, place: &str) -> String {
        let rule = self.rule.describe();
        let required = if self.required { "required" } else { "" };
        let words: Vec<_> = [place, required, &rule].into_iter().filter(|word| !word.is_empty()).collect();
        let text = format!("{} ({}) {}", self.name, words.join(", "), self.description);
        text.trim_end().to_owned()
    }
}

impl Body {
    /// Adds a field, in place of one of the same name.
    pub(super) fn add(&mut self, field: Field) {
        match self.fields.iter_mut().find(|other| other.name == field.name) {
            Some(other) => *other = field,
            None => self.fields.push(field),
        }
    }

    fn check(&self, given: &Dynamic, params: &[Param]) -> Result<(), String> {
        self.rule.check(given).map_err(|wrong| format!("the body {wrong}"))?;
        let Some(entries) = given.read_lock::<Map>() else { return Ok(()) };
        for field in &self.fields {
            match entries.get(field.name.as_str()) {
                Some(given) => {
                    field.rule.check(given).map_err(|wrong| format!("the field `{}` {wrong}", field.name))?
                }
                None if !field.required => {}
                None if params.iter().any(|param| param.field.name == field.name) => {
                    return Err(format!(
                        "the field `{0}` of the body is missing; as a parameter is named `{0}` too, the body is given as a \
                         whole, as `body`",
                        field.name
                    ));
                }
                None => return Err(format!("the field `{}` is missing", field.name)),
            }
        }
        Ok(())
    }

    fn put(&self, given: Dynamic, options: &mut Map, headers: &mut Map) -> Result<(), String> {
        let name = match &self.form {
            Form::Json => "json",
            Form::Urlencoded if given.is_map() => "form",
            Form::Urlencoded => return Err(format!("the body is a map, not {}", given.type_name())),
            Form::Raw(kind) if kind.starts_with("multipart/") => {
                return Err(format!("a body of type `{kind}` cannot be sent"));
            }
            Form::Raw(kind) if given.is_string() || given.is::<Blob>() => {
                headers.insert("Content-Type".into(), kind.into());
                "body"
            }
            Form::Raw(kind) => {
                return Err(format!("the body is a string or a blob of type `{kind}`, not {}", given.type_name()));
            }
        };
        options.insert(name.into(), given);
        Ok(())
    }

    /// Whether what is given as `body` is the body itself, and not a field of that name.
    fn is_whole(&self, given: &Dynamic) -> bool {
        let field = self.fields.iter().find(|field| field.name == "body");
        field.is_none_or(|field| given.is_map() && !field.rule.takes_maps())
    }

    fn has_field(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name == name)
    }

    /// Whether its fields may be given one by one.
    fn is_map(&self) -> bool {
        !matches!(self.form, Form::Raw(_)) && self.rule.takes_maps()
    }
}

/// What of a request its parameters make.
#[derive(Default)]
struct Sent {
    path: HashMap<String, String>,
    query: Vec<String>,
    headers: Map,
}

impl Sent {
    fn add(&mut self, name: &str, given: &Dynamic, place: Place) -> Result<(), String> {
        match place {
            Place::Query(style) => return self.add_query(&encoded(name), given, style),
            Place::Path => {
                let text = joined(given, ",", encoded)?;
                if text.is_empty() {
                    return Err("is empty, which would ask for another path".into());
                }
                self.path.insert(name.to_owned(), text);
            }
            Place::Header => drop(self.headers.insert(name.into(), joined(given, ",", str::to_owned)?.into())),
            Place::Cookie => return Err("is a cookie, and those are the client's own business".into()),
        }
        Ok(())
    }

    fn add_query(&mut self, name: &str, given: &Dynamic, style: Style) -> Result<(), String> {
        let mut add = |name: &str, value: String| self.query.push(format!("{name}={value}"));
        if let Some(entries) = given.read_lock::<Map>() {
            for (key, value) in entries.iter() {
                let name = match style {
                    Style::Repeated => encoded(key),
                    Style::Deep => format!("{name}%5B{}%5D", encoded(key)),
                    Style::Joined(_) => return Err("is a map, which has no place in this query".into()),
                };
                add(&name, joined(value, ",", encoded)?);
            }
            return Ok(());
        }
        let between = match (style, given.read_lock::<Array>()) {
            (Style::Joined(between), _) => between,
            (_, None) => ",",
            (style, Some(items)) => {
                let name = if style == Style::Deep { format!("{name}%5B%5D") } else { name.to_owned() };
                for item in items.iter() {
                    add(&name, joined(item, ",", encoded)?);
                }
                return Ok(());
            }
        };
        add(name, joined(given, between, encoded)?);
        Ok(())
    }
}

/// A value as text, or those of an array.
fn joined(given: &Dynamic, between: &str, encode: fn(&str) -> String) -> Result<String, String> {
    let text = |value: &Dynamic| match scalar(value) {
        Some(text) => Ok(encode(&text)),
        None => Err(format!("is a string, a number or a bool, not {}", value.type_name())),
    };
    match given.read_lock::<Array>() {
        Some(items) => Ok(items.iter().map(text).collect::<Result<Vec<_>, _>>()?.join(between)),
        None => text(given),
    }
}
