//! JetStream alone, on a stream of its own with messages like those of the shop: how many it stores when they
//! are sent without waiting for each other, and how many a consumer takes that confirms each and does nothing
//! with it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType, Stream};
use bytes::Bytes;
use futures::StreamExt as _;

use super::event;
use crate::shop::Shop;

const STREAM: &str = "LOADTEST";
const SUBJECT: &str = "loadtest.limits";
/// Sent and not confirmed, and delivered and not acknowledged.
const WINDOW: usize = 4_000;
/// As many as the relay claims at once.
const BATCH: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Bench {
    jetstream: Context,
    stream: Stream,
}

impl Bench {
    pub async fn prepare(shop: &Shop) -> Result<Bench> {
        let mut jetstream = async_nats::jetstream::new(shop.jetstream.client());
        jetstream.set_timeout(PATIENCE);
        // Of a run that was cut short.
        let _ = jetstream.delete_stream(STREAM).await;
        let config = Config {
            name: STREAM.to_owned(),
            subjects: vec![SUBJECT.to_owned()],
            storage: StorageType::File,
            discard: DiscardPolicy::New,
            max_age: Duration::from_secs(60 * 60),
            ..Config::default()
        };
        let stream = jetstream.create_stream(config).await.context("cannot make a stream for the limits")?;
        Ok(Bench { jetstream, stream })
    }

    /// Messages stored a second.
    // It measures the broker, so no row of an outbox stands behind what it sends.
    #[allow(clippy::disallowed_methods)]
    pub async fn publish(&self, count: usize) -> Result<f64> {
        let event = event()?;
        let (body, time) = (Bytes::from(event.encode()), event.time.to_string());
        let began = Instant::now();
        let mut open: VecDeque<PublishAckFuture> = VecDeque::with_capacity(WINDOW);
        for _ in 0..count {
            if open.len() == WINDOW
                && let Some(oldest) = open.pop_front()
            {
                oldest.await.context("the broker did not confirm a message")?;
            }
            let message = message(body.clone(), &time);
            open.push_back(self.jetstream.send_publish(SUBJECT, message).await.context("cannot publish")?);
        }
        for rest in open {
            rest.await.context("the broker did not confirm a message")?;
        }
        Ok(count as f64 / began.elapsed().as_secs_f64())
    }

    /// Messages a second that one consumer pulled and whose acknowledgement the broker confirmed.
    pub async fn consume(&self, count: usize) -> Result<f64> {
        let config = pull::Config {
            durable_name: Some("limits".to_owned()),
            ack_policy: AckPolicy::Explicit,
            max_ack_pending: WINDOW as i64,
            ..pull::Config::default()
        };
        let consumer = self.stream.create_consumer(config).await.context("cannot make a consumer")?;
        let client = self.jetstream.client();
        let began = Instant::now();
        let messages = consumer.stream().max_messages_per_batch(BATCH).messages().await?;
        let confirmed = messages
            .take(count)
            .map(|message| {
                let client = client.clone();
                async move {
                    let reply = message?.reply.clone().context("a message without a reply subject")?;
                    client.request(reply, Bytes::from_static(b"+ACK")).await?;
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(WINDOW)
            .collect::<Vec<_>>();
        let confirmed =
            tokio::time::timeout(PATIENCE, confirmed).await.context("the broker delivers no more")?;
        let rate = count as f64 / began.elapsed().as_secs_f64();
        ensure!(confirmed.len() == count, "the broker delivered {} of {count} messages", confirmed.len());
        confirmed.into_iter().collect::<Result<Vec<()>>>()?;
        Ok(rate)
    }

    pub async fn remove(self) -> Result<()> {
        self.jetstream.delete_stream(STREAM).await.context("cannot remove the stream of the limits")?;
        Ok(())
    }
}

/// With the headers the relay sends.
fn message(body: Bytes, time: &str) -> PublishMessage {
    let id = uuid::Uuid::now_v7().to_string();
    let mut headers = HeaderMap::new();
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", id.as_str());
    headers.insert("ce-type", "OrderCreated");
    headers.insert("ce-source", "/order-api");
    headers.insert("ce-time", time);
    headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    PublishMessage::build().payload(body).headers(headers).message_id(id)
}
