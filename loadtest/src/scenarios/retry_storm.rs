//! `retry-storm`: every order is sent many times under the same `Idempotency-Key`, as impatient clients do.
//! Each must be made once; the audit and the number of orders
//! stored say so.

use anyhow::{Result, ensure};
use hyper::header::{HeaderName, HeaderValue};

use crate::run::{Options, Run};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub options: Options,
    /// How often each order is sent.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub times: u64,
    /// This many orders are under way at once, so that their repetitions are mixed.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub mixed: u64,
}

pub async fn run(run: &mut Run, arguments: &Arguments) -> Result<()> {
    let (rate, length) = (run.rate(500.0), run.duration(20));
    let (client, bodies, storm) = (run.client(), run.bodies(), uuid::Uuid::new_v4().simple().to_string());
    let (times, mixed) = (arguments.times, arguments.mixed);
    let before = run.orders_stored().await?;
    let request = move |n: u64| {
        let order = number_of(n, times, mixed);
        let mut request = client.post("/orders", bodies[order as usize % bodies.len()].clone());
        let key = HeaderValue::try_from(format!("storm-{storm}-{order}")).expect("digits and letters");
        request.headers_mut().insert(HeaderName::from_static("idempotency-key"), key);
        (order, request)
    };
    let outcome = run.load_of("retry storm", rate, length, request).await?;
    let stored = run.orders_stored().await? - before;
    let keys = (0..outcome.due).map(|n| number_of(n, times, mixed)).max().map_or(0, |last| last + 1);
    run.find("requests", outcome.due as f64, "");
    run.find("keys", keys as f64, "");
    run.find("orders made", stored as f64, "");
    run.find("answered 201", outcome.success() * 100.0, "%");
    run.find("request p99", outcome.latency.p99, "ms");
    ensure!(stored as u64 <= keys, "{stored} orders were made of {keys} keys");
    Ok(())
}

/// Which order the n-th request is about: `mixed` orders take turns until each was sent `times` times.
fn number_of(n: u64, times: u64, mixed: u64) -> u64 {
    let round = times * mixed;
    n / round * mixed + n % round % mixed
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn each_order_is_sent_as_often_as_it_should() {
        let mut sent = HashMap::new();
        for n in 0..1_000 {
            *sent.entry(number_of(n, 10, 50)).or_insert(0) += 1;
        }
        assert_eq!(sent.len(), 100);
        assert!(sent.values().all(|times| *times == 10));
        assert_ne!(number_of(0, 10, 50), number_of(1, 10, 50), "repetitions of several orders are mixed");
    }
}
