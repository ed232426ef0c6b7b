//! What a person sees while a script works for long: a line at the bottom of the terminal. Shows nothing elsewhere.

use std::collections::HashMap;
use std::io::{IsTerminal, stderr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use marmot::script::DownloadProgress;

/// How long a script may be silent before the line shows.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bars of downloads, and a line that counts requests.
#[derive(Clone)]
pub(crate) struct Progress {
    all: MultiProgress,
    requests: ProgressBar,
    downloads: Arc<Mutex<HashMap<String, ProgressBar>>>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let target = if stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let all = MultiProgress::with_draw_target(target);
        let requests = all.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed}, {pos} requests") {
            requests.set_style(style);
        }
        let late = requests.clone();
        if stderr().is_terminal() {
            // Ends with the bar: a bar that is finished or gone is not drawn.
            std::thread::spawn(move || {
                std::thread::sleep(PATIENCE);
                if !late.is_finished() {
                    late.enable_steady_tick(Duration::from_millis(200));
                }
            });
        }
        Self { all, requests, downloads: Arc::default() }
    }

    pub(crate) fn request(&self) {
        self.requests.inc(1);
    }

    pub(crate) fn download(&self, now: &DownloadProgress) {
        let mut downloads = self.downloads.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = downloads.entry(now.path.clone()).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::no_length());
            let template = "{prefix} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_prefix(now.path.clone());
            bar
        });
        if let Some(total) = now.total {
            bar.set_length(total);
        }
        bar.set_position(now.done);
        if now.total == Some(now.done) {
            bar.finish();
        }
    }

    /// Writes something without the line in its way.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.all.suspend(write)
    }

    /// Takes the line away.
    pub(crate) fn end(&self) {
        self.requests.finish_and_clear();
        // There is nobody to tell if the terminal is gone.
        let _ = self.all.clear();
    }
}
