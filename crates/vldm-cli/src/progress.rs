//! Progress bars on standard error, for what takes longer than two seconds.

use std::fmt::Write;
use std::io::IsTerminal;
use std::thread;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// How long to stay silent.
const PATIENCE: Duration = Duration::from_secs(2);

/// A bar that shows itself after two seconds and vanishes when dropped; never shown where
/// standard error is no terminal.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Work of `length` steps, with the time left.
    pub(crate) fn steps(label: String, length: usize) -> Self {
        const STEPS: &str = "{msg} [{wide_bar}] {pos}/{len}  {elapsed} gone, {left} left";
        Self::new(label, Some(length as u64), STEPS)
    }

    /// Work of unknown length.
    pub(crate) fn spinner(label: String) -> Self {
        Self::new(label, None, "{spinner} {msg}  {elapsed}")
    }

    fn new(label: String, length: Option<u64>, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("left", write_time_left)
            .progress_chars("=> ");
        bar.set_style(style);
        bar.set_message(label);
        let waiting = bar.downgrade();
        thread::spawn(move || {
            thread::sleep(PATIENCE);
            if let Some(bar) = waiting.upgrade()
                && !bar.is_finished()
            {
                bar.set_draw_target(ProgressDrawTarget::stderr());
                bar.enable_steady_tick(Duration::from_millis(200));
            }
        });
        Self(bar)
    }

    /// `done` steps are behind us.
    pub(crate) fn set(&self, done: usize) {
        self.0.set_position(done as u64);
    }

    /// `done` of `of` steps are behind us, where the length was not known before.
    pub(crate) fn set_of(&self, done: usize, of: usize) {
        self.0.set_length(of as u64);
        self.0.set_position(done as u64);
    }

    /// `done` steps were behind us when we began: the time left does not count them.
    pub(crate) fn begin_at(&self, done: usize) {
        self.0.set_position(done as u64);
        self.0.reset_eta();
    }

    /// Another text before the bar.
    pub(crate) fn label(&self, label: String) {
        self.0.set_message(label);
    }

    /// Writes lines where no bar is shown, because standard error is no terminal.
    pub(crate) fn aside_without_terminal(&self, write: impl FnOnce()) {
        if !std::io::stderr().is_terminal() {
            write();
        }
    }

    /// Writes lines while the bar is out of their way.
    pub(crate) fn aside(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }
}

/// Nothing is known before the first step is done.
fn write_time_left(state: &ProgressState, out: &mut dyn Write) {
    // A bar that cannot be drawn is no reason to stop.
    let _ = match state.pos() {
        0 => write!(out, "?"),
        _ => write!(out, "{:#}", HumanDuration(state.eta())),
    };
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
