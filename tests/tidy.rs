//! The house rules that a machine can hold: layers, first lines, the fence around unsafe. Compiles nothing of the crate.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// Where cargo runs the tests of a package. Not a path of the build: a kept target folder may come from another checkout.
fn root() -> &'static Path {
    Path::new(".")
}

/// All Rust files below a folder, with their text.
fn files(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    assert!(!found.is_empty(), "no files in {folder}");
    found
}

/// The modules of `lib.rs`, in order.
fn layers() -> Vec<String> {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let modules = text.lines().filter_map(|line| {
        let line = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        line.strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned)
    });
    modules.collect()
}

/// A line without its comment. Strings that hold `//` are cut too, which hides nothing that is looked for here.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// The first name of each path that begins with `crate::`, groups included.
fn imports(text: &str) -> Vec<String> {
    let code: String = text.lines().map(code).collect::<Vec<_>>().join("\n");
    code.split("crate::")
        .skip(1)
        .flat_map(|rest| {
            let group = rest.strip_prefix('{').and_then(|rest| rest.split('}').next());
            let names = group.map_or_else(|| vec![rest], |group| group.split(',').collect());
            names
                .into_iter()
                .map(|name| name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>())
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn a_module_imports_only_what_stands_above_it() {
    let layers = layers();
    assert!(layers.len() >= 8, "{layers:?}");
    let place = |name: &str| layers.iter().position(|layer| layer == name);
    for (path, text) in files("src") {
        let mut parts = path.components().skip(1).map(|part| part.as_os_str().to_str().unwrap());
        let module = parts.next().unwrap().trim_end_matches(".rs");
        // lib.rs and the command stand above all.
        let Some(own) = place(module) else { continue };
        for name in imports(&text) {
            match place(&name) {
                Some(other) => {
                    assert!(other <= own, "{}: `{module}` imports `{name}`, which stands below it", path.display())
                }
                None => panic!("{}: `crate::{name}` is no layer; name the module that it lives in", path.display()),
            }
        }
    }
}

#[test]
fn every_file_begins_with_its_role() {
    for folder in ["src", "tests", "examples", "benches"] {
        for (path, text) in files(folder) {
            let first = text.lines().next().unwrap_or_default();
            assert!(first.starts_with("//! ") && first.len() > 20, "{}: {first:?}", path.display());
        }
    }
}

#[test]
fn unsafe_is_fenced() {
    for (path, text) in files("src") {
        if path.starts_with("src/ffi") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let words: Vec<_> = code(line).split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
            assert!(!words.contains(&"unsafe"), "{}:{}: unsafe outside of src/ffi", path.display(), number + 1);
        }
    }
}

#[test]
fn the_blocking_wait_is_in_one_place() {
    for (path, text) in files("src") {
        let here = path.ends_with("client/blocking.rs") || path.ends_with("body/pump.rs");
        for (number, line) in text.lines().enumerate() {
            let parks = code(line).contains("thread::park") || code(line).contains("executor::block_on");
            let in_tests = text.lines().take(number).any(|line| line.contains("#[cfg(test)]"));
            assert!(!parks || here || in_tests, "{}:{}: blocks", path.display(), number + 1);
        }
    }
}

#[test]
fn the_pure_code_does_not_read_the_clock() {
    for (path, text) in files("src") {
        let files = ["agent/timer.rs", "client/redirect.rs", "client/hsts.rs", "client/kept.rs", "queue/ledger.rs"];
        // The jar is the public face of the cookies, and gives them the time.
        let cookies = path.starts_with("src/cookies") && !path.ends_with("jar.rs");
        let pure = cookies
            || ["src/handler", "src/client/alt_svc", "src/server/state.rs", "src/server/protocol.rs"]
                .iter()
                .any(|folder| path.starts_with(folder));
        if pure || files.iter().any(|file| path.ends_with(file)) {
            let code: String = text.split("#[cfg(test)]").next().unwrap_or_default().lines().map(code).collect();
            assert!(
                !code.contains("Instant::now") && !code.contains("SystemTime::now"),
                "{} reads the clock",
                path.display()
            );
        }
    }
}

#[test]
fn no_library_file_unwraps() {
    for (path, text) in files("src") {
        let code: Vec<_> = text.split("#[cfg(test)]").next().unwrap_or_default().lines().map(code).collect();
        for (number, line) in code.iter().enumerate() {
            assert!(!line.contains(".unwrap()"), "{}:{}: unwraps", path.display(), number + 1);
        }
    }
}

/// The cells of the tables of a Markdown text, row by row, without the heads. `\|` stands for a bar inside of a cell.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines: Vec<_> = text.lines().collect();
    let is_rule = |line: &str| line.starts_with("|---");
    let row = |line: &str| {
        let line = line.replace("\\|", "\u{0}");
        let cells = line.trim().trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace('\u{0}', "|")).collect()
    };
    let body = (0..lines.len()).filter(|&at| lines[at].starts_with('|') && !is_rule(lines[at]));
    body.filter(|&at| !lines.get(at + 1).is_some_and(|next| is_rule(next))).map(|at| row(lines[at])).collect()
}

