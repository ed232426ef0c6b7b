//! The page `docs/script-reference.md`, read: its signatures, its examples, and the definitions for editors that are made of
//! it. Runs nothing.

/// What the words before a dot stand for in the signatures of the page.
const RECEIVERS: &[(&str, &[&str])] = &[
    ("response", &["Response"]),
    ("headers", &["Headers"]),
    ("client", &["Client"]),
    ("promise", &["Promise"]),
    ("stream", &["Stream"]),
    ("socket", &["WebSocket"]),
    ("secret", &["Secret"]),
    ("object", &["StripeObject"]),
    ("product", &["ProductBuilder"]),
    ("price", &["PriceBuilder"]),
    ("customer", &["CustomerBuilder"]),
    ("coupon", &["CouponBuilder"]),
    ("subscription", &["SubscriptionBuilder"]),
    ("intent", &["PaymentIntentBuilder"]),
    (
        "builder",
        &[
            "ProductBuilder",
            "PriceBuilder",
            "CustomerBuilder",
            "CouponBuilder",
            "SubscriptionBuilder",
            "PaymentIntentBuilder",
        ],
    ),
];

/// How something is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Function,
    Property,
    Index,
}

/// One way to call something, with nothing left out.
#[derive(Clone, Debug)]
pub struct Signature {
    pub form: Form,
    /// In the module `http`.
    pub in_http: bool,
    /// The word before the dot, and its type.
    receiver: Option<(String, &'static str)>,
    pub name: String,
    params: Vec<(String, String)>,
    result: String,
    /// What it does, where it has a line of its own.
    meaning: Option<String>,
}

/// A heading of the third level with signatures.
pub struct Entry {
    pub title: String,
    /// Its paragraphs, lists and examples, without the signatures.
    pub text: String,
    pub signatures: Vec<Signature>,
}

/// A script of the page.
pub struct Example {
    pub heading: String,
    pub source: String,
}

pub struct Page {
    pub entries: Vec<Entry>,
    pub examples: Vec<Example>,
}

impl Page {
    /// # Panics
    ///
    /// If the page is not in its form.
    pub fn parse(text: &str) -> Self {
        let mut page = Self { entries: Vec::new(), examples: Vec::new() };
        let mut heading = "";
        let mut entry: Option<Entry> = None;
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(title) = line.strip_prefix("## ").or(line.strip_prefix("### ")) {
                page.entries.extend(entry.take());
                heading = title;
                if let Some(title) = title.strip_prefix('`').and_then(|title| title.strip_suffix('`')) {
                    entry = Some(Entry { title: title.to_owned(), text: String::new(), signatures: Vec::new() });
                }
                continue;
            }
            let Some(language) = line.strip_prefix("```") else {
                if let Some(entry) = &mut entry {
                    entry.text += &format!("{line}\n");
                }
                continue;
            };
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            if language == "text" {
                let entry = entry.as_mut().unwrap_or_else(|| panic!("{heading}: signatures without a name"));
                entry.signatures.extend(block.iter().flat_map(|line| Signature::parse(line)));
                continue;
            }
            if let Some(entry) = &mut entry {
                entry.text += &format!("```{language}\n{}\n```\n", block.join("\n"));
            }
            if language == "rhai" {
                page.examples.push(Example { heading: heading.to_owned(), source: block.join("\n") });
            }
        }
        page.entries.extend(entry);
        page
    }

    /// The definition file for editors, in the form of Rhai's language server.
    pub fn definitions(&self) -> String {
        let mut text = String::from(
            "/// What scripts have from marmot, for editors with Rhai's language server. Made of docs/script-reference.md by\n\
             /// `WRITE_REFERENCE=1 cargo test --all-features --test it reference`.\nmodule static;\n\n\
             /// The arguments of `marmot run`, as strings.\nconst ARGS: Array;\n",
        );
        let mut http = String::new();
        for entry in &self.entries {
            let mut is_first = true;
            for signature in entry.all() {
                let Some(code) = signature.definition() else { continue };
                let doc = match &signature.meaning {
                    Some(meaning) => meaning.clone(),
                    // The whole text once, so that the file stays short enough to be read.
                    None if std::mem::take(&mut is_first) => without_links(&entry.text),
                    None if signature.is_twin() => format!("{} It does not wait: a promise.", entry.first_paragraph()),
                    None => entry.first_paragraph().to_owned(),
                };
                let (out, margin) = if signature.in_http { (&mut http, "    ") } else { (&mut text, "") };
                out.push('\n');
                for line in without_gaps(&doc) {
                    *out += format!("{margin}/// {line}").trim_end();
                    out.push('\n');
                }
                *out += &format!("{margin}{code}\n");
            }
        }
        format!("{text}\nmodule http {{{http}}}\n")
    }
}

impl Entry {
    /// Its signatures, and those of the names that its paragraph "Also" tells.
    pub fn all(&self) -> Vec<Signature> {
        let also = self.text.split("\n\n").find_map(|paragraph| paragraph.trim().strip_prefix("Also "));
        let names = also.into_iter().flat_map(|also| also.split('`').skip(1).step_by(2));
        let twins = names
            .flat_map(|name| self.signatures.iter().filter_map(|signature| signature.twin(name)).collect::<Vec<_>>());
        self.signatures.iter().cloned().chain(twins).collect()
    }

    /// What it is about, in a sentence.
    pub fn first_paragraph(&self) -> &str {
        self.text.trim().split("\n\n").next().unwrap_or_default()
    }
}

