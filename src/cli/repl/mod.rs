//! `marmot repl`: inputs run as they are typed, or one after another as they come through a pipe.
//!
//! The editor has a thread of its own: meanwhile the session goes on with its promises on this one, and answers what the
//! editor asks about the text.
//!
//! - `editor`: lines from a terminal. `complete`: what a line may go on with.

mod complete;
mod editor;

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

use futures::StreamExt;
use futures::channel::mpsc::unbounded;
use marmot::script::rhai::{Array, Dynamic};
use marmot::script::{ScriptEngine, Session};

use self::editor::Said;
use super::host::{self, INTERRUPTED, Interrupts, SCRIPT_ERROR, complain};
use super::paint::Paint;
use super::pretty::{brief, cut, pretty};
use super::trace_line;
use crate::Surroundings;

const HELP: &str = "\
What is typed runs when it is whole: an open bracket, block or string goes on in the next line.
Variables, functions and promises stay. Promises go on while you type.

.help        this text
.vars        the variables and functions of this session
.clear       forget them, and cancel what is under way
.load FILE   run a file
.save FILE   write the inputs that went well to a new file
.exit        end, as does Ctrl-D

Tab completes names, also after `http::` and after the dot of a variable. The arrows up and down go through the history,
Ctrl-R searches it; it leaves out lines that begin with a space. Ctrl-C gives up a line, or ends what runs.";

const COMMANDS: &[&str] = &[".clear", ".exit", ".help", ".load ", ".save ", ".vars"];

/// The most of a body that is shown.
const BODY_LINES: usize = 20;
const BODY_CHARACTERS: usize = 2000;

pub(crate) fn repl(options: &Surroundings) -> ExitCode {
    let trace = options.trace;
    let built = host::equip(options).and_then(|mut equipment| {
        if trace {
            equipment.engine = equipment.engine.on_request(|trace| complain(&trace_line(trace)));
        }
        equipment.build()
    });
    let (engine, recording) = match built {
        Ok((engine, recording)) => (engine.on_debug(complain).on_print(say), recording),
        Err(message) => return host::wrong_usage(&message),
    };
    let is_typed = io::stdin().is_terminal();
    let mut repl = Repl {
        engine: &engine,
        session: engine.session(),
        interrupts: Interrupts::new(!is_typed),
        is_typed,
        paint: if is_typed { Paint::of(&io::stdout()) } else { Paint::none() },
        done: Vec::new(),
        count: 0,
    };
    let code = if is_typed { repl.converse() } else { repl.run_all() };
    match recording.save() {
        Ok(()) => code,
        Err(message) => {
            complain(&format!("error: {message}"));
            ExitCode::from(SCRIPT_ERROR)
        }
    }
}

/// What became of an input.
enum Outcome {
    Well,
    Failed,
    Interrupted,
    /// It asked to end.
    Exit,
}

struct Repl<'a> {
    engine: &'a ScriptEngine,
    session: Session<'a>,
    interrupts: Interrupts,
    /// Whether a person types, on a terminal.
    is_typed: bool,
    paint: Paint,
    /// The inputs that went well.
    done: Vec<String>,
    /// How many inputs there were.
    count: usize,
}

