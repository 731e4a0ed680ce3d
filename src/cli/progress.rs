//! Progress of long work: a bar on a terminal, a line now and then elsewhere.

use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Environment;
use crate::offline::Progress;

const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how many bytes are done, of how many if that is known.
pub(super) enum Meter<'a> {
    Bar(ProgressBar),
    Lines { out: &'a mut dyn Write, what: String, done: u64, total: Option<u64>, last: Instant },
}

impl<'a> Meter<'a> {
    /// On a terminal a bar on standard error, elsewhere plain lines there, if it takes long.
    pub(super) fn new(env: &'a mut Environment<'_>, what: &str, total: Option<u64>) -> Self {
        if env.terminals.stderr {
            let bar = match total {
                Some(total) => ProgressBar::new(total)
                    .with_style(style("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}")),
                None => ProgressBar::no_length().with_style(style("{msg} {bytes} {bytes_per_sec} {elapsed}")),
            };
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
            bar.set_message(what.to_owned());
            return Self::Bar(bar);
        }
        Self::Lines { out: env.stderr, what: what.to_owned(), done: 0, total, last: Instant::now() }
    }

    /// Writes a line above the bar.
    pub(super) fn line(&mut self, line: &str) {
        match self {
            Self::Bar(bar) => bar.println(line),
            // With standard error gone there is nobody left to tell.
            Self::Lines { out, .. } => drop(writeln!(out, "{line}")),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Progress for Meter<'_> {
    fn advance(&mut self, bytes: u64) {
        match self {
            Self::Bar(bar) => bar.inc(bytes),
            Self::Lines { out, what, done, total, last } => {
                *done = done.saturating_add(bytes);
                if last.elapsed() >= LINE_EVERY {
                    *last = Instant::now();
                    let of = total.map(|total| format!(" of {}", HumanBytes(total))).unwrap_or_default();
                    let _ = writeln!(out, "{what}: {}{of}", HumanBytes(*done));
                }
            }
        }
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// A bar that counts, on a terminal; nothing elsewhere.
pub(super) fn counter(env: &Environment<'_>, total: usize) -> ProgressBar {
    if !env.terminals.stderr {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total as u64).with_style(style("{bar:30} {pos}/{len} {eta}"));
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
    bar
}
