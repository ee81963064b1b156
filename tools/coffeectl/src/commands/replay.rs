//! `coffeectl replay`: lets one consumer read its stream again. Says what will happen, does it, and watches
//! until the consumer has caught up.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use events::topology::ConsumerSpec;
use messaging::replay::{self, From, Plan};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::commands::consumer;
use crate::confirm::confirm;
use crate::progress::Progress;
use crate::shop::Shop;
use crate::{answer, lag, store};

const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
pub struct Args {
    /// The consumer that reads again; all others stay where they are.
    #[arg(long, value_parser = consumer)]
    consumer: &'static ConsumerSpec,
    /// A time (2024-03-15T10:30:00Z), an age (15m, 2h), or a sequence number of the stream.
    #[arg(long)]
    from: Point,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Return at once instead of watching until it has caught up.
    #[arg(long)]
    no_wait: bool,
}

#[derive(Clone, Copy, Debug)]
struct Point(From);

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Point, String> {
        if let Ok(sequence) = text.parse() {
            return Ok(Point(From::Sequence(sequence)));
        }
        if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
            return Ok(Point(From::Time(time)));
        }
        match humantime::parse_duration(text) {
            Ok(age) => OffsetDateTime::now_utc()
                .checked_sub(time::Duration::try_from(age).map_err(|_| "this age is too long".to_owned())?)
                .map(|time| Point(From::Time(time)))
                .ok_or_else(|| "this age is too long".to_owned()),
            Err(_) => Err("give a time like 2024-03-15T10:30:00Z, an age like 15m, or a sequence".into()),
        }
    }
}

pub async fn run(shop: &Shop, args: Args, as_json: bool) -> Result<()> {
    let spec = args.consumer;
    let plan = replay::plan(&shop.jetstream, spec, args.from.0).await?;
    let messages = (plan.last_sequence + 1).saturating_sub(plan.from_sequence);
    if messages == 0 {
        bail!("nothing to replay: the stream {} holds nothing after that point", spec.stream.name);
    }
    refuse_to_skip(shop, spec, &plan).await?;
    let stream = spec.stream.name;
    eprintln!(
        "{} will read {stream} again from {} to {}: up to {messages} messages, those of them that it hears.\n\
         Its inbox skips what it has processed before, so nobody is charged or mailed twice; what is missing \
         is done now. Other consumers notice nothing.",
        spec.name, plan.from_sequence, plan.last_sequence
    );
    confirm(&format!("Replay {messages} messages to {}?", spec.name), args.yes)?;
    replay::rewind(&shop.jetstream, spec, &plan).await?;
    let caught_up = !args.no_wait && watch(shop, spec).await?;
    if as_json {
        return answer::json(&json!({
            "consumer": spec.name,
            "fromSequence": plan.from_sequence,
            "lastSequence": plan.last_sequence,
            "caughtUp": caught_up,
        }));
    }
    match (caught_up, args.no_wait) {
        (true, _) => answer::line(format_args!("{} has read everything again", spec.name)),
        (false, true) => answer::line(format_args!("{} reads again; see coffeectl lag", spec.name)),
        (false, false) => answer::line(format_args!(
            "no instance of {} is running: it reads again when it is started",
            spec.name
        )),
    }
}

/// A position may only be moved over messages that are done: moving it forward past others would lose them.
async fn refuse_to_skip(shop: &Shop, spec: &ConsumerSpec, plan: &Plan) -> Result<()> {
    for durable in lag::durables(&shop.jetstream, spec).await? {
        let durable = durable.ok_or_else(|| {
            anyhow!("{} has no position on the broker yet: start its service once first", spec.name)
        })?;
        let info = durable.cached_info();
        let undone = info.num_pending + info.num_ack_pending as u64;
        let next = info.ack_floor.stream_sequence + 1;
        if undone > 0 && next < plan.from_sequence {
            bail!(
                "{} has {undone} messages still to do from sequence {next} on; starting at {} could skip some. \
                 Wait until its lag is 0, or replay from {next}",
                info.name,
                plan.from_sequence
            );
        }
    }
    Ok(())
}

/// Until nothing is left to do. `false` when nobody is there to do it.
async fn watch(shop: &Shop, spec: &ConsumerSpec) -> Result<bool> {
    let database = shop.database(spec.service).await?;
    let mut progress = Progress::new();
    loop {
        let left = lag::of(&shop.jetstream, spec).await?.unwrap_or_default().total();
        if left == 0 {
            progress.done();
            return Ok(true);
        }
        let instances = store::instances(&database).await?;
        if !instances.iter().any(|instance| instance.consumer == spec.name && instance.is_alive()) {
            progress.done();
            return Ok(false);
        }
        progress.say(format!("{}: {left} messages left", spec.name));
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_sequence_a_time_or_an_age() {
        let point = |text: &str| text.parse::<Point>().map(|point| point.0);
        assert!(matches!(point("12"), Ok(From::Sequence(12))));
        assert!(matches!(point("2024-03-15T10:30:00Z"), Ok(From::Time(time)) if time.year() == 2024));
        let Ok(From::Time(time)) = point("15m") else { panic!("an age was refused") };
        let age = OffsetDateTime::now_utc() - time;
        assert!((15 * 60..15 * 60 + 5).contains(&age.whole_seconds()));
        assert!(point("yesterday").is_err());
        assert!(point("99999999999999y").is_err());
    }
}
