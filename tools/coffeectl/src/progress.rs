//! Tells on standard error how long work gets on: one living line on a terminal, a line now and then in a log.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const LOG_EVERY: Duration = Duration::from_secs(3);

pub struct Progress {
    bar: Option<ProgressBar>,
    last: Option<(Instant, String)>,
}

impl Progress {
    pub fn new() -> Progress {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Progress { bar, last: None }
    }

    /// What is going on right now. May be called as often as it changes.
    pub fn say(&mut self, what: String) {
        if let Some(bar) = &self.bar {
            return bar.set_message(what);
        }
        let due = self.last.as_ref().is_none_or(|(at, said)| at.elapsed() >= LOG_EVERY && *said != what);
        if due {
            eprintln!("{what}");
            self.last = Some((Instant::now(), what));
        }
    }

    pub fn done(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
