use crate::shop::{SERVICES, Shop, eventually, is_running, kill, text};

#[test]
fn a_cluster_has_three_servers_that_every_service_knows() {
    let shop = Shop::new();
    shop.open(&["--cluster", "--via", "payment.nats-2=6002"]);
    let pids = shop.pids();
    assert_eq!(pids.len(), SERVICES.len() + 5);
    assert!(["nats", "nats-2", "nats-3"].iter().all(|server| is_running(pids[*server])), "{pids:?}");

    let env = shop.env();
    let urls: Vec<_> = env["OPERATOR_NATS_URL"].split(',').collect();
    assert!(urls.len() == 3 && urls.iter().all(|url| url.starts_with("nats://operator:")), "{urls:?}");
    let email = shop.ask("email").unwrap();
    assert!(email.contains(r#""STREAM_REPLICAS": "3""#), "{email}");
    let ports: Vec<_> = urls.iter().map(|url| url.rsplit(':').next().unwrap()).collect();
    assert!(ports.iter().all(|port| email.contains(&format!("@127.0.0.1:{port}"))), "{email}");
    let payment = shop.ask("payment").unwrap();
    assert!(payment.contains(":6002,") && !payment.contains(&format!(":{}", ports[1])), "{payment}");

    assert!(shop.close().status.success());
    shop.open(&["--cluster"]);
    assert_eq!(shop.env(), env, "a later start has the same addresses");
}

#[test]
fn servers_of_a_cluster_come_and_go_and_are_taken_over() {
    let shop = Shop::new();
    shop.open(&["--cluster"]);
    let first = shop.pids();
    for server in ["nats-3", "nats", "nats-2"] {
        shop.open(&["--scale", &format!("{server}=0")]);
        assert!(!shop.pids().contains_key(server) && !is_running(first[server]));
        shop.open(&["--scale", &format!("{server}=1")]);
        assert!(is_running(shop.pids()[server]));
    }
    let before = shop.pids();
    kill(before["nats-2"]);
    eventually("it is started again", || {
        shop.pids().get("nats-2").is_some_and(|pid| *pid != before["nats-2"])
    });
    shop.open(&[]);

    // One server alone cannot be ready, and is not waited for.
    shop.open(&["--scale", "nats=0", "--scale", "nats-2=0"]);
    kill(shop.supervisor());
    kill(shop.pids()["nats-3"]);
    let said = shop.open(&[]);
    assert!(said.contains("nats is held stopped") && said.contains("nats-2 is held stopped"), "{said}");
    let said = shop.open(&["--scale", "nats=1", "--scale", "nats-2=1"]);
    assert!(said.contains("The shop is open"), "{said}");

    let left = shop.pids();
    kill(shop.supervisor());
    assert!(shop.close().status.success());
    assert!(!left.values().any(|pid| is_running(*pid)));
}

#[test]
fn a_shop_stays_with_the_kind_of_broker_it_has() {
    for (has, other, expected) in [
        (&[][..], &["--cluster"][..], "keeps its messages in one nats-server"),
        (&["--cluster"], &[], "keeps its messages in a cluster of 3 nats-servers"),
    ] {
        let shop = Shop::new();
        shop.open(has);
        let refused = |arguments: &[&str]| {
            let output = shop.command(&[&["up", "--detach"], arguments].concat()).output().unwrap();
            assert!(!output.status.success() && text(&output).contains(expected), "{}", text(&output));
        };
        if has.is_empty() {
            refused(other);
        }
        assert!(shop.close().status.success());
        refused(other);
        assert!(shop.pids().is_empty());
        shop.open(has);
    }
}

#[test]
fn a_shop_with_one_broker_has_no_second() {
    let shop = Shop::new();
    let output = shop.command(&["up", "--scale", "nats-2=1"]).output().unwrap();
    let said = text(&output);
    assert!(!output.status.success() && said.contains("there is no nats-2"), "{said}");
}
