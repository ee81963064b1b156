//! `scale-out`: the same backlog for every consumer at once, worked off by 1, 2 and 4 instances of each.

use anyhow::{Result, ensure};

use super::backlog;
use crate::report::{Curve, Plot};
use crate::run::{Options, Run};
use crate::shop::CONSUMING;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub options: Options,
    /// Instances of each consumer.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    pub instances: Vec<usize>,
    /// Orders in each backlog.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub backlog: u64,
}

pub async fn run(run: &mut Run, arguments: &Arguments) -> Result<()> {
    ensure!(arguments.instances.iter().all(|count| (1..=20).contains(count)), "--instances are 1 to 20");
    let mut points = Vec::new();
    for count in &arguments.instances {
        backlog::fill(run, &CONSUMING, arguments.backlog).await?;
        let parts: Vec<(&str, usize)> = CONSUMING.iter().map(|service| (*service, *count)).collect();
        let measures = CONSUMING.iter().map(|part| backlog::measures_of(part)).collect::<Result<Vec<_>>>()?;
        let drain = backlog::drain(run, &parts, &measures.concat()).await?;
        let rate = arguments.backlog as f64 / drain.with_start;
        run.find(&format!("{count} of each: orders through all consumers"), rate, "/s");
        points.push((*count as f64, rate));
        run.rest().await?;
    }
    let line = Curve { name: "orders/s".into(), points };
    let title = "Orders through all consumers, start of the processes included".to_owned();
    run.plot(Plot {
        title,
        x: Some("instances of each consumer".into()),
        y: "orders/s".into(),
        lines: vec![line],
    });
    Ok(())
}
