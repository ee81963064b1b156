//! The knee: the highest rate the shop sustains, found by going up until something gives way and then halving
//! the gap between the last rate that went well and the first that did not.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::engine::Outcome;
use crate::measure::lag::Heard;
use crate::report::{Curve, Plot, number};
use crate::run::Run;

/// Each step up.
const STEP: f64 = 1.5;
const HALVINGS: usize = 4;
/// More than this of the orders have to be accepted, at more than this of the rate.
const ENOUGH: f64 = 0.99;
/// Beyond this a queue is growing somewhere, whatever the throughput says. Milliseconds.
const LONGEST_P99: f64 = 250.0;
/// Consumers keep up when what they have not finished came within this time.
const SECONDS_BEHIND: f64 = 1.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Judged {
    /// Only what customers see.
    ByAnswers,
    /// And every consumer has to keep up.
    ByConsumersToo,
}

pub struct Knee {
    pub rate: f64,
    pub outcome: Outcome,
}

/// Every rate is tried for `step`.
pub async fn find(run: &mut Run, what: &str, from: f64, step: Duration, judged: Judged) -> Result<Knee> {
    let (mut good, mut bad) = (None::<(f64, Outcome)>, None::<(f64, String)>);
    let (mut rate, mut halvings, mut p50, mut p99) = (from, 0, Vec::new(), Vec::new());
    while halvings <= HALVINGS {
        let before = run.lags.heard().await?;
        let outcome = run.load(&format!("{what}, {}/s", number(rate)), rate, step).await?;
        p50.push((rate, outcome.latency.p50));
        p99.push((rate, outcome.latency.p99));
        match what_gave_way(run, &before, &outcome, judged).await? {
            None => good = Some((rate, outcome)),
            Some(why) => bad = Some((rate, why)),
        }
        calm_down(run, judged).await?;
        rate = match (&good, &bad) {
            (Some((good, _)), None) => good * STEP,
            (Some((good, _)), Some((bad, _))) => {
                halvings += 1;
                (good + bad) / 2.0
            }
            (None, Some((bad, why))) if *bad < 1.0 => bail!("even one order a second is too much: {why}"),
            (None, _) => rate / 2.0,
        };
    }
    let lines = [("p50", p50), ("p99", p99)].map(|(name, mut points)| {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Curve { name: name.to_owned(), points }
    });
    let title = format!("Latency by rate, {what}");
    run.plot(Plot { title, x: Some("orders/s".into()), y: "ms".into(), lines: lines.to_vec() });
    match (good, bad) {
        (Some((rate, outcome)), Some((at, why))) => {
            let limit = format!("at {}/s {why}", number(at));
            run.report.notes.push(format!("The knee, {what}: {}/s; {limit}.", number(rate)));
            Ok(Knee { rate, outcome })
        }
        _ => bail!("no knee was found from {from}/s"),
    }
}

async fn what_gave_way(
    run: &Run,
    before: &Heard,
    outcome: &Outcome,
    judged: Judged,
) -> Result<Option<String>> {
    if judged == Judged::ByAnswers || refusal(outcome).is_some() {
        return Ok(refusal(outcome));
    }
    let (lag, heard) = (run.lags.look().await?, run.lags.heard().await?);
    // An order is one charge and one row of the outbox, and to most consumers several events.
    let rate = |name: &str| match (heard.get(name), before.get(name)) {
        (Some(now), Some(then)) => now.saturating_sub(*then) as f64 / outcome.seconds,
        _ => outcome.rate,
    };
    let seconds = lag.iter().map(|(name, lag)| (name, *lag as f64 / rate(name).max(outcome.rate)));
    let (name, behind) =
        seconds.max_by(|a, b| a.1.total_cmp(&b.1)).context("nobody tells how far behind it is")?;
    Ok((behind > SECONDS_BEHIND).then(|| format!("{name} was {behind:.1} s behind when it ended")))
}

/// What customers would complain about.
fn refusal(outcome: &Outcome) -> Option<String> {
    let late = match outcome.lateness() {
        share if share > 1.0 - ENOUGH => format!(", {:.0} % left late", share * 100.0),
        _ => String::new(),
    };
    if outcome.success() < ENOUGH {
        let most = outcome.refused.iter().max_by_key(|(_, count)| **count);
        let most = most.map_or(String::new(), |(why, count)| format!(", {count} × {why}"));
        return Some(format!("only {:.1} % were accepted{most}{late}", outcome.success() * 100.0));
    }
    if outcome.throughput() < outcome.rate * (ENOUGH - 0.04) {
        return Some(format!("only {} were accepted a second{late}", number(outcome.throughput())));
    }
    (outcome.latency.p99 > LONGEST_P99).then(|| format!("p99 was {} ms{late}", number(outcome.latency.p99)))
}

/// So that a step does not pay for the one before.
async fn calm_down(run: &Run, judged: Judged) -> Result<()> {
    match judged {
        Judged::ByConsumersToo => run.rest().await,
        Judged::ByAnswers => run.published().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::histogram::Percentiles;

    fn outcome(accepted: u64, in_time: u64, p99: f64) -> Outcome {
        let latency = Percentiles { p99, ..Percentiles::default() };
        let refused = [("503".to_owned(), 1_000 - accepted)].into();
        let late = if p99 > LONGEST_P99 { 300 } else { 2 };
        Outcome { rate: 100.0, due: 1_000, accepted, in_time, refused, late, latency, ..Outcome::default() }
    }

    #[test]
    fn what_gives_way_is_named() {
        assert_eq!(refusal(&outcome(1_000, 990, 20.0)), None);
        let cases = [
            (outcome(900, 900, 20.0), "only 90.0 % were accepted, 100 × 503"),
            (outcome(1_000, 833, 20.0), "only 83.3 were accepted a second"),
            (outcome(1_000, 1_000, 400.0), "p99 was 400 ms, 30 % left late"),
        ];
        for (outcome, expected) in cases {
            assert_eq!(refusal(&outcome).as_deref(), Some(expected));
        }
    }
}
