//! The report in short, for a terminal.

use std::fmt::Write as _;

use super::{Report, number};
use crate::engine::Outcome;

/// A load in one line.
pub fn line(name: &str, outcome: &Outcome) -> String {
    format!(
        "{name:48} {:>8}/s accepted, {:6.2} %, p50 {} ms, p99 {} ms",
        number(outcome.throughput()),
        outcome.success() * 100.0,
        number(outcome.latency.p50),
        number(outcome.latency.p99),
    )
}

pub fn render(report: &Report) -> String {
    let mut text = String::new();
    for load in &report.loads {
        text += &line(&load.name, &load.outcome);
        if let Some(followed) = &load.followed {
            let settled = &followed.settled;
            let _ = write!(text, ", settled p50 {} ms, p99 {} ms", number(settled.p50), number(settled.p99));
        }
        text.push('\n');
        for (why, count) in &load.outcome.refused {
            let _ = writeln!(text, "{:48} {count} × {why}", "");
        }
    }
    text.push('\n');
    let width = report.findings.iter().map(|finding| finding.name.chars().count()).max().unwrap_or(0);
    for finding in &report.findings {
        let _ = writeln!(text, "{:width$}  {:>10} {}", finding.name, number(finding.value), finding.unit);
    }
    for note in &report.notes {
        let _ = writeln!(text, "{note}");
    }
    if let Some(why) = &report.failure {
        let _ = writeln!(text, "\nthe run failed: {why}");
    }
    match report.audit.holds {
        true => text += "\naudit: everything holds\n",
        false => {
            text += "\naudit: NOT CLEAN\n";
            for violation in &report.audit.violations {
                let _ = writeln!(text, "  {violation}");
            }
        }
    }
    text
}
