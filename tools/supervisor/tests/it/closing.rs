use std::fs;
use std::process::{Command, Stdio};

use crate::shop::{Shop, eventually, is_running, kill, text};

#[test]
fn closing_leaves_no_process_and_no_pid_file() {
    let shop = Shop::new();
    shop.open(&["--scale", "payment=2"]);
    let (pids, supervisor) = (shop.pids(), shop.supervisor());
    let output = shop.close();
    assert!(output.status.success(), "{}", text(&output));
    let left: Vec<_> = pids.iter().filter(|(_, pid)| is_running(**pid)).collect();
    assert!(left.is_empty() && !is_running(supervisor), "{left:?}");
    assert_eq!(fs::read_dir(shop.run_folder().join("pids")).unwrap().count(), 0);

    let again = shop.close();
    assert!(again.status.success() && text(&again).is_empty(), "{}", text(&again));
}

#[test]
fn closing_a_shop_that_was_never_open_is_quiet() {
    let shop = Shop::new();
    let output = shop.close();
    assert!(output.status.success() && text(&output).is_empty(), "{}", text(&output));
}

#[test]
fn closing_stops_what_a_killed_supervisor_left() {
    let shop = Shop::new();
    shop.open(&[]);
    let pids = shop.pids();
    kill(shop.supervisor());
    assert!(pids.values().all(|pid| is_running(*pid)), "the services live on without a supervisor");
    assert!(shop.close().status.success());
    assert!(!pids.values().any(|pid| is_running(*pid)));
}

#[test]
fn a_shop_in_the_terminal_shows_the_logs_and_closes_on_interrupt() {
    let shop = Shop::new();
    let output = shop.run_folder().with_extension("out");
    let file = fs::File::create(&output).unwrap();
    let mut child = shop.command(&["up"]).stdin(Stdio::null()).stdout(file).spawn().unwrap();
    let said = || fs::read_to_string(&output).unwrap();
    eventually("it opens", || said().contains("The shop is open"));
    eventually("it shows a log", || said().contains("payment | payment listens on 127.0.0.1:"));
    let pids = shop.pids();
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(child.wait().unwrap().success(), "{}", said());
    assert!(said().contains("the shop is closed"));
    assert!(!pids.values().any(|pid| is_running(*pid)));
    assert!(shop.pids().is_empty());
}
