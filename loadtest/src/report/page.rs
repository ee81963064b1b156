//! The page for people: the answer first, then what it was drawn from.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;

use super::charts::{self, Along, Scale};
use super::{Curve, Report, number};
use crate::engine::histogram::Percentiles;
use crate::engine::timeline::Second;
use crate::measure::observer::Sample;

const STYLE: &str = include_str!("style.css");

pub fn render(report: &Report) -> Result<String> {
    let mut page = head(&format!("Load test: {}", report.scenario), "");
    let (class, verdict) = (if report.is_good() { "good" } else { "bad" }, report.verdict());
    let _ = writeln!(page, "<h1>{} <span class=\"{class}\">{verdict}</span></h1>", escape(&report.scenario));
    let _ = writeln!(page, "<p>{}</p>", escape(&report.question));
    if let Some(why) = &report.failure {
        let _ = writeln!(page, "<p class=\"bad\">The run failed: {}</p>", escape(why));
    }
    findings(&mut page, report);
    for note in &report.notes {
        let _ = writeln!(page, "<p>{}</p>", escape(note));
    }
    plots(&mut page, report)?;
    loads(&mut page, report);
    consumers(&mut page, report);
    timeline(&mut page, report)?;
    violations(&mut page, report);
    machine(&mut page, report);
    page += "</body></html>\n";
    Ok(page)
}

pub fn head(title: &str, class: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{}</title>\
         <style>{STYLE}</style></head>\n<body class=\"{class}\">\n",
        escape(title)
    )
}

fn findings(page: &mut String, report: &Report) {
    *page += "<table>\n";
    for finding in &report.findings {
        let (name, unit) = (escape(&finding.name), escape(&finding.unit));
        let _ = writeln!(page, "<tr><td>{name}<td><b>{}</b> {unit}", number(finding.value));
    }
    *page += "</table>\n";
}

fn plots(page: &mut String, report: &Report) -> Result<()> {
    for plot in &report.plots {
        let title = format!("{} ({})", plot.title, plot.y);
        let svg = charts::plot(&plot.lines, &Along::of(plot), Scale::Linear)?;
        figure(page, &title, &plot.lines, &svg);
    }
    Ok(())
}

/// Every stretch of load in a row.
fn loads(page: &mut String, report: &Report) {
    *page += "<h2>Loads</h2><div class=\"scroll\"><table><thead><tr><th>load<th>due/s<th>accepted/s<th>201\
              <th>late<th>refused<th>p50<th>p90<th>p99<th>p99.9<th>max<th>settled p50<th>p99</thead>\n";
    for load in &report.loads {
        let outcome = &load.outcome;
        let refused: Vec<String> =
            outcome.refused.iter().map(|(why, count)| format!("{count} × {why}")).collect();
        let Percentiles { p50, p90, p99, p999, max, .. } = outcome.latency;
        let settled = load.followed.as_ref().map(|followed| followed.settled);
        let settled = |pick: fn(&Percentiles) -> f64| {
            settled.as_ref().map_or("–".to_owned(), |found| number(pick(found)))
        };
        let cells = [
            escape(&load.name),
            number(outcome.rate),
            number(outcome.throughput()),
            format!("{:.2} %", outcome.success() * 100.0),
            format!("{:.2} %", outcome.lateness() * 100.0),
            escape(&refused.join(", ")),
        ];
        let latencies = [p50, p90, p99, p999, max].map(number);
        let all = cells
            .into_iter()
            .chain(latencies)
            .chain([settled(|found| found.p50), settled(|found| found.p99)]);
        let _ = writeln!(page, "<tr><td>{}", all.collect::<Vec<_>>().join("<td>"));
    }
    *page += "</table></div>\n<p>Latencies in milliseconds, from the moment a request was due. Settled: until the \
              order was confirmed or cancelled. Late: left more than 10 ms after its time, for want of a place or \
              because the load generator was too slow.</p>\n";
}

/// Latency of each consumer, of every load in which orders were followed.
fn consumers(page: &mut String, report: &Report) {
    for load in &report.loads {
        let Some(followed) = load.followed.as_ref().filter(|followed| followed.orders > 0) else { continue };
        let times = if followed.are_commit_times { "commits" } else { "beginnings of the transactions" };
        let _ = writeln!(
            page,
            "<h2>Consumers, {}</h2><p>From OrderCreated stored by the broker until the effects were committed, in \
             milliseconds; {} orders followed, {} of them unsettled. Times are those of the {times}.</p><table>\
             <thead><tr><th>consumer<th>p50<th>p95<th>p99<th>max</thead>",
            escape(&load.name),
            followed.orders,
            followed.unsettled
        );
        for (name, found) in &followed.consumers {
            let cells = [found.p50, found.p95, found.p99, found.max].map(number);
            let _ = writeln!(page, "<tr><td>{}<td>{}", escape(name), cells.join("<td>"));
        }
        *page += "</table>\n";
    }
}

