//! An order API to talk to.

use events::{Cents, Data, Event, OrderId};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use testing::{Service, World, eventually};

pub struct Shop {
    pub api: Service,
    pub world: World,
    pub http: reqwest::Client,
}

pub fn latte(customer: &str) -> Value {
    json!({ "customerId": customer, "items": [{ "name": "Latte", "quantity": 2 }] })
}

impl Shop {
    pub async fn open() -> Shop {
        Shop::with(&[]).await
    }

    pub async fn with(envs: &[(&str, &str)]) -> Shop {
        Shop::inside(World::start().await, envs).await
    }

    pub async fn inside(world: World, envs: &[(&str, &str)]) -> Shop {
        let api = Shop::instance(&world, "order-api", envs).await;
        Shop { api, world, http: reqwest::Client::new() }
    }

    pub async fn instance(world: &World, name: &str, envs: &[(&str, &str)]) -> Service {
        let pending = world.service("order-api", env!("CARGO_BIN_EXE_order-api")).instance(name);
        envs.iter().fold(pending, |pending, (name, value)| pending.env(name, *value)).start().await
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.api.url())
    }

    pub async fn get(&self, path: &str) -> Response {
        self.http.get(self.url(path)).send().await.unwrap()
    }

    pub async fn post(&self, order: &Value) -> Response {
        self.http.post(self.url("/orders")).json(order).send().await.unwrap()
    }

    pub async fn post_with_key(&self, key: &str, order: &Value) -> Response {
        let request = self.http.post(self.url("/orders")).header("Idempotency-Key", key);
        request.json(order).send().await.unwrap()
    }

    /// Places an order that must be taken.
    pub async fn place(&self, order: &Value) -> OrderId {
        let answer = self.post(order).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        let body: Value = answer.json().await.unwrap();
        OrderId::try_from(body["orderId"].as_str().unwrap().to_owned()).unwrap()
    }

    pub async fn order(&self, id: &OrderId) -> Value {
        let answer = self.get(&format!("/orders/{id}")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.unwrap()
    }

    pub async fn status_becomes(&self, id: &OrderId, status: &str) -> Value {
        eventually(&format!("{id} is {status}"), async || {
            let order = self.order(id).await;
            (order["status"] == status).then_some(order)
        })
        .await
    }

    /// As another service would say it.
    pub async fn say(&self, data: impl Into<Data>) {
        self.world.publish_event(&Event::new(data, None)).await;
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.api.pool()).await.unwrap()
    }

    /// The value behind the beginning of a line of `/metrics`.
    pub async fn metric(&self, line: &str) -> Option<String> {
        let page = self.get("/metrics").await.text().await.unwrap();
        page.lines().find_map(|l| l.strip_prefix(line)).map(|value| value.trim().to_owned())
    }

    /// Rows of `orders` that were read by an index, once Postgres tells of `expected` or more: it tells late.
    pub async fn orders_read(&self, expected: i64) -> i64 {
        eventually("Postgres tells what it read", async || {
            let read = "select idx_tup_fetch from pg_stat_user_tables where relname = 'orders'";
            let rows = self.count(read).await;
            (rows >= expected).then_some(rows)
        })
        .await
    }

    pub async fn orders(&self) -> i64 {
        self.count("select count(*) from orders").await
    }
}

/// Checks that it is a problem document and returns it.
pub async fn problem(answer: Response, status: u16) -> Value {
    assert_eq!(answer.status().as_u16(), status);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["status"], status);
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{problem}");
    problem
}

pub fn captured(order_id: &OrderId) -> events::PaymentCaptured {
    events::PaymentCaptured { order_id: order_id.clone(), amount: Cents(900), charge_id: "ch-1".to_owned() }
}
