//! `coffeectl audit`, run as an operator would run it.

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::notes::Note;
use crate::site::Site;

#[derive(Deserialize)]
struct Report {
    busy: Vec<String>,
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    number: usize,
    invariant: String,
    violations: u64,
    named: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    about: String,
    problem: String,
}

/// What it finds once the shop is at rest, with the trace of each order the client knows.
pub async fn audit(site: &Site, notes: &[Note]) -> Result<Vec<String>> {
    let answers: Vec<_> = notes.iter().filter_map(Note::answer).collect();
    let answered = site.shop.folder().join("answered");
    let ids: String = answers.iter().map(|answer| format!("{}\n", answer.order_id)).collect();
    std::fs::write(&answered, ids)?;
    let answered = answered.display().to_string();
    let output = site.shop.coffeectl(&["--json", "audit", "--wait", "60s", "--answered", &answered]).await?;
    let report: Report = serde_json::from_slice(&output.stdout).with_context(|| {
        format!("`coffeectl audit` could not check: {}", String::from_utf8_lossy(&output.stderr))
    })?;
    let trace_of = |order: &str| {
        let answer = answers.iter().find(|answer| answer.order_id == order);
        answer.map(|answer| format!(" (trace {})", answer.trace_id)).unwrap_or_default()
    };
    let mut found: Vec<String> =
        report.busy.into_iter().map(|why| format!("did not come to rest: {why}")).collect();
    for Check { number, invariant, violations, named } in report.checks {
        found.extend(named.iter().map(|Found { about, problem }| {
            format!("{number}. {invariant}: {about}{}: {problem}", trace_of(about))
        }));
        if violations > named.len() as u64 {
            found.push(format!("{number}. {invariant}: {} more", violations - named.len() as u64));
        }
    }
    Ok(found)
}
