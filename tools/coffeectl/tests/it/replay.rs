//! Reading a stream again, and the lag that tells when it is done.

use crate::shop::{Shop, text};

#[tokio::test]
async fn a_replay_restores_what_was_lost_and_repeats_nothing() {
    let shop = Shop::open().await;
    for n in 0..5 {
        shop.order(&format!("cust-{n}")).await;
    }
    shop.assert_audit_holds().await;

    let refused = shop.coffeectl(&["replay", "--consumer", "loyalty", "--from", "1"]).await;
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    // As after the restore of an old backup.
    shop.sql("loyalty", "delete from awards; delete from balances; delete from inbox").await;
    assert_eq!(shop.coffeectl(&["audit", "--wait", "0s"]).await.status.code(), Some(1));
    let done = shop.json(&["replay", "--consumer", "loyalty", "--from", "1", "--yes"]).await;
    assert_eq!(done["caughtUp"], true);
    shop.assert_audit_holds().await;

    shop.json(&["replay", "--consumer", "payment", "--from", "10m", "--yes"]).await;
    shop.assert_audit_holds().await;
    let lag = shop.json(&["lag"]).await;
    let payment =
        lag["consumers"].as_array().unwrap().iter().find(|line| line["consumer"] == "payment").unwrap();
    assert_eq!((payment["lag"].as_u64(), payment["instances"].as_array().unwrap().len()), (Some(0), 1));
    shop.sql(
        "payment",
        "insert into consumer_instances (consumer, instance, seen_at) values ('payment', 'killed', now() - interval '1 minute')",
    )
    .await;
    let lag = text(&shop.coffeectl(&["lag"]).await);
    let line = |name: &str| lag.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert!(line("killed").contains(", gone"), "{lag}");
    assert!(line("payment ").trim_end().ends_with(" 1"), "{lag}");

    // Nobody reads on, as behind `| head`.
    let mut unread = shop.command(&["lag", "--watch"]).await.spawn().unwrap();
    drop(unread.stdout.take());
    let output = unread.wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), text(&output).as_str()), (Some(2), ""));
}

#[tokio::test]
async fn a_consumer_that_never_ran_is_told_apart_from_one_that_is_done() {
    let shop = Shop::without_services().await;
    let refused = shop.coffeectl(&["replay", "--consumer", "loyalty", "--from", "1"]).await;
    assert_eq!(refused.status.code(), Some(2));
    shop.world.publish("orders.created", "{}").await;
    let refused = shop.coffeectl(&["replay", "--consumer", "loyalty", "--from", "1", "--yes"]).await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused).contains("start its service once first"), "{}", text(&refused));
}
