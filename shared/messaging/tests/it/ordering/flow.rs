//! Events that keep coming: round after round, the next version of every order.

use std::sync::Arc;

use events::{Event, OrderConfirmed};
use futures::future::join_all;
use testing::{World, eventually};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::record::Record;
use crate::recorder::order;

const ORDERS: i64 = 32;
/// A partition that stands still must not stop the others at once, nor let a slow machine drown.
const LONGEST_BACKLOG: i64 = 2_000;

pub struct Flow {
    publisher: Arc<Publisher>,
    running: Option<(CancellationToken, JoinHandle<i64>)>,
    /// How many versions of each order were published before the running task began.
    versions: i64,
}

impl Flow {
    pub fn start(world: &Arc<World>, record: &Record) -> Flow {
        let orders = (0..ORDERS).map(|n| format!("order-{n}")).collect();
        let publisher = Publisher { world: Arc::clone(world), record: record.clone(), orders };
        let mut flow = Flow { publisher: Arc::new(publisher), running: None, versions: 0 };
        flow.resume();
        flow
    }

    pub fn resume(&mut self) {
        let stop = CancellationToken::new();
        let (publisher, stopped, from) = (Arc::clone(&self.publisher), stop.clone(), self.versions);
        // Beside the test, which mostly waits.
        let task =
            tokio::task::spawn_blocking(move || Handle::current().block_on(publisher.run(from, stopped)));
        self.running = Some((stop, task));
    }

    /// Publishes nothing more, and returns when all that was published is on record.
    pub async fn pause(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            stop.cancel();
            self.versions = task.await.unwrap();
        }
        eventually("everything is on record", async || {
            (self.publisher.record.count().await >= self.versions * ORDERS).then_some(())
        })
        .await;
    }

    /// Waits until another part of the flow is on record.
    pub async fn goes_on(&self) {
        let before = self.publisher.record.progress().await;
        eventually("events are handled", async || {
            (self.publisher.record.progress().await >= before + 10 * ORDERS).then_some(())
        })
        .await;
    }

    /// Each order, and how many versions of it were published.
    pub async fn end(mut self) -> (Vec<String>, i64) {
        self.pause().await;
        (self.publisher.orders.clone(), self.versions)
    }
}

struct Publisher {
    world: Arc<World>,
    record: Record,
    orders: Vec<String>,
}

impl Publisher {
    /// Returns the last version that was published.
    async fn run(&self, mut version: i64, stop: CancellationToken) -> i64 {
        while !stop.is_cancelled() {
            eventually("there is room in the backlog", async || {
                let backlog = version * ORDERS - self.record.progress().await;
                (backlog < LONGEST_BACKLOG || stop.is_cancelled()).then_some(())
            })
            .await;
            version += 1;
            join_all(self.orders.iter().map(|order_id| self.publish(order_id, version as u64))).await;
        }
        version
    }

    async fn publish(&self, order_id: &str, version: u64) {
        let mut event = order(order_id);
        if version > 1 {
            let data = OrderConfirmed {
                order_id: order_id.to_owned().try_into().unwrap(),
                customer_id: "cust-456".to_owned().try_into().unwrap(),
            };
            event = Event::new(data, Some(version));
        }
        self.world.publish_event(&event).await;
    }
}