/// What stands between backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn what_the_tables_of_migration_promise_is_compiled() {
    for page in ["from_isahc", "from_reqwest"] {
        let text = fs::read_to_string(root().join(format!("src/guide/{page}.md"))).unwrap();
        let code: String = text.split("```").skip(1).step_by(2).collect();
        let rows = rows(&text);
        assert!(rows.len() > 20, "{page}: {} rows", rows.len());
        for row in rows {
            for ours in quoted(&row[1]).into_iter().filter(|ours| *ours != "Stream") {
                assert!(code.contains(ours), "{page}: `{ours}` is in no example of the page");
            }
        }
    }
}

#[test]
fn what_the_readme_promises_has_a_test() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let section = readme.split("## Beside others").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let rows = rows(section);
    assert!(rows.len() >= 50, "{} rows", rows.len());
    let tests: Vec<_> = files("tests/it").into_iter().chain(files("src")).collect();
    for row in rows {
        assert_eq!(row.len(), 7, "{row:?}");
        let names = quoted(&row[2]);
        assert_eq!(row[1].starts_with("yes"), !names.is_empty(), "{}: a yes has a test, and nothing else has", row[0]);
        for name in names {
            let (module, function) = name.rsplit_once("::").unwrap();
            let place = module.replace("::", "/");
            let is_here = |path: &Path| {
                [format!("tests/it/{place}.rs"), format!("src/{place}.rs")].iter().any(|file| path == Path::new(file))
            };
            let declared = format!("fn {function}(");
            let found = tests.iter().any(|(path, text)| {
                is_here(path)
                    && text.split("#[test]").skip(1).any(|test| test.split('{').next().unwrap().contains(&declared))
            });
            assert!(found, "{}: there is no test `{name}`", row[0]);
        }
    }
}

/// The names of the functions of a file whose lines begin like that.
fn functions<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    let names = text.lines().filter_map(|line| line.strip_prefix(start)?.split(['(', '<']).next());
    names.collect()
}

#[test]
fn every_setting_is_in_the_guide() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let source = read("src/config/configurable.rs");
    let settings = source.split("pub trait Configurable").nth(1).and_then(|rest| rest.split("\n}\n").next()).unwrap();
    let builder = read("src/client/builder.rs");
    let names = [functions(settings, "    fn "), functions(&builder, "    pub fn ")].concat();
    assert!(names.len() > 70, "{names:?}");
    let pages = fs::read_dir(root().join("src/guide")).unwrap().map(|entry| entry.unwrap().path());
    let guide: String = pages
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .map(|path| read(path.to_str().unwrap()))
        .collect();
    for name in names.into_iter().filter(|name| !["new", "build"].contains(name)) {
        assert!(guide.contains(&format!("[`{name}`](")), "`{name}` has no place in the guide");
    }
}

#[test]
fn every_kind_of_error_is_in_the_guide() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let source = read("src/error.rs");
    let kinds = source.split("pub enum ErrorKind {").nth(1).and_then(|rest| rest.split("\n}\n").next()).unwrap();
    let kinds: Vec<_> =
        kinds.lines().filter_map(|line| line.trim().strip_suffix(',')).filter(|kind| !kind.contains(' ')).collect();
    assert!(kinds.len() > 20, "{kinds:?}");
    let page = read("src/guide/errors.md");
    for kind in kinds {
        assert!(page.contains(&format!("`{kind}`")), "`{kind}` has no place in the guide");
    }
}
