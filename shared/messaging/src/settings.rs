//! The knobs of the runtime, with defaults that suit a shop; services read them from the environment.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Events per transaction, at most.
    pub batch: usize,
    /// The broker hands an event to another instance when nothing is heard for this long.
    pub ack_wait: Duration,
    /// A handler that takes longer is stopped and its batch tried again.
    pub handler_timeout: Duration,
    /// An event that failed this many times is buried.
    pub max_attempts: u32,
    pub first_retry: Duration,
    pub longest_retry: Duration,
    /// Tasks of a work queue under way at once in one instance.
    pub workers: usize,
    /// How long a partition stays with an instance that is not heard from.
    pub lease: Duration,
    pub streams: StreamSettings,
}

/// What an operator may tune on the broker; see <https://docs.nats.io/nats-concepts/jetstream/streams>.
#[derive(Clone, Copy, Debug)]
pub struct StreamSettings {
    pub replicas: usize,
    /// Overrides the size limit of every stream.
    pub max_bytes: Option<i64>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            batch: 512,
            ack_wait: Duration::from_secs(6),
            handler_timeout: Duration::from_secs(4),
            max_attempts: 5,
            first_retry: Duration::from_millis(250),
            longest_retry: Duration::from_secs(30),
            workers: 32,
            lease: Duration::from_secs(4),
            streams: StreamSettings { replicas: 1, max_bytes: None },
        }
    }
}

impl Settings {
    pub(crate) fn retry_delay(&self, attempt: u32) -> Duration {
        crate::backoff::delay(self.first_retry, self.longest_retry, attempt)
    }

    /// The wait while something outside is away: quick to notice its return.
    pub(crate) fn outage_delay(&self, attempt: u32) -> Duration {
        crate::backoff::delay(Duration::from_millis(50), Duration::from_secs(1), attempt)
    }
}
