//! What the client knows of each order it sent: one note per idempotency key, with every answer it got. As
//! in Jepsen, an answer is ok, failed or unknown, and an unknown one promises nothing either way. The
//! accounting starts from these notes and from nothing else that a service has said.

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Line {
    pub sku: String,
    pub quantity: i64,
}

/// One idempotency key and all that came of it. Times are seconds since the load began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub key: String,
    pub customer: String,
    pub lines: Vec<Line>,
    /// By the menu.
    pub total_cents: i64,
    pub first_sent: f64,
    pub attempts: Vec<Attempt>,
}

/// One answer, or a row of equal ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    pub first_sent: f64,
    pub last_answered: f64,
    pub times: u32,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum Outcome {
    Ok(Answer),
    /// Refused for good.
    Failed {
        status: u16,
        why: String,
    },
    /// The order may or may not be stored.
    Unknown {
        why: String,
    },
}

/// A 201.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub order_id: String,
    pub trace_id: String,
    pub total_cents: i64,
}

impl Note {
    /// The first 201.
    pub fn answer(&self) -> Option<&Answer> {
        self.answers().next()
    }

    pub fn is_unknown(&self) -> bool {
        self.attempts.iter().all(|attempt| matches!(attempt.outcome, Outcome::Unknown { .. }))
    }

    pub fn is_failed(&self) -> bool {
        self.answer().is_none() && !self.is_unknown()
    }

    /// What the answers alone show to be wrong: a valid order refused for good, two orders for one key, or
    /// another total than the menu's.
    pub fn contradictions(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for attempt in &self.attempts {
            if let Outcome::Failed { status, why } = &attempt.outcome {
                wrong.push(format!("a valid order was refused with {status}: {why}"));
            }
        }
        let Some(first) = self.answer() else { return wrong };
        for other in self.answers().filter(|other| other.order_id != first.order_id) {
            wrong.push(format!("its key was also answered with the order {}", other.order_id));
        }
        for other in self.answers().filter(|other| other.total_cents != self.total_cents) {
            wrong.push(format!("was answered with {} cents, not {}", other.total_cents, self.total_cents));
        }
        wrong
    }

    fn answers(&self) -> impl Iterator<Item = &Answer> {
        self.attempts.iter().filter_map(|attempt| match &attempt.outcome {
            Outcome::Ok(answer) => Some(answer),
            _ => None,
        })
    }

    fn add(&mut self, sent: f64, answered: f64, outcome: Outcome) {
        match self.attempts.last_mut() {
            Some(last) if last.outcome == outcome => {
                last.last_answered = answered;
                last.times += 1;
            }
            _ => {
                let attempt = Attempt { first_sent: sent, last_answered: answered, times: 1, outcome };
                self.attempts.push(attempt);
            }
        }
    }
}

/// How the load goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Idempotency keys.
    pub sent: u64,
    pub ok: u64,
    pub failed: u64,
    pub unknown: u64,
    /// Requests, with all repetitions.
    pub requests: u64,
    /// Orders due that were not sent because too many requests were under way.
    pub held_back: u64,
}

/// The notes while they are being written.
pub struct Book {
    pub began: Instant,
    notes: Mutex<Vec<Note>>,
    requests: AtomicU64,
    held_back: AtomicU64,
}

impl Book {
    pub fn open() -> Book {
        let (requests, held_back) = (AtomicU64::new(0), AtomicU64::new(0));
        Book { began: Instant::now(), notes: Mutex::default(), requests, held_back }
    }

    /// Starts a note about an order that is about to be sent, and returns its number.
    pub fn begin(&self, key: String, customer: String, lines: Vec<Line>, total_cents: i64) -> usize {
        let first_sent = self.began.elapsed().as_secs_f64();
        let note = Note { key, customer, lines, total_cents, first_sent, attempts: Vec::new() };
        let mut notes = self.notes();
        notes.push(note);
        notes.len() - 1
    }

