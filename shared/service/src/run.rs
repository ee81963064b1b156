//! The life of a service: connect, start its tasks, serve, and on SIGTERM or Ctrl-C finish what is in hand
//! within a deadline. If one task ends before that, the whole process does: a supervisor starts it again,
//! which is better than a service that only looks alive.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use async_nats::jetstream;
use axum::Router;
use messaging::relay::Relay;
use messaging::{Consumer, Kept, Runtime, Worker};
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clients::Clients;
use crate::config::Config;
use crate::health::Health;
use crate::spans::Spans;
use crate::{connect, figures, http, serve, telemetry};

pub struct Service {
    pub name: &'static str,
    pub pool: PgPool,
    /// For transactions that follow one another.
    pub kept: Arc<Kept>,
    /// Cancelled when the process should end.
    pub stop: CancellationToken,
    /// Tell it after writing to the outbox.
    pub outbox_written: Arc<Notify>,
    suspicion: Arc<Mutex<()>>,
    jetstream: Option<jetstream::Context>,
    config: Config,
    instance: String,
    listener: TcpListener,
    metrics: PrometheusHandle,
    spans: Spans,
    broker_optional: bool,
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
}

impl Service {
    /// Connects to the database and brings its schema up to date; starts connecting to the broker.
    pub async fn start(name: &'static str, config: Config, migrations: Migrator) -> anyhow::Result<Service> {
        // Two TLS providers are compiled into our dependencies; one has to be chosen before the first use.
        let _ = rustls::crypto::ring::default_provider().install_default();
        config.check()?;
        let metrics = telemetry::start(config.log_format)?;
        figures::describe();
        #[cfg(feature = "failpoints")]
        messaging::failpoint::from_env();
        let instance = config.instance.clone().unwrap_or_else(|| instance_of(name));
        let spans = Spans::start(name, &instance, &config)?;
        let listener = serve::bind(config.http_addr).await?;
        let stop = CancellationToken::new();
        tokio::spawn(signal(stop.clone()));
        let pool =
            connect::postgres(&config.database_url, config.database_connections, &instance, &stop).await?;
        connect::migrate(&pool, &migrations).await?;
        let jetstream = match &config.nats_url {
            Some(url) => Some(connect::nats(url, config.nats_ca.as_deref(), &instance).await?),
            None => None,
        };
        let mut service = Service {
            name,
            kept: Arc::new(Kept::new(pool.clone())),
            pool,
            stop,
            outbox_written: Arc::new(Notify::new()),
            suspicion: Default::default(),
            jetstream,
            config,
            instance,
            listener,
            metrics,
            spans,
            broker_optional: false,
            tasks: JoinSet::new(),
        };
        if let Some(jetstream) = service.jetstream.clone() {
            service.spawn("broker", connect::watch_nats(jetstream.client(), service.stop.clone()));
            service.publish_outbox(jetstream);
        }
        service.spawn("figures", figures::keep_house(service.metrics.clone(), service.stop.clone()));
        service.sample("outbox", messaging::figures::look_at_outbox);
        let (pool, stop) = (service.pool.clone(), service.stop.clone());
        service.spawn("retention", async move {
            messaging::retention::run(pool, stop).await;
            Ok(())
        });
        Ok(service)
    }

    /// Ready even while the broker is away: what it says waits in the outbox.
    pub fn works_without_broker(&mut self) {
        self.broker_optional = true;
    }

    pub fn consume<C: Consumer>(&mut self, consumer: C) -> anyhow::Result<()> {
        let runtime = self.runtime()?;
        self.spawn(C::SPEC.name, async move {
            messaging::consumer::run(runtime, consumer).await.context("the consumer cannot read its stream")
        });
        Ok(())
    }

    pub fn work<W: Worker>(&mut self, worker: W) -> anyhow::Result<()> {
        let runtime = self.runtime()?;
        self.spawn(W::SPEC.name, async move {
            messaging::worker::run(runtime, worker).await.context("the worker cannot read its queue")
        });
        Ok(())
    }

