//! Writes down how calls ended: the new state and what is to be said about it, for many payments in one
//! transaction.

use std::collections::HashMap;
use std::time::Duration;

use events::Event;
use messaging::{Outgoing, bounded};
use sqlx::{Connection, PgConnection};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Desk;
use crate::domain::{Attempt, State};
use crate::figures::Takings;
use crate::store;

/// Answers per transaction, at most.
const BATCH: usize = 512;
/// Times that a batch is tried. After that its claims run out and the processor is asked again, which gives
/// the same answers; so one batch that cannot be written never blocks the next.
const TRIES: u32 = 5;
const RETRY: Duration = Duration::from_millis(200);
/// From one transaction to the next, at least, so that in a busy moment some answers come together.
const PACE: Duration = Duration::from_millis(10);

/// Ends when the last caller is gone.
pub async fn write_down(desk: &Desk, mut answers: mpsc::Receiver<Attempt>) {
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

async fn write_batch(desk: &Desk, batch: &[Attempt]) -> Result<(), sqlx::Error> {
    let mut db = desk.kept.take().await?;
    write_batch_over(desk, &mut db, batch).await?;
    db.keep();
    Ok(())
}

async fn write_batch_over(desk: &Desk, db: &mut PgConnection, batch: &[Attempt]) -> Result<(), sqlx::Error> {
    let order_ids: Vec<&str> = batch.iter().map(|attempt| attempt.order_id.as_str()).collect();
    let mut tx = db.begin().await?;
    let mut payments: HashMap<_, _> = store::lock(&mut tx, &order_ids)
        .await?
        .into_iter()
        .map(|payment| (payment.order_id.clone(), (payment, false)))
        .collect();
    let (mut outgoing, mut takings) = (Vec::new(), Takings::default());
    // Two answers about one order are possible, when a claim ran out: the second meets the first's result.
    for attempt in batch {
        let Some((payment, is_changed)) = payments.get_mut(&attempt.order_id) else { continue };
        if let Some((next, said)) = payment.clone().learn(attempt) {
            said.iter().for_each(|data| takings.add(data));
            outgoing.extend(said.map(|data| Outgoing::event(&Event::new(data, None), &next.trace)));
            (*payment, *is_changed) = (next, true);
        }
    }
    let changed: Vec<_> =
        payments.into_values().filter(|(_, is_changed)| *is_changed).map(|(payment, _)| payment).collect();
    store::update(&mut tx, &changed).await?;
    messaging::append(&mut tx, &outgoing).await?;
    tx.commit().await?;
    takings.committed();
    if !outgoing.is_empty() {
        desk.outbox_written.notify_one();
    }
    if changed.iter().any(|payment| payment.state == State::RefundDue) {
        desk.due.notify_one();
    }
    Ok(())
}
