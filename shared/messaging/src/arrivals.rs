//! What a pull has delivered and nobody has looked at yet. The next batch is decoded while the one before is in its
//! transaction, when this process would otherwise wait for Postgres.

use std::mem;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Stream as Pull;
use futures::{FutureExt, StreamExt};
use tokio::task::unconstrained;
use tokio::time::timeout;

use crate::delivery::{Delivery, hand_back_rest, keep_in_hand};
use crate::streams::{self, MOST_BYTES, SetupError};
use crate::{Message, Received, Settings};

/// Many times what a full batch takes. Whoever works for longer is in trouble, and what more it asked for would be kept from
/// other instances.
const LONGEST_AHEAD: Duration = Duration::from_millis(500);

pub struct Arrival<M> {
    pub delivery: Delivery,
    /// Or why it cannot be read.
    pub message: Result<Received<M>, String>,
}

/// What those wait for who ask for a batch.
#[derive(Clone, Copy, PartialEq)]
pub enum Wanted {
    Any,
    /// For the time in which another batch is at work, or the reader rests.
    Full,
    /// As many are at work as may: it is only read ahead.
    Nothing,
}

pub struct Arrivals<M> {
    pull: Pull,
    /// At most a batch.
    decoded: Vec<Arrival<M>>,
    /// The size of what is decoded.
    bytes: usize,
    batch: usize,
    ack_wait: Duration,
    /// Why nothing will come any more.
    ended: Option<SetupError>,
}

impl<M: Message> Arrivals<M> {
    /// `ahead`: what the broker sends before it is read, which is in nobody's hand until then.
    pub async fn open(
        durable: &PullConsumer,
        settings: &Settings,
        ahead: usize,
    ) -> Result<Arrivals<M>, SetupError> {
        let Settings { batch, ack_wait, .. } = *settings;
        let pull = streams::pull(durable, ahead).await?;
        Ok(Arrivals { pull, decoded: Vec::with_capacity(batch), bytes: 0, batch, ack_wait, ended: None })
    }

    /// All that is there, up to a batch, as soon as that is what is wanted. An error when nothing is left and nothing will come.
    pub async fn next_batch(&mut self, wanted: Wanted) -> Result<Vec<Arrival<M>>, SetupError> {
        if wanted == Wanted::Any {
            self.read(1).await;
        } else {
            let _ = timeout(LONGEST_AHEAD, self.read(self.batch)).await;
        }
        let is_enough = match wanted {
            Wanted::Any => !self.decoded.is_empty(),
            Wanted::Full => self.is_full(),
            Wanted::Nothing => false,
        };
        if is_enough {
            self.take_what_is_there();
            self.bytes = 0;
            return Ok(mem::replace(&mut self.decoded, Vec::with_capacity(self.batch)));
        }
        match self.ended.take_if(|_| wanted == Wanted::Any) {
            Some(ended) => Err(ended),
            // On a busy machine what is read ahead may wait for longer than the broker does.
            None => keep_in_hand(self.decoded.iter().map(|arrival| &arrival.delivery), self.ack_wait).await,
        }
    }

    fn is_full(&self) -> bool {
        self.decoded.len() == self.batch || self.bytes >= MOST_BYTES
    }

    /// Until so many are decoded.
    async fn read(&mut self, up_to: usize) {
        while self.ended.is_none() && self.decoded.len() < up_to && !self.is_full() {
            self.take_one().await;
        }
    }

    /// Gives everything to other instances.
    pub async fn hand_back(self) {
        let decoded = self.decoded.into_iter().map(|arrival| arrival.delivery);
        hand_back_rest(self.pull, decoded.collect()).await;
    }

    fn take_what_is_there(&mut self) {
        // Tokio would have it yield every 128 messages, which makes small transactions of large batches.
        let _ = unconstrained(self.read(self.batch)).now_or_never();
    }

    /// Loses nothing when it is dropped before its end.
    async fn take_one(&mut self) {
        match self.pull.next().await {
            Some(Ok(raw)) => {
                self.bytes += raw.length;
                self.decoded.extend(Delivery::new(raw).map(|delivery| {
                    let message = delivery.decode();
                    Arrival { delivery, message }
                }));
            }
            Some(Err(error)) => self.ended = Some(SetupError::broker(error)),
            None => self.ended = Some(SetupError::broker("the pull ended")),
        }
    }
}
