//! The same shop on a cluster of three brokers, which loses the one that leads.

use testing::eventually;

use crate::counter::Counter;

/// The process that leads the stream of all orders.
async fn leader(counter: &Counter) -> Option<String> {
    let stream = counter.jetstream().await.get_stream("ORDERS").await.ok()?;
    stream.cached_info().cluster.as_ref()?.leader.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_go_on_when_the_broker_that_leads_is_killed() {
    let counter = Counter::open(&["--cluster"]);
    let order = counter.order("ann").await;
    counter.wait_for_status(&order, "confirmed").await;

    let led = leader(&counter).await.expect("a stream of three replicas has a leader");
    // It stays away, so that the other two have to go on without.
    counter.kill(&led);
    counter.shop.open(&["--scale", &format!("{led}=0")]);
    let next =
        eventually("another one leads", async || leader(&counter).await.filter(|now| *now != led)).await;
    let order = counter.order("bob").await;
    counter.wait_for_status(&order, "confirmed").await;

    counter.shop.open(&["--scale", &format!("{led}=1")]);
    counter.kill(&next);
    let order = counter.order("cleo").await;
    counter.wait_for_status(&order, "confirmed").await;
    counter.shop.open(&[]);
    counter.audit();
}
