use std::collections::BTreeMap;

use super::{FaultRecord, Run, Sample, table, timeline};
use crate::accounting::{Account, Offence};
use crate::notes::Progress;

fn fault(name: &str, target: &str, started: f64, healed: f64, quiet_after: Option<f64>) -> FaultRecord {
    FaultRecord { name: name.to_owned(), target: target.to_owned(), started, healed, quiet_after }
}

/// 20 orders a second for a minute.
fn samples() -> Vec<Sample> {
    let sample = |n: u64| {
        let away = (40..50).contains(&n);
        let lag = if away { BTreeMap::new() } else { BTreeMap::from([("payment", n % 30), ("email", n)]) };
        let unpublished = BTreeMap::from([("order-api", n as i64 / 2)]);
        Sample { at: n as f64 / 2.0, accepted: n * 10, lag, unpublished }
    };
    (0..120).map(sample).collect()
}

fn with_run<T>(account: &Account, audit: &[String], look: impl FnOnce(&Run<'_>) -> T) -> T {
    let faults = [
        fault("kill", "payment", 5.0, 6.25, Some(3.0)),
        fault("pause", "<nats>", 20.0, 25.0, None),
        fault("kill", "email", 50.0, 51.0, Some(1.5)),
    ];
    look(&Run {
        seed: 7,
        command: "./scripts/chaos --seed 7",
        seconds: 60.0,
        progress: Progress { sent: 1_200, ok: 1_200, ..Progress::default() },
        account,
        audit,
        faults: &faults,
        samples: &samples(),
    })
}

fn offending() -> Account {
    let offence = Offence {
        order_id: Some("order-1".to_owned()),
        trace_id: Some("4bf92f".to_owned()),
        key: Some("chaos-7-1".to_owned()),
        what: "loyalty: the award is missing".to_owned(),
    };
    Account { offences: vec![offence; 30], ..Account::default() }
}

#[test]
fn the_table_has_one_row_for_each_kind_of_fault() {
    let text = with_run(&Account::default(), &[], table::render);
    let rows: Vec<Vec<&str>> = text.lines().take(3).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1], ["kill", "2", "3.0", "s", "1.5", "s", "45"]);
    assert_eq!(rows[2], ["pause", "1", "–", "–", "100"]);
    assert!(text.contains("./scripts/chaos --seed 7"), "{text}");
}

#[test]
fn offences_are_named_with_order_trace_and_key() {
    let account = offending();
    let audit = ["kitchen: order-2 has no ticket".to_owned()];
    let (text, page) = with_run(&account, &audit, |run| (table::render(run), timeline::render(run)));
    let page = page.expect("a page");
    for text in [&text, &page] {
        for named in ["loyalty: the award is missing", "order-1", "4bf92f", "chaos-7-1"] {
            assert!(text.contains(named), "{named} is not in {text}");
        }
    }
    assert!(text.contains("… and 11 more"), "{text}");
    assert!(page.contains("kitchen: order-2 has no ticket") && page.contains("31 violations"));
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = with_run(&Account::default(), &[], timeline::render).expect("a page");
    assert_eq!(page.matches("<svg").count(), 4);
    assert!(page.contains("kill payment") && page.contains("&lt;nats&gt;") && !page.contains("<nats>"));
    assert!(page.contains("currentColor") && !page.contains("#010203"));
    for outside in ["src=", "href=", "url(", "@import", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    if let Ok(path) = std::env::var("TIMELINE_OUT") {
        std::fs::write(path, page).expect("written");
    }
}
