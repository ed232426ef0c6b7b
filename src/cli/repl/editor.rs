//! The line editor of the prompt, on a thread of its own: reads inputs, keeps their history. Knows nothing of scripts: it asks.

use std::borrow::Cow;
use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc;

use futures::channel::mpsc::UnboundedSender;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{ColorMode, CompletionType, Config, Context, Editor, Helper};

use crate::cli::paint::Paint;

const PROMPT: &str = "marmot> ";
/// The most inputs that are kept.
const HISTORY: usize = 1000;

/// What the editor has to say. It waits for each answer.
pub(super) enum Said {
    /// The terminal is set up, with a handler of the editor's own for Ctrl-C, which the prompt does not need.
    Ready(mpsc::Sender<()>),
    /// An input, all of it. The answer asks for the next one.
    Input(String, mpsc::Sender<()>),
    /// Ctrl-C on the prompt: the line was given up.
    Interrupted(mpsc::Sender<()>),
    /// Whether this is a whole input.
    IsComplete(String, mpsc::Sender<bool>),
    /// What the text up to the cursor may go on with: from which byte on, and how.
    Complete(String, mpsc::Sender<(usize, Vec<String>)>),
    /// There will be no more, because of an error or not.
    End(Option<String>),
}

/// Reads inputs until their end and says them, on the thread that calls it.
pub(super) fn read(said: UnboundedSender<Said>) {
    let end = read_all(&said).err().map(|error| format!("the terminal cannot be read: {error}"));
    let _ = said.unbounded_send(Said::End(end));
}

fn read_all(said: &UnboundedSender<Said>) -> Result<(), ReadlineError> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .history_ignore_space(true)
        .max_history_size(HISTORY)?
        .color_mode(if Paint::of(&io::stdout()).is_on() { ColorMode::Enabled } else { ColorMode::Disabled })
        .build();
    let mut editor: Editor<Asking, FileHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Asking(said.clone())));
    // A history that cannot be kept is no reason not to work.
    let file = history_file();
    if let Some(file) = &file {
        let _ = file.parent().map(fs::create_dir_all);
        let _ = editor.load_history(file);
    }
    let mut go_on = ask(said, Said::Ready);
    while go_on.is_some() {
        go_on = match editor.readline(PROMPT) {
            Ok(input) => {
                let _ = editor.add_history_entry(&input);
                if let Some(file) = &file {
                    let _ = editor.append_history(file);
                }
                ask(said, |answer| Said::Input(input, answer))
            }
            Err(ReadlineError::Interrupted) => ask(said, Said::Interrupted),
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error),
        };
    }
    Ok(())
}

/// Asks and waits for the answer. None when nobody is there any more.
fn ask<T>(said: &UnboundedSender<Said>, question: impl FnOnce(mpsc::Sender<T>) -> Said) -> Option<T> {
    let (answer, answered) = mpsc::channel();
    said.unbounded_send(question(answer)).ok()?;
    answered.recv().ok()
}

/// Below the user's directory for state (XDG Base Directory Specification), on Windows for local data.
fn history_file() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("LOCALAPPDATA").filter(|_| cfg!(windows)))
        .or_else(|| env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".local/state")))?;
    Some(state.join("marmot").join("history"))
}

/// Hands the editor's questions on.
struct Asking(UnboundedSender<Said>);

impl Validator for Asking {
    fn validate(&self, ctx: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        let input = ctx.input().to_owned();
        Ok(match ask(&self.0, |answer| Said::IsComplete(input, answer)) {
            Some(false) => ValidationResult::Incomplete,
            _ => ValidationResult::Valid(None),
        })
    }
}

impl Completer for Asking {
    type Candidate = String;

    fn complete(&self, line: &str, cursor: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let text = line.get(..cursor).unwrap_or_default().to_owned();
        Ok(ask(&self.0, |answer| Said::Complete(text, answer)).unwrap_or_default())
    }
}

impl Highlighter for Asking {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        Cow::Owned(format!("\x1b[1m{prompt}\x1b[0m"))
    }
}

impl Hinter for Asking {
    type Hint = String;
}

impl Helper for Asking {}
