//! What a line may go on with: names of functions and variables, and what a value has after its dot. Changes nothing.

use std::any::TypeId;
use std::collections::BTreeSet;

use marmot::script::rhai::{Dynamic, Engine, FuncInfo, Map, Scope};
use marmot::script::{ScriptEngine, Session};

const KEYWORDS: &[&str] = &[
    "break", "catch", "const", "continue", "else", "false", "for", "if", "in", "let", "loop", "return", "switch",
    "this", "throw", "true", "try", "until", "while",
];

/// Where the word at the end of a text begins, and the words that it may become. Functions end with a bracket.
pub(super) fn complete(engine: &ScriptEngine, session: &Session<'_>, text: &str) -> (usize, Vec<String>) {
    let engine = engine.engine();
    let start = text.len() - trailing_word(text).len();
    let (before, word) = text.split_at(start);
    let names: BTreeSet<String> = if let Some(before) = before.strip_suffix("::") {
        functions(engine, trailing_word(before)).collect()
    } else if let Some(receiver) = receiver(before) {
        value_of(engine, session, &receiver).map(|value| members(engine, &value)).unwrap_or_default()
    } else if word.is_empty() {
        BTreeSet::new()
    } else {
        let own = session.functions().into_iter().map(|(name, _)| format!("{name}("));
        let variables = session.variables().into_iter().map(|(name, _)| name.to_owned());
        let fixed = KEYWORDS.iter().map(|keyword| (*keyword).to_owned());
        own.chain(variables).chain(fixed).chain(modules(engine)).chain(functions(engine, "")).collect()
    };
    (start, names.into_iter().filter(|name| name.starts_with(word)).collect())
}

/// The letters of a name at the end of a text.
fn trailing_word(text: &str) -> &str {
    let start = text
        .rfind(|char: char| !is_of_name(char))
        .map_or(0, |at| at + text[at..].chars().next().map_or(0, char::len_utf8));
    &text[start..]
}

fn is_of_name(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// The names before a dot at the end of a text, as in `reply.headers.`.
fn receiver(before: &str) -> Option<Vec<&str>> {
    let mut rest = before.strip_suffix('.')?;
    let mut names = Vec::new();
    loop {
        rest = rest.strip_suffix('?').unwrap_or(rest);
        let name = trailing_word(rest);
        if name.is_empty() {
            return None;
        }
        names.insert(0, name);
        rest = &rest[..rest.len() - name.len()];
        match rest.strip_suffix('.') {
            Some(shorter) => rest = shorter,
            None => return Some(names),
        }
    }
}

/// The value of a variable, or of what is in it. Properties of the types of scripts only tell, so that they may be asked.
fn value_of(engine: &Engine, session: &Session<'_>, names: &[&str]) -> Option<Dynamic> {
    let (first, rest) = names.split_first()?;
    let mut value = session.variables().into_iter().find(|(name, _)| name == first)?.1.clone();
    for name in rest {
        let entry = value.read_lock::<Map>().map(|map| map.get(*name).cloned());
        value = match entry {
            Some(entry) => entry?,
            None => {
                let mut scope = Scope::new();
                scope.push_dynamic("it", value);
                engine.eval_expression_with_scope(&mut scope, &format!("it.{name}")).ok()?
            }
        };
    }
    Some(value)
}

/// The keys of a map, and the properties and methods of the type.
fn members(engine: &Engine, value: &Dynamic) -> BTreeSet<String> {
    let of_type = value.type_id();
    let member = |info: FuncInfo| {
        let is_own = |first: &TypeId| *first == of_type && info.namespace.is_empty();
        info.metadata.param_types.first().filter(|first| is_own(first))?;
        let name = info.metadata.name.as_str();
        match name.strip_prefix("get$") {
            Some(property) => Some(property.to_owned()),
            None => function(name),
        }
    };
    let mut members: BTreeSet<String> = engine.collect_fn_metadata(None, member, true).into_iter().collect();
    if let Some(map) = value.read_lock::<Map>() {
        members.extend(map.keys().filter(|key| key.chars().all(is_of_name)).map(ToString::to_string));
    }
    members
}

/// The functions of a module, or of none.
fn functions(engine: &Engine, module: &str) -> impl Iterator<Item = String> {
    let named = |info: FuncInfo| (info.namespace == module).then(|| function(&info.metadata.name)).flatten();
    engine.collect_fn_metadata(None, named, true).into_iter()
}

fn modules(engine: &Engine) -> impl Iterator<Item = String> {
    let module = |info: FuncInfo| Some(format!("{}::", info.namespace)).filter(|_| !info.namespace.is_empty());
    engine.collect_fn_metadata(None, module, true).into_iter()
}

/// A function that has a name, unlike operators and what stands for properties.
fn function(name: &str) -> Option<String> {
    name.chars().all(is_of_name).then(|| format!("{name}("))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_where_they_make_sense() {
        let engine = ScriptEngine::new();
        let mut session = engine.session();
        let source = r#"
            let place = #{ name: "Edda", "odd name": 1, inner: #{ deep: [1] } };
            let words = "a b";
            fn place_of(x) { x }
        "#;
        let _unit = session.eval("test", source, None).unwrap();
        for (text, start, all) in [
            ("http_get_a", 0, &["http_get_async("][..]),
            ("let x = http::sett", 14, &["settle("]),
            ("1 + pla", 4, &["place", "place_of("]),
            ("place.na", 6, &["name"]),
            ("place.inner.dee", 12, &["deep"]),
            ("place?.inner.dee", 13, &["deep"]),
            ("words.to_up", 6, &["to_upper("]),
            ("place.inner.deep.pus", 17, &["push("]),
            ("ht", 0, &["http::", "http_all(", "http_chunks("]),
            ("unknown.x", 8, &[]),
            ("1.x", 2, &[]),
            ("", 0, &[]),
            ("f(", 2, &[]),
            ("grüße", 0, &[]),
            ("→pla", 3, &["place", "place_of("]),
        ] {
            let (at, found) = complete(&engine, &session, text);
            assert_eq!(at, start, "{text}");
            assert_eq!(found.iter().take(3).map(String::as_str).collect::<Vec<_>>(), all, "{text}");
        }
    }
}
