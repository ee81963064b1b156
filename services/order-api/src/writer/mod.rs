//! Takes orders to the database, those that wait together in one statement and one commit: a commit costs
//! the same for one order as for hundreds, so the busier the shop, the cheaper an order. A quiet shop waits
//! for nobody, because an idle writer takes what is there, even if it is one.
//!
//! There are a few writers, so that a statement which takes long does not hold up the orders after it.
//! The queue before them is bounded: what cannot be stored soon is refused at once, and never half taken.

mod crew;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use service::Problem;
use sqlx::PgPool;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};

use crate::figures::{self, refused};
use crate::placement::Placement;
use crew::{Crew, Queue};

/// A customer waits no longer than this to hear whether the order was taken.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Settings {
    /// Writers at work, each with a database connection of its own.
    pub writers: usize,
    /// Orders that may wait for a writer.
    pub queue: usize,
    /// From an order's creation to its deadline.
    pub settle_within: Duration,
}

struct Waiting {
    placement: Placement,
    answer: oneshot::Sender<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Stored,
    /// An earlier order has its idempotency key.
    KeyTaken,
    /// The database refused this very row.
    Refused,
    /// The database was away before this order was sent to it.
    NotTried,
    /// The connection was lost, or no answer came, while it was being stored.
    Unknown,
}

/// What became of an order that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable, and so is its OrderCreated.
    Stored,
    /// An earlier order has its idempotency key; this one is not stored.
    KeyTaken,
}

/// The handle that requests hold. When the last one is dropped, the writers finish what waits and end.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Waiting>,
    database_is_up: Arc<AtomicBool>,
}

/// The handle, and the writers' work, to be spawned.
pub fn start(
    pool: PgPool,
    outbox_written: Arc<Notify>,
    settings: &Settings,
) -> (Writer, impl Future<Output = anyhow::Result<()>> + Send + use<>) {
    let (sender, receiver) = mpsc::channel(settings.queue.max(1));
    let database_is_up = Arc::new(AtomicBool::new(true));
    let crew = Arc::new(Crew {
        pool,
        queue: Mutex::new(Queue::new(receiver)),
        turn: Mutex::default(),
        database_is_up: Arc::clone(&database_is_up),
        settle_within: settings.settle_within,
        outbox_written,
    });
    let writers = settings.writers.max(1);
    let work = async move {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..writers {
            tasks.spawn(Arc::clone(&crew).run());
        }
        while let Some(ended) = tasks.join_next().await {
            ended?;
        }
        Ok(())
    };
    (Writer { queue: sender, database_is_up }, work)
}

impl Writer {
    pub async fn write(&self, placement: Placement) -> Result<Outcome, Problem> {
        if !self.database_is_up.load(Ordering::Relaxed) {
            return Err(refuse(refused::DATABASE_AWAY, not_tried()));
        }
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Waiting { placement, answer }).map_err(|_| {
            refuse(
                refused::QUEUE_FULL,
                Problem::unavailable(
                    "too many orders are being placed right now; nothing was stored, please try again",
                ),
            )
        })?;
        let answer = tokio::time::timeout(PATIENCE, answered).await;
        match answer.map_or(Answer::Unknown, |answer| answer.unwrap_or(Answer::Unknown)) {
            Answer::Stored => Ok(Outcome::Stored),
            Answer::KeyTaken => Ok(Outcome::KeyTaken),
            Answer::NotTried => Err(refuse(refused::DATABASE_AWAY, not_tried())),
            Answer::Unknown => Err(refuse(refused::UNKNOWN, unknown())),
            Answer::Refused => Err(refuse(
                refused::BAD_ROW,
                Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "this order could not be stored, which is a defect on our side; nothing was stored",
                ),
            )),
        }
    }
}

fn refuse(why: &'static str, problem: Problem) -> Problem {
    figures::refuse(why);
    problem
}

fn not_tried() -> Problem {
    Problem::unavailable("orders cannot be stored right now; nothing was stored, please try again")
        .retry_after(2)
}

fn unknown() -> Problem {
    Problem::unavailable(
        "it is not known whether this order was stored. If it had an Idempotency-Key, sending it again with \
         the same key is safe and gives one order; without one, look before you order again",
    )
    .retry_after(2)
}
