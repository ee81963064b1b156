//! The load: orders that keep coming whatever the shop answers. It is an open load: each order leaves when
//! the clock says so and waits for no answer, because customers do not stop coming when the shop is slow.
//! What is not answered clearly is sent again under the same idempotency key until it is.

mod client;
mod orders;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::Rng as _;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::client::Client;
pub use self::orders::DECLINED;
use self::orders::{MenuItem, Order, Repeated};
use crate::notes::{Book, Note, Outcome};

/// First requests under way at the same time, at most.
const MAX_IN_FLIGHT: usize = 2_000;
/// Repetitions under way at the same time, at most: thousands of orders left open by a long fault must not
/// crowd out the new ones.
const MAX_REPETITIONS: usize = 200;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Once the faults are healed nobody needs to be spared.
const LAST_PAUSE: Duration = Duration::from_millis(500);

pub struct Load {
    customers: Customers,
    tasks: TaskTracker,
}

/// What each order's task needs.
#[derive(Clone)]
struct Customers {
    client: Client,
    book: Arc<Book>,
    in_flight: Arc<Semaphore>,
    repetitions: Arc<Semaphore>,
    /// No new orders any more; those open are settled without long pauses.
    closing: CancellationToken,
    /// Whatever is still open stays so.
    closed: CancellationToken,
}

impl Load {
    /// Reads the menu and sends `rate` orders a second from then on.
    pub async fn start(order_api_url: &str, rate: f64, seed: u64) -> Result<Load> {
        anyhow::ensure!(rate > 0.0, "a load has more than 0 orders a second, not {rate}");
        let client = Client::new(order_api_url)?;
        let menu = client.menu().await?;
        let customers = Customers {
            client,
            book: Arc::new(Book::open()),
            in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            repetitions: Arc::new(Semaphore::new(MAX_REPETITIONS)),
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
        };
        let tasks = TaskTracker::new();
        tasks.spawn(arrive(customers.clone(), tasks.clone(), menu, rate, seed));
        Ok(Load { customers, tasks })
    }

    /// What all times in the notes are counted from.
    pub fn began(&self) -> Instant {
        self.customers.book.began
    }

    /// The notes as they are being written.
    pub fn book(&self) -> Arc<Book> {
        self.customers.book.clone()
    }

    /// Ends the load, and goes on asking about what is unknown until everything is known or the time is up.
    pub async fn finish(self, within: Duration) -> Vec<Note> {
        self.customers.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout(within, self.tasks.wait()).await.is_err() {
            self.customers.closed.cancel();
            self.tasks.wait().await;
        }
        self.customers.book.copy()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.customers.closing.cancel();
        self.customers.closed.cancel();
    }
}

/// Sends each order at its time. After a delay of our own those overdue are sent at once.
async fn arrive(customers: Customers, tasks: TaskTracker, menu: Vec<MenuItem>, rate: f64, seed: u64) {
    let began = tokio::time::Instant::now();
    for n in 0.. {
        let due = began + Duration::from_secs_f64(n as f64 / rate);
        tokio::select! {
            biased;
            () = customers.closing.cancelled() => return,
            () = tokio::time::sleep_until(due) => {}
        }
        let Ok(place) = customers.in_flight.clone().try_acquire_owned() else {
            customers.book.held_back();
            continue;
        };
        let (order, customers) = (Order::nth(seed, n, &menu), customers.clone());
        tasks.spawn(async move {
            let closed = customers.closed.clone();
            closed.run_until_cancelled_owned(customers.order(order, place)).await
        });
    }
}

impl Customers {
    async fn order(self, mut order: Order, place: tokio::sync::OwnedSemaphorePermit) {
        let Order { key, customer, lines, total_cents, .. } = order.clone();
        let note = self.book.begin(key, customer, lines, total_cents);
        let mut is_known = match order.repeated {
            Repeated::AtOnce => {
                let (one, other) = futures::join!(self.send(&order, note), self.send(&order, note));
                one && other
            }
            _ => self.send(&order, note).await,
        };
        drop(place);
        let mut pause = FIRST_PAUSE;
        while !is_known {
            self.wait(pause.mul_f64(order.dice.random_range(0.5..1.5))).await;
            is_known = self.send_again(&order, note).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if let Repeated::Later(pause) = order.repeated {
            self.wait(pause).await;
            self.send_again(&order, note).await;
        }
    }

    async fn send_again(&self, order: &Order, note: usize) -> bool {
        let _turn = self.repetitions.acquire().await;
        self.send(order, note).await
    }

    /// Whether the answer was clear.
    async fn send(&self, order: &Order, note: usize) -> bool {
        let sent = Instant::now();
        let outcome = self.client.send(order).await;
        let is_clear = !matches!(outcome, Outcome::Unknown { .. });
        self.book.answered(note, sent, outcome);
        is_clear
    }

    async fn wait(&self, pause: Duration) {
        if self.closing.is_cancelled() {
            return tokio::time::sleep(pause.min(LAST_PAUSE)).await;
        }
        let _ = tokio::time::timeout(pause, self.closing.cancelled()).await;
    }
}
