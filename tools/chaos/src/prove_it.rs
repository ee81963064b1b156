//! The suite tested: a runtime with one of its rules deliberately broken has to be found out. A suite that
//! passes everything would pass these too.

use anyhow::Result;

use crate::faults;
use crate::run::{self, Order};
use crate::schedule;

/// Runs that may pass before the mutation counts as not caught.
const SEEDS: u64 = 5;

struct Mutation {
    failpoint: &'static str,
    breaks: &'static str,
    /// What brings it to light: broken rules do no harm while nothing else fails.
    faults: &'static [&'static str],
}

const MUTATIONS: &[Mutation] = &[
    Mutation {
        failpoint: "mutation-no-inbox",
        breaks: "events are processed as often as they come",
        faults: &["events-repeated", "kill-several"],
    },
    Mutation {
        failpoint: "mutation-ack-first",
        breaks: "events are acknowledged before their effects are committed",
        faults: &["die-at-consumer-before-commit", "postgres-cut", "kill-several"],
    },
    Mutation {
        failpoint: "mutation-mark-first",
        breaks: "the relay notes events as published before the broker has answered",
        faults: &["broker-cut", "broker-unreachable", "die-at-relay-before-answers", "stream-full"],
    },
    Mutation {
        failpoint: "mutation-no-reconciler",
        breaks: "a broker that lost something is not refilled",
        faults: &["broker-loses-tail", "broker-empty"],
    },
];

/// Whether every mutation was caught.
pub async fn prove(rate: f64) -> Result<bool> {
    let mut caught = Vec::new();
    for mutation in MUTATIONS {
        println!("{}: {}", mutation.failpoint, mutation.breaks);
        caught.push(find_out(mutation, rate).await?);
    }
    println!();
    for (mutation, how) in MUTATIONS.iter().zip(&caught) {
        println!("{:24} {}", mutation.failpoint, how.as_deref().unwrap_or("NOT CAUGHT"));
    }
    Ok(caught.iter().all(Option::is_some))
}

/// Which seed caught it, and by which checks.
async fn find_out(mutation: &Mutation, rate: f64) -> Result<Option<String>> {
    let names: Vec<String> = mutation.faults.iter().map(|name| (*name).to_owned()).collect();
    let faults = faults::named(&names, false)?;
    for seed in 1..=SEEDS {
        let order = Order {
            seed,
            rounds: schedule::draw_each(seed, &faults),
            rate,
            patience: 1.0,
            is_cluster: false,
            settings: vec!["--set".into(), format!("*.FAILPOINTS={}=return", mutation.failpoint)],
            until_violated: true,
            report: None,
            command: "./scripts/chaos --prove-it".into(),
        };
        let verdict = run::run(&order).await?;
        if !verdict.holds() {
            let mut checks: Vec<_> = verdict.violations.iter().map(|violation| violation.check).collect();
            checks.sort_unstable();
            checks.dedup();
            let checks: Vec<String> = checks.iter().map(ToString::to_string).collect();
            return Ok(Some(format!("caught with seed {seed} by {}", checks.join(", "))));
        }
        println!("seed {seed} did not catch it");
    }
    Ok(None)
}
