//! What a wrong command of an operator does: a stream or a durable consumer that is gone, a stream that is
//! full.

use std::time::Duration;

use anyhow::Result;
use async_nats::jetstream::Context;

use super::{Effect, Fault, fault, for_as_long};
use crate::schedule::Draw;
use crate::site::{Site, insist};

const DURABLES: &[&str] = &[
    "ORDERS.order-api",
    "ORDERS.payment",
    "ORDERS.inventory",
    "ORDERS.email",
    "ORDERS.loyalty",
    "ORDERS.analytics",
    "ORDERS.kitchen-display-0",
    "ORDERS.kitchen-display-5",
    "EMAILS.email-worker",
];

pub const FAULTS: &[Fault] = &[
    fault("stream-deleted", "a stream with all its consumers is gone", &["ORDERS", "EMAILS"], |s, d| {
        Box::pin(delete_stream(s, d))
    })
    .recovering_within(20)
    .needing(&["nats"]),
    fault("consumer-deleted", "a durable consumer is gone", DURABLES, |s, d| Box::pin(delete_consumer(s, d)))
        .needing(&["nats"]),
    fault("stream-full", "a stream takes no more messages", &["ORDERS", "EMAILS"], |s, d| {
        Box::pin(full(s, d))
    })
    .lasting(5, 25)
    .needing(&["nats"]),
];

async fn delete_stream(site: &Site, draw: &Draw) -> Result<Effect> {
    // A lost answer makes the second try find nothing to delete, which is as good.
    insist("delete a stream", async || match site.broker.delete_stream(draw.target).await {
        Err(error) if !error.to_string().contains("not found") => Err(error),
        _ => Ok(()),
    })
    .await?;
    Ok(Effect::Applied)
}

async fn delete_consumer(site: &Site, draw: &Draw) -> Result<Effect> {
    let (stream, durable) = draw.target.split_once('.').unwrap_or_default();
    insist("delete a consumer", async || {
        match site.broker.delete_consumer_from_stream(durable, stream).await {
            Err(error) if !error.to_string().contains("not found") => Err(error),
            _ => Ok(()),
        }
    })
    .await?;
    Ok(Effect::Applied)
}

/// By the number of its messages, a limit the shop does not set itself: it would put its own limits right.
/// A work queue makes room by working, so it is filled again and again.
async fn full(site: &Site, draw: &Draw) -> Result<Effect> {
    let full = async {
        loop {
            insist("limit a stream", async || limit(&site.broker, draw.target, true).await).await?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        failed = full => return failed,
        () = for_as_long(draw) => {}
    }
    insist("take back a stream's limit", async || limit(&site.broker, draw.target, false).await).await?;
    Ok(Effect::Applied)
}

async fn limit(broker: &Context, name: &str, is_full: bool) -> Result<()> {
    let stream = broker.get_stream(name).await?;
    let info = stream.cached_info();
    let mut config = info.config.clone();
    config.max_messages = match is_full {
        // 0 would be no limit.
        true => i64::try_from(info.state.messages.max(1))?,
        false => -1,
    };
    if config.max_messages != info.config.max_messages {
        broker.update_stream(config).await?;
    }
    Ok(())
}
