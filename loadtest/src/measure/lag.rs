//! How far everybody is behind: each consumer by the broker's account, the relay by the outbox, payment by
//! the charges it has still to make.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use async_nats::jetstream;
use async_nats::jetstream::consumer::Info;
use events::topology::{CONSUMERS, STREAMS};
use futures::TryStreamExt as _;
use sqlx::PgPool;

use super::store;
use crate::shop::Shop;

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The outbox of order-api, among the consumers.
pub const RELAY: &str = "relay of order-api";
/// What payment has heard of and not charged yet.
pub const CHARGES: &str = "charges due";

pub struct Lags {
    jetstream: jetstream::Context,
    order_api: PgPool,
    payment: PgPool,
}

/// By name: events not delivered, or delivered and not acknowledged.
pub type Lag = BTreeMap<String, u64>;

/// By name: all events that ever came for it, those that were delivered again once more.
pub type Heard = BTreeMap<String, u64>;

impl Lags {
    pub fn new(shop: &Shop) -> Result<Lags> {
        let (order_api, payment) = (shop.read("order-api")?, shop.read("payment")?);
        Ok(Lags { jetstream: shop.jetstream.clone(), order_api, payment })
    }

    /// Of everybody, or an error: who cannot be asked may be behind.
    pub async fn look(&self) -> Result<Lag> {
        let all: Vec<Lag> = self.ask().await.into_iter().collect::<Result<_>>()?;
        Ok(all.into_iter().flatten().collect())
    }

    /// Of those who can be asked.
    pub async fn look_around(&self) -> Lag {
        self.ask().await.into_iter().flatten().flatten().collect()
    }

    async fn ask(&self) -> [Result<Lag>; 3] {
        let (consumers, unpublished, charges) = tokio::join!(
            self.consumers(|info| info.num_pending + info.num_ack_pending as u64),
            store::unpublished(&self.order_api),
            store::charges_due(&self.payment)
        );
        let one =
            |who: &str, count: Result<i64, sqlx::Error>| Ok(Lag::from([(who.to_owned(), count? as u64)]));
        [consumers, one(RELAY, unpublished), one(CHARGES, charges)]
    }

    /// The furthest behind of everybody.
    pub async fn furthest(&self) -> Result<u64> {
        Ok(self.look().await?.into_values().max().unwrap_or(0))
    }

    /// What is still to be done by everybody but those that `but` names, in words.
    async fn work(&self, but: &[&str]) -> Result<Option<String>> {
        let lag = self.look().await?;
        let open = if but.is_empty() { store::orders_open(&self.order_api).await? } else { 0 };
        let behind: Vec<_> =
            lag.iter().filter(|(who, lag)| **lag > 0 && !but.contains(&who.as_str())).collect();
        let is_done = open == 0 && behind.is_empty();
        Ok((!is_done).then(|| format!("{open} orders are open, behind are {behind:?}")))
    }

    /// Of the consumers only.
    pub async fn heard(&self) -> Result<Heard> {
        self.consumers(|info| info.num_pending + info.delivered.consumer_sequence).await
    }

    /// Of one consumer, or of [`RELAY`] or [`CHARGES`].
    pub async fn of(&self, name: &str) -> Result<u64> {
        match name {
            RELAY => Ok(store::unpublished(&self.order_api).await? as u64),
            CHARGES => Ok(store::charges_due(&self.payment).await? as u64),
            _ => {
                let spec = CONSUMERS.iter().find(|spec| spec.name == name);
                let spec = spec.with_context(|| format!("there is no consumer {name}"))?;
                let stream = self.jetstream.get_stream_no_info(spec.stream.name).await?;
                let mut lag = 0;
                for (durable, _) in spec.durables() {
                    let info = stream.consumer_info(&durable).await?;
                    lag += info.num_pending + info.num_ack_pending as u64;
                }
                Ok(lag)
            }
        }
    }

    pub async fn orders_stored(&self) -> Result<i64> {
        Ok(store::orders_stored(&self.order_api).await?)
    }

    async fn consumers(&self, count: impl Fn(&Info) -> u64) -> Result<BTreeMap<String, u64>> {
        let mut durables = BTreeMap::new();
        for stream in STREAMS {
            let stream = self.jetstream.get_stream_no_info(stream.name).await?;
            let mut consumers = stream.consumers();
            while let Some(info) = consumers.try_next().await? {
                let counted = count(&info);
                durables.insert(info.name, counted);
            }
        }
        let count = |durable: &(String, Option<u32>)| durables.get(&durable.0).copied();
        let counts = CONSUMERS.iter().filter_map(|spec| {
            let all = spec.durables().iter().map(count).sum::<Option<u64>>()?;
            Some((spec.name.to_owned(), all))
        });
        Ok(counts.collect())
    }

    /// Waits until nobody is behind and nothing new comes of it.
    pub async fn rest(&self, patience: Duration) -> Result<()> {
        self.quiet(&[], patience).await
    }

    /// The same of everybody but those that `but` names. While one of them is away, orders stay open.
    /// Two quiet looks, because between two services an event is nowhere for a moment.
    pub async fn quiet(&self, but: &[&str], patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut was_quiet = false;
        loop {
            let work = self.work(but).await;
            let is_quiet = matches!(&work, Ok(None));
            if is_quiet && was_quiet {
                return Ok(());
            }
            if Instant::now() > deadline {
                let waited = format!("the shop is not at rest after {} s", patience.as_secs());
                match work {
                    Ok(work) => {
                        bail!("{waited}: {}", work.unwrap_or_else(|| "it was for one look alone".into()))
                    }
                    Err(error) => return Err(error.context(waited)),
                }
            }
            was_quiet = is_quiet;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
