//! Starting and finishing tickets over HTTP.

use testing::{STAFF_TOKEN, World};

use crate::kitchen::{bump, created, live, open, staff_bump, until};

#[tokio::test]
async fn a_bump_is_told_once_however_often_it_is_repeated() {
    let world = World::start().await;
    let kitchen = open(&world).await;
    live(&world, &kitchen, "a").await;

    for step in ["start", "start", "ready", "ready"] {
        let (status, ticket) = bump(&kitchen, "a", step, Some(STAFF_TOKEN)).await;
        assert_eq!(status, 200, "{ticket}");
        assert_eq!(ticket["state"], if step == "start" { "started" } else { "ready" });
    }
    world.settle(&kitchen).await;

    assert_eq!(world.published("orders.ticket-started.*").await.len(), 1);
    assert_eq!(world.published("orders.ticket-ready.*").await.len(), 1);
    assert_eq!(world.published("orders.ticket-ready.*").await[0]["data"]["orderId"], "a");
}

#[tokio::test]
async fn two_baristas_who_start_one_ticket_at_once_tell_it_once() {
    let world = World::start().await;
    let kitchen = open(&world).await;
    live(&world, &kitchen, "a").await;

    let both = (0..8).map(|_| staff_bump(&kitchen, "a", "start"));
    assert!(futures::future::join_all(both).await.iter().all(|status| *status == 200));
    world.settle(&kitchen).await;
    assert_eq!(world.published("orders.ticket-started.*").await.len(), 1);
}

#[tokio::test]
async fn only_staff_may_bump() {
    let world = World::start().await;
    let kitchen = open(&world).await;
    live(&world, &kitchen, "a").await;

    for token in [None, Some("guess"), Some("")] {
        let (status, problem) = bump(&kitchen, "a", "start", token).await;
        assert_eq!((status, &problem["status"]), (401, &401.into()));
    }
    // What a form of a foreign page, open in a barista's browser, can send.
    let form = reqwest::Client::new().post(format!("{}/tickets/a/start", kitchen.url()));
    let form = form.header("origin", "https://evil.example").header("cookie", format!("token={STAFF_TOKEN}"));
    let form =
        form.header("content-type", "application/x-www-form-urlencoded").body(format!("token={STAFF_TOKEN}"));
    let answer = form.send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert!(!answer.headers().keys().any(|name| name.as_str().starts_with("access-control-")));
    let ticket = reqwest::get(format!("{}/tickets/a", kitchen.url())).await.unwrap();
    assert_eq!(ticket.json::<serde_json::Value>().await.unwrap()["state"], "waiting");
}

#[tokio::test]
async fn a_bump_that_makes_no_sense_is_refused_with_the_reason() {
    let world = World::start().await;
    let kitchen = open(&world).await;
    world.publish_event(&created("pending")).await;
    until(&kitchen, "pending", "pending").await;
    live(&world, &kitchen, "waiting").await;

    let cases = [
        ("nobody", "start", 404, "no ticket"),
        ("pending", "start", 409, "not confirmed"),
        ("waiting", "ready", 409, "not started"),
        ("%FF", "start", 400, "UTF-8"),
    ];
    for (order, step, wanted, reason) in cases {
        let (status, problem) = bump(&kitchen, order, step, Some(STAFF_TOKEN)).await;
        assert_eq!(status, wanted, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem}");
    }
    assert_eq!(staff_bump(&kitchen, "waiting", "start").await, 200);
    assert_eq!(staff_bump(&kitchen, "waiting", "ready").await, 200);
    assert_eq!(staff_bump(&kitchen, "waiting", "start").await, 409);
    world.settle(&kitchen).await;
    assert_eq!(world.published("orders.ticket-started.*").await.len(), 1);
}