impl Repl<'_> {
    /// Talks with whoever sits at the terminal.
    fn converse(&mut self) -> ExitCode {
        let version = env!("CARGO_PKG_VERSION");
        say(&format!(
            "marmot {version}: Rhai with HTTP. {}",
            self.paint.dim(".help helps, Tab completes, Ctrl-D ends.")
        ));
        let (said, mut hear) = unbounded();
        let editor = std::thread::Builder::new().name("editor".into()).spawn(move || editor::read(said));
        if let Err(error) = editor {
            return host::wrong_usage(&format!("there is no thread for the editor: {error}"));
        }
        loop {
            // An answer may come too late for an editor that has ended; it says so next.
            match self.session.wait(hear.next()) {
                Some(Said::Complete(text, answer)) => {
                    let _ = answer.send(self.complete(&text));
                }
                Some(Said::IsComplete(text, answer)) => {
                    let _ = answer.send(is_command(&text) || self.session.is_complete(&text));
                }
                Some(Said::Input(input, answer)) => {
                    if let Outcome::Exit = self.take(&input) {
                        return ExitCode::SUCCESS;
                    }
                    let _ = answer.send(());
                }
                Some(Said::Ready(answer)) => {
                    self.interrupts.watch();
                    let _ = answer.send(());
                }
                Some(Said::Interrupted(answer)) => {
                    let _ = answer.send(());
                }
                Some(Said::End(None)) | None => return ExitCode::SUCCESS,
                Some(Said::End(Some(error))) => {
                    complain(&format!("error: {error}"));
                    return ExitCode::from(SCRIPT_ERROR);
                }
            }
        }
    }

    /// Runs what comes through a pipe, to its end.
    fn run_all(&mut self) -> ExitCode {
        self.interrupts.watch();
        let mut code = ExitCode::SUCCESS;
        let mut input = String::new();
        let mut lines = io::stdin().lock();
        loop {
            let more = match lines.read_line(&mut input) {
                Ok(length) => length > 0,
                Err(error) => return host::wrong_usage(&format!("could not read stdin: {error}")),
            };
            if more && !is_command(&input) && !self.session.is_complete(&input) {
                continue;
            }
            match self.take(&std::mem::take(&mut input)) {
                Outcome::Well => {}
                Outcome::Failed => code = ExitCode::from(SCRIPT_ERROR),
                Outcome::Interrupted => return ExitCode::from(INTERRUPTED),
                Outcome::Exit => return code,
            }
            if !more {
                return code;
            }
        }
    }

    /// Runs an input or obeys a command.
    fn take(&mut self, input: &str) -> Outcome {
        let input = input.trim_end();
        if is_command(input) {
            return self.command(input.trim());
        }
        if input.trim().is_empty() {
            return Outcome::Well;
        }
        self.count += 1;
        self.run(&format!("input {}", self.count), input)
    }

    fn command(&mut self, line: &str) -> Outcome {
        let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let argument = argument.trim();
        let result = match (name, argument) {
            (".help", "") => {
                say(HELP);
                Ok(())
            }
            (".vars", "") => {
                self.list();
                Ok(())
            }
            (".clear", "") => {
                self.session.clear();
                self.done.clear();
                Ok(())
            }
            (".exit", "") => return Outcome::Exit,
            (".load", file) if !file.is_empty() => match std::fs::read_to_string(file) {
                Ok(source) => return self.run(file, &source),
                Err(error) => Err(format!("could not read `{file}`: {error}")),
            },
            (".save", file) if !file.is_empty() => self.save(file),
            (".load" | ".save", _) => Err(format!("{name} needs the name of a file")),
            (known, _) if COMMANDS.iter().any(|command| command.trim() == known) => {
                Err(format!("{known} takes no argument"))
            }
            _ => Err(format!("there is no command {name}; .help shows those that there are")),
        };
        match result {
            Ok(()) => Outcome::Well,
            Err(message) => {
                complain(&format!("error: {message}"));
                Outcome::Failed
            }
        }
    }

    fn run(&mut self, name: &str, source: &str) -> Outcome {
        let cancel = self.interrupts.start();
        let result = self.session.eval(name, source, cancel);
        let interrupted = self.interrupts.stop();
        match result {
            Ok(value) => {
                self.done.push(source.trim_end().to_owned());
                if !value.is_unit() {
                    say(&self.shown(&value));
                }
                Outcome::Well
            }
            Err(error) => {
                // The terminal has shown `^C`.
                let line = if interrupted && self.is_typed { "\n" } else { "" };
                let _ = write!(io::stderr(), "{line}");
                host::explain(&error);
                if interrupted { Outcome::Interrupted } else { Outcome::Failed }
            }
        }
    }

    /// A value as the answer to an input.
    fn shown(&self, value: &Dynamic) -> String {
        match self.type_of(value) {
            "Response" => self.reply(value),
            "Headers" => Some(self.headers(&self.text(value))),
            _ => None,
        }
        .unwrap_or_else(|| pretty(value, self.paint, &|value| self.name(value)))
    }

    /// A response: the status line, the headers, and the beginning of the body.
    fn reply(&self, value: &Dynamic) -> Option<String> {
        let source = "fn body(it) { try { return it.text(); } catch { return it.blob(); } } \
                      [`${it}`, `${it.headers}`, body(it), it.ok]";
        let script = self.engine.compile("reply", source).ok()?.constant("it", value.clone());
        let parts = script.run().ok()?.try_cast::<Array>()?;
        let [head, headers, body, ok] = <[Dynamic; 4]>::try_from(parts).ok()?;
        let paint = self.paint;
        let head = tame(&head.to_string());
        let head = if ok.as_bool() == Ok(true) { paint.green(&head) } else { paint.red(&head) };
        let body = match body.into_string() {
            Ok(body) => self.beginning(&body),
            Err(_) => paint.dim("(no text)"),
        };
        let text = format!("{head}\n{}\n\n{body}", self.headers(&headers.to_string()));
        Some(text.trim_end().to_owned())
    }

    fn headers(&self, lines: &str) -> String {
        let coloured = lines.lines().map(|line| {
            let (name, value) = line.split_once(": ").unwrap_or((line, ""));
            format!("{}: {}", self.paint.cyan(name), tame(value))
        });
        coloured.collect::<Vec<_>>().join("\n")
    }

    /// The first lines of a body.
    fn beginning(&self, body: &str) -> String {
        let lines: Vec<_> = body.lines().take(BODY_LINES).collect();
        let (shown, _) = cut(&lines.join("\n"), BODY_CHARACTERS);
        let rest = body.trim_end().chars().count().saturating_sub(shown.chars().count());
        let shown = tame(&shown);
        if rest == 0 { shown } else { format!("{shown}\n{}", self.paint.dim(&format!("… {rest} more characters"))) }
    }

    /// What to call a value that is no literal.
    fn name(&self, value: &Dynamic) -> String {
        if value.is_fnptr() {
            return "a function".into();
        }
        let (kind, text) = (self.type_of(value), self.text(value));
        // A type that has no text of its own has its name for one.
        let text = if text == value.type_name() { kind } else { text.lines().next().unwrap_or(kind) };
        format!("<{}>", tame(text.trim_matches(['<', '>'])))
    }

    /// A value as a script would print it.
    fn text(&self, value: &Dynamic) -> String {
        let script = self.engine.compile("value", "`${it}`").map(|script| script.constant("it", value.clone()));
        script.and_then(|script| script.run()).map(|text| text.to_string()).unwrap_or_default()
    }

    fn type_of(&self, value: &Dynamic) -> &str {
        self.engine.engine().map_type_name(value.type_name())
    }

    /// Shows what there is.
    fn list(&self) {
        let variables = self.session.variables();
        let width = variables.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        for (name, value) in variables {
            let padding = " ".repeat(width - name.chars().count());
            say(&format!("{}{padding} = {}", self.paint.cyan(name), brief(value, 60, &|value| self.name(value))));
        }
        for (name, parameters) in self.session.functions() {
            say(&format!("fn {}({})", self.paint.cyan(name), parameters.join(", ")));
        }
    }

    /// Writes the inputs that went well as a script.
    fn save(&self, file: &str) -> Result<(), String> {
        let failed = |error: io::Error| format!("could not write `{file}`: {error}");
        let mut script = String::new();
        for input in &self.done {
            script.push_str(input);
            // What was a whole input needs an end to be followed by another.
            if self.engine.compile("end", &format!("{input}\n0")).is_err() {
                script.push(';');
            }
            script.push('\n');
        }
        // A file that is there already may be worth more than a session.
        let mut written = std::fs::File::create_new(file).map_err(failed)?;
        written.write_all(script.as_bytes()).map_err(failed)?;
        self.engine.compile(file, &script).map(drop).map_err(|error| format!("saved, but it is no script: {error}"))
    }

    fn complete(&self, text: &str) -> (usize, Vec<String>) {
        if is_command(text) {
            let known = COMMANDS.iter().filter(|command| command.starts_with(text));
            return (0, known.map(|command| (*command).to_owned()).collect());
        }
        complete::complete(self.engine, &self.session, text)
    }
}

/// Nothing that a server sends may steer the terminal.
fn tame(text: &str) -> String {
    let steers = |char: char| char.is_control() && !matches!(char, '\n' | '\t');
    text.replace(steers, "\u{fffd}")
}

/// No input begins with a dot.
fn is_command(text: &str) -> bool {
    text.trim_start().starts_with('.')
}

/// A line on stdout. Whoever does not read to the end need not be told.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
