//! The audit finds nothing in an honest shop, and names whatever is corrupted in a database.

use serde_json::Value;
use testing::eventually;

use crate::shop::{Shop, text};

/// As somebody would publish it by hand: no id, no quantity, unknown to the order API.
const BY_HAND: &str = r#"{ "eventType": "OrderCreated", "timestamp": "2024-03-15T10:30:00Z",
  "data": { "orderId": "by-hand", "customerId": "cust-456",
            "items": [ { "name": "Latte", "price": 4.50 } ], "total": 4.50 } }"#;

#[tokio::test]
async fn an_honest_shop_holds_and_every_corruption_is_named() {
    let shop = Shop::open().await;
    let mut orders = Vec::new();
    for n in 0..8 {
        orders.push(shop.order(&format!("cust-{n}")).await);
    }
    shop.world.publish("orders.created", BY_HAND).await;
    shop.make(&orders[0]).await;
    shop.assert_audit_holds().await;
    // A replay leaves the note of a failure behind that has been made good.
    shop.sql("loyalty", "insert into attempts select consumer, event_id, 1 from inbox limit 1").await;
    shop.assert_audit_holds().await;

    let [_, keyless, untold, overcharged, unticketed, backwards, unheard, unmailed] = &orders[..] else {
        panic!("eight orders were placed")
    };
    let corruptions = [
        (
            1,
            "order-api",
            "lost",
            "insert into idempotency_keys (key, request_hash, order_id) values ('k', '', 'lost')".to_owned(),
        ),
        (
            2,
            "order-api",
            untold,
            format!("delete from outbox where event_type = 'OrderCreated' and order_id = '{untold}'"),
        ),
        (
            3,
            "card-processor",
            overcharged,
            format!("update charges set amount_cents = amount_cents + 1 where reference = '{overcharged}'"),
        ),
        (
            4,
            "order-api",
            keyless,
            format!("update orders set status = 'received' where order_id = '{keyless}'"),
        ),
        (
            5,
            "inventory",
            "latte",
            "update stock set available = available - 1 where sku = 'latte'".to_owned(),
        ),
        (
            5,
            "inventory",
            "ghost",
            "insert into reservations (order_id, state, lines) values ('ghost', 'reserved', '[]')".to_owned(),
        ),
        (
            7,
            "kitchen-display",
            "ghost",
            "insert into tickets (order_id, state) values ('ghost', 'waiting')".to_owned(),
        ),
        (
            6,
            "loyalty",
            "cust-1",
            "update balances set points = points + 1 where customer_id = 'cust-1'".to_owned(),
        ),
        (6, "analytics", "analytics totals", "update totals set gross_cents = gross_cents + 1".to_owned()),
        (7, "kitchen-display", unticketed, format!("delete from tickets where order_id = '{unticketed}'")),
        (
            8,
            "order-api",
            backwards,
            format!(
                "insert into order_timeline (order_id, version, what, status) values ('{backwards}', 99, 'corrupted', 'received')"
            ),
        ),
        (9, "payment", unheard, "delete from inbox".to_owned()),
        (10, "email", unmailed, format!("delete from mails where order_id = '{unmailed}'")),
    ];
    for (_, service, _, statement) in &corruptions {
        shop.sql(service, statement).await;
    }
    let output = shop.coffeectl(&["audit", "--wait", "1s", "--json"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (number, _, about, _) in &corruptions {
        let named = report["checks"][number - 1]["named"].as_array().unwrap();
        assert!(
            named.iter().any(|violation| violation["about"] == **about),
            "{about} is not named by invariant {number}: {named:?}"
        );
    }
}

#[tokio::test]
async fn an_order_that_waits_for_a_dead_letter_is_explained_by_it_and_by_its_note() {
    let shop = Shop::open().await;
    let refuse = "create function refuse() returns trigger language plpgsql as
                  $$ begin raise exception 'the till is stuck'; end $$;
                  create trigger refuse before insert on payments for each row execute function refuse()";
    sqlx::raw_sql(refuse).execute(shop.service("payment").pool()).await.unwrap();
    shop.order("cust-1").await;
    let letter = eventually("payment gives up", async || shop.world.dead_letters().await.pop()).await;
    assert!(letter.reason.contains("the till is stuck"), "{}", letter.reason);
    shop.assert_audit_holds().await;
    shop.json(&["dlq", "discard", &letter.number.to_string(), "--reason", "a test"]).await;
    shop.assert_audit_holds().await;
}

#[tokio::test]
async fn a_shop_that_cannot_be_reached_is_no_clean_bill() {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_coffeectl"))
        .args(["audit"])
        .env_remove("OPERATOR_NATS_URL")
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("./scripts/up"), "{}", text(&output));
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_coffeectl"))
        .args(["lag"])
        .env("OPERATOR_NATS_URL", format!("nats://operator:secret@127.0.0.1:{}", testing::free_port()))
        .env("OPERATOR_DATABASE_URL", "postgres://operator:secret@127.0.0.1:1/postgres")
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("does not answer") && !text(&output).contains("secret"));
}
