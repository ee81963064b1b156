//! Two reports side by side: what differs in the machine, every number with its ratio, and the plots.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::page::{escape, head, timeline};
use super::{Finding, Report, number, write};

/// One number of both.
struct Row {
    name: String,
    unit: String,
    a: f64,
    b: f64,
}

/// Prints a table and writes a page beside the second report; returns the page.
pub fn compare(a: &Path, b: &Path) -> Result<PathBuf> {
    let (first, second) = (Report::read(a)?, Report::read(b)?);
    ensure!(!rows(&first, &second).is_empty(), "the two have nothing in common that could be compared");
    print!("{}", text(&first, &second));
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let page = b.with_file_name(format!("{}-and-{}.html", stem(a), stem(b)));
    write(&page, &render(&first, &second)?)?;
    Ok(page)
}

fn rows(a: &Report, b: &Report) -> Vec<Row> {
    let (of_a, mut of_b) = (numbers(a), numbers(b));
    // Of several with one name, the first with the first.
    let pair = |found: Finding| {
        let place = of_b.iter().position(|other| other.name == found.name)?;
        let other = of_b.remove(place);
        Some(Row { name: found.name, unit: found.unit, a: found.value, b: other.value })
    };
    of_a.into_iter().filter_map(pair).collect()
}

/// The findings, what each load is judged by, and what it left in memory.
fn numbers(report: &Report) -> Vec<Finding> {
    let mut all = report.findings.clone();
    let mut add = |name: String, value: f64, unit: &str| {
        all.push(Finding { name, value, unit: unit.to_owned() });
    };
    for load in &report.loads {
        let outcome = &load.outcome;
        add(format!("{}: accepted", load.name), outcome.throughput(), "/s");
        add(format!("{}: accepted of all", load.name), outcome.success() * 100.0, "%");
        let settled = load.followed.iter().map(|followed| ("settled", &followed.settled));
        let consumers = load.followed.iter().flat_map(|followed| &followed.consumers);
        let consumers = consumers.map(|(name, took)| (name.as_str(), took));
        for (what, took) in [("request", &outcome.latency)].into_iter().chain(settled).chain(consumers) {
            for (name, value) in [("p50", took.p50), ("p95", took.p95), ("p99", took.p99)] {
                add(format!("{}: {what} {name}", load.name), value, "ms");
            }
        }
    }
    for (part, memory) in report.samples.last().iter().flat_map(|sample| &sample.memory) {
        add(format!("memory at the end: {part}"), *memory, "MB");
    }
    all
}

fn ratio(row: &Row) -> String {
    if row.a == 0.0 { "–".to_owned() } else { format!("{:.2}", row.b / row.a) }
}

fn text(a: &Report, b: &Report) -> String {
    let mut text = String::new();
    for report in [a, b] {
        let _ = writeln!(text, "{} {} ({})", report.began_at, report.command, report.verdict());
    }
    let _ = writeln!(text, "\n{:44} {:>12} {:>12} {:>7}", "", "first", "second", "ratio");
    for row in rows(a, b) {
        let (first, second) = (number(row.a), number(row.b));
        let _ = writeln!(text, "{:44} {first:>12} {second:>12} {:>7} {}", row.name, ratio(&row), row.unit);
    }
    for (name, first, second) in differences(a, b) {
        let _ = writeln!(text, "machine: {name}: {first} / {second}");
    }
    text
}

fn render(a: &Report, b: &Report) -> Result<String> {
    let title = format!("{} and {}", a.scenario, b.scenario);
    let mut page = head(&title, "two");
    let _ = writeln!(
        page,
        "<h1>{}</h1><table><thead><tr><th><th>{}<th>{}<th>ratio<th></thead>",
        escape(&title),
        escape(&a.began_at),
        escape(&b.began_at)
    );
    for (what, of) in [
        ("command", (|report| report.command.clone()) as fn(&Report) -> String),
        ("verdict", Report::verdict),
    ] {
        let _ = writeln!(page, "<tr><td>{what}<td>{}<td>{}", escape(&of(a)), escape(&of(b)));
    }
    for row in rows(a, b) {
        let (name, unit) = (escape(&row.name), escape(&row.unit));
        let (first, second) = (number(row.a), number(row.b));
        let _ = writeln!(page, "<tr><td>{name}<td>{first}<td>{second}<td><b>{}</b><td>{unit}", ratio(&row));
    }
    page += "</table>\n<h2>Different machines</h2><table>\n";
    for (name, first, second) in differences(a, b) {
        let _ = writeln!(page, "<tr><td>{}<td>{}<td>{}", escape(&name), escape(&first), escape(&second));
    }
    page += "</table>\n<div class=\"beside\">\n";
    for report in [a, b] {
        page += "<div>\n";
        timeline(&mut page, report)?;
        page += "</div>\n";
    }
    page += "</div></body></html>\n";
    Ok(page)
}

/// Entries of the fingerprint that are not the same.
fn differences(a: &Report, b: &Report) -> Vec<(String, String, String)> {
    let names = a.machine.keys().chain(b.machine.keys()).collect::<std::collections::BTreeSet<_>>();
    let value = |report: &Report, name: &str| report.machine.get(name).cloned().unwrap_or_default();
    names
        .into_iter()
        .map(|name| (name.clone(), value(a, name), value(b, name)))
        .filter(|(_, first, second)| first != second)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(value: f64, cpu: &str) -> Report {
        Report {
            findings: vec![Finding { name: "knee".into(), value, unit: "/s".into() }],
            machine: [("cpu".to_owned(), cpu.to_owned())].into(),
            ..Report::default()
        }
    }

    #[test]
    fn of_several_with_one_name_the_first_belongs_to_the_first() {
        let twice = |first: f64| {
            let mut report = report(first, "x");
            report.findings.push(Finding { value: first * 2.0, ..report.findings[0].clone() });
            report
        };
        assert_eq!(text(&twice(10.0), &twice(50.0)).matches("5.00").count(), 2);
    }

    #[test]
    fn what_both_know_is_laid_side_by_side() {
        let (a, b) = (report(1_000.0, "x"), report(1_500.0, "y"));
        let text = text(&a, &b);
        assert!(
            text.contains("1,000") && text.contains("1.50") && text.contains("machine: cpu: x / y"),
            "{text}"
        );
        assert!(render(&a, &b).expect("drawn").contains("<b>1.50</b>"));
    }
}
