//! `coffeectl audit`: waits until the shop is at rest, checks the ten invariants, names what contradicts them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::answer;
use crate::audit;
use crate::audit::report::Report;
use crate::shop::Shop;
use crate::table::Table;

pub const INVARIANTS: &str = "It checks, once the shop is at rest:
   1  every order exists; an idempotency key made at most one
   2  each order has exactly one OrderCreated in the outbox
   3  each order is charged once, rightly; nothing is left of a cancelled one
   4  every order is settled, or its event is in the dead letters
   5  stock = initial − reserved for live orders; never negative
   6  points and figures equal a recomputation from the orders
   7  a confirmed order has one live ticket; a cancelled one none
   8  an order's status never moves backwards
   9  nothing unpublished, unread or half done; every event at every consumer
  10  each order was confirmed by email; extra copies are counted

Exit codes: 0 everything holds, 1 violations, 2 could not check.";

#[derive(clap::Args)]
pub struct Args {
    /// How long the shop may take to come to rest.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// A file with ids of orders that were answered with 201, one on each line: they must exist.
    #[arg(long, value_name = "FILE")]
    answered: Option<PathBuf>,
}

pub async fn run(shop: &Shop, args: Args, json: bool) -> Result<ExitCode> {
    let answered = match &args.answered {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?,
        None => String::new(),
    };
    let answered: Vec<String> =
        answered.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let report = audit::run(shop, args.wait, &answered).await.context("could not check")?;
    if json {
        answer::json(&report)?;
    } else {
        answer::text(text(&report))?;
    }
    Ok(ExitCode::from(u8::from(!report.holds)))
}

fn text(report: &Report) -> String {
    let mut table = Table::new(["NO", "INVARIANT", "CHECKED", "VIOLATIONS"]);
    for check in &report.checks {
        table.row([
            check.number.to_string(),
            check.invariant.to_owned(),
            check.checked.to_string(),
            check.violations.to_string(),
        ]);
    }
    let mut out = format!("{table}");
    for check in report.checks.iter().filter(|check| check.violations > 0) {
        out.push_str(&format!("\n{}. {}\n", check.number, check.invariant));
        for violation in &check.named {
            out.push_str(&format!("   {}: {}\n", violation.about, violation.problem));
        }
        let more = check.violations - check.named.len() as u64;
        if more > 0 {
            out.push_str(&format!("   … and {more} more\n"));
        }
    }
    let notes =
        report.checks.iter().flat_map(|check| check.notes.iter().map(move |note| (check.number, note)));
    for (at, (number, note)) in notes.enumerate() {
        let heading = if at == 0 { "\n" } else { "" };
        out.push_str(&format!("{heading}note on {number}: {note}\n"));
    }
    let violations: u64 = report.checks.iter().map(|check| check.violations).sum();
    out.push_str(&match violations {
        0 => "\neverything holds\n".to_owned(),
        count => format!("\n{count} violations\n"),
    });
    out
}
