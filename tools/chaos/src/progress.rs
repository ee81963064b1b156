//! One line that says how the run goes, rewritten every half second on a terminal; in a log, one line for
//! each thing that happens.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use crate::notes::Book;

const BETWEEN_LINES: Duration = Duration::from_millis(500);

/// Dropping it ends the line.
pub struct Progress {
    began: Instant,
    now: Arc<Mutex<String>>,
    writer: Option<AbortHandle>,
}

impl Progress {
    pub fn new() -> Progress {
        Progress { began: Instant::now(), now: Arc::default(), writer: None }
    }

    /// From now on with the numbers of the load.
    pub fn watch(&mut self, book: Arc<Book>) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let (began, now) = (self.began, self.now.clone());
        let write = async move {
            loop {
                let orders = book.progress();
                let text = now.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let line = format!(
                    "{}  {} orders, {} accepted, {} unknown  {text}",
                    clock(began),
                    orders.sent,
                    orders.ok,
                    orders.unknown
                );
                eprint!("\r\x1b[2K{}", line.chars().take(150).collect::<String>());
                let _ = std::io::stderr().flush();
                tokio::time::sleep(BETWEEN_LINES).await;
            }
        };
        self.writer = Some(tokio::spawn(write).abort_handle());
    }

    /// What happens now.
    pub fn now(&self, text: &str) {
        text.clone_into(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner));
        if self.writer.is_none() {
            eprintln!("{}  {text}", clock(self.began));
        }
    }

    /// A line that stays.
    pub fn say(&self, text: &str) {
        let clear = if self.writer.is_some() { "\r\x1b[2K" } else { "" };
        eprintln!("{clear}{}  {text}", clock(self.began));
    }

    /// Leaves the line to what comes after.
    pub fn end(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.abort();
            eprint!("\r\x1b[2K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

fn clock(since: Instant) -> String {
    let seconds = since.elapsed().as_secs();
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}
