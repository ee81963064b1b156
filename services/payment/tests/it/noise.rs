//! Arbitrary messages between good orders: the good ones are charged, what cannot be read is buried, and
//! nothing else happens.

use testing::eventually;

use crate::{Shop, created};

#[tokio::test]
async fn noise_on_the_stream_holds_up_no_order() {
    let shop = Shop::open().await;
    let subjects = ["orders.created", "orders.created.5", "orders.cancelled.2", "orders.redrive.payment.0"];
    let unreadable = shop
        .world
        .make_noise(&subjects, 500, async |n| {
            if n % 5 == 0 {
                shop.world.publish_event(&created(&format!("good-{n}"), "ann")).await;
            }
        })
        .await;
    eventually("every good order is paid", async || {
        let paid = "select count(*) from payments where order_id like 'good-%' and state = 'captured'";
        let paid: i64 = sqlx::query_scalar(paid).fetch_one(shop.payment.pool()).await.unwrap();
        (paid == 100).then_some(())
    })
    .await;
    shop.world.assert_noise_is_buried(&shop.payment, unreadable).await;
    assert!(shop.payment.is_running());
    eventually("Postgres tells that earlier letters were looked for by their index", async || {
        let looks = "select coalesce(sum(idx_scan), 0)::bigint from pg_stat_user_indexes
                     where pg_get_indexdef(indexrelid) like '%DeadLetter%'";
        let looks: i64 = sqlx::query_scalar(looks).fetch_one(shop.payment.pool()).await.unwrap();
        (looks > 0).then_some(())
    })
    .await;
}
