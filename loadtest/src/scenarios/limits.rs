//! `limits`: what Postgres and the broker of this shop do when nothing else asks anything of them.

use std::time::Duration;

use anyhow::Result;

use crate::limits::{broker, postgres};
use crate::report::{Curve, Plot};
use crate::run::Run;

const MESSAGES: usize = 200_000;

pub async fn run(run: &mut Run) -> Result<()> {
    database(run).await?;
    run.mark("broker");
    run.progress.say("JetStream: publishing");
    let bench = broker::Bench::prepare(&run.shop).await?;
    let publish = bench.publish(MESSAGES).await?;
    run.progress.say("JetStream: consuming");
    let consume = bench.consume(MESSAGES).await?;
    bench.remove().await?;
    run.find("JetStream, pipelined publish", publish, "/s");
    run.find("JetStream, pull and confirmed acknowledgement", consume, "/s");
    Ok(())
}

/// Returns the best rate of pgbench.
pub async fn database(run: &mut Run) -> Result<f64> {
    run.mark("database");
    let length = run.duration(8);
    let bench = postgres::Bench::prepare(&run.shop).await?;
    run.progress.say("Postgres: single commits");
    let busy = bench.commits(Duration::ZERO).await?;
    let idle = bench.commits(Duration::from_millis(50)).await?;
    let mut points = Vec::new();
    for clients in postgres::CLIENTS {
        run.progress.say(&format!("pgbench with {clients} clients"));
        points.push((clients as f64, bench.run(clients, length).await?));
    }
    bench.remove().await?;
    let (clients, best) =
        points.iter().copied().fold((0.0, 0.0), |best, point| if point.1 > best.1 { point } else { best });
    run.find("one commit of one row, p50, one after another", busy.p50, "ms");
    run.find("one commit of one row, p50, 20 a second", idle.p50, "ms");
    run.find("pgbench, one order and outbox row a transaction", best, "/s");
    run.find("pgbench's best number of clients", clients, "");
    let line = Curve { name: "transactions/s".into(), points };
    let title = "pgbench: one order and one outbox row in each transaction".to_owned();
    run.plot(Plot { title, x: Some("clients".into()), y: "transactions/s".into(), lines: vec![line] });
    Ok(best)
}
