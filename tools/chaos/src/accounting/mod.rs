//! The independent check: every order the client was promised, and every request whose answer was lost, is
//! accounted for in each service exactly once. It starts from the client's notes, reads the databases and
//! the mailbox itself, and shares no code with the services or with coffeectl's audit, so that a mistake in
//! how they see the world cannot hide itself.

mod books;
mod mailbox;
mod services;
mod store;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod whole_shop;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use self::books::Books;
use self::services::Case;
pub use self::store::options as database_options;
use crate::notes::Note;

/// One thing that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offence {
    pub order_id: Option<String>,
    pub trace_id: Option<String>,
    pub key: Option<String>,
    /// Begins with the service that has it wrong.
    pub what: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Orders that were accounted for: those answered and those found.
    pub orders: u64,
    pub cancelled: BTreeMap<String, u64>,
    /// Requests without a clear answer whose order is stored all the same.
    pub unknown_stored: u64,
    /// Requests without a clear answer that left nothing behind.
    pub unknown_without_trace: u64,
    /// Different mails that arrived.
    pub mails: u64,
    /// Arrived beyond the first of each.
    pub extra_mail_copies: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Account {
    pub offences: Vec<Offence>,
    pub counts: Counts,
}

/// Where the shop's books are.
#[derive(Clone, Debug)]
pub struct Place {
    /// `OPERATOR_DATABASE_URL`
    pub database_url: String,
    /// `MAIL_DIR`
    pub mail_dir: PathBuf,
}

/// To be called when the shop is quiet. `strangers` are orders that no request asked for and that are there
/// all the same: those of events published by hand.
pub async fn check(place: &Place, notes: &[Note], strangers: &HashSet<String>) -> Result<Account> {
    let mut books = store::read(&place.database_url).await?;
    let folder = place.mail_dir.clone();
    books.files = tokio::task::spawn_blocking(move || mailbox::read(Path::new(&folder)))
        .await
        .context("the mailbox could not be read")??;
    Ok(account(notes, &books, strangers))
}

fn account(notes: &[Note], books: &Books, strangers: &HashSet<String>) -> Account {
    let mut account = Account::default();
    // The key each order was asked for with.
    let mut asked = HashMap::<&str, &str>::with_capacity(notes.len());
    for note in notes {
        let offences = note.contradictions().into_iter().map(|what| Offence {
            order_id: note.answer().map(|answer| answer.order_id.clone()),
            trace_id: note.answer().map(|answer| answer.trace_id.clone()),
            key: Some(note.key.clone()),
            what: format!("client: {what}"),
        });
        account.offences.extend(offences);
        if let Some(id) = account.of_note(note, books)
            && let Some(other) = asked.insert(id, &note.key)
        {
            account.offend(
                note,
                Some(id),
                None,
                format!("order-api: it is also the order of the key {other}"),
            );
        }
    }
    let known = |order: &str| asked.contains_key(order) || strangers.contains(order);
    for (order_id, services) in books.strangers(known) {
        let trace_id = books.orders.get(&order_id).map(|rows| rows[0].trace_id.clone());
        let what = format!("{}: no request asked for this order", services.join(", "));
        account.offences.push(Offence { order_id: Some(order_id), trace_id, key: None, what });
    }
    for id in books.unsent_mails() {
        let what = format!("mailbox: {id} arrived, and email has no note of it");
        account.offences.push(Offence { order_id: None, trace_id: None, key: None, what });
    }
    account.counts.mails = books.files.len() as u64;
    account.counts.extra_mail_copies = books.files.values().sum::<u64>() - account.counts.mails;
    account
}

impl Account {
    /// Accounts for one request, and returns its order if it has one.
    fn of_note<'a>(&mut self, note: &'a Note, books: &'a Books) -> Option<&'a str> {
        let stored = books.keys.get(&note.key).map(String::as_str);
        let answered = note.answer().map(|answer| answer.order_id.as_str());
        let Some(id) = answered.or(stored) else {
            self.counts.unknown_without_trace += u64::from(note.is_unknown());
            return None;
        };
        self.counts.orders += 1;
        self.counts.unknown_stored += u64::from(note.is_unknown());
        if stored != Some(id) {
            let what = format!("order-api: its key stands for {}", stored.unwrap_or("nothing"));
            self.offend(note, Some(id), None, what);
        }
        let order = match books.orders.get(id).map(Vec::as_slice).unwrap_or_default() {
            [order] => order,
            rows => {
                let what = format!("order-api: it was accepted and is stored {} times", rows.len());
                self.offend(note, Some(id), None, what);
                return Some(id);
            }
        };
        if let Some(reason) = &order.cancel_reason {
            *self.counts.cancelled.entry(reason.clone()).or_default() += 1;
        }
        for what in (Case { id, note, order }).check(books).0 {
            self.offend(note, Some(id), Some(&order.trace_id), what);
        }
        Some(id)
    }

    fn offend(&mut self, note: &Note, order_id: Option<&str>, trace_id: Option<&str>, what: String) {
        let answered = note.answer().map(|answer| answer.trace_id.as_str());
        self.offences.push(Offence {
            order_id: order_id.map(str::to_owned),
            trace_id: trace_id.or(answered).map(str::to_owned),
            key: Some(note.key.clone()),
            what,
        });
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let (order, trace, key) = (or_none(&self.order_id), or_none(&self.trace_id), or_none(&self.key));
        write!(f, "{}\n    order {order}  trace {trace}  key {key}", self.what)
    }
}
