//! Who follows whom in a partition. The lease decides who may write, but the broker does not know of it: a
//! request for messages from a reader that is frozen, cut off or just gone stands there for seconds more, and
//! takes its part of what is delivered. A successor that went on with the rest would let an order's later
//! events overtake earlier ones. So it counts: the broker numbers the deliveries of a durable, and whoever
//! sees a number missing starts over from the last acknowledged message.

use async_nats::jetstream::consumer::PullConsumer;

use crate::arrivals::Arrival;
use crate::delivery::Delivery;
use crate::streams::SetupError;

/// What a reader knows of the deliveries that are its own.
pub struct Succession {
    /// The last position in the stream that an earlier reader may have tried.
    suspects_up_to: u64,
    /// The number of the next delivery. `None` where readers share a durable and any of them may get it.
    next: Option<u64>,
}

impl Succession {
    pub fn shared() -> Succession {
        Succession { suspects_up_to: 0, next: None }
    }

    /// Starts where the last reader's acknowledgements end, so that nothing later overtakes what that one
    /// still had in hand.
    pub async fn of_partition(durable: &mut PullConsumer) -> Result<Succession, SetupError> {
        let info = durable.info().await.map_err(SetupError::broker)?;
        let delivered = info.delivered;
        if info.num_ack_pending == 0 {
            return Ok(Succession { suspects_up_to: 0, next: Some(delivered.consumer_sequence + 1) });
        }
        durable.reset(None).await.map_err(SetupError::broker)?;
        // A reset begins the count anew (<https://github.com/nats-io/nats-architecture-and-design> ADR-60).
        Ok(Succession { suspects_up_to: delivered.stream_sequence, next: Some(1) })
    }

    /// Whether an earlier reader may have died of it.
    pub fn is_suspect(&self, delivery: &Delivery) -> bool {
        delivery.delivered > 1 || delivery.sequence <= self.suspects_up_to
    }

    /// Takes away the deliveries after the first one that is missing, and says so.
    pub fn follow<M>(&mut self, batch: &mut Vec<Arrival<M>>) -> Result<(), SetupError> {
        let Some(next) = &mut self.next else { return Ok(()) };
        for (n, arrival) in batch.iter().enumerate() {
            if arrival.delivery.number != *next {
                batch.truncate(n);
                return Err(SetupError::broker("another reader was given messages of this partition"));
            }
            *next += 1;
        }
        Ok(())
    }
}
