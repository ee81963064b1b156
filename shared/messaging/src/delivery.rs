//! One delivery of one message, and its four endings: acknowledged, handed back, terminated, or left to the
//! broker when this process dies.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull::{MessagesError, Stream as Pull};
use async_nats::jetstream::{AckKind, Message as Raw};
use futures::{FutureExt, StreamExt};
use tokio::task::unconstrained;

use crate::{Message, Received, TraceContext};

pub struct Delivery {
    raw: Raw,
    /// Position in the stream.
    pub sequence: u64,
    /// Counts the deliveries of the durable consumer, whoever gets them.
    pub number: u64,
    /// 1 the first time.
    pub delivered: i64,
    settled: AtomicBool,
}

impl Delivery {
    /// `None` for a message that does not come from a JetStream consumer.
    pub fn new(raw: Raw) -> Option<Delivery> {
        let (sequence, number, delivered) = {
            let info = raw.info().ok()?;
            (info.stream_sequence, info.consumer_sequence, info.delivered)
        };
        Some(Delivery { raw, sequence, number, delivered, settled: AtomicBool::new(false) })
    }

    pub fn decode<M: Message>(&self) -> Result<Received<M>, String> {
        let message = M::decode(self.subject(), self.headers(), self.body())?;
        Ok(Received::new(message, TraceContext::from_headers(self.headers())))
    }

    pub fn subject(&self) -> &str {
        self.raw.subject.as_str()
    }

    pub fn headers(&self) -> Option<&HeaderMap> {
        self.raw.headers.as_ref()
    }

    pub fn body(&self) -> &bytes::Bytes {
        &self.raw.payload
    }

    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    /// Acknowledgements are sent and not waited for: one that is lost costs a duplicate, which the inbox
    /// recognises.
    pub async fn ack(&self) {
        self.settle(AckKind::Ack).await;
    }

    pub async fn hand_back(&self, delay: Duration) {
        self.settle(AckKind::Nak((!delay.is_zero()).then_some(delay))).await;
    }

    /// Only after its dead letter is stored.
    pub async fn terminate(&self) {
        self.settle(AckKind::Term).await;
    }

    /// Tells the broker that this message is still being worked on.
    pub async fn progress(&self) {
        self.send(AckKind::Progress).await;
    }

    async fn settle(&self, kind: AckKind) {
        self.settled.store(true, Ordering::Relaxed);
        self.send(kind).await;
    }

    async fn send(&self, kind: AckKind) {
        if let Err(error) = self.raw.ack_with(kind).await {
            tracing::debug!(sequence = self.sequence, %error, "the broker did not hear our answer; it will deliver again");
        }
    }
}

/// Keeps the broker from giving these messages to somebody else while they are worked on. Never returns.
pub async fn keep_in_hand<'a>(deliveries: impl IntoIterator<Item = &'a Delivery>, ack_wait: Duration) -> ! {
    let deliveries: Vec<_> = deliveries.into_iter().collect();
    let mut beat = tokio::time::interval(ack_wait / 3);
    beat.tick().await;
    loop {
        beat.tick().await;
        for delivery in deliveries.iter().filter(|delivery| !delivery.is_settled()) {
            delivery.progress().await;
        }
    }
}

/// What the pull has next, if it is there.
pub fn next_at_once(pull: &mut Pull) -> Option<Option<Result<Raw, MessagesError>>> {
    // Tokio would have it yield every 128 messages, as if there were no more.
    unconstrained(pull.next()).now_or_never()
}

/// Gives what a pull has delivered, `first` and what nobody has looked at yet, to other instances. The pull ends first, or what
/// is handed back might be delivered here again.
pub async fn hand_back_rest(mut pull: Pull, first: Vec<Delivery>) {
    let mut rest = first;
    while let Some(Some(Ok(raw))) = next_at_once(&mut pull) {
        rest.extend(Delivery::new(raw));
    }
    drop(pull);
    for delivery in rest {
        delivery.hand_back(Duration::ZERO).await;
    }
}
