//! Values as a person reads them: literals with indents and colours, long ones shortened. Writes nothing.

use marmot::script::rhai::{Array, Blob, Dynamic, ImmutableString, Map};

use super::paint::Paint;

/// What fits in a line stays in it.
const WIDTH: usize = 76;
/// The most that is shown of each value, and of all together.
const ITEMS: usize = 100;
const CHARACTERS: usize = 2000;
const BYTES: usize = 32;
const LINES: usize = 200;
const DEPTH: usize = 12;

/// A value in one or more lines. `other` names what is no literal.
pub(super) fn pretty(value: &Dynamic, paint: Paint, other: &dyn Fn(&Dynamic) -> String) -> String {
    let mut printer = Printer { paint, other, lines: LINES };
    printer.value(value, 0, DEPTH)
}

/// A value in one line, cut to so many characters.
pub(super) fn brief(value: &Dynamic, room: usize, other: &dyn Fn(&Dynamic) -> String) -> String {
    let printer = Printer { paint: Paint::none(), other, lines: 1 };
    let mut text = String::new();
    if printer.line(value, DEPTH, room, &mut text) { text } else { cut(&text, room.saturating_sub(1)).0 + "…" }
}

struct Printer<'a> {
    paint: Paint,
    other: &'a dyn Fn(&Dynamic) -> String,
    /// How many more there may be.
    lines: usize,
}

impl Printer<'_> {
    fn value(&mut self, value: &Dynamic, indent: usize, depth: usize) -> String {
        let plain = Printer { paint: Paint::none(), other: self.other, lines: 1 };
        let room = WIDTH.saturating_sub(indent);
        let mut text = String::new();
        if plain.line(value, depth, room, &mut text) {
            let mut text = String::new();
            self.line(value, depth, usize::MAX, &mut text);
            return text;
        }
        if let Some(items) = value.read_lock::<Array>() {
            return self.lines("[", "]", indent, depth, items.iter().map(|item| (None, item)));
        }
        if let Some(entries) = value.read_lock::<Map>() {
            return self.lines(
                "#{",
                "}",
                indent,
                depth,
                entries.iter().map(|(name, item)| (Some(name.as_str()), item)),
            );
        }
        self.scalar(value)
    }

    /// A line for each item of a collection.
    fn lines<'v>(
        &mut self,
        open: &str,
        close: &str,
        indent: usize,
        depth: usize,
        items: impl ExactSizeIterator<Item = (Option<&'v str>, &'v Dynamic)>,
    ) -> String {
        let margin = " ".repeat(indent + 4);
        let count = items.len();
        let mut text = open.to_owned();
        for (number, (name, item)) in items.enumerate() {
            if number == ITEMS || self.lines == 0 || depth == 0 {
                let note = format!("… {} more", count - number);
                text.push_str(&format!("\n{margin}{}", self.paint.dim(&note)));
                break;
            }
            self.lines -= 1;
            let name = name.map(key).unwrap_or_default();
            let value = self.value(item, indent + 4, depth.saturating_sub(1));
            text.push_str(&format!("\n{margin}{}{value},", self.paint.cyan(&name)));
        }
        text.push_str(&format!("\n{}{close}", " ".repeat(indent)));
        text
    }

    /// Adds a value in one line; false, with a part of it, if it needs more room than there is.
    fn line(&self, value: &Dynamic, depth: usize, room: usize, text: &mut String) -> bool {
        if let Some(items) = value.read_lock::<Array>() {
            return self.inline("[", "]", depth, room, text, items.iter().map(|item| (None, item)));
        }
        if let Some(entries) = value.read_lock::<Map>() {
            let (open, close) = if entries.is_empty() { ("#{", "}") } else { ("#{ ", " }") };
            let entries = entries.iter().map(|(name, item)| (Some(name.as_str()), item));
            return self.inline(open, close, depth, room, text, entries);
        }
        text.push_str(&self.scalar(value));
        text.chars().count() <= room
    }

    fn inline<'v>(
        &self,
        open: &str,
        close: &str,
        depth: usize,
        room: usize,
        text: &mut String,
        items: impl Iterator<Item = (Option<&'v str>, &'v Dynamic)>,
    ) -> bool {
        text.push_str(open);
        for (number, (name, item)) in items.enumerate() {
            if number > 0 {
                text.push_str(", ");
            }
            text.push_str(&self.paint.cyan(&name.map(key).unwrap_or_default()));
            let Some(deeper) = depth.checked_sub(1) else { return false };
            if !self.line(item, deeper, room, text) {
                return false;
            }
        }
        text.push_str(close);
        text.chars().count() <= room
    }

    fn scalar(&self, value: &Dynamic) -> String {
        let paint = self.paint;
        if let Some(string) = value.read_lock::<ImmutableString>() {
            let (shown, more) = cut(&string, CHARACTERS);
            let note =
                if more { paint.dim(&format!("… ({} characters)", string.chars().count())) } else { String::new() };
            return format!("{}{note}", paint.green(&format!("{shown:?}")));
        }
        if let Ok(char) = value.as_char() {
            return paint.green(&format!("{char:?}"));
        }
        if let Some(bytes) = value.read_lock::<Blob>() {
            let hex: Vec<_> = bytes.iter().take(BYTES).map(|byte| format!("{byte:02x}")).collect();
            let more = if bytes.len() > BYTES { " …" } else { "" };
            return format!("{} {}{more}", paint.dim(&format!("blob of {} bytes:", bytes.len())), hex.join(" "));
        }
        if value.is_int() || value.is_float() || value.is_decimal() || value.is_bool() {
            return paint.yellow(&value.to_string());
        }
        if value.is_unit() {
            return paint.dim("()");
        }
        if value.is_array() || value.is_map() {
            return paint.dim("…");
        }
        paint.dim(&(self.other)(value))
    }
}

