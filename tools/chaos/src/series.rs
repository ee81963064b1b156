//! One run after another, and what they come to together.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::run::{self, Order};
use crate::verdict::Verdict;

/// `1..50`: both included.
#[derive(Clone, Debug)]
pub struct Seeds {
    next: u64,
    last: u64,
}

impl Seeds {
    pub fn one(seed: u64) -> Seeds {
        Seeds { next: seed, last: seed }
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seeds, String> {
        let ends = text.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        match ends {
            Some((next, last)) if next <= last => Ok(Seeds { next, last }),
            _ => Err("say it as first..last, for example 1..50".to_owned()),
        }
    }
}

impl Iterator for Seeds {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let seed = self.next;
        self.next += 1;
        (seed <= self.last).then_some(seed)
    }
}

/// What is known of one kind of fault after all runs.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    applied: u64,
    /// Alone in its round, with the recovery times of those; only they tell about this fault.
    applied_alone: u64,
    worst_recovery_alone: Option<f64>,
    /// Beside another fault.
    worst_recovery_paired: Option<f64>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    runs: u64,
    orders: u64,
    violations: u64,
    failed_seeds: Vec<u64>,
    faults: BTreeMap<&'a str, Record>,
    verdicts: Vec<&'a Verdict>,
}

/// Runs them all, whatever comes of one, and returns whether everything held in each.
pub async fn run(orders: &[Order], json: Option<&Path>) -> Result<bool> {
    let mut verdicts = Vec::new();
    for order in orders {
        println!(
            "seed {}: {} rounds at {} orders/s; again: {}",
            order.seed,
            order.rounds.len(),
            order.rate,
            order.command
        );
        let verdict = run::run(order).await.with_context(|| format!("seed {}", order.seed))?;
        println!("seed {}: {}", order.seed, one_line(&verdict));
        verdicts.push(verdict);
        // After each, so that a long series can be stopped.
        if let Some(path) = json {
            let text = serde_json::to_string_pretty(&sum(&verdicts))?;
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    let summary = sum(&verdicts);
    print!("{}", table(&summary));
    Ok(summary.violations == 0)
}

fn one_line(verdict: &Verdict) -> String {
    let (orders, faults) = (verdict.orders, verdict.faults.len());
    let worst = verdict.faults.iter().filter_map(|fault| fault.quiet_after).fold(0.0, f64::max);
    match verdict.violations.len() {
        0 => format!("{orders} orders, {faults} faults, nothing lost, worst recovery {worst:.1} s"),
        count => format!("{orders} orders, {faults} faults, {count} VIOLATIONS"),
    }
}

fn sum(verdicts: &[Verdict]) -> Summary<'_> {
    let mut summary = Summary { runs: verdicts.len() as u64, ..Summary::default() };
    for verdict in verdicts {
        summary.orders += verdict.orders;
        summary.violations += verdict.violations.len() as u64;
        summary.failed_seeds.extend((!verdict.holds()).then_some(verdict.seed));
        summary.verdicts.push(verdict);
        for fault in &verdict.faults {
            let overlaps = verdict.faults.iter().filter(|other| {
                // Those of one round recover together.
                other.started + other.quiet_after.unwrap_or(0.0) >= 0.0
                    && (other.healed + other.quiet_after.unwrap_or(f64::MAX)).max(other.started)
                        > fault.started
                    && other.started < fault.healed + fault.quiet_after.unwrap_or(f64::MAX)
            });
            let is_alone = overlaps.count() == 1;
            let record = summary.faults.entry(&fault.name).or_default();
            record.applied += 1;
            record.applied_alone += u64::from(is_alone);
            let worst = match is_alone {
                true => &mut record.worst_recovery_alone,
                false => &mut record.worst_recovery_paired,
            };
            *worst = (*worst).into_iter().chain(fault.quiet_after).reduce(f64::max);
        }
    }
    summary
}

fn table(summary: &Summary<'_>) -> String {
    let seconds = |time: Option<f64>| time.map_or("–".to_owned(), |time| format!("{time:.1} s"));
    let mut text =
        format!("\n{:32} {:>8} {:>22} {:>12}\n", "FAULT", "APPLIED", "WORST RECOVERY ALONE", "IN A PAIR");
    for (name, record) in &summary.faults {
        let (alone, paired) = (seconds(record.worst_recovery_alone), seconds(record.worst_recovery_paired));
        text += &format!("{name:32} {:>8} {alone:>22} {paired:>12}\n", record.applied);
    }
    let Summary { runs, orders, violations, failed_seeds, .. } = summary;
    text += &format!("\n{runs} runs, {orders} orders, {violations} violations\n");
    if !failed_seeds.is_empty() {
        let seeds: Vec<String> = failed_seeds.iter().map(u64::to_string).collect();
        text += &format!("failed: {}\n", seeds.join(", "));
    }
    text
}