    pub fn answered(&self, number: usize, sent: Instant, outcome: Outcome) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let sent = sent.saturating_duration_since(self.began).as_secs_f64();
        self.notes()[number].add(sent, self.began.elapsed().as_secs_f64(), outcome);
    }

    pub fn held_back(&self) {
        self.held_back.fetch_add(1, Ordering::Relaxed);
    }

    pub fn progress(&self) -> Progress {
        let notes = self.notes();
        let count = |is: fn(&Note) -> bool| notes.iter().filter(|note| is(note)).count() as u64;
        Progress {
            sent: notes.len() as u64,
            ok: count(|note| note.answer().is_some()),
            failed: count(Note::is_failed),
            unknown: count(Note::is_unknown),
            requests: self.requests.load(Ordering::Relaxed),
            held_back: self.held_back.load(Ordering::Relaxed),
        }
    }

    pub fn copy(&self) -> Vec<Note> {
        self.notes().clone()
    }

    fn notes(&self) -> MutexGuard<'_, Vec<Note>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As JSON lines.
pub fn write(path: &Path, notes: &[Note]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for note in notes {
            serde_json::to_writer(&mut file, note)?;
            file.write_all(b"\n")?;
        }
        file.flush()
    };
    write().with_context(|| format!("the client's notes cannot be written to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(order_id: &str) -> Outcome {
        Outcome::Ok(Answer { order_id: order_id.to_owned(), trace_id: "t".to_owned(), total_cents: 450 })
    }

    fn unknown(why: &str) -> Outcome {
        Outcome::Unknown { why: why.to_owned() }
    }

    fn note_of(outcomes: &[Outcome]) -> Note {
        let book = Book::open();
        let number =
            book.begin("k".into(), "ann".into(), vec![Line { sku: "latte".into(), quantity: 1 }], 450);
        for outcome in outcomes {
            book.answered(number, Instant::now(), outcome.clone());
        }
        book.copy().remove(0)
    }

    #[test]
    fn an_order_is_unknown_until_it_is_answered() {
        assert!(note_of(&[]).is_unknown());
        assert!(note_of(&[unknown("timeout"), unknown("503")]).is_unknown());
        let answered = note_of(&[unknown("timeout"), ok("order-1"), unknown("409")]);
        assert!(!answered.is_unknown() && !answered.is_failed());
        assert_eq!(answered.contradictions(), Vec::<String>::new());
    }

    #[test]
    fn what_contradicts_is_named() {
        let refused = note_of(&[Outcome::Failed { status: 422, why: "no".into() }]);
        assert!(refused.is_failed() && refused.contradictions().len() == 1);
        let two = note_of(&[ok("order-1"), ok("order-2")]);
        assert_eq!(two.contradictions(), ["its key was also answered with the order order-2"]);
        let dear = Outcome::Ok(Answer { order_id: "o".into(), trace_id: "t".into(), total_cents: 900 });
        assert_eq!(note_of(&[dear]).contradictions(), ["was answered with 900 cents, not 450"]);
    }

    #[test]
    fn equal_answers_in_a_row_are_one_line_of_the_note() {
        let note = note_of(&[unknown("503"), unknown("503"), unknown("timeout"), unknown("503")]);
        let times: Vec<u32> = note.attempts.iter().map(|attempt| attempt.times).collect();
        assert_eq!(times, [2, 1, 1]);
    }

    #[test]
    fn notes_survive_their_file() {
        let notes = vec![note_of(&[unknown("cut"), ok("order-1")]), note_of(&[])];
        let path = std::env::temp_dir().join(format!("chaos-notes-{}.jsonl", std::process::id()));
        write(&path, &notes).expect("written");
        let text = std::fs::read_to_string(&path).expect("read");
        std::fs::remove_file(&path).expect("removed");
        let again: Vec<Note> = text.lines().map(|line| serde_json::from_str(line).expect("a note")).collect();
        assert_eq!(again, notes);
    }
}
