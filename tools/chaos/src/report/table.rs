//! The summary for a terminal.

use std::fmt::Write as _;

use super::Run;
use super::summary::{self, Kind};

/// Offences beyond these are only counted: one defect tends to show in every order.
const SHOWN: usize = 20;

pub fn render(run: &Run<'_>) -> String {
    let mut text = String::new();
    faults(&mut text, run);
    for (name, value) in run.figures() {
        let _ = writeln!(text, "{name:>13}  {value}");
    }
    let offences = run.account.offences.iter().map(ToString::to_string);
    let violations: Vec<String> = offences.chain(run.audit.iter().cloned()).collect();
    for violation in violations.iter().take(SHOWN) {
        let _ = writeln!(text, "  ✗ {violation}");
    }
    if violations.len() > SHOWN {
        let _ = writeln!(text, "  … and {} more", violations.len() - SHOWN);
    }
    text
}

fn faults(text: &mut String, run: &Run<'_>) {
    let kinds = summary::by_kind(run.faults, run.samples);
    if kinds.is_empty() {
        return;
    }
    let width =
        kinds.iter().map(|kind| kind.name.chars().count()).max().unwrap_or_default().max("fault".len());
    let head = ["times", "worst", "median", "orders during"];
    let _ =
        writeln!(text, "{:width$}  {:>5}  {:>8}  {:>8}  {:>13}", "fault", head[0], head[1], head[2], head[3]);
    for Kind { name, times, worst, median, orders } in &kinds {
        let (worst, median) = (seconds(*worst), seconds(*median));
        let _ = writeln!(text, "{name:width$}  {times:>5}  {worst:>8}  {median:>8}  {orders:>13}");
    }
    text.push('\n');
}

pub fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1} s"))
}
