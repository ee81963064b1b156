//! How one message ends when it did not simply succeed: tried again later, or buried. Shared by
//! [consumers](crate::consumer) and [workers](crate::worker).

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use events::topology::ConsumerSpec;
use tokio::sync::MutexGuard;
use tokio_util::sync::CancellationToken;

use crate::consumer::Runtime;
use crate::delivery::Delivery;
use crate::failure::BoxError;
use crate::figures::Cause;
use crate::span::{KeyValue, Span, SpanKind};
use crate::{Failure, Message, Received, TraceContext, alone, bounded, dead_letter, failpoint};

/// A valid message in hand, not yet settled.
pub struct Hand<M> {
    pub delivery: Delivery,
    pub message: Received<M>,
}

pub fn ids<'a, M: Message>(hands: impl IntoIterator<Item = &'a Hand<M>>) -> Vec<&'a str> {
    hands.into_iter().map(|hand| hand.message.id()).collect()
}

pub async fn hand_back<'a, M: 'a>(hands: impl IntoIterator<Item = &'a Hand<M>>, pause: Duration) {
    for hand in hands {
        hand.delivery.hand_back(pause).await;
    }
}

/// Why an attempt did not succeed.
pub enum Trouble {
    Failed(Failure),
    /// The handler panicked or ran out of time.
    Stuck(String),
    /// Somebody holds a lock on what the handler writes.
    Locked(BoxError),
    /// Another instance reads this partition now.
    LeaseLost,
    /// The service is stopping while something it needs is away.
    Stopping,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Failed(failure) => failure.fmt(f),
            Trouble::Stuck(what) => f.write_str(what),
            Trouble::Locked(error) => error.fmt(f),
            Trouble::LeaseLost => f.write_str("another instance reads this partition now"),
            Trouble::Stopping => f.write_str("the service is stopping"),
        }
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Trouble {
        Trouble::Failed(error.into())
    }
}

/// A try of events under suspicion. Until it is dropped, nothing else in this process is under suspicion.
pub struct Attempt<'a> {
    pub number: u32,
    _alone: MutexGuard<'a, ()>,
}

pub struct Settler {
    pub runtime: Arc<Runtime>,
    pub spec: &'static ConsumerSpec,
    pub stop: CancellationToken,
}

