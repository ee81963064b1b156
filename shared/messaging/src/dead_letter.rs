//! Events a consumer gave up on. Each is kept in the `DLQ` stream with its body and headers as they were,
//! plus why, by whom and from where, until a person redrives or discards it.

// What an operator does with a dead letter changes no service's state: there is nothing to be atomic with.
#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::RawMessageErrorKind;
use async_nats::jetstream::{Context, message::StreamMessage};
use events::topology::{self, CONSUMERS, ConsumerSpec, DLQ};
use futures::TryStreamExt;
use sqlx::PgPool;
use thiserror::Error;
use time::OffsetDateTime;

use crate::delivery::Delivery;
use crate::message::REDRIVEN_FROM;
use crate::outbox::Letter;
use crate::{alone, failpoint, outbox};

pub const REASON: &str = "Dead-Letter-Reason";
pub const ATTEMPTS: &str = "Dead-Letter-Attempts";
pub const CONSUMER: &str = "Dead-Letter-Consumer";
pub const SUBJECT: &str = "Dead-Letter-Subject";
pub const STREAM: &str = "Dead-Letter-Stream";
pub const SEQUENCE: &str = "Dead-Letter-Sequence";
pub const EVENT_ID: &str = "Dead-Letter-Event-Id";

/// Headers that instruct the broker (`Nats-Expected-Stream` and its like) would act on the copy as well, so
/// they are kept under this prefix.
const ORIGINAL: &str = "Original-";
const MAX_REASON_CHARS: usize = 1_000;
/// Postgres' indexes take a third of a page, and an event's own id is shorter.
const MAX_ID_BYTES: usize = 512;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub(crate) struct Burial<'a> {
    pub spec: &'a ConsumerSpec,
    pub delivery: &'a Delivery,
    /// Unknown when the message could not be read.
    pub event_id: Option<&'a str>,
    pub reason: &'a str,
    pub attempts: u32,
}

/// Writes the dead letter to the outbox of the consumer's service, in one transaction with the end of its
/// attempts; the relay publishes it, and again if the broker loses it. To repeat a burial is harmless.
pub(crate) async fn bury(pool: &PgPool, burial: &Burial<'_>) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    outbox::append_letter(&mut tx, &letter(burial)).await?;
    if let Some(event_id) = burial.event_id {
        alone::clear(&mut *tx, burial.spec.name, &[event_id]).await?;
    }
    tx.commit().await
}

fn letter(burial: &Burial<'_>) -> Letter {
    let Burial { spec, delivery, .. } = burial;
    let received_id = received_id(delivery.headers());
    let from_stream = format!("{}:{}", spec.stream.name, delivery.sequence);
    let is_redriven = delivery.subject().starts_with(&format!("{}.redrive.", spec.stream.prefix()));
    // A redriven event that fails again is a new dead letter, so its id is that of the redrive.
    let identity = match (is_redriven, burial.event_id) {
        (false, Some(event_id)) => event_id,
        _ => received_id.unwrap_or(&from_stream),
    };
    let mut headers = HeaderMap::new();
    for (name, values) in delivery.headers().into_iter().flat_map(HeaderMap::iter) {
        let name: &str = name.as_ref();
        let kept = if name.starts_with("Nats-") { format!("{ORIGINAL}{name}") } else { name.to_owned() };
        // A redriven event buried again gets a fresh set of these.
        if !name.starts_with("Dead-Letter-") {
            values.iter().for_each(|value| headers.append(kept.as_str(), value.as_str()));
        }
    }
    headers.insert(REASON, header_text(burial.reason));
    headers.insert(ATTEMPTS, burial.attempts.to_string());
    headers.insert(CONSUMER, spec.name);
    headers.insert(SUBJECT, delivery.subject());
    headers.insert(STREAM, spec.stream.name);
    headers.insert(SEQUENCE, delivery.sequence.to_string());
    headers.insert(EVENT_ID, burial.event_id.unwrap_or(received_id.unwrap_or(&from_stream)));
    Letter {
        id: header_text(&format!("{}:{identity}", spec.name)),
        subject: spec.letters(),
        headers,
        body: delivery.body().clone(),
    }
}

/// By which the broker knew the message, if it can be the id of a row too.
pub fn received_id(headers: Option<&HeaderMap>) -> Option<&str> {
    let id = headers.and_then(|headers| headers.get("Nats-Msg-Id"))?.as_str();
    (id.len() <= MAX_ID_BYTES).then_some(id)
}

/// One line, as headers demand.
fn header_text(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON_CHARS).collect()
}

/// A dead letter as an operator sees it.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its number in the `DLQ` stream: what `coffeectl dlq show 7` means by 7.
    pub number: u64,
    pub buried_at: OffsetDateTime,
    pub consumer: String,
    pub event_id: String,
    pub reason: String,
    pub attempts: u32,
    pub subject: String,
    pub stream_sequence: u64,
    /// True for the note that remains of a discarded one.
    pub discarded: bool,
    pub headers: HeaderMap,
    pub body: bytes::Bytes,
}

#[derive(Debug, Error)]
pub enum DeadLetterError {
    #[error("there is no dead letter {0}: it was redriven, discarded, or never there")]
    NotFound(u64),
    #[error("dead letter {0} names the consumer {1:?}, which this shop does not have")]
    UnknownConsumer(u64, String),
    #[error("the broker: {0}")]
    Broker(BoxError),
}

