use crate::shop::{SERVICES, Shop, eventually, is_running, kill};

#[test]
fn a_part_that_is_killed_is_started_again_visibly() {
    let shop = Shop::new();
    shop.open(&[]);
    for name in ["payment", "nats", "postgres", "mailbox"] {
        let before = shop.pids()[name];
        kill(before);
        eventually(name, || shop.pids().get(name).is_some_and(|pid| *pid != before && is_running(*pid)));
        eventually("it says so", || {
            shop.own_log().contains(&format!("{name} died (signal 9), starting it again in 0."))
        });
    }
    shop.open(&[]); // waits until all are ready
    assert!(shop.ask("payment").is_some());
}

#[test]
fn a_killed_supervisor_is_followed_by_one_that_takes_over_what_runs() {
    let shop = Shop::new();
    shop.open(&["--scale", "email=2"]);
    let (before, env) = (shop.pids(), shop.env());
    kill(shop.supervisor());
    kill(before["loyalty"]);
    shop.open(&[]);
    let mut after = shop.pids();
    assert_ne!(after["loyalty"], before["loyalty"]);
    after.insert("loyalty".to_owned(), before["loyalty"]);
    assert_eq!(after, before);
    assert_eq!(shop.env(), env);

    kill(after["inventory"]);
    eventually("it is watched", || {
        shop.pids().get("inventory").is_some_and(|pid| *pid != before["inventory"])
    });
}

#[test]
fn a_shop_whose_every_process_was_killed_opens_again() {
    // The dead become children of this test, which does not reap them, as the first process of many
    // containers: what only looks at process ids takes them for running.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let shop = Shop::new();
    shop.open(&[]);
    let env = shop.env();
    kill(shop.supervisor());
    shop.pids().into_values().for_each(kill);
    shop.open(&[]);
    assert_eq!(shop.env(), env);
}

#[test]
fn instances_come_and_go_while_the_shop_is_open() {
    let shop = Shop::new();
    shop.open(&[]);
    let first = shop.pids();
    shop.open(&["--scale", "payment=3", "--scale", "analytics=2"]);
    let more = shop.pids();
    assert_eq!(more.len(), SERVICES.len() + 3 + 3);
    assert!(more.contains_key("payment-3") && more.contains_key("analytics-2"));

    shop.open(&["--scale", "payment=1", "--scale", "email=0"]);
    let fewer = shop.pids();
    assert!(!fewer.contains_key("payment-2") && !fewer.contains_key("email"));
    assert!(fewer.contains_key("analytics-2"), "what was not named stays: {fewer:?}");
    assert_eq!(fewer["payment"], first["payment"]);
    assert!(!is_running(more["payment-3"]));
}

#[test]
fn a_later_start_has_the_same_addresses_and_data() {
    let shop = Shop::new();
    shop.open(&[]);
    let env = shop.env();
    shop.close();
    shop.open(&[]);
    assert_eq!(shop.env(), env);
}
