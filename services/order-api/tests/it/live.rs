use events::{OrderId, StockReserved, TicketReady};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::shop::{Shop, captured, latte, problem};

/// Reads a stream of server-sent events.
struct Events {
    bytes: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: String,
}

impl Events {
    async fn of(shop: &Shop, id: &OrderId) -> Events {
        let answer = shop.get(&format!("/orders/{id}/events")).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Events { bytes: answer.bytes_stream().boxed(), buffer: String::new() }
    }

    /// The next event: its id and data. `None` when the stream has ended.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let field = |name: &str| {
                    block
                        .lines()
                        .find_map(|line| line.strip_prefix(name).map(|value| value.trim().to_owned()))
                };
                let (event, id, data) = (field("event:"), field("id:"), field("data:"));
                self.buffer = rest.to_owned();
                if let Some(data) = data {
                    assert_eq!(event.as_deref(), Some("status"));
                    return Some((id.unwrap(), serde_json::from_str(&data).unwrap()));
                }
            }
            let bytes = tokio::time::timeout(std::time::Duration::from_secs(20), self.bytes.next());
            self.buffer += std::str::from_utf8(&bytes.await.expect("an event in time")?.unwrap()).unwrap();
        }
    }
}

#[tokio::test]
async fn an_order_can_be_followed_live_until_it_is_ready() {
    let shop = Shop::open().await;
    let id = shop.place(&latte("c-1")).await;
    let mut events = Events::of(&shop, &id).await;
    let (version, order) = events.next().await.unwrap();
    assert_eq!((version.as_str(), &order["status"]), ("1", &json!("received")));
    shop.say(captured(&id)).await;
    shop.say(StockReserved { order_id: id.clone() }).await;
    let mut last = events.next().await.unwrap();
    while last.1["status"] != "confirmed" {
        last = events.next().await.unwrap();
    }
    shop.say(TicketReady { order_id: id.clone() }).await;
    while last.1["status"] != "ready" {
        let next = events.next().await.unwrap();
        assert!(next.1["version"].as_i64() > last.1["version"].as_i64());
        last = next;
    }
    assert_eq!(events.next().await, None, "the stream ends with the order");

    // A browser comes back by itself after the end: it learns that there is no more.
    let url = shop.url(&format!("/orders/{id}/events"));
    let back = shop.http.get(&url).header("Last-Event-ID", &last.0).send().await.unwrap();
    assert_eq!(back.status(), 204);
    let back = shop.http.get(&url).header("Last-Event-ID", "nonsense").send().await.unwrap();
    assert_eq!(back.status(), 200);
}

#[tokio::test]
async fn a_change_made_by_another_instance_is_seen() {
    let shop = Shop::open().await;
    let id = shop.place(&latte("c-1")).await;
    let mut events = Events::of(&shop, &id).await;
    events.next().await.unwrap();
    sqlx::query("update orders set status = 'preparing', version = 5")
        .execute(shop.api.pool())
        .await
        .unwrap();
    let (version, order) = events.next().await.unwrap();
    assert_eq!((version.as_str(), &order["status"]), ("5", &json!("preparing")));
}

#[tokio::test]
async fn open_streams_are_bounded_and_a_closed_one_makes_room() {
    let shop = Shop::with(&[("MAX_EVENT_STREAMS", "1")]).await;
    let id = shop.place(&latte("c-1")).await;
    let first = Events::of(&shop, &id).await;
    let refused = shop.get(&format!("/orders/{id}/events")).await;
    assert!(refused.headers().contains_key("retry-after"));
    problem(refused, 503).await;
    drop(first);
    testing::eventually("there is room again", async || {
        (shop.get(&format!("/orders/{id}/events")).await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_open_stream_does_not_keep_the_process_from_stopping() {
    let mut shop = Shop::open().await;
    let id = shop.place(&latte("c-1")).await;
    let mut events = Events::of(&shop, &id).await;
    events.next().await.unwrap();
    let start = std::time::Instant::now();
    shop.api.terminate().await;
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    assert_eq!(events.next().await, None);
}
