//! Looks at the shop twice a second while it is being broken. A broker or a database that is away leaves a
//! gap in the samples and disturbs nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use async_nats::connection::State;
use async_nats::jetstream;
use async_nats::{ConnectOptions, ServerAddr};
use events::topology::{CONSUMERS, STREAMS};
use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, timeout};

use crate::accounting::database_options;

const EVERY: Duration = Duration::from_millis(500);
/// What does not answer within this is not sampled.
const PATIENCE: Duration = Duration::from_secs(2);
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds since the run began.
    pub at: f64,
    /// Orders answered 201 so far.
    pub accepted: u64,
    /// By consumer: not delivered, or delivered and not acknowledged.
    pub lag: BTreeMap<&'static str, u64>,
    /// By service: outbox rows not published yet.
    pub unpublished: BTreeMap<&'static str, i64>,
}

/// Dropping it ends the sampling.
pub struct Sampler {
    samples: Arc<Mutex<Vec<Sample>>>,
    sampling: AbortHandle,
}

/// The ways to the shop.
struct Eyes {
    jetstream: jetstream::Context,
    databases: Vec<(&'static str, PgPool)>,
}

impl Sampler {
    /// `accepted` says how many orders were answered 201 so far. The URLs are those of the operator.
    pub async fn start(
        began: Instant,
        nats_url: &str,
        database_url: &str,
        accepted: impl Fn() -> u64 + Send + 'static,
    ) -> Result<Sampler> {
        let eyes = Eyes::open(nats_url, database_url).await?;
        let samples = Arc::<Mutex<Vec<Sample>>>::default();
        let kept = samples.clone();
        let sampling = tokio::spawn(async move {
            let mut clock = tokio::time::interval(EVERY);
            clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                clock.tick().await;
                let (at, accepted) = (began.elapsed().as_secs_f64(), accepted());
                let (lag, unpublished) = tokio::join!(eyes.lag(), eyes.unpublished());
                let sample = Sample { at, accepted, lag, unpublished };
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
            }
        });
        Ok(Sampler { samples, sampling: sampling.abort_handle() })
    }

    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.sampling.abort();
    }
}

impl Eyes {
    async fn open(nats_url: &str, database_url: &str) -> Result<Eyes> {
        let mut jetstream = jetstream::new(sign_in(nats_url).await?);
        jetstream.set_timeout(PATIENCE);
        let database = |service: &'static str| {
            let options = database_options(database_url, &service.replace('-', "_"))?;
            let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE);
            Ok((service, pool.connect_lazy_with(options)))
        };
        let databases = services().into_iter().map(database).collect::<Result<_>>()?;
        Ok(Eyes { jetstream, databases })
    }

    /// Without the consumers whose broker is away, and without those that do not exist.
    async fn lag(&self) -> BTreeMap<&'static str, u64> {
        // A request to a broker that is away would be sent when it is back.
        if self.jetstream.client().connection_state() != State::Connected {
            return BTreeMap::new();
        }
        let read = join_all(STREAMS.map(|stream| timeout(PATIENCE, self.durables(stream.name)))).await;
        let durables: BTreeMap<String, u64> = read.into_iter().flatten().flatten().flatten().collect();
        let lag = |durable: &(String, Option<u32>)| durables.get(&durable.0).copied();
        CONSUMERS
            .iter()
            .filter_map(|spec| {
                let sum = spec.durables().iter().map(lag).sum::<Option<u64>>();
                sum.map(|sum| (spec.name, sum))
            })
            .collect()
    }

    async fn durables(&self, stream: &str) -> Result<Vec<(String, u64)>> {
        let stream = self.jetstream.get_stream_no_info(stream).await?;
        let lag =
            |info: jetstream::consumer::Info| (info.name, info.num_pending + info.num_ack_pending as u64);
        Ok(stream.consumers().map(|info| info.map(lag)).try_collect().await?)
    }

    async fn unpublished(&self) -> BTreeMap<&'static str, i64> {
        let counted = self.databases.iter().map(|(service, pool)| async move {
            let rows = sqlx::query_scalar("select count(*) from outbox_waiting");
            let count: Option<i64> = timeout(PATIENCE, rows.fetch_one(pool)).await.ok()?.ok();
            count.map(|count| (*service, count))
        });
        join_all(counted).await.into_iter().flatten().collect()
    }
}

/// The client library does not read the user from the URL.
async fn sign_in(nats_url: &str) -> Result<async_nats::Client> {
    let servers: Result<Vec<ServerAddr>, _> = nats_url.split(',').map(str::parse).collect();
    let servers = servers.context("OPERATOR_NATS_URL is not a NATS URL")?;
    let user = servers.iter().find_map(|server| Some((server.username()?, server.password()?)));
    let options = match user {
        Some((name, password)) => ConnectOptions::with_user_and_password(name.into(), password.into()),
        None => ConnectOptions::new(),
    };
    let options = options.name("chaos").reconnect_delay_callback(|_| BETWEEN_TRIES);
    options.connect(servers).await.context("the broker does not let the sampler in")
}

/// The services with an outbox.
fn services() -> Vec<&'static str> {
    let mut services: Vec<&str> = CONSUMERS.iter().map(|spec| spec.service).collect();
    services.sort_unstable();
    services.dedup();
    services
}
