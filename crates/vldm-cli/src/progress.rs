//! Progress bars on standard error, for what takes longer than two seconds.

use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How long to stay silent.
const PATIENCE: Duration = Duration::from_secs(2);

/// A bar that shows itself after two seconds and vanishes when dropped; never shown where
/// standard error is no terminal.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Work of `length` steps, with the time left.
    pub(crate) fn steps(label: String, length: usize) -> Self {
        const STEPS: &str = "{msg} [{wide_bar}] {pos}/{len}  {elapsed} gone, {eta} left";
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
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