fn broker(error: impl Into<BoxError>) -> DeadLetterError {
    DeadLetterError::Broker(error.into())
}

/// All dead letters, oldest first, with the notes of discarded ones.
pub async fn list(js: &Context) -> Result<Vec<DeadLetter>, DeadLetterError> {
    let stream = js.get_stream(DLQ.name).await.map_err(broker)?;
    let reader = pull::Config {
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::None,
        inactive_threshold: Duration::from_secs(30),
        ..pull::Config::default()
    };
    let reader = stream.create_consumer(reader).await.map_err(broker)?;
    let mut left = reader.cached_info().num_pending;
    let mut letters = Vec::new();
    while left > 0 {
        let before = letters.len();
        let mut batch = reader.fetch().max_messages(500).messages().await.map_err(broker)?;
        while let Some(message) = batch.try_next().await.map_err(broker)? {
            left = left.saturating_sub(1);
            let info = message.info().map_err(broker)?;
            let at = info.published;
            let headers = message.headers.clone().unwrap_or_default();
            letters.push(read(info.stream_sequence, at, &message.subject, headers, message.payload.clone()));
        }
        // Somebody redrove or discarded the rest meanwhile.
        if letters.len() == before {
            break;
        }
    }
    let _ = stream.delete_consumer(&reader.cached_info().name).await;
    Ok(letters)
}

pub async fn get(js: &Context, number: u64) -> Result<DeadLetter, DeadLetterError> {
    let stream = js.get_stream(DLQ.name).await.map_err(broker)?;
    let message: StreamMessage =
        stream.get_raw_message(number).await.map_err(|error| match error.kind() {
            RawMessageErrorKind::NoMessageFound => DeadLetterError::NotFound(number),
            _ => broker(error),
        })?;
    Ok(read(number, message.time, &message.subject, message.headers, message.payload))
}

fn read(
    number: u64,
    at: OffsetDateTime,
    subject: &str,
    headers: HeaderMap,
    body: bytes::Bytes,
) -> DeadLetter {
    let get = |name: &str| headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default();
    DeadLetter {
        number,
        buried_at: at,
        consumer: get(CONSUMER),
        event_id: get(EVENT_ID),
        reason: get(REASON),
        attempts: get(ATTEMPTS).parse().unwrap_or(0),
        subject: get(SUBJECT),
        stream_sequence: get(SEQUENCE).parse().unwrap_or(0),
        discarded: subject.ends_with(".discarded"),
        body,
        headers,
    }
}

/// Hands the event back to the consumer that buried it, and only then removes the dead letter. Interrupted
/// and repeated, it sends the same message id again, and the consumer's inbox recognises the rest.
pub async fn redrive(js: &Context, letter: &DeadLetter) -> Result<(), DeadLetterError> {
    let spec = CONSUMERS
        .iter()
        .find(|spec| spec.name == letter.consumer)
        .ok_or_else(|| DeadLetterError::UnknownConsumer(letter.number, letter.consumer.clone()))?;
    let mut headers = HeaderMap::new();
    for (name, values) in letter.headers.iter() {
        let name: &str = name.as_ref();
        if !name.starts_with("Nats-") && !name.starts_with("Dead-Letter-") && !name.starts_with(ORIGINAL) {
            values.iter().for_each(|value| headers.append(name, value.as_str()));
        }
    }
    // On the subject of a redrive the header is ours already; anywhere else anybody may have written one.
    if topology::promised_type(&letter.subject).is_some() {
        headers.insert(REDRIVEN_FROM, letter.subject.as_str());
    }
    // Deduplication is stream-wide: the letter's number keeps two consumers' redrives of one event apart.
    let message = PublishMessage::build()
        .payload(letter.body.clone())
        .headers(headers)
        .message_id(format!("{}:redrive:{}", letter.event_id, letter.number));
    js.send_publish(spec.redrive_subject(&letter.subject), message)
        .await
        .map_err(broker)?
        .await
        .map_err(broker)?;
    failpoint::dies_at("redrive-after-publish");
    remove(js, letter.number).await
}

/// Throws the event away, leaving a note of what it was and why.
pub async fn discard(js: &Context, letter: &DeadLetter, why: &str) -> Result<(), DeadLetterError> {
    let mut headers = HeaderMap::new();
    for name in [CONSUMER, SUBJECT, STREAM, SEQUENCE, EVENT_ID, ATTEMPTS] {
        if let Some(value) = letter.headers.get(name) {
            headers.insert(name, value.as_str());
        }
    }
    headers.insert(REASON, header_text(&format!("discarded: {why} (was: {})", letter.reason)));
    let message = PublishMessage::build()
        .headers(headers)
        .message_id(format!("{}:{}:discarded:{}", letter.consumer, letter.event_id, letter.number));
    let subject = format!("dlq.{}.discarded", letter.consumer);
    js.send_publish(subject, message).await.map_err(broker)?.await.map_err(broker)?;
    failpoint::dies_at("discard-after-note");
    remove(js, letter.number).await
}

async fn remove(js: &Context, number: u64) -> Result<(), DeadLetterError> {
    let stream = js.get_stream(DLQ.name).await.map_err(broker)?;
    stream.delete_message(number).await.map_err(broker)?;
    Ok(())
}