/// The name of an entry, as it is written before the value.
fn key(name: &str) -> String {
    let is_plain = name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
        && name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_');
    if is_plain { format!("{name}: ") } else { format!("{name:?}: ") }
}

/// The beginning of a text, and whether there is more.
pub(super) fn cut(text: &str, characters: usize) -> (String, bool) {
    match text.char_indices().nth(characters) {
        Some((end, _)) => (text[..end].to_owned(), true),
        None => (text.to_owned(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(value: impl Into<Dynamic>) -> String {
        pretty(&value.into(), Paint::none(), &|_| "other".into())
    }

    fn map(entries: impl IntoIterator<Item = (&'static str, Dynamic)>) -> Dynamic {
        Dynamic::from_map(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    #[test]
    fn short_values_are_literals_in_a_line() {
        assert_eq!(plain("a \"b\"\n"), r#""a \"b\"\n""#);
        assert_eq!(plain(1.0), "1.0");
        assert_eq!(plain('x'), "'x'");
        assert_eq!(plain(()), "()");
        let value = map([("b c", 1.into()), ("a", vec![Dynamic::TRUE, Dynamic::UNIT].into()), ("e", map([]))]);
        assert_eq!(plain(value), r#"#{ a: [true, ()], "b c": 1, e: #{} }"#);
        assert_eq!(plain(Dynamic::from_blob(vec![1, 255])), "blob of 2 bytes: 01 ff");
        assert_eq!(plain(Dynamic::from(std::time::Duration::ZERO)), "other");
    }

    #[test]
    fn long_values_have_a_line_for_each_item_and_are_shortened() {
        let long = "x".repeat(70);
        let value = map([("name", long.clone().into()), ("list", vec![Dynamic::ONE].into())]);
        assert_eq!(plain(value), format!("#{{\n    list: [1],\n    name: \"{long}\",\n}}"));

        let many: Array = (0..1000).map(Dynamic::from_int).collect();
        let text = plain(many);
        assert!(text.contains("\n    99,\n    … 900 more\n]"), "{text}");

        let text = plain("y".repeat(5000));
        assert!(text.ends_with("y\"… (5000 characters)") && text.len() < 2100, "{text}");

        let rows: Array = (0..90).map(|_| Dynamic::from_array((0..90).map(Dynamic::from_int).collect())).collect();
        assert!(plain(rows).lines().count() < 600);

        let mut deep = Dynamic::from_array(vec!["z".repeat(80).into()]);
        for _ in 0..1000 {
            deep = Dynamic::from_array(vec![deep]);
        }
        assert!(plain(deep).lines().count() < 60);
    }

    #[test]
    fn a_brief_value_is_one_short_line() {
        let many: Array = (0..1000).map(Dynamic::from_int).collect();
        let text = brief(&many.into(), 20, &|_| String::new());
        assert_eq!(text, "[0, 1, 2, 3, 4, 5, …");
    }
}
