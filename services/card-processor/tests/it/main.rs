//! The card processor as its callers meet it: over HTTP, with its real ledger.
#![allow(clippy::unwrap_used)]

mod behaviour;
mod charges;
mod refunds;

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use testing::{STAFF_TOKEN, Service, World};

pub struct Processor {
    pub service: Service,
    client: Client,
    _world: World,
}

pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

impl Processor {
    pub async fn start() -> Processor {
        let world = World::start().await;
        let service = world.service("card-processor", env!("CARGO_BIN_EXE_card-processor"));
        let service = service.env("CARD_PROCESSOR_DELAY_MS", "0").start().await;
        Processor { service, client: Client::new(), _world: world }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.service.url())).timeout(Duration::from_secs(5))
    }

    pub async fn charge(&self, key: &str, body: Value) -> Answer {
        let request = self.request(Method::POST, "/charges").header("Idempotency-Key", key).json(&body);
        answer(request).await
    }

    pub async fn refund(&self, key: &str, charge_id: &str) -> Answer {
        let path = format!("/charges/{charge_id}/refunds");
        answer(self.request(Method::POST, &path).header("Idempotency-Key", key)).await
    }

    pub async fn charges(&self, reference: &str) -> Vec<Value> {
        let path = format!("/charges?reference={reference}");
        answer(self.request(Method::GET, &path)).await.body["charges"].as_array().unwrap().clone()
    }

    pub async fn behave(&self, behaviour: Value) -> Answer {
        answer(self.request(Method::PUT, "/behaviour").bearer_auth(STAFF_TOKEN).json(&behaviour)).await
    }
}

pub async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer { status: response.status(), body: response.json().await.unwrap() }
}

pub fn latte(reference: &str, customer: &str) -> Value {
    json!({"reference": reference, "customer": customer, "amount": 4.50})
}
