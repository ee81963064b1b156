//! When orders were settled, and how long each consumer took for them.
//!
//! Nothing of it is asked while the load is on: some orders are remembered, and afterwards the databases and
//! the stream tell when what happened to them was written. A thousand open event streams or a poll for each
//! order would cost the shop more than the orders do. All times come from clocks of one machine; where the
//! shop runs elsewhere, its clock has to agree with ours.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result};
use events::EventType;
use events::topology::{CONSUMERS, ConsumerSpec, Hears, ORDERS};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};

use super::store;
use crate::engine::histogram::{Latencies, Percentiles};
use crate::shop::Shop;

/// Requests to the broker at the same time.
const AT_ONCE: usize = 64;
const CHARGE: &str = "payment (card charged or declined)";
const MAIL: &str = "email (mail taken by the SMTP server)";

/// An order that was answered 201.
#[derive(Clone, Debug)]
pub struct Remembered {
    pub order_id: String,
    /// When it was due, in microseconds since 1970.
    pub due: i64,
}

/// Milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Followed {
    pub orders: u64,
    /// Of them, those neither confirmed nor cancelled.
    pub unsettled: u64,
    /// From the moment the request was due until the order was confirmed or cancelled.
    pub settled: Percentiles,
    /// By consumer: from the moment the broker stored OrderCreated until the effects were committed.
    pub consumers: BTreeMap<String, Percentiles>,
    /// Times are those of the commits; otherwise of the beginnings of the transactions.
    pub are_commit_times: bool,
}

/// Call it when the shop is at rest.
pub async fn follow(shop: &Shop, orders: &[Remembered]) -> Result<Followed> {
    let order_api = shop.read("order-api")?;
    let due = first_due(orders);
    let ids: Vec<String> = due.keys().map(|order| (*order).to_owned()).collect();
    let settled = store::settled(&order_api, &ids).await.context("reading when orders were settled")?;
    let took = settled.iter().filter_map(|(order, at)| Some(at - due.get(order.as_str())?));
    let created = store::created(&order_api, &ids).await.context("reading the outbox")?;
    let stored = stored(shop, &created).await?;
    let mut consumers = BTreeMap::new();
    for spec in CONSUMERS.into_iter().filter(|spec| hears_created(spec)) {
        let pool = shop.read(spec.service)?;
        let events: Vec<String> = created.iter().map(|(_, event, _)| event.clone()).collect();
        let processed = store::processed(&pool, spec.name, &events).await?;
        consumers.insert(spec.name.to_owned(), since(&stored, &processed));
    }
    let stored_of_order: HashMap<String, i64> =
        created.iter().filter_map(|(order, event, _)| Some((order.clone(), *stored.get(event)?))).collect();
    let charged = store::charged(&shop.read("payment")?, &ids).await?;
    consumers.insert(CHARGE.to_owned(), since(&stored_of_order, &charged));
    let mailed = store::mailed(&shop.read("email")?, &ids).await?;
    consumers.insert(MAIL.to_owned(), since(&stored_of_order, &mailed));
    Ok(Followed {
        orders: due.len() as u64,
        unsettled: due.len().saturating_sub(settled.len()) as u64,
        settled: latencies(took),
        consumers,
        are_commit_times: store::knows_commit_times(&order_api).await?,
    })
}

/// By order: an order that was sent again and again was due when it was first.
fn first_due(orders: &[Remembered]) -> HashMap<&str, i64> {
    let mut first = HashMap::new();
    for order in orders {
        let due = first.entry(order.order_id.as_str()).or_insert(order.due);
        *due = order.due.min(*due);
    }
    first
}

fn hears_created(spec: &ConsumerSpec) -> bool {
    *spec.stream == ORDERS
        && match &spec.hears {
            Hears::Types(types) => types.contains(&EventType::OrderCreated),
            Hears::Everything => true,
        }
}

/// When the broker stored each event, in microseconds since 1970.
async fn stored(shop: &Shop, created: &[(String, String, i64)]) -> Result<HashMap<String, i64>> {
    let stream = shop.jetstream.get_stream(ORDERS.name).await.context("the broker has no stream ORDERS")?;
    let stream = &stream;
    futures::stream::iter(created)
        .map(|(_, event, sequence)| async move {
            let message = stream.get_raw_message(*sequence as u64).await;
            let message = message.with_context(|| format!("message {sequence} is gone from the stream"))?;
            Ok((event.clone(), (message.time.unix_timestamp_nanos() / 1_000) as i64))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

fn since(began: &HashMap<String, i64>, ended: &[(String, i64)]) -> Percentiles {
    latencies(ended.iter().filter_map(|(id, at)| Some(at - began.get(id)?)))
}

fn latencies(micros: impl Iterator<Item = i64>) -> Percentiles {
    micros.map(|micros| micros.max(0) as u64).collect::<Latencies>().percentiles()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_a_beginning_is_counted() {
        let began = HashMap::from([("a".to_owned(), 1_000), ("b".to_owned(), 2_000)]);
        let ended = [("a".to_owned(), 6_000), ("b".to_owned(), 1_500), ("c".to_owned(), 9_000)];
        let found = since(&began, &ended);
        assert_eq!((found.count, found.max.round()), (2, 5.0), "a clock that goes back is no time at all");
    }

    #[test]
    fn an_order_that_was_sent_again_is_one_and_was_due_when_it_was_first() {
        let sent = |order: &str, due| Remembered { order_id: order.to_owned(), due };
        let orders = [sent("a", 20), sent("b", 30), sent("a", 10), sent("a", 40)];
        assert_eq!(first_due(&orders), HashMap::from([("a", 10), ("b", 30)]));
    }

    #[test]
    fn six_consumers_hear_of_every_order() {
        let names: Vec<_> =
            CONSUMERS.into_iter().filter(|spec| hears_created(spec)).map(|spec| spec.name).collect();
        assert_eq!(names, ["payment", "inventory", "email", "loyalty", "analytics", "kitchen-display"]);
    }
}
