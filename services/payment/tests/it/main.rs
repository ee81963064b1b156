//! The payment service against a real broker, a real database and the real card processor.
#![allow(clippy::unwrap_used)]

mod cancelling;
mod charging;
mod noise;
mod trouble;

use events::{Cents, Event, Item, OrderCancelled, OrderCreated};
use serde_json::{Value, json};
use testing::{STAFF_TOKEN, Service, World, eventually, sibling_binary};

pub struct Shop {
    pub world: World,
    pub payment: Service,
    pub processor: Service,
}

impl Shop {
    pub async fn open() -> Shop {
        Shop::open_with(&[]).await
    }

    pub async fn open_with(settings: &[(&str, &str)]) -> Shop {
        let world = World::start().await;
        let processor = world.service("card-processor", sibling_binary("card-processor"));
        let processor = processor.env("CARD_PROCESSOR_DELAY_MS", "0").start().await;
        let payment = world
            .service("payment", env!("CARGO_BIN_EXE_payment"))
            .env("CARD_PROCESSOR_URL", processor.url())
            .env("CHARGE_TIMEOUT_MS", "500");
        let payment =
            settings.iter().fold(payment, |payment, (name, value)| payment.env(name, *value)).start().await;
        Shop { world, payment, processor }
    }

    pub async fn create(&self, order: &str) {
        self.world.publish_event(&created(order, "ann")).await;
    }

    pub async fn cancel(&self, order: &str) {
        self.world.publish_event(&cancelled(order)).await;
    }

    pub async fn behave(&self, behaviour: Value) {
        let request = reqwest::Client::new().put(format!("{}/behaviour", self.processor.url()));
        let response = request.bearer_auth(STAFF_TOKEN).json(&behaviour).send().await.unwrap();
        assert!(response.status().is_success());
    }

    /// `(status, amount, refunded)` of every charge in the processor's ledger for an order.
    pub async fn charges(&self, order: &str) -> Vec<(String, i64, i64)> {
        sqlx::query_as("select status, amount_cents, refunded_cents from charges where reference = $1")
            .bind(order)
            .fetch_all(self.processor.pool())
            .await
            .unwrap()
    }

    pub async fn state(&self, order: &str) -> Option<String> {
        sqlx::query_scalar("select state from payments where order_id = $1")
            .bind(order)
            .fetch_optional(self.payment.pool())
            .await
            .unwrap()
    }

    pub async fn until_state(&self, order: &str, state: &str) {
        eventually(&format!("{order} is {state}"), async || {
            (self.state(order).await.as_deref() == Some(state)).then_some(())
        })
        .await;
    }

    /// Waits until `count` payments are in `state`.
    pub async fn until_count(&self, count: i64, state: &str) {
        eventually(&format!("{count} payments are {state}"), async || {
            let now: i64 = sqlx::query_scalar("select count(*) from payments where state = $1")
                .bind(state)
                .fetch_one(self.payment.pool())
                .await
                .unwrap();
            (now == count).then_some(())
        })
        .await;
    }

    /// The types of the events said so far about an order, in order.
    pub async fn said(&self, order: &str) -> Vec<String> {
        self.world.settle(&self.payment).await;
        let all = self.world.published("orders.>").await;
        let own = all.iter().filter(|event| event["data"]["orderId"] == json!(order));
        let types = own.map(|event| event["eventType"].as_str().unwrap().to_owned());
        types.filter(|event_type| event_type.starts_with("Payment")).collect()
    }
}

pub fn created(order: &str, customer: &str) -> Event {
    let data = OrderCreated {
        order_id: order.to_owned().try_into().unwrap(),
        customer_id: customer.to_owned().try_into().unwrap(),
        email: None,
        items: vec![Item { name: "Latte".into(), sku: None, price: Cents(450), quantity: 1 }],
        total: Cents(450),
    };
    Event::new(data, Some(1))
}

pub fn cancelled(order: &str) -> Event {
    let data = OrderCancelled {
        order_id: order.to_owned().try_into().unwrap(),
        customer_id: "ann".to_owned().try_into().unwrap(),
        email: None,
        reason: "changed my mind".into(),
    };
    Event::new(data, Some(2))
}

pub fn captured() -> Vec<(String, i64, i64)> {
    vec![("captured".into(), 450, 0)]
}

pub fn refunded() -> Vec<(String, i64, i64)> {
    vec![("captured".into(), 450, 450)]
}
