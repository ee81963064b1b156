//! What this crate tells Prometheus, in words. Counters are said to be zero from the start: one that appears
//! with its first event hides exactly that event from `rate()`.
//!
//! What is counted is counted where it happens; what has to be asked for is asked here every few seconds: the
//! outbox by each service of its own database, the broker by one service for all ([`watch_broker`]), because
//! a service that is down cannot tell how much waits for it.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use events::topology::{CONSUMERS, ConsumerSpec, DLQ, STREAMS};
use futures::TryStreamExt;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{outbox, streams};

/// Between two looks at what has to be asked for.
pub const EVERY: Duration = Duration::from_secs(5);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why an event was buried, as a label: the letter itself has the whole reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is no valid event.
    Unreadable,
    /// The handler refused it.
    Rejected,
    /// Every attempt failed.
    Failed,
    /// It killed or hung the process again and again.
    Deadly,
}

impl Cause {
    const ALL: [Cause; 4] = [Cause::Unreadable, Cause::Rejected, Cause::Failed, Cause::Deadly];

    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Unreadable => "unreadable",
            Cause::Rejected => "rejected",
            Cause::Failed => "failed",
            Cause::Deadly => "deadly",
        }
    }
}

/// The help texts; once, when the recorder is there.
pub fn describe() {
    describe_gauge!("outbox_unpublished_rows", "Outbox rows that wait to be published, counted up to 100000");
    describe_gauge!("outbox_oldest_age_seconds", "How long the oldest unpublished outbox row has waited");
    describe_counter!("relay_published_total", "Outbox rows that the broker has stored");
    describe_counter!("relay_failures_total", "Rounds of the relay that failed; nothing is lost by one");
    describe_counter!("relay_refilled_total", "Rows published again because the broker had lost them");
    describe_counter!("consumer_events_total", "Events and tasks processed");
    describe_counter!("consumer_duplicates_total", "Deliveries skipped because the inbox knew their event");
    describe_counter!("consumer_redeliveries_total", "Messages the broker delivered again");
    describe_counter!("consumer_retries_total", "Failed attempts that will be repeated");
    describe_counter!("consumer_dead_letters_total", "Events buried, by cause");
    describe_histogram!(
        "consumer_processing_seconds",
        "One transaction of a consumer with all the events of its batch, or one task of a worker"
    );
    describe_gauge!(
        "consumer_lag",
        "Events a consumer has not finished: pending are those it was not given yet, unacknowledged those in hand"
    );
    describe_gauge!("dead_letters", "Dead letters in the DLQ stream that wait for a person");
    describe_gauge!("stream_messages", "Messages in the stream");
    describe_gauge!("stream_bytes", "Size of the stream");
    describe_gauge!("stream_max_bytes", "Size at which the stream refuses new messages");
    describe_gauge!("stream_last_sequence", "Number of the stream's last message: its growth is the traffic");
}

pub(crate) fn relay_starts() {
    counter!("relay_published_total").increment(0);
    counter!("relay_failures_total").increment(0);
    for spec in STREAMS {
        counter!("relay_refilled_total", "stream" => spec.name).increment(0);
    }
}

pub(crate) fn consumer_starts(consumer: &'static str) {
    counter!("consumer_events_total", "consumer" => consumer).increment(0);
    counter!("consumer_duplicates_total", "consumer" => consumer).increment(0);
    counter!("consumer_redeliveries_total", "consumer" => consumer).increment(0);
    counter!("consumer_retries_total", "consumer" => consumer).increment(0);
    for cause in Cause::ALL {
        counter!("consumer_dead_letters_total", "consumer" => consumer, "cause" => cause.as_str())
            .increment(0);
    }
}

/// How much waits in this service's outbox.
pub async fn look_at_outbox(pool: PgPool) -> Result<(), sqlx::Error> {
    let (rows, age) = outbox::waiting(&pool).await?;
    gauge!("outbox_unpublished_rows").set(rows as f64);
    gauge!("outbox_oldest_age_seconds").set(age.as_secs_f64());
    Ok(())
}

/// Looks at all streams and consumers until told to stop. Only asks: it changes nothing on the broker.
pub async fn watch_broker(js: Context, stop: CancellationToken) {
    loop {
        let look = async {
            if let Err(error) = look_at_broker(&js).await {
                tracing::debug!(error, "cannot look at the streams; their figures stay as they were");
            }
            tokio::time::sleep(EVERY).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = look => {}
        }
    }
}

async fn look_at_broker(js: &Context) -> Result<(), BoxError> {
    for spec in STREAMS {
        let stream = match js.get_stream(spec.name).await {
            // Whoever uses it was never started.
            Err(error) if streams::is_missing(&error.kind()) => continue,
            found => found?,
        };
        let info = stream.cached_info();
        gauge!("stream_messages", "stream" => spec.name).set(info.state.messages as f64);
        gauge!("stream_bytes", "stream" => spec.name).set(info.state.bytes as f64);
        gauge!("stream_max_bytes", "stream" => spec.name).set(info.config.max_bytes as f64);
        gauge!("stream_last_sequence", "stream" => spec.name).set(info.state.last_sequence as f64);
    }
    for spec in CONSUMERS {
        look_at_lag(js, spec).await?;
    }
    look_at_dead_letters(js).await
}

async fn look_at_lag(js: &Context, spec: &'static ConsumerSpec) -> Result<(), BoxError> {
    use ConsumerInfoErrorKind::{NotFound, StreamNotFound};
    let stream = js.get_stream_no_info(spec.stream.name).await?;
    let (mut pending, mut unacknowledged) = (0, 0);
    for (durable, _) in spec.durables() {
        let info = match stream.consumer_info(&durable).await {
            // It was never started, has no position yet, and so no lag.
            Err(error) if matches!(error.kind(), NotFound | StreamNotFound) => continue,
            found => found?,
        };
        pending += info.num_pending;
        unacknowledged += info.num_ack_pending;
    }
    gauge!("consumer_lag", "consumer" => spec.name, "state" => "pending").set(pending as f64);
    gauge!("consumer_lag", "consumer" => spec.name, "state" => "unacknowledged").set(unacknowledged as f64);
    Ok(())
}

async fn look_at_dead_letters(js: &Context) -> Result<(), BoxError> {
    let stream = js.get_stream_no_info(DLQ.name).await?;
    // One token more is the note of a letter that was discarded.
    let counts: Vec<(String, usize)> = stream.info_with_subjects("dlq.*").await?.try_collect().await?;
    for spec in CONSUMERS {
        let subject = spec.letters();
        let waiting = counts.iter().find(|(known, _)| *known == subject).map_or(0, |(_, count)| *count);
        gauge!("dead_letters", "consumer" => spec.name).set(waiting as f64);
    }
    Ok(())
}