impl Signature {
    /// A line such as `word.name(a: int, b?: map) -> any  // what it does`, in all forms that it stands for.
    fn parse(line: &str) -> Vec<Self> {
        let (code, meaning) =
            line.split_once(" // ").map_or((line, None), |(code, words)| (code, Some(words.to_owned())));
        let (call, result) = code.split_once(" -> ").unwrap_or_else(|| panic!("`{line}` gives nothing"));
        let (path, params, form) = match call.find(['(', '[']) {
            Some(at) => {
                let form = if call[at..].starts_with('(') { Form::Function } else { Form::Index };
                (&call[..at], &call[at + 1..call.len() - 1], form)
            }
            None => (call, "", Form::Property),
        };
        let (in_http, path) = path.strip_prefix("http::").map_or((false, path), |name| (true, name));
        let (word, name) = match (form, path.split_once('.')) {
            (Form::Index, _) => (Some(path), "[]"),
            (_, Some((word, name))) => (Some(word), name),
            (_, None) => (None, path),
        };
        let types = word.map(|word| {
            let found = RECEIVERS.iter().find(|(other, _)| *other == word);
            found.unwrap_or_else(|| panic!("`{line}`: what is a `{word}`?")).1
        });
        let params: Vec<_> = params.split(", ").filter(|param| !param.is_empty()).collect();
        let required = params.iter().filter(|param| !param.contains("?:")).count();
        let given = |count: usize| {
            let pair = |param: &&str| {
                let (name, kind) = param.split_once(": ").unwrap_or_else(|| panic!("`{line}`: `{param}` has no type"));
                (name.trim_end_matches('?').to_owned(), kind.to_owned())
            };
            params[..count].iter().map(pair).collect::<Vec<_>>()
        };
        let receivers: Vec<_> = match types {
            Some(types) => types.iter().map(|kind| Some((word.unwrap_or_default().to_owned(), *kind))).collect(),
            None => vec![None],
        };
        let with = |receiver: &Option<(String, &'static str)>, count| {
            let result = match (result.trim(), receiver) {
                ("Builder", Some((_, kind))) => (*kind).to_owned(),
                (result, _) => result.to_owned(),
            };
            Self {
                form,
                in_http,
                receiver: receiver.clone(),
                name: name.to_owned(),
                params: given(count),
                result,
                meaning: meaning.clone(),
            }
        };
        receivers
            .iter()
            .flat_map(|receiver| (required..=params.len()).map(move |count| (receiver, count)))
            .map(|(receiver, count)| with(receiver, count))
            .collect()
    }

    /// The same under another name, if that has this form.
    fn twin(&self, name: &str) -> Option<Self> {
        let mut twin = self.clone();
        let bare = name.rsplit(['.', ':']).next().unwrap_or(name);
        twin.in_http = name.starts_with("http::");
        twin.name = bare.to_owned();
        if twin.is_twin() {
            twin.result = "Promise".into();
        }
        if name.starts_with("client.") {
            twin.receiver = Some(("client".into(), "Client"));
            match twin.params.first_mut() {
                Some((first, _)) if first == "url" => *first = "path".into(),
                // Streams take all in a map, but not from clients.
                _ if self.result == "Stream" => return None,
                _ => {}
            }
        }
        Some(twin)
    }

    /// Whether it only starts what another does.
    fn is_twin(&self) -> bool {
        self.name.ends_with("_async")
    }

    /// What tells it from others: where it is, its name, the number of its parameters.
    pub fn key(&self) -> String {
        let place = match (&self.receiver, self.in_http) {
            (Some((_, kind)), _) => format!("{kind}."),
            (None, true) => "http::".into(),
            (None, false) => String::new(),
        };
        match self.form {
            Form::Property => format!("{place}{}", self.name),
            Form::Function | Form::Index => format!("{place}{}/{}", self.name, self.params.len()),
        }
    }

    pub fn meaning(&self) -> Option<&str> {
        self.meaning.as_deref()
    }

    /// The line of the definition file. It has no form for an index.
    fn definition(&self) -> Option<String> {
        let receiver = self.receiver.iter().map(|(word, kind)| (word.clone(), (*kind).to_owned()));
        let params: Vec<_> = receiver
            .chain(self.params.clone())
            .map(|(name, kind)| format!("{name}: {}", definition_type(&kind)))
            .collect();
        let get = match self.form {
            Form::Function => "",
            Form::Property => "get ",
            Form::Index => return None,
        };
        Some(format!("fn {get}{}({}) -> {};", self.name, params.join(", "), definition_type(&self.result)))
    }
}

/// The word of the definition file for a type.
fn definition_type(kind: &str) -> &str {
    match kind {
        "string" => "String",
        "map" => "Map",
        "array" => "Array",
        "blob" => "Blob",
        "function" => "FnPtr",
        "any" => "?",
        // The language server has no word for several types.
        several if several.contains('|') => "?",
        other => other,
    }
}

/// Its lines, with no more than one empty one in a row, and none at its ends.
fn without_gaps(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.trim().lines().collect();
    lines.dedup_by(|line, before| line.is_empty() && before.is_empty());
    lines
}

/// Links within the page lead nowhere in an editor.
fn without_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](#") {
        let (start, words) = before.rsplit_once('[').expect("a link begins with a bracket");
        out.push_str(start);
        out.push_str(words);
        rest = after.split_once(')').expect("a link ends").1;
    }
    out + rest
}