    /// Runs a task beside the others. It watches `self.stop` and returns when that is cancelled.
    pub fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// Looks at the database every few seconds, for figures that are not counted where they change.
    pub fn sample<F>(&mut self, name: &'static str, look: impl Fn(PgPool) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), sqlx::Error>> + Send + 'static,
    {
        let (pool, stop) = (self.pool.clone(), self.stop.clone());
        self.spawn(name, figures::sample(name, pool, look, stop));
    }

    /// One service of the shop tells Prometheus about the streams, and about the consumers of all.
    pub fn watch_broker(&mut self) -> anyhow::Result<()> {
        let (jetstream, stop) = (self.jetstream()?, self.stop.clone());
        self.spawn("broker watch", async move {
            messaging::figures::watch_broker(jetstream, stop).await;
            Ok(())
        });
        Ok(())
    }

    /// Answers HTTP until the process is told to stop, then waits for every task to finish.
    pub async fn serve(mut self, routes: Router) -> anyhow::Result<()> {
        let health = Health {
            pool: self.pool.clone(),
            jetstream: self.jetstream.clone(),
            broker_optional: self.broker_optional,
        };
        let edge = self.config.edge.clone();
        let clients = Arc::new(Clients::new(&edge));
        let router = http::router(routes, health, self.metrics, &edge, Arc::clone(&clients));
        tracing::info!(service = self.name, instance = self.instance, address = %self.listener.local_addr()?, "started");
        let stop = self.stop.clone();
        let serving = serve::serve(self.listener, router, edge, clients, stop);
        self.tasks.spawn(async move { ("http", serving.await) });

        let result = first_end(&mut self.tasks, &self.stop).await;
        self.stop.cancel();
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(self.config.shutdown_seconds), drained).await.is_err() {
            tracing::warn!(
                "some work did not finish before the deadline; it will be done again after the start"
            );
        }
        if let Some(jetstream) = &self.jetstream {
            // Acknowledgements may still be in the client's buffer.
            let _ = tokio::time::timeout(Duration::from_secs(1), jetstream.client().flush()).await;
        }
        self.spans.finish().await;
        tracing::info!(service = self.name, "stopped");
        result
    }

    /// Every service that is connected to the broker has something to say, if only dead letters.
    fn publish_outbox(&mut self, jetstream: jetstream::Context) {
        let relay = Relay {
            pool: self.pool.clone(),
            jetstream,
            source: self.name.to_owned(),
            outbox_written: Arc::clone(&self.outbox_written),
            settings: self.config.messaging(),
            stop: self.stop.clone(),
        };
        self.spawn("relay", async move { relay.run().await.context("the relay cannot publish") });
    }

    fn jetstream(&self) -> anyhow::Result<jetstream::Context> {
        self.jetstream.clone().context("NATS_URL is not set: this service publishes or consumes events")
    }

    fn runtime(&self) -> anyhow::Result<Arc<Runtime>> {
        Ok(Arc::new(Runtime {
            jetstream: self.jetstream()?,
            pool: self.pool.clone(),
            kept: Arc::clone(&self.kept),
            settings: self.config.messaging(),
            instance: self.instance.clone(),
            outbox_written: Arc::clone(&self.outbox_written),
            counters: Default::default(),
            suspicion: Arc::clone(&self.suspicion),
            stop: self.stop.clone(),
        }))
    }
}

/// The process id tells the instances of one machine or container apart, the host's name those of several.
fn instance_of(name: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{name}-{}-{}", host.trim(), std::process::id())
}

/// Waits for the order to stop, or for a task that ended without it.
async fn first_end(
    tasks: &mut JoinSet<(&'static str, anyhow::Result<()>)>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        ended = tasks.join_next() => match ended {
            Some(Ok((name, Err(error)))) => {
                tracing::error!(task = name, error = format!("{error:#}"), "stopping the service");
                Err(error)
            }
            Some(Ok((name, Ok(())))) => bail!("the task {name} ended by itself"),
            Some(Err(panic)) => bail!("a task panicked: {panic}"),
            None => Ok(()),
        },
    }
}

async fn signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be listened for");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    stop.cancel();
}