pub fn timeline(page: &mut String, report: &Report) -> Result<()> {
    let along = Along::Time { until: report.seconds, marks: &report.marks };
    if !report.marks.is_empty() {
        let marks = report.marks.iter().map(|mark| format!("{:.0} s: {}", mark.at, escape(&mark.name)));
        let _ = writeln!(page, "<p>Grey lines: {}</p>", marks.collect::<Vec<_>>().join("; "));
    }
    for (title, curves, scale) in curves(report) {
        if curves.iter().any(|curve| !curve.points.is_empty()) {
            let svg = charts::plot(&curves, &along, scale)?;
            figure(page, title, &curves, &svg);
        }
    }
    Ok(())
}

fn curves(report: &Report) -> Vec<(&'static str, Vec<Curve>, Scale)> {
    let per_second = |name: &str, value: fn(&Second) -> f64| Curve {
        name: name.to_owned(),
        points: report.timeline.iter().map(|second| (second.at as f64, value(second))).collect(),
    };
    let answers = |name: &str, count: fn(&Second) -> u64| {
        let mut points = Vec::new();
        for second in &report.timeline {
            let silence = points.len() as u64..second.at;
            points.extend(silence.map(|at| (at as f64, 0.0)));
            points.push((second.at as f64, count(second) as f64));
        }
        Curve { name: name.to_owned(), points }
    };
    let answers =
        vec![answers("accepted", |second| second.accepted), answers("refused", |second| second.refused)];
    let latencies = vec![
        per_second("p50", |second| second.p50),
        per_second("p95", |second| second.p95),
        per_second("p99", |second| second.p99),
        per_second("max", |second| second.max),
    ];
    let lag = by_name(&report.samples, |sample| {
        sample.lag.iter().map(|(name, lag)| (name.clone(), *lag as f64)).collect()
    });
    vec![
        ("Answers, per second", answers, Scale::Linear),
        ("Latency from the moment a request was due, milliseconds", latencies, Scale::Logarithmic),
        ("Lag of each consumer, events", lag, Scale::Linear),
        ("Processors in use", by_name(&report.samples, |sample| sample.cores.clone()), Scale::Linear),
        (
            "Resident memory, megabytes",
            by_name(&report.samples, |sample| sample.memory.clone()),
            Scale::Linear,
        ),
    ]
}

/// One curve for each name that occurs.
fn by_name(samples: &[Sample], values: impl Fn(&Sample) -> BTreeMap<String, f64>) -> Vec<Curve> {
    let mut curves: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in samples {
        for (name, value) in values(sample) {
            curves.entry(name).or_default().push((sample.at, value));
        }
    }
    curves.into_iter().map(|(name, points)| Curve { name, points }).collect()
}

fn figure(page: &mut String, title: &str, curves: &[Curve], svg: &str) {
    let _ = write!(page, "<figure><figcaption>{}", escape(title));
    for (n, curve) in curves.iter().enumerate() {
        let colour = charts::colour(n);
        let (red, green, blue) = (colour.0, colour.1, colour.2);
        let _ = write!(page, " <span class=\"key\"><i style=\"background:rgb({red} {green} {blue})\"></i>");
        let _ = write!(page, "{}</span>", escape(&curve.name));
    }
    let _ = writeln!(page, "</figcaption>\n{svg}</figure>");
}

fn violations(page: &mut String, report: &Report) {
    if !report.audit.holds {
        *page += "<h2>Violations</h2><ul>\n";
        for violation in &report.audit.violations {
            let _ = writeln!(page, "<li>{}", escape(violation));
        }
        *page += "</ul>\n";
    }
}

fn machine(page: &mut String, report: &Report) {
    *page += "<h2>Machine</h2><dl>\n";
    let run = [("command", &report.command), ("began", &report.began_at)];
    let machine = report.machine.iter().map(|(name, value)| (name.as_str(), value));
    for (name, value) in run.into_iter().chain(machine) {
        let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
    }
    *page += "</dl>\n";
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
