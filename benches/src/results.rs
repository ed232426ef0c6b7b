//! The form of a result file: tables of text and numbers, and curves. Measures nothing and draws nothing.
//!
//! ```no_run
//! # use marmot_bench::results::{Axis, Curves, Part, Table, curve};
//! let mut part = Part::new("What a request costs in instructions");
//! let mut table = Table::new("Per request", &["client", "instructions"]);
//! table.row(["marmot".into(), 60_000.into()]);
//! part.tables.push(table);
//! part.curves.push(Curves {
//!     title: "Growth".into(),
//!     x: Axis::log("requests at once"),
//!     y: Axis::linear("instructions"),
//!     series: vec![curve("marmot", [(1.0, 60_000.0), (64.0, 50_000.0)])],
//! });
//! part.save("instructions")?;
//! marmot_bench::page::write()?;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// One file: what a program has measured, where and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub title: String,
    /// Year, month and day, UTC.
    pub date: String,
    pub machine: String,
    /// One paragraph each.
    pub notes: Vec<String>,
    pub tables: Vec<Table>,
    pub curves: Vec<Curves>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub title: String,
    pub columns: Vec<String>,
    /// Each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
}

/// A number keeps its precision in the file, and is shown with three digits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    Number(f64),
    Text(String),
}

/// One picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Curve>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// With the unit, and the direction that is better.
    pub label: String,
    /// All values must be above zero then.
    pub log: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    pub name: String,
    pub points: Vec<[f64; 2]>,
}

impl Part {
    /// An empty one, of today and of this machine.
    pub fn new(title: &str) -> Self {
        let (notes, tables, curves) = Default::default();
        Self { title: title.to_owned(), date: today(), machine: machine(), notes, tables, curves }
    }

    /// Replaces `results/NAME.json`.
    pub fn save(&self, name: &str) -> io::Result<()> {
        write(name, self)
    }
}

impl Table {
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self { title: title.to_owned(), columns, rows: Vec::new() }
    }

    /// # Panics
    ///
    /// If there are not as many cells as columns.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let cells: Vec<_> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.columns.len(), "a row of {:?}", self.title);
        self.rows.push(cells);
    }
}

/// Markdown, aligned so that it reads well where it is not rendered.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(Cell::to_string).collect()).collect();
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.columns[column].chars().count(), 2]).max().unwrap_or_default()
        };
        // Numbers are on the right; so are "-" and a range among them.
        let is_text = |column: usize| {
            self.rows.iter().any(|row| matches!(&row[column], Cell::Text(text) if text.contains(char::is_alphabetic)))
        };
        let columns: Vec<_> = (0..self.columns.len()).map(|column| (width(column), is_text(column))).collect();
        let line = |f: &mut fmt::Formatter<'_>, cells: &[String]| {
            for (cell, &(width, is_text)) in cells.iter().zip(&columns) {
                if is_text { write!(f, "| {cell:<width$} ")? } else { write!(f, "| {cell:>width$} ")? }
            }
            writeln!(f, "|")
        };
        line(f, &self.columns)?;
        for &(width, is_text) in &columns {
            write!(f, "|{}{}", "-".repeat(width + 1), if is_text { '-' } else { ':' })?;
        }
        writeln!(f, "|")?;
        rows.iter().try_for_each(|row| line(f, row))
    }
}

impl Axis {
    pub fn linear(label: &str) -> Self {
        Self { label: label.to_owned(), log: false }
    }

    pub fn log(label: &str) -> Self {
        Self { label: label.to_owned(), log: true }
    }
}

pub fn curve(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Curve {
    Curve { name: name.to_owned(), points: points.into_iter().map(|(x, y)| [x, y]).collect() }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => f.pad(&digits(*number)),
            Self::Text(text) => f.pad(text),
        }
    }
}

/// A number as the tables show it: three digits at least, and a comma before each three of a large one.
pub fn digits(number: f64) -> String {
    let decimals = match number.abs() {
        _ if number.fract() == 0.0 => 0,
        size if size < 0.0995 => 3,
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    let plain = format!("{number:.decimals$}");
    let whole = plain.find('.').unwrap_or(plain.len());
    let mut shown = String::new();
    for (index, digit) in plain.char_indices() {
        if index > 0 && index < whole && (whole - index) % 3 == 0 && !shown.ends_with('-') {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Where result files are.
pub fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/results"))
}

/// Writes `results/NAME.json`.
pub fn write(name: &str, content: &impl Serialize) -> io::Result<()> {
    fs::create_dir_all(folder())?;
    fs::write(folder().join(name).with_extension("json"), serde_json::to_string_pretty(content)? + "\n")
}

/// Year, month and day, UTC.
pub fn today() -> String {
    OffsetDateTime::now_utc().date().to_string()
}

/// The processor, its cores, the memory, the kernel and how that one sends.
pub fn machine() -> String {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned())).unwrap_or_else(|| "?".to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory: f64 = field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or_default();
    let setting = |name: &str| fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap_or_default();
    format!(
        "{}, {cores} cores, {:.0} GiB of memory, Linux {} with {} as congestion control",
        field("/proc/cpuinfo", "model name"),
        memory / f64::from(1 << 20),
        setting("kernel/osrelease").trim(),
        setting("net/ipv4/tcp_congestion_control").trim()
    )
}

/// The first part of what [`machine`] says.
pub fn processor(machine: &str) -> &str {
    machine.split(',').next().unwrap_or(machine)
}

/// The compiler, libcurl and the peers, with their versions.
pub fn software() -> String {
    let locked = |name: &str| {
        let entry = format!("name = \"{name}\"\nversion = \"");
        let version = include_str!("../../Cargo.lock").split_once(&entry).and_then(|(_, rest)| rest.split('"').next());
        format!("{name} {}", version.unwrap_or("?"))
    };
    let compiler = env!("RUSTC_VERSION").split(" (").next().unwrap_or_default();
    let curl = curl::Version::get();
    let peers = ["isahc", "reqwest", "ureq", "hyper", "hyper-util"].map(locked).join(", ");
    format!("{compiler}, {}, libcurl {}, {peers}", locked("marmot"), curl.version())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_with_three_digits() {
        let shown = [0.0, 0.0123, 0.123, 9.999, 35.64, 99.96, 1234.5, 1_000_000.0, -1234.0, -123.4].map(digits);
        assert_eq!(shown, ["0", "0.012", "0.12", "10.0", "35.6", "100", "1,234", "1,000,000", "-1,234", "-123"]);
    }

    #[test]
    fn a_part_is_read_as_it_was_written() {
        let mut part = Part::new("title");
        part.tables.push(Table::new("table", &["a", "b"]));
        part.tables[0].row(["text".into(), 1.5.into()]);
        let y = Axis::linear("y");
        part.curves.push(Curves { title: "c".into(), x: Axis::log("x"), y, series: vec![curve("s", [(1.0, 2.0)])] });
        let text = serde_json::to_string(&part).unwrap();
        assert!(text.contains(r#""rows":[["text",1.5]]"#), "{text}");
        assert!(text.contains(r#""series":[{"name":"s","points":[[1.0,2.0]]}]"#), "{text}");
        assert_eq!(serde_json::from_str::<Part>(&text).unwrap(), part);
    }
}
