//! One page that says how a run went: self-contained, so that it can be kept as an artefact of a build and
//! opened anywhere, and readable on light and dark screens.

mod charts;

use std::fmt::Write as _;

use anyhow::Result;
use events::topology::CONSUMERS;

use self::charts::{Line, Span};
use super::summary::{self, Kind};
use super::table::seconds;
use super::{FaultRecord, Run, Sample};
use crate::accounting::Offence;

/// Offences beyond these are only counted.
const SHOWN: usize = 200;
const STYLE: &str = include_str!("timeline/style.css");

pub fn render(run: &Run<'_>) -> Result<String> {
    let verdict = match run.violations() {
        0 => "nothing was lost".to_owned(),
        violations => format!("{violations} violations"),
    };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Chaos, seed {seed}: {verdict}</title>\
         <style>{STYLE}</style></head>\n<body><h1>Chaos, seed {seed}: \
         <span class=\"{class}\">{verdict}</span></h1>\n<dl>",
        seed = run.seed,
        class = if run.violations() == 0 { "good" } else { "bad" },
    );
    for (name, value) in run.figures() {
        let _ = writeln!(page, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    page += "</dl>\n";
    charts(&mut page, run)?;
    kinds(&mut page, run);
    offences(&mut page, run);
    page += "</body></html>\n";
    Ok(page)
}

fn charts(page: &mut String, run: &Run<'_>) -> Result<()> {
    let span = Span::of(run);
    if !run.faults.is_empty() {
        figure(page, "Faults, and in paler colour the time until the shop was quiet again", &[], {
            charts::lanes(&span, run.faults)?
        });
    }
    let plots = [
        ("Orders answered 201, per second", vec![orders_per_second(run.samples)]),
        ("Lag of each consumer, in events", lines(run.samples, |sample| widen(&sample.lag))),
        (
            "Outbox rows not published yet, by service",
            lines(run.samples, |sample| widen(&sample.unpublished)),
        ),
    ];
    for (title, lines) in plots {
        figure(page, title, &lines, charts::plot(&span, run.faults, &lines)?);
    }
    Ok(())
}

fn figure(page: &mut String, title: &str, lines: &[Line], svg: String) {
    let _ = write!(page, "<figure><figcaption>{title}");
    for line in lines.iter().filter(|line| !line.name.is_empty()) {
        let charts::Colour(red, green, blue) = line.colour;
        let _ = write!(page, " <span class=\"key\"><i style=\"background:rgb({red} {green} {blue})\"></i>");
        let _ = write!(page, "{}</span>", escape(&line.name));
    }
    let _ = writeln!(page, "</figcaption>\n{svg}</figure>");
}

/// Over about a second each.
fn orders_per_second(samples: &[Sample]) -> Line {
    let rate = |pair: &[Sample]| {
        let (first, last) = (&pair[0], &pair[2]);
        let orders = last.accepted.saturating_sub(first.accepted) as f64;
        (last.at, Some(orders / (last.at - first.at).max(0.001)))
    };
    Line { name: String::new(), colour: charts::colour(0), points: samples.windows(3).map(rate).collect() }
}

/// One line for each name that occurs in the samples.
fn lines(samples: &[Sample], values: impl Fn(&Sample) -> Vec<(&'static str, f64)>) -> Vec<Line> {
    let read: Vec<(f64, Vec<(&str, f64)>)> =
        samples.iter().map(|sample| (sample.at, values(sample))).collect();
    let mut names: Vec<&str> =
        read.iter().flat_map(|(_, values)| values.iter().map(|value| value.0)).collect();
    names.sort_unstable();
    names.dedup();
    let line = |name: &str| {
        let value = |values: &[(&str, f64)]| values.iter().find(|value| value.0 == name).map(|value| value.1);
        let points = read.iter().map(|(at, values)| (*at, value(values))).collect();
        // The same colour in every chart.
        let number = CONSUMERS.iter().position(|spec| spec.name == name).unwrap_or_default();
        Line { name: name.to_owned(), colour: charts::colour(number), points }
    };
    names.into_iter().map(line).collect()
}

fn widen<T: Copy + TryInto<i64>>(
    values: &std::collections::BTreeMap<&'static str, T>,
) -> Vec<(&'static str, f64)> {
    values.iter().map(|(name, value)| (*name, (*value).try_into().unwrap_or(i64::MAX) as f64)).collect()
}

fn kinds(page: &mut String, run: &Run<'_>) {
    *page += "<table><thead><tr><th>fault<th>times<th>worst recovery<th>median<th>orders during</thead>\n";
    for Kind { name, times, worst, median, orders } in summary::by_kind(run.faults, run.samples) {
        let (name, worst, median) = (escape(&name), seconds(worst), seconds(median));
        let _ = writeln!(page, "<tr><td>{name}<td>{times}<td>{worst}<td>{median}<td>{orders}");
    }
    *page += "</table>\n<details><summary>Every fault in its order</summary><table>\
              <thead><tr><th>fault<th>target<th>from<th>to<th>quiet after</thead>\n";
    for FaultRecord { name, target, started, healed, quiet_after } in run.faults {
        let (name, target, quiet) = (escape(name), escape(target), seconds(*quiet_after));
        let _ = writeln!(page, "<tr><td>{name}<td>{target}<td>{started:.1} s<td>{healed:.1} s<td>{quiet}");
    }
    *page += "</table></details>\n";
}

fn offences(page: &mut String, run: &Run<'_>) {
    if run.violations() == 0 {
        return;
    }
    *page += "<h2>Violations</h2><table class=\"offences\">\
              <thead><tr><th>what<th>order<th>trace<th>key</thead>\n";
    for Offence { order_id, trace_id, key, what } in run.account.offences.iter().take(SHOWN) {
        let cell = |value: &Option<String>| escape(value.as_deref().unwrap_or("–"));
        let (order, trace, key) = (cell(order_id), cell(trace_id), cell(key));
        let _ = writeln!(page, "<tr><td>{}<td>{order}<td>{trace}<td>{key}", escape(what));
    }
    for what in run.audit.iter().take(SHOWN) {
        let _ = writeln!(page, "<tr><td colspan=\"4\">audit: {}", escape(what));
    }
    *page += "</table>\n";
    let _ = writeln!(page, "<p>{} in all.</p>", run.violations());
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
