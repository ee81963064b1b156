use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::shop::{Shop, eventually, kill};

/// Kills the service's first process and waits for the next one to answer.
fn restart(shop: &Shop, service: &str) -> String {
    let before = shop.pids()[service];
    kill(before);
    eventually("it is started again", || shop.pids().get(service).is_some_and(|pid| *pid != before));
    shop.open(&[]);
    shop.ask(service).unwrap()
}

#[test]
fn one_service_is_sent_through_a_proxy_and_the_others_are_not() {
    let shop = Shop::new();
    let parts = ["nats", "postgres", "mailbox", "card-processor"];
    let ways: Vec<String> =
        parts.iter().zip(6001..).map(|(part, port)| format!("payment.{part}={port}")).collect();
    let mut arguments = vec!["--scale", "payment=2"];
    arguments.extend(ways.iter().flat_map(|way| ["--via", way]));
    shop.open(&arguments);
    let env = shop.env();
    let payment = shop.ask("payment").unwrap();
    for told in [
        "@127.0.0.1:6001\"",
        "@127.0.0.1:6002/payment\"",
        "\"SMTP_URL\": \"smtp://127.0.0.1:6003\"",
        "\"CARD_PROCESSOR_URL\": \"http://127.0.0.1:6004\"",
    ] {
        assert!(payment.contains(told), "{told} in {payment}");
    }
    let email = shop.ask("email").unwrap();
    assert!(!email.contains("127.0.0.1:600"), "{email}");
    assert!(email.contains(&format!("\"SMTP_URL\": {:?}", env["SMTP_URL"])), "{email}");
    assert!(!env.values().any(|value| value.contains(":600")), "the env file has the real ports: {env:?}");

    shop.open(&["--via", "payment.nats=6005", "--via", "payment.postgres"]);
    assert!(shop.ask("payment").unwrap().contains("@127.0.0.1:6001\""), "not before its next start");
    let payment = restart(&shop, "payment");
    assert!(payment.contains("@127.0.0.1:6005\"") && payment.contains(":6003"), "{payment}");
    assert!(payment.contains(&format!("\"DATABASE_URL\": {:?}", env["PAYMENT_DATABASE_URL"])), "{payment}");
}

#[test]
fn a_service_has_more_in_its_environment_and_so_have_all() {
    let shop = Shop::new();
    shop.open(&["--set", "*.ORDER_SETTLE_SECONDS=60", "--set", "payment.ORDER_SETTLE_SECONDS=it's = \"7\""]);
    let plan = fs::metadata(shop.run_folder().join("plan")).unwrap();
    assert_eq!(plan.permissions().mode() & 0o777, 0o600);
    assert!(shop.ask("payment").unwrap().contains(r#""ORDER_SETTLE_SECONDS": "it's = \"7\"""#));
    assert!(shop.ask("email").unwrap().contains(r#""ORDER_SETTLE_SECONDS": "60""#));

    kill(shop.supervisor());
    shop.open(&["--set", "payment.ORDER_SETTLE_SECONDS", "--set", "payment.EMPTY="]);
    let payment = restart(&shop, "payment");
    assert!(payment.contains(r#""ORDER_SETTLE_SECONDS": "60""#), "{payment}");
    assert!(payment.contains(r#""EMPTY": """#), "{payment}");

    assert!(shop.close().status.success());
    assert!(!shop.run_folder().join("plan").exists());
    shop.open(&[]);
    assert!(!shop.ask("email").unwrap().contains("ORDER_SETTLE_SECONDS"));
}
