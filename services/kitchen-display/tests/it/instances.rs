//! Several instances behind one address.

use std::collections::BTreeSet;

use testing::{Service, World, eventually};

use crate::kitchen::{BINARY, confirmed, created, live, page, shows, staff_bump, until};

async fn two(world: &World) -> (Service, Service) {
    let instance = |name| world.service("kitchen-display", BINARY).instance(name);
    let first = instance("kitchen-1").start().await;
    let second = instance("kitchen-2").start().await;
    eventually("both read half of the partitions", async || {
        let shares = sqlx::query_scalar::<_, i64>(
            "select count(*) from partition_leases where expires_at > now() group by holder",
        );
        (shares.fetch_all(first.pool()).await.ok()? == [4, 4]).then_some(())
    })
    .await;
    (first, second)
}

#[tokio::test]
async fn a_ticket_handled_by_one_shows_on_the_pages_of_the_other() {
    let world = World::start().await;
    let (first, second) = two(&world).await;
    let mut pages = (page(&first).await, page(&second).await);

    live(&world, &first, "a").await;
    shows(&mut pages.0, "a", Some("waiting")).await;
    shows(&mut pages.1, "a", Some("waiting")).await;
    assert_eq!(staff_bump(&first, "a", "start").await, 200);
    shows(&mut pages.1, "a", Some("started")).await;
    assert_eq!(staff_bump(&second, "a", "ready").await, 200);
    shows(&mut pages.0, "a", None).await;
}

#[tokio::test]
async fn the_other_takes_over_when_one_is_killed() {
    let world = World::start().await;
    let (mut first, second) = two(&world).await;
    let orders: BTreeSet<String> = (0..40).map(|n| format!("order-{n}")).collect();
    for order in &orders {
        world.publish_event(&created(order)).await;
    }
    first.kill().await;
    for order in &orders {
        world.publish_event(&confirmed(order)).await;
    }
    for order in &orders {
        until(&second, order, "waiting").await;
    }
    assert!(world.dead_letters().await.is_empty());
    first.restart().await;
    eventually("the first has its share again", async || {
        let held = sqlx::query_scalar::<_, i64>(
            "select count(*) from partition_leases where holder = 'kitchen-1' and expires_at > now()",
        );
        (held.fetch_one(second.pool()).await.ok()? == 4).then_some(())
    })
    .await;
}

#[tokio::test]
async fn events_of_one_order_are_handled_in_their_order_by_two_instances() {
    let world = World::start().await;
    let (first, second) = two(&world).await;
    sqlx::raw_sql(
        "create table history (at bigint generated always as identity, order_id text, state text);
         create function note() returns trigger language plpgsql as
             $$ begin insert into history (order_id, state) values (new.order_id, new.state); return new; end $$;
         create trigger note_new after insert on tickets for each row when (new.state <> 'pending')
             execute function note();
         create trigger note after update on tickets for each row when (old.state <> new.state)
             execute function note();",
    )
    .execute(first.pool())
    .await
    .unwrap();
    for n in 0..60 {
        world.publish_event(&created(&format!("order-{n}"))).await;
        world.publish_event(&confirmed(&format!("order-{n}"))).await;
    }
    world.settle(&second).await;
    for n in 0..60 {
        world.publish_event(&crate::kitchen::cancelled(&format!("order-{n}"))).await;
    }
    world.settle(&second).await;
    let histories: Vec<String> = sqlx::query_scalar(
        "select distinct string_agg(state, ' ' order by at) from history group by order_id",
    )
    .fetch_all(first.pool())
    .await
    .unwrap();
    assert_eq!(histories, ["waiting pulled"]);
}
