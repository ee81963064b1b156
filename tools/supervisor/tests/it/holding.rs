use crate::shop::{Shop, eventually, is_running, kill, text};

#[test]
fn a_server_is_held_stopped_and_started_again_while_the_rest_runs_on() {
    let shop = Shop::new();
    shop.open(&[]);
    let (first, env) = (shop.pids(), shop.env());
    for server in ["nats", "postgres", "mailbox"] {
        let said = shop.open(&["--scale", &format!("{server}=0")]);
        assert!(said.contains(&format!("{server} is held stopped by --scale {server}=0")), "{said}");
        let pids = shop.pids();
        assert!(!pids.contains_key(server) && !is_running(first[server]), "{pids:?}");
        assert_eq!(pids.len(), first.len() - 1, "the others run on");
        assert_eq!(pids["payment"], first["payment"]);

        let said = shop.open(&["--scale", &format!("{server}=1")]);
        assert!(said.contains("The shop is open"), "{said}");
        assert_ne!(shop.pids()[server], first[server]);
    }
    assert_eq!(shop.env(), env, "a server comes back where it was");
}

#[test]
fn a_server_that_dies_again_and_again_is_held_too() {
    let shop = Shop::new();
    shop.open(&[]);
    let said = || shop.own_log();
    // Until its next start is so far away that holding it falls into the wait.
    for wait in ["0.1 s", "0.2 s", "0.4 s", "0.8 s", "1.6 s"] {
        eventually("nats runs", || shop.pids().get("nats").is_some_and(|pid| is_running(*pid)));
        kill(shop.pids()["nats"]);
        let death = format!("nats died (signal 9), starting it again in {wait}");
        eventually(&death, || said().contains(&death));
    }
    shop.open(&["--scale", "nats=0"]);
    assert!(!shop.pids().contains_key("nats"));
    shop.open(&["--scale", "nats=1"]);
    assert!(is_running(shop.pids()["nats"]));
}

#[test]
fn services_that_need_a_held_server_are_not_waited_for_until_it_is_back() {
    let shop = Shop::new();
    shop.open(&[]);
    let away = shop.run_folder().join("away");
    shop.set_program("email", &format!("#!/bin/sh\n[ ! -e '{}' ] || exit 4\n{}", quoted(&away), body()));
    std::fs::write(&away, "").unwrap();
    kill(shop.pids()["email"]);
    shop.open(&["--scale", "mailbox=0"]);
    eventually("email dies for want of its server", || shop.own_log().contains("email died (exit code 4)"));
    std::fs::remove_file(&away).unwrap();
    shop.open(&["--scale", "mailbox=1"]);
    assert!(shop.ask("email").is_some());
}

#[test]
fn a_server_stays_held_when_the_supervisor_is_killed_and_not_when_the_shop_is_closed() {
    let shop = Shop::new();
    shop.open(&[]);
    shop.open(&["--scale", "nats=0"]);
    kill(shop.supervisor());
    let said = shop.open(&[]);
    assert!(said.contains("nats is held stopped"), "{said}");
    assert!(!shop.pids().contains_key("nats"));

    assert!(shop.close().status.success());
    let refused = shop.command(&["up", "--detach", "--scale", "nats=0"]).output().unwrap();
    assert!(!refused.status.success() && text(&refused).contains("open it first"), "{}", text(&refused));
    shop.open(&[]);
    assert!(shop.pids().contains_key("nats"));
}

/// The stand-in without its first line.
fn body() -> String {
    crate::stand_in::script().lines().skip(1).collect()
}

fn quoted(path: &std::path::Path) -> String {
    path.display().to_string().replace('\'', r"'\''")
}
