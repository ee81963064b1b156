//! Proof of order: instances of a partitioned consumer, each a process of its own, come, go, die and freeze
//! while events keep coming. Every event that was handled is on record, and the record must show each order's
//! events in their order, each once, each written by the instance that held the partition.

mod flow;
mod keeper;
mod record;

use std::slice;
use std::sync::Arc;

use testing::{Signal, World};

use flow::Flow;
use record::Record;

use crate::instance::Instance;

/// Starts one instance, then the others, while events flow.
async fn scale_up_to(count: usize, world: &World, record: &Record, flow: &Flow) -> Vec<Instance> {
    let mut instances = vec![keeper::start(world, "instance-1").await];
    record.until_shared_by(&instances).await;
    flow.goes_on().await;
    for n in 2..=count {
        instances.push(keeper::start(world, &format!("instance-{n}")).await);
    }
    record.until_shared_by(&instances).await;
    record.until_all_have_worked(&instances).await;
    instances
}

async fn assert_in_order(world: &World, record: &Record, flow: Flow) {
    let (orders, versions) = flow.end().await;
    record.assert_in_order(&orders, versions).await;
    assert!(world.dead_letters().await.is_empty());
}

async fn assert_order_holds_with(count: usize) {
    let world = Arc::new(World::start().await);
    let record = Record::open(&world).await;
    let flow = Flow::start(&world, &record);
    let mut instances = scale_up_to(count, &world, &record, &flow).await;

    // Killed with events in hand, a transaction open; the others take over.
    let mut killed = instances.remove(0);
    record.in_the_middle_of_a_transaction(&killed, || killed.signal(Signal::KILL)).await;
    record.until_shared_by(&instances).await;
    flow.goes_on().await;
    killed.start_again();
    instances.push(killed);
    record.until_shared_by(&instances).await;

    // Killed and started again at once under the same name, as a container would be.
    record.in_the_middle_of_a_transaction(&instances[0], || instances[0].signal(Signal::KILL)).await;
    instances[0].start_again();
    flow.goes_on().await;
    record.until_shared_by(&instances).await;
    record.until_all_have_worked(&instances).await;

    for mut leaving in instances.drain(count / 2..) {
        leaving.terminate().await;
    }
    record.until_shared_by(&instances).await;
    flow.goes_on().await;
    assert_in_order(&world, &record, flow).await;
    assert_eq!(record.writers().await.len(), count);
}

#[tokio::test]
async fn order_holds_with_two_instances_that_come_go_and_die() {
    assert_order_holds_with(2).await;
}

#[tokio::test]
async fn order_holds_with_four_instances_that_come_go_and_die() {
    assert_order_holds_with(4).await;
}

#[tokio::test]
async fn an_instance_frozen_at_work_is_replaced_and_order_holds_when_it_wakes() {
    let world = Arc::new(World::start().await);
    let record = Record::open(&world).await;
    let flow = Flow::start(&world, &record);
    let instances = scale_up_to(2, &world, &record, &flow).await;
    for frozen in &instances {
        record.in_the_middle_of_a_transaction(frozen, || frozen.signal(Signal::STOP)).await;
        record.until_taken_over(frozen).await;
        flow.goes_on().await;
        frozen.signal(Signal::CONT);
        record.until_shared_by(&instances).await;
        record.until_all_have_worked(&instances).await;
    }
    assert_in_order(&world, &record, flow).await;
}

/// What comes while it is frozen lies in its socket when it wakes, and is no longer its business.
#[tokio::test]
async fn an_instance_frozen_at_rest_writes_nothing_of_what_was_taken_over() {
    let world = Arc::new(World::start().await);
    let record = Record::open(&world).await;
    let mut flow = Flow::start(&world, &record);
    let instances = scale_up_to(2, &world, &record, &flow).await;
    let [frozen, other] = &instances[..] else { unreachable!() };
    flow.pause().await;
    frozen.signal(Signal::STOP);
    flow.resume();
    record.until_shared_by(slice::from_ref(other)).await;
    flow.pause().await;
    let written = record.count_of(frozen).await;
    frozen.signal(Signal::CONT);
    record.until_shared_by(&instances).await;
    assert_eq!(record.count_of(frozen).await, written);
    flow.resume();
    record.until_all_have_worked(&instances).await;
    assert_in_order(&world, &record, flow).await;
}
