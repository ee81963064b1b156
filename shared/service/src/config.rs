//! Settings common to all services, from flags or the environment (<https://12factor.net/config>).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use messaging::Settings;
use messaging::settings::StreamSettings;
use secrecy::SecretString;

use crate::edge::Edge;

#[derive(Args, Clone, Debug)]
// Services call theirs Config too, and a group takes the name of its struct.
#[group(skip)]
pub struct Config {
    /// Where to answer HTTP: the service's routes, /health/live, /health/ready and /metrics.
    #[arg(long, env)]
    pub http_addr: SocketAddr,

    #[command(flatten)]
    pub edge: Edge,

    /// The service's own database: postgres://role:password@host:port/database
    #[arg(long, env, hide_env_values = true)]
    pub database_url: SecretString,

    /// One is the relay's, and half of them at most is kept at hand by consumers.
    #[arg(long, env, default_value_t = 16, value_parser = clap::value_parser!(u32).range(3..=10_000))]
    pub database_connections: u32,

    /// The broker: nats://user:password@host:port or tls://…
    #[arg(long, env, hide_env_values = true)]
    pub nats_url: Option<SecretString>,

    /// The authority that signed the broker's certificate, as a PEM file; for one that no public authority
    /// signed. With it the service speaks to the broker by TLS only.
    #[arg(long, env)]
    pub nats_ca: Option<PathBuf>,

    /// This process's name among the instances of its service. Default: service name and process id, or the
    /// container's name.
    #[arg(long, env)]
    pub instance: Option<String>,

    #[arg(long, env, value_enum, default_value = "human")]
    pub log_format: LogFormat,

    /// Where to send traces, by OTLP over gRPC: http://host:4317. Without it there are none.
    #[arg(long = "traces-endpoint", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub traces_endpoint: Option<String>,

    /// How many traces of each kind (route or consumer) may begin here in a second; what continues a trace follows
    /// whoever began it. OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG, if set, decide instead.
    #[arg(long, env, default_value_t = 20)]
    pub traces_per_second: u32,

    /// Whether what a consumer does continues the trace of the message, or starts one that is linked with it.
    #[arg(long, env, value_enum, default_value = "parent")]
    pub trace_consumers: TraceConsumers,

    /// Time for a graceful stop before the process ends anyway.
    #[arg(long, env, default_value_t = 10)]
    pub shutdown_seconds: u64,

    /// Events per transaction, at most.
    #[arg(long, env, default_value_t = 512)]
    pub consumer_batch: usize,

    /// An event that failed this many times is buried in the dead letters.
    #[arg(long, env, default_value_t = 5)]
    pub consumer_max_attempts: u32,

    /// Wait before the second attempt; doubles for each one after, up to CONSUMER_LONGEST_RETRY_MS.
    #[arg(long, env, default_value_t = 250)]
    pub consumer_first_retry_ms: u64,

    #[arg(long, env, default_value_t = 30_000)]
    pub consumer_longest_retry_ms: u64,

    /// The broker redelivers an event when nothing is heard of it for this long. More than CONSUMER_HANDLER_TIMEOUT_MS.
    #[arg(long, env, default_value_t = 6_000)]
    pub consumer_ack_wait_ms: u64,

    /// A handler is stopped after this time and its batch tried again. Another batch waits meanwhile, in an open transaction,
    /// which Postgres ends after 15 s.
    #[arg(long, env, default_value_t = 4_000, value_parser = clap::value_parser!(u64).range(1..=8_000))]
    pub consumer_handler_timeout_ms: u64,

    /// Tasks of a work queue under way at once.
    #[arg(long, env, default_value_t = 128)]
    pub consumer_workers: usize,

    /// Copies of each stream in a NATS cluster.
    #[arg(long, env, default_value_t = 1)]
    pub stream_replicas: usize,

    /// Overrides the size limit of every stream.
    #[arg(long, env)]
    pub stream_max_bytes: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for a terminal.
    Human,
    /// One JSON object per line, for a log collector.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TraceConsumers {
    /// An order is one trace.
    Parent,
    /// An order is a chain of traces, each as long as one service's part.
    Link,
}

impl Config {
    /// What no single setting can tell.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let (timeout, ack_wait) = (self.consumer_handler_timeout_ms, self.consumer_ack_wait_ms);
        anyhow::ensure!(
            timeout < ack_wait,
            "CONSUMER_HANDLER_TIMEOUT_MS ({timeout}) has to be less than CONSUMER_ACK_WAIT_MS ({ack_wait}), or the \
             broker gives an event to another instance while its handler still works"
        );
        Ok(())
    }

    pub(crate) fn messaging(&self) -> Settings {
        Settings {
            batch: self.consumer_batch.max(1),
            ack_wait: Duration::from_millis(self.consumer_ack_wait_ms),
            handler_timeout: Duration::from_millis(self.consumer_handler_timeout_ms),
            max_attempts: self.consumer_max_attempts.max(1),
            first_retry: Duration::from_millis(self.consumer_first_retry_ms),
            longest_retry: Duration::from_millis(self.consumer_longest_retry_ms),
            workers: self.consumer_workers.max(1),
            streams: StreamSettings { replicas: self.stream_replicas, max_bytes: self.stream_max_bytes },
            ..Settings::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        config: Config,
    }

    fn with(settings: &[&str]) -> Result<Config, clap::Error> {
        let needed = ["service", "--http-addr=127.0.0.1:0", "--database-url=postgres://localhost/x"];
        Cli::try_parse_from(needed.iter().chain(settings)).map(|cli| cli.config)
    }

    #[test]
    fn a_handler_is_stopped_before_its_event_is_given_away() {
        assert!(with(&[]).expect("the defaults").check().is_ok());
        let config = with(&["--consumer-handler-timeout-ms=8000"]).expect("in its range");
        let error = config.check().expect_err("longer than the broker waits").to_string();
        assert!(error.contains("CONSUMER_HANDLER_TIMEOUT_MS (8000)") && error.contains("(6000)"), "{error}");
    }

    #[test]
    fn what_could_not_work_is_refused() {
        for setting in ["--database-connections=2", "--http-body-seconds=15"] {
            assert!(with(&[setting]).is_err(), "{setting}");
        }
    }
}
