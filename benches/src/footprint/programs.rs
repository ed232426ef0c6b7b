//! The programs: their clients, features and the few lines that differ. Builds nothing.

use marmot_bench::project::ROOT;

pub struct Program {
    pub name: &'static str,
    /// What can be said of its features.
    pub what: &'static str,
    /// Of the client, with `ROOT` for this workspace's folder.
    dependency: &'static str,
    /// An expression of the body, as text, of what `url` names. It may use `?`.
    get: &'static str,
    scheme: &'static str,
}

const MARMOT: &str = "{ use marmot::ReadResponseExt; marmot::get(url)?.text()? }";
const ISAHC: &str = "{ use isahc::ReadResponseExt; isahc::get(url)?.text()? }";
/// `text` needs a feature there.
const ISAHC_LEAST: &str = "{ use isahc::ReadResponseExt; String::from_utf8(isahc::get(url)?.bytes()?)? }";
const REQWEST: &str = "{
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { reqwest::get(url).await?.text().await })?
    }";
const REQWEST_BLOCKING: &str = "reqwest::blocking::get(url)?.text()?";
const UREQ: &str = "ureq::get(url).call()?.body_mut().read_to_string()?";

pub const PROGRAMS: &[Program] = &[
    Program { name: "none", what: "no client at all", dependency: "", get: "url.to_owned()", scheme: "http" },
    Program { name: "marmot", what: "default", dependency: "marmot = { path = 'ROOT' }", get: MARMOT, scheme: "https" },
    Program {
        name: "marmot",
        what: "least for https: static-curl, rustls",
        dependency: "marmot = { path = 'ROOT', default-features = false, features = ['static-curl', 'rustls'] }",
        get: MARMOT,
        scheme: "https",
    },
    Program {
        name: "marmot",
        what: "least for http: static-curl",
        dependency: "marmot = { path = 'ROOT', default-features = false, features = ['static-curl'] }",
        get: MARMOT,
        scheme: "http",
    },
    Program { name: "isahc", what: "default", dependency: "isahc = '2'", get: ISAHC, scheme: "https" },
    Program {
        name: "isahc",
        what: "least for https: rustls-tls",
        dependency: "isahc = { version = '2', default-features = false, features = ['rustls-tls'] }",
        get: ISAHC_LEAST,
        scheme: "https",
    },
    Program {
        name: "isahc",
        what: "least for http: static-curl",
        dependency: "isahc = { version = '2', default-features = false, features = ['static-curl'] }",
        get: ISAHC_LEAST,
        scheme: "http",
    },
    Program {
        name: "reqwest",
        what: "default",
        dependency: "reqwest = '0.13'\ntokio = { version = '1', features = ['rt', 'net', 'time'] }",
        get: REQWEST,
        scheme: "https",
    },
    Program {
        name: "reqwest",
        what: "least for https: rustls",
        dependency: "reqwest = { version = '0.13', default-features = false, features = ['rustls'] }\n\
                     tokio = { version = '1', features = ['rt', 'net', 'time'] }",
        get: REQWEST,
        scheme: "https",
    },
    Program {
        name: "reqwest",
        what: "least for http: none",
        dependency: "reqwest = { version = '0.13', default-features = false }\n\
                     tokio = { version = '1', features = ['rt', 'net', 'time'] }",
        get: REQWEST,
        scheme: "http",
    },
    Program {
        name: "reqwest, blocking",
        what: "default, blocking",
        dependency: "reqwest = { version = '0.13', features = ['blocking'] }",
        get: REQWEST_BLOCKING,
        scheme: "https",
    },
    Program { name: "ureq", what: "default", dependency: "ureq = '3'", get: UREQ, scheme: "https" },
    Program {
        name: "ureq",
        what: "least for https: rustls",
        dependency: "ureq = { version = '3', default-features = false, features = ['rustls'] }",
        get: UREQ,
        scheme: "https",
    },
    Program {
        name: "ureq",
        what: "least for http: none",
        dependency: "ureq = { version = '3', default-features = false }",
        get: UREQ,
        scheme: "http",
    },
];

impl Program {
    pub fn dependencies(&self) -> String {
        self.dependency.replace("ROOT", ROOT)
    }

    pub fn main(&self) -> String {
        let Self { get, scheme, .. } = self;
        format!(
            "fn main() -> Result<(), Box<dyn std::error::Error>> {{\n    let url = \"{scheme}://example.com/\";\n    \
             let body: String = {get};\n    println!(\"{{body}}\");\n    Ok(())\n}}\n"
        )
    }
}
