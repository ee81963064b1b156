//! `history`: the figures of the shop as it is, then with a million orders more in every database, then the
//! ratio of the two.

use std::iter;

use anyhow::Result;

use super::{backlog, ramp};
use crate::history;
use crate::run::{Options, Run};
use crate::shop::CONSUMING;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub options: Options,
    /// Old orders to be stored. They stay.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=history::MOST))]
    pub orders: u64,
    /// Orders in the outbox when the relay's drain is measured.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub backlog: u64,
}

/// The three figures that must not sink.
struct Figures {
    alone: f64,
    together: f64,
    relay: f64,
}

pub async fn run(run: &mut Run, arguments: &Arguments) -> Result<()> {
    let before = figures(run, "before", arguments.backlog).await?;
    run.mark("the past is written");
    run.progress.say(&format!("writing {} old orders into every database", arguments.orders));
    history::write(&run.shop, &run.menu, arguments.orders).await?;
    let after = figures(run, "with history", arguments.backlog).await?;
    run.prefix.clear();
    run.find("old orders", arguments.orders as f64, "");
    run.find("accepted at the knee, of before", after.alone / before.alone, "");
    run.find("sustained with every consumer keeping up, of before", after.together / before.together, "");
    run.find("drain of the relay, of before", after.relay / before.relay, "");
    Ok(())
}

async fn figures(run: &mut Run, when: &str, events: u64) -> Result<Figures> {
    run.prefix = format!("{when}: ");
    let (from, step) = (run.rate(500.0), run.duration(10));
    let alone = ramp::counter_alone(run, from, step).await?;
    let together = ramp::with_all_running(run, from / 2.0, step).await?;
    // Orders in hand would wait, too, until all are back.
    run.rest().await?;
    // Beside consumers at work it would have to publish what becomes of the orders, too.
    let away: Vec<&str> = iter::once("nats").chain(CONSUMING).collect();
    backlog::fill(run, &away, events).await?;
    let drain = backlog::drain(run, &[("nats", 1)], &backlog::measures_of("nats")?).await?;
    run.find("drain of the relay", drain.rate(), "/s");
    run.shop.restore().await?;
    run.rest().await?;
    Ok(Figures { alone, together, relay: drain.rate() })
}
