//! Writes charges that arrive together with one statement and one commit. A request waits for nobody when
//! the processor is quiet, and thousands per second need one connection; the row is committed before the
//! caller hears of it.

use std::future::Future;
use std::time::Duration;

use service::Problem;
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::domain::Charge;
use crate::store;

/// Charges per commit, at most.
const BATCH: usize = 256;
const QUEUE: usize = 4_096;
/// From one statement to the next, at least, so that charges that arrive in one breath share it.
const PACE: Duration = Duration::from_millis(5);

/// A charge in the ledger: the one asked for now, or the one booked earlier under the same key.
pub struct Booked {
    pub charge: Charge,
    pub is_new: bool,
}

struct Entry {
    charge: Charge,
    answer: oneshot::Sender<Booked>,
}

#[derive(Clone)]
pub struct Ledger {
    queue: mpsc::Sender<Entry>,
    pub pool: PgPool,
}

impl Ledger {
    /// The ledger and its writer, which ends when the last handle to the ledger is gone.
    pub fn open(pool: PgPool) -> (Ledger, impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let (queue, entries) = mpsc::channel(QUEUE);
        (Ledger { queue, pool: pool.clone() }, write(pool, entries))
    }

    pub async fn book(&self, charge: Charge) -> Result<Booked, Problem> {
        let (answer, booked) = oneshot::channel();
        let unavailable = || Problem::unavailable("the ledger cannot be written now; please try again");
        self.queue.send(Entry { charge, answer }).await.map_err(|_| unavailable())?;
        booked.await.map_err(|_| unavailable())
    }
}

async fn write(pool: PgPool, mut entries: mpsc::Receiver<Entry>) -> anyhow::Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    while entries.recv_many(&mut batch, BATCH).await > 0 {
        let next = Instant::now() + PACE;
        let (charges, answers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|entry| (entry.charge, entry.answer)).unzip();
        match store::book(&pool, charges).await {
            Ok(booked) => {
                for (answer, booked) in answers.into_iter().zip(booked) {
                    // A caller that has gone asks again with the same key.
                    let _ = answer.send(booked);
                }
            }
            // Dropping the answers tells every caller to try again.
            Err(error) => tracing::error!(%error, charges = answers.len(), "the ledger cannot be written"),
        }
        sleep_until(next).await;
    }
    Ok(())
}
