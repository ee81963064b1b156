use plotters::style::RGBColor;

use super::*;
use crate::engine::histogram::Percentiles;

fn report() -> Report {
    let latency = Percentiles { count: 10, p50: 1.5, p99: 12.0, ..Percentiles::default() };
    let outcome = Outcome {
        rate: 500.0,
        seconds: 2.0,
        due: 1_000,
        accepted: 1_000,
        in_time: 1_000,
        latency,
        ..Outcome::default()
    };
    let sample = |at: f64| Sample {
        at,
        lag: [("payment".to_owned(), at as u64 * 10)].into(),
        cores: [("order-api".to_owned(), 0.4)].into(),
        memory: [("order-api".to_owned(), 14.0)].into(),
    };
    let second = |at: u64| Second { at, accepted: 500, p50: 1.5, p95: 4.0, p99: 12.0, max: 15.0, refused: 0 };
    Report {
        scenario: "steady".into(),
        began_at: "2024-03-15T10:30:00Z".into(),
        seconds: 2.0,
        findings: vec![Finding { name: "accepted".into(), value: 500.0, unit: "/s".into() }],
        loads: vec![Load { name: "500/s <steady>".into(), outcome, followed: Some(Followed::default()) }],
        marks: vec![Mark { at: 1.0, name: "half".into() }],
        plots: vec![Plot {
            title: "Knee".into(),
            x: Some("orders/s".into()),
            y: "ms".into(),
            lines: vec![Curve { name: "p99".into(), points: vec![(0.0, 1.0), (100.0, 2.0)] }],
        }],
        timeline: (0..2).map(second).collect(),
        samples: (0..3).map(|n| sample(f64::from(n))).collect(),
        audit: Audit { holds: true, violations: Vec::new() },
        ..Report::default()
    }
}

#[test]
fn a_report_survives_its_file_and_its_page_needs_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = report().write(folder.path()).expect("written");
    assert_eq!(page.file_name().and_then(|name| name.to_str()), Some("steady-20240315103000.html"));
    let read = Report::read(&page.with_extension("json")).expect("readable");
    assert_eq!((read.loads, read.samples), (report().loads, report().samples));
    let page = std::fs::read_to_string(page).expect("readable");
    assert_eq!(page.matches("<svg").count(), 6, "five over time and one of its own");
    for reference in ["src=", "href=", "@import", "<script"] {
        assert!(!page.contains(reference), "{reference}");
    }
    assert!(page.contains("500/s &lt;steady&gt;") && page.contains("audit clean"));
}

#[test]
fn numbers_are_as_long_as_they_tell_something() {
    for (value, text) in
        [(0.0, "0"), (1.234, "1.23"), (56.78, "56.8"), (1_234_567.8, "1,234,568"), (999.6, "1,000")]
    {
        assert_eq!(number(value), text);
    }
}

#[test]
fn a_violation_is_seen() {
    let audit = Audit { holds: false, violations: vec!["3. order-1: charged twice".into()] };
    let report = Report { audit, ..report() };
    assert!(text::render(&report).contains("NOT CLEAN") && text::render(&report).contains("charged twice"));
    assert!(page::render(&report).expect("drawn").contains("charged twice"));
}

#[test]
fn a_failed_run_is_no_good_one_whatever_its_audit_says() {
    let report = Report { failure: Some("only 3 of 100 <orders> were accepted".into()), ..report() };
    let page = page::render(&report).expect("drawn");
    assert!(page.contains(r#"<span class="bad">failed, audit clean"#) && page.contains("100 &lt;orders&gt;"));
    assert!(text::render(&report).contains("the run failed: only 3"));
}

#[test]
fn a_curve_over_time_is_interrupted_where_nothing_is_known() {
    let lines = |times: [f64; 4]| {
        let points = times.map(|at| (at, 1.0)).to_vec();
        let along = charts::Along::Time { until: 10.0, marks: &[] };
        let curve = Curve { name: "payment".into(), points };
        let svg = charts::plot(&[curve], &along, charts::Scale::Linear).expect("drawn");
        svg.matches("<polyline").count()
    };
    assert_eq!(lines([0.0, 1.0, 8.0, 9.0]), lines([0.0, 1.0, 2.0, 3.0]) + 1);
}

#[test]
fn plots_stand_alone_as_curves_and_as_bars() {
    let mut plot = report().plots.remove(0);
    let curves = charts::picture(&plot).expect("drawn");
    assert!(curves.contains("Knee (ms)") && curves.contains("<polyline") && curves.contains("orders/s"));
    plot.x = None;
    plot.lines.iter_mut().for_each(|curve| curve.points.truncate(1));
    let bars = charts::picture(&plot).expect("drawn");
    let RGBColor(red, green, blue) = charts::colour(0);
    let filled = format!("fill=\"#{red:02X}{green:02X}{blue:02X}\"");
    assert!(!bars.contains("<circle") && bars.contains(&filled), "{bars}");
}
