//! Writes down how calls ended: the new state and what is to be said about it, for many payments in one statement.

use std::collections::HashMap;
use std::time::Duration;

use events::{Event, OrderId};
use messaging::bounded;
use sqlx::PgConnection;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::{Answer, Desk};
use crate::domain::{Payment, State};
use crate::figures::Takings;
use crate::store::{self, Change};

/// Answers per statement, at most.
const BATCH: usize = 512;
/// Times that a batch is tried. After that its claims run out and the processor is asked again, which gives
/// the same answers; so one batch that cannot be written never blocks the next.
const TRIES: u32 = 5;
const RETRY: Duration = Duration::from_millis(200);
/// From one statement to the next, at least, so that in a busy moment some answers come together.
const PACE: Duration = Duration::from_millis(5);

/// Ends when the last caller is gone.
pub async fn write_down(desk: &Desk, mut answers: mpsc::Receiver<Answer>) {
    let mut batch = Vec::with_capacity(BATCH);
    while answers.recv_many(&mut batch, BATCH).await > 0 {
        let next = Instant::now() + PACE;
        for attempt in 1..=TRIES {
            match bounded(write_batch(desk, &batch)).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::warn!(%error, attempt, answers = batch.len(), "cannot write answers down");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        batch.clear();
        sleep_until(next).await;
    }
}

async fn write_batch(desk: &Desk, batch: &[Answer]) -> Result<(), sqlx::Error> {
    let mut db = desk.kept.take().await?;
    write_batch_over(desk, &mut db, batch).await?;
    db.keep();
    Ok(())
}

/// Decides on each payment as it was when it was claimed, and writes it if it is still so. The few that an event or another
/// attempt has changed meanwhile are read and decided on again.
async fn write_batch_over(desk: &Desk, db: &mut PgConnection, batch: &[Answer]) -> Result<(), sqlx::Error> {
    let mut known: HashMap<OrderId, Payment> = HashMap::new();
    for Answer { claimed, .. } in batch {
        let latest = known.entry(claimed.order_id.clone()).or_insert_with(|| claimed.clone());
        if latest.attempts < claimed.attempts {
            *latest = claimed.clone();
        }
    }
    loop {
        let changes = decide(known, batch);
        if changes.is_empty() {
            return Ok(());
        }
        let written = store::replace(db, &changes).await?;
        let (written, overtaken): (Vec<_>, Vec<_>) =
            changes.iter().partition(|change| written.contains(change.payment.order_id.as_str()));
        tell(desk, &written);
        if overtaken.is_empty() {
            return Ok(());
        }
        let overtaken: Vec<&str> = overtaken.iter().map(|change| change.payment.order_id.as_str()).collect();
        let now = store::read(db, &overtaken).await?;
        known = now.into_iter().map(|payment| (payment.order_id.clone(), payment)).collect();
    }
}

/// What the answers change of these payments. Two answers about one order are possible, when a claim ran out: the second meets
/// the first's result.
fn decide(known: HashMap<OrderId, Payment>, batch: &[Answer]) -> Vec<Change> {
    let unchanged = |payment: Payment| Change { was: payment.clone(), payment, says: Vec::new() };
    let mut changes: HashMap<OrderId, Change> =
        known.into_iter().map(|(order_id, payment)| (order_id, unchanged(payment))).collect();
    for Answer { attempt, .. } in batch {
        let Some(change) = changes.get_mut(&attempt.order_id) else { continue };
        if let Some((next, said)) = change.payment.clone().learn(attempt) {
            change.says.extend(said.map(|data| Event::new(data, None)));
            change.payment = next;
        }
    }
    changes.into_values().filter(|change| change.payment != change.was).collect()
}

/// It is written: whoever waits for it may go on.
fn tell(desk: &Desk, written: &[&Change]) {
    let mut takings = Takings::default();
    written.iter().flat_map(|change| &change.says).for_each(|said| takings.add(&said.data));
    takings.committed();
    if written.iter().any(|change| !change.says.is_empty()) {
        desk.outbox_written.notify_one();
    }
    if written.iter().any(|change| change.payment.state == State::RefundDue) {
        desk.due.notify_one();
    }
}
