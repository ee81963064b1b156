//! What a pull has delivered and nobody has looked at yet. The next batch is decoded while the one before is in its
//! transaction, when this process would otherwise wait for Postgres.

use std::future::pending;
use std::mem;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Stream as Pull;
use futures::{FutureExt, StreamExt};
use tokio::task::unconstrained;
use tokio::time::timeout;

use crate::delivery::{self, Delivery};
use crate::streams::{self, SetupError};
use crate::{Message, Received};

/// Many times what a full batch takes. Whoever works for longer is in trouble, and what more it asked for would be kept from
/// other instances.
const LONGEST_AHEAD: Duration = Duration::from_millis(500);

pub struct Arrival<M> {
    pub delivery: Delivery,
    /// Or why it cannot be read.
    pub message: Result<Received<M>, String>,
}

pub struct Arrivals<M> {
    pull: Pull,
    /// At most a batch.
    decoded: Vec<Arrival<M>>,
    batch: usize,
    /// Why nothing will come any more.
    ended: Option<SetupError>,
}

impl<M: Message> Arrivals<M> {
    pub async fn open(durable: &PullConsumer, batch: usize) -> Result<Arrivals<M>, SetupError> {
        let pull = streams::pull(durable, batch).await?;
        Ok(Arrivals { pull, decoded: Vec::with_capacity(batch), batch, ended: None })
    }

    /// Waits until there are `at_least` so many, and takes all that are there, up to a batch. An error when nothing is left and
    /// nothing will come. To ask for more than one is for the time in which others work.
    pub async fn next_batch(&mut self, at_least: usize) -> Result<Vec<Arrival<M>>, SetupError> {
        let reading = async {
            while self.ended.is_none() && self.decoded.len() < at_least.min(self.batch) {
                self.take_one().await;
            }
        };
        match at_least {
            1 => reading.await,
            _ => drop(timeout(LONGEST_AHEAD, reading).await),
        }
        if self.decoded.len() >= at_least {
            self.take_what_is_there(self.batch);
            return Ok(mem::replace(&mut self.decoded, Vec::with_capacity(self.batch)));
        }
        match self.ended.take_if(|_| at_least == 1) {
            Some(ended) => Err(ended),
            None => pending().await,
        }
    }

    /// Gives everything to other instances.
    pub async fn hand_back(self) {
        let decoded = self.decoded.into_iter().map(|arrival| arrival.delivery);
        delivery::hand_back_rest(self.pull, decoded.collect()).await;
    }

    fn take_what_is_there(&mut self, up_to: usize) {
        // Tokio would have it yield every 128 messages, which makes small transactions of large batches.
        while self.ended.is_none()
            && self.decoded.len() < up_to
            && unconstrained(self.take_one()).now_or_never().is_some()
        {}
    }

    /// Loses nothing when it is dropped before its end.
    async fn take_one(&mut self) {
        match self.pull.next().await {
            Some(Ok(raw)) => self.decoded.extend(Delivery::new(raw).map(|delivery| {
                let message = delivery.decode();
                Arrival { delivery, message }
            })),
            Some(Err(error)) => self.ended = Some(SetupError::broker(error)),
            None => self.ended = Some(SetupError::broker("the pull ended")),
        }
    }
}
