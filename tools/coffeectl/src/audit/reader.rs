//! Reads the stream ORDERS once, in order, without a trace on the broker.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use events::topology::ORDERS;
use futures::StreamExt;

use super::order::Orders;
use super::stream::StreamLog;
use crate::lag;
use crate::progress::Progress;
use crate::shop::Shop;

/// A broker that sends nothing for this long is taken for dead.
const PATIENCE: Duration = Duration::from_secs(30);
const SAY_EVERY: u64 = 10_000;

/// `wanted`: sequences whose order will be asked for.
pub async fn read(
    shop: &Shop,
    orders: &Orders,
    wanted: impl IntoIterator<Item = u64>,
    progress: &mut Progress,
) -> Result<StreamLog> {
    let mut log = StreamLog::new(wanted);
    let stream = lag::stream(&shop.jetstream, ORDERS.name).await?;
    let state = &stream.cached_info().state;
    log.forgetful = state.first_sequence > 1;
    if state.messages == 0 {
        return Ok(log);
    }
    let reader = pull::OrderedConfig { deliver_policy: DeliverPolicy::All, ..Default::default() };
    let reader = stream.create_consumer(reader).await.context("opening the stream for reading")?;
    let mut messages = reader.messages().await.context("reading the stream")?;
    loop {
        let Ok(next) = tokio::time::timeout(PATIENCE, messages.next()).await else {
            bail!("the broker sent nothing of the stream {} for {PATIENCE:?}", ORDERS.name);
        };
        let message = next.context("the broker ended the reading early")?.context("reading the stream")?;
        let (sequence, left) = match message.info() {
            Ok(info) => (info.stream_sequence, info.pending),
            Err(error) => bail!("reading the stream: {error}"),
        };
        log.add(sequence, &message.subject, message.headers.as_ref(), &message.payload, orders);
        if left == 0 {
            return Ok(log);
        }
        if left % SAY_EVERY == 0 {
            progress.say(format!("reading the stream: {left} messages left"));
        }
    }
}

/// The order that the message at this place is about, if it can be read.
pub async fn order_at(shop: &Shop, sequence: u64) -> Option<String> {
    let stream = shop.jetstream.get_stream(ORDERS.name).await.ok()?;
    let message = stream.get_raw_message(sequence).await.ok()?;
    Some(events::Event::decode(&message.payload).ok()?.order_id().to_string())
}
