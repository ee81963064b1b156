//! `outage`: a part is stopped, orders keep coming, and when it is back the backlog is worked off at a rate
//! that is worth knowing before it happens.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::backlog;
use crate::run::{Options, Run};
use crate::shop::CONSUMING;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub options: Options,
    /// What is away: the service of a consumer, or nats (then the relay works off the outbox).
    #[arg(long, default_value = "loyalty")]
    pub of: String,
    /// Orders that come meanwhile.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub backlog: u64,
    /// Everybody else who hears events is away too, until the part has worked off its backlog.
    #[arg(long)]
    pub alone: bool,
    /// The card processor takes this long for a charge.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub card_delay: Option<Duration>,
}

pub async fn run(run: &mut Run, arguments: &Arguments) -> Result<()> {
    let part = arguments.of.as_str();
    let measures = backlog::measures_of(part)?;
    ensure!(
        !arguments.alone || part == "nats" || CONSUMING.contains(&part),
        "{part} does nothing alone; with --alone, --of is nats or one of {}",
        CONSUMING.join(", ")
    );
    if let Some(delay) = arguments.card_delay {
        run.shop.delay_charges(delay).await?;
    }
    let mut away = vec![part];
    if arguments.alone {
        away.extend(CONSUMING.iter().copied().filter(|service| *service != part));
    }
    backlog::fill(run, &away, arguments.backlog).await?;
    match part {
        "nats" => {}
        // Its counter is closed, and it hears what the part says.
        _ if arguments.alone => run.shop.scale("order-api", 0).await?,
        // So that the drain is that of the part, and not of a machine busy with the others' work.
        _ => run.others_rest(&measures).await?,
    }
    let drain = backlog::drain(run, &[(part, 1)], &measures).await?;
    run.find(&format!("drain of {part}"), drain.rate(), "events/s");
    run.find("backlog measured", drain.events as f64, "events");
    run.find("from the start of the process until the last", drain.with_start, "s");
    Ok(())
}
