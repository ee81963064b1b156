//! What every service tells Prometheus about itself: its process, its database connections and whether it has
//! the broker. Taken when it is asked for, so that the figures are those of that moment and cost nothing when
//! nobody asks. Rate, errors and duration of requests are measured in `http.rs`.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::connection::State;
use async_nats::jetstream;
use messaging::bounded;
use metrics::{describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::health::Health;

/// Jiffies are hundredths of a second wherever Linux shows them to programs (proc_pid_stat(5), sysconf(3)).
const JIFFIES_PER_SECOND: f64 = 100.0;

/// The help texts, and what does not change.
pub fn describe() {
    messaging::figures::describe();
    describe_counter!("http_requests_total", "Requests answered; the route is the pattern, not the address");
    describe_histogram!(
        "http_request_duration_seconds",
        "Time from the head of the request, so with its body, until the head of the answer was ready"
    );
    describe_gauge!("http_connections", "HTTP connections that are open");
    describe_gauge!("http_connections_max", "HTTP connections that there may be; more wait");
    describe_counter!(
        "http_connections_cut_total",
        "Connections ended because their client was too slow with its request or with taking the answer"
    );
    describe_counter!("http_refused_total", "Requests and connections refused because there were too many");
    for why in ["connections", "crowd", "rate", "wrong tokens"] {
        metrics::counter!("http_refused_total", "why" => why).increment(0);
    }
    for why in ["slow head", "slow body", "slow reader"] {
        metrics::counter!("http_connections_cut_total", "why" => why).increment(0);
    }
    metrics::counter!("trace_spans_ended_total").increment(0);
    describe_gauge!("db_pool_connections", "Open connections to the database: used or idle");
    describe_gauge!("db_pool_max_connections", "Connections to the database that there may be");
    describe_gauge!("broker_connected", "1 while the connection to the broker stands");
    describe_counter!(
        "trace_spans_ended_total",
        "Spans of traces that were ready to be sent to the collector"
    );
    describe_counter!(
        "trace_spans_exported_total",
        "Spans sent, or lost because the collector did not take them; what is missing found the queue full"
    );
    describe_gauge!("build_info", "Always 1; the label names the version");
    describe_gauge!("process_start_time_seconds", "When the process started, in seconds since 1970");
    // A gauge by its type alone: counters of this library have no fractions.
    describe_gauge!("process_cpu_seconds_total", "Time the process has spent on a processor");
    describe_gauge!("process_resident_memory_bytes", "Memory the process has in use");
    describe_gauge!("process_threads", "Threads of the process");
    describe_gauge!("process_open_fds", "Open files and connections");
    describe_gauge!("process_max_fds", "Open files and connections that there may be");
    gauge!("build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!("process_start_time_seconds").set(now.as_secs_f64());
}

/// Samples of histograms pile up until somebody asks for them or this is done.
pub async fn keep_house(metrics: PrometheusHandle, stop: CancellationToken) -> anyhow::Result<()> {
    while rest(&stop, messaging::figures::EVERY).await {
        metrics.run_upkeep();
    }
    Ok(())
}

/// Looks every few seconds until told to stop. While the database does not answer, the figures stay.
pub async fn sample<F>(
    name: &str,
    pool: PgPool,
    look: impl Fn(PgPool) -> F,
    stop: CancellationToken,
) -> anyhow::Result<()>
where
    F: Future<Output = Result<(), sqlx::Error>>,
{
    loop {
        if let Err(error) = bounded(look(pool.clone())).await {
            tracing::debug!(name, %error, "cannot take the figures this time");
        }
        if !rest(&stop, messaging::figures::EVERY).await {
            return Ok(());
        }
    }
}

/// `false` when it is time to stop.
async fn rest(stop: &CancellationToken, pause: Duration) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(pause) => true,
    }
}

/// How much of what it has the service uses.
#[derive(Clone)]
pub struct Saturation {
    pool: PgPool,
    jetstream: Option<jetstream::Context>,
}

impl Saturation {
    pub fn of(health: &Health) -> Saturation {
        Saturation { pool: health.pool.clone(), jetstream: health.jetstream.clone() }
    }

    /// The whole page, with the figures of this moment.
    pub fn render(&self, metrics: &PrometheusHandle) -> String {
        let idle = self.pool.num_idle() as f64;
        let used = (f64::from(self.pool.size()) - idle).max(0.0);
        gauge!("db_pool_connections", "state" => "used").set(used);
        gauge!("db_pool_connections", "state" => "idle").set(idle);
        gauge!("db_pool_max_connections").set(f64::from(self.pool.options().get_max_connections()));
        if let Some(jetstream) = &self.jetstream {
            let is_connected = jetstream.client().connection_state() == State::Connected;
            gauge!("broker_connected").set(if is_connected { 1.0 } else { 0.0 });
        }
        note_process();
        metrics.render()
    }
}

/// From `/proc`, and so on Linux alone; elsewhere these figures are missing.
fn note_process() {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let status = read("status");
    let figures = [
        ("process_cpu_seconds_total", cpu_seconds(&read("stat"))),
        ("process_resident_memory_bytes", number_after(&status, "VmRSS:").map(|kib| kib * 1024.0)),
        ("process_threads", number_after(&status, "Threads:")),
        ("process_open_fds", fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64)),
        ("process_max_fds", number_after(&read("limits"), "Max open files")),
    ];
    for (name, figure) in figures {
        if let Some(figure) = figure {
            gauge!(name).set(figure);
        }
    }
}

/// User and system time: the 14th and 15th field. The second, the name, may have anything in it.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut after_name = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut jiffies = || after_name.next()?.parse::<f64>().ok();
    Some((jiffies()? + jiffies()?) / JIFFIES_PER_SECOND)
}

fn number_after(text: &str, label: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_read_from_what_linux_shows_of_it() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194304 900 0 0 0 150 50 0 0 20 0 4 0 7031 123 456";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        let status = "Name:\torder-api\nVmRSS:\t   20480 kB\nThreads:\t5\n";
        assert_eq!(number_after(status, "VmRSS:"), Some(20_480.0));
        assert_eq!(number_after(status, "Threads:"), Some(5.0));
        let limits = "Max open files            1024                 524288               files";
        assert_eq!(number_after(limits, "Max open files"), Some(1_024.0));
        assert_eq!(number_after("Max open files  unlimited", "Max open files"), None);
    }
}