impl Settler {
    /// Counts an attempt at a message that stands alone. `None` when there must not be one: the message was
    /// buried because its attempts are used up, or handed back.
    pub async fn begin_attempt<M: Message>(&self, hand: &Hand<M>) -> Option<Attempt<'_>> {
        let attempt = match self.begin_attempts([hand]).await {
            Ok(attempt) => attempt,
            Err(trouble) => {
                hand.delivery.hand_back(self.pause_after(&trouble)).await;
                return None;
            }
        };
        if attempt.number <= self.runtime.settings.max_attempts {
            return Some(attempt);
        }
        let attempts = attempt.number - 1;
        let reason = format!("gave up after {attempts} attempts: the process died or hung while handling it");
        self.bury(&hand.delivery, Some(hand.message.id()), Cause::Deadly, &reason, attempts).await;
        None
    }

    /// Counts an attempt at each of these messages.
    pub async fn begin_attempts<'a, M: Message>(
        &self,
        hands: impl IntoIterator<Item = &'a Hand<M>>,
    ) -> Result<Attempt<'_>, Trouble> {
        let ids = ids(hands);
        let alone = self.runtime.suspicion.lock().await;
        let begin = || async { Ok(bounded(alone::begin(&self.runtime.pool, self.spec.name, &ids)).await?) };
        let number = self.patiently(begin).await?;
        Ok(Attempt { number, _alone: alone })
    }

    /// For how long messages are left alone that could not even be tried. Another instance may have them at once when this
    /// one is stopping; a database that refuses to answer would otherwise be asked without end.
    pub fn pause_after(&self, trouble: &Trouble) -> Duration {
        if matches!(trouble, Trouble::Stopping) {
            return Duration::ZERO;
        }
        tracing::error!(consumer = self.spec.name, %trouble, "cannot look up earlier attempts; will try again");
        self.runtime.settings.retry_delay(1)
    }

    /// Takes the count of an attempt back. If that fails too, one attempt too many has been counted.
    pub async fn forgive<'a, M: Message>(&self, hands: impl IntoIterator<Item = &'a Hand<M>>) {
        let ids = ids(hands);
        let _ = bounded(alone::forgive(&self.runtime.pool, self.spec.name, &ids)).await;
    }

    /// Of messages that are done, before they are acknowledged: they do not come again, and nobody would look at their notes.
    /// `false` when that was not possible, and they were handed back.
    pub async fn forget<M: Message>(&self, done: &[&Hand<M>]) -> bool {
        let ids = ids(done.iter().copied());
        let clear = || async { Ok(bounded(alone::clear(&self.runtime.pool, self.spec.name, &ids)).await?) };
        match self.patiently(clear).await {
            Ok(()) => true,
            Err(trouble) => {
                hand_back(done.to_vec(), self.pause_after(&trouble)).await;
                false
            }
        }
    }

    /// The first failure of a message that was not under suspicion: from now on its attempts are counted.
    pub async fn settle_first_failure<M: Message>(&self, hand: &Hand<M>, trouble: Trouble) {
        if !matches!(trouble, Trouble::Failed(Failure::Retry(_)) | Trouble::Stuck(_)) {
            self.settle_failure(hand, trouble, 1).await;
        } else if let Some(attempt) = self.begin_attempt(hand).await {
            self.settle_failure(hand, trouble, attempt.number).await;
        }
    }

    /// After a failed attempt: tried again later, or buried when it is hopeless or the attempts are used up.
    pub async fn settle_failure<M: Message>(&self, hand: &Hand<M>, trouble: Trouble, attempt: u32) {
        let id = hand.message.id();
        let error = match trouble {
            Trouble::Failed(Failure::Reject(reason)) => {
                return self.bury(&hand.delivery, Some(id), Cause::Rejected, &reason, attempt).await;
            }
            Trouble::Failed(Failure::Retry(error) | Failure::Unavailable(error)) => error.to_string(),
            Trouble::Stuck(what) => what,
            Trouble::Locked(error) => return self.wait_for_lock(hand, &*error).await,
            Trouble::Stopping => return hand.delivery.hand_back(Duration::ZERO).await,
            Trouble::LeaseLost => return,
        };
        if attempt >= self.runtime.settings.max_attempts {
            let reason = format!("gave up after {attempt} attempts: {error}");
            return self.bury(&hand.delivery, Some(id), Cause::Failed, &reason, attempt).await;
        }
        let delay = self.runtime.settings.retry_delay(attempt);
        tracing::warn!(
            consumer = self.spec.name,
            event = id,
            order = hand.message.order_id(),
            trace = hand.message.trace().trace_id(),
            attempt,
            ?delay,
            error,
            "failed; will be tried again"
        );
        self.runtime.counters.retries.fetch_add(1, Relaxed);
        metrics::counter!("consumer_retries_total", "consumer" => self.spec.name).increment(1);
        hand.delivery.hand_back(delay).await;
    }

    /// The event is not to blame, and others need not wait with it.
    async fn wait_for_lock<M: Message>(&self, hand: &Hand<M>, error: &(dyn Error + Send + Sync)) {
        self.forgive([hand]).await;
        if self.stop.is_cancelled() {
            return hand.delivery.hand_back(Duration::ZERO).await;
        }
        let delay = self.runtime.settings.retry_delay(hand.delivery.delivered as u32);
        let (consumer, event, order) = (self.spec.name, hand.message.id(), hand.message.order_id());
        tracing::warn!(consumer, event, order, ?delay, %error, "somebody holds a lock; will be tried again");
        hand.delivery.hand_back(delay).await;
    }

    /// Stores the dead letter, then terminates the original. If storing fails, the message stays.
    pub async fn bury(
        &self,
        delivery: &Delivery,
        event_id: Option<&str>,
        cause: Cause,
        reason: &str,
        attempts: u32,
    ) {
        let Settler { runtime, spec, .. } = self;
        let burial = dead_letter::Burial { spec, delivery, event_id, reason, attempts };
        let mut span =
            Span::start("bury", SpanKind::Internal, &TraceContext::from_headers(delivery.headers()), || {
                [
                    KeyValue::new("messaging.system", "nats"),
                    KeyValue::new("messaging.consumer.group.name", spec.name),
                    KeyValue::new("messaging.destination.name", delivery.subject().to_owned()),
                    KeyValue::new("dead_letter.attempts", i64::from(attempts)),
                ]
            });
        span.fail(reason.to_owned());
        failpoint::dies_at("bury-before-store");
        let store = || async { Ok(bounded(dead_letter::bury(&runtime.pool, &burial)).await?) };
        if let Err(trouble) = self.patiently(store).await {
            if let Trouble::Failed(error) = trouble {
                tracing::error!(
                    consumer = spec.name,
                    sequence = delivery.sequence,
                    ?error,
                    "could not store the dead letter; will try again"
                );
            }
            return delivery.hand_back(runtime.settings.retry_delay(1)).await;
        }
        failpoint::dies_at("bury-after-store");
        runtime.outbox_written.notify_one();
        tracing::error!(
            consumer = spec.name,
            event = event_id,
            sequence = delivery.sequence,
            attempts,
            reason,
            "buried"
        );
        runtime.counters.buried.fetch_add(1, Relaxed);
        metrics::counter!("consumer_dead_letters_total", "consumer" => spec.name, "cause" => cause.as_str())
            .increment(1);
        delivery.terminate().await;
    }

    pub fn count_redelivered<'a>(&self, deliveries: impl IntoIterator<Item = &'a Delivery>) {
        let again = deliveries.into_iter().filter(|delivery| delivery.delivered > 1).count() as u64;
        metrics::counter!("consumer_redeliveries_total", "consumer" => self.spec.name).increment(again);
    }

    /// One transaction or task is over.
    pub fn timed(&self, started: Instant, succeeded: bool) {
        let result = if succeeded { "done" } else { "failed" };
        metrics::histogram!("consumer_processing_seconds", "consumer" => self.spec.name, "result" => result)
            .record(started.elapsed().as_secs_f64());
    }

    /// Repeats `work` for as long as something outside is away, holding on to what is in hand. Counts no
    /// attempt: the event is not to blame.
    pub async fn patiently<T, F>(&self, work: impl Fn() -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        for attempt in 1.. {
            match work().await {
                Err(Trouble::Failed(Failure::Unavailable(error))) => {
                    tracing::warn!(consumer = self.spec.name, attempt, %error, "waiting for something this consumer needs");
                }
                result => return result,
            }
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep(self.runtime.settings.outage_delay(attempt)) => {}
            }
        }
        Err(Trouble::Stopping)
    }
}

pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
