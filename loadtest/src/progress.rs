//! One line that tells what goes on: how far a load is, what is accepted, how long it takes, who is behind.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::AbortHandle;

use crate::engine::timeline::Timeline;
use crate::measure::observer::Observer;
use crate::report::number;

const EVERY: Duration = Duration::from_millis(250);

pub struct Progress {
    bar: ProgressBar,
    teller: AbortHandle,
}

impl Progress {
    pub fn start(timeline: Arc<Timeline>, observer: &Arc<Observer>) -> Progress {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(EVERY);
        let (told, observer) = (bar.clone(), Arc::downgrade(observer));
        let teller = tokio::spawn(async move {
            let mut clock = tokio::time::interval(EVERY);
            while let Some(observer) = observer.upgrade() {
                told.set_message(now(&timeline, &observer));
                told.set_position(told.elapsed().as_secs());
                drop(observer);
                clock.tick().await;
            }
        });
        Progress { bar, teller: teller.abort_handle() }
    }

    /// A load begins.
    pub fn load(&self, name: &str, length: Duration) {
        let style = ProgressStyle::with_template("{prefix}  {bar:24} {elapsed_precise}  {msg}");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.bar.set_prefix(name.to_owned());
        self.bar.set_length(length.as_secs().max(1));
        self.bar.reset();
    }

    /// Something else goes on.
    pub fn say(&self, what: &str) {
        let style = ProgressStyle::with_template("{spinner} {prefix}  {elapsed_precise}  {msg}");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        self.bar.set_prefix(what.to_owned());
        self.bar.reset();
        if self.bar.is_hidden() {
            eprintln!("{what}");
        }
    }

    /// A line that stays.
    pub fn note(&self, line: &str) {
        if self.bar.is_hidden() { eprintln!("{line}") } else { self.bar.println(line) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.teller.abort();
        self.bar.finish_and_clear();
    }
}

fn now(timeline: &Timeline, observer: &Observer) -> String {
    let mut text = String::new();
    if let Some(second) = timeline.last() {
        text = format!("{}/s accepted, p99 {} ms", number(second.accepted as f64), number(second.p99));
        if second.refused > 0 {
            text += &format!(", {} refused", second.refused);
        }
    }
    let worst = observer.last().and_then(|sample| sample.lag.into_iter().max_by_key(|(_, lag)| *lag));
    match worst {
        Some((name, lag)) if lag > 0 => format!("{text}  {name} {} behind", number(lag as f64)),
        _ => text,
    }
}
