//! A customer, a barista and an operator: the shop seen from outside, through what `.run/env` says.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use testing::eventually;

use crate::shop::{Shop, text};

/// An open shop with the real services.
pub struct Counter {
    pub shop: Shop,
    env: BTreeMap<String, String>,
    http: reqwest::Client,
}

impl Counter {
    /// Without a trace page, unless it is asked for.
    pub fn open(more: &[&str]) -> Counter {
        let shop = Shop::with_real_services();
        shop.open(&[&["--scale", "traces=0"], more].concat());
        let env = shop.env();
        Counter { shop, env, http: reqwest::Client::new() }
    }

    pub fn env(&self, name: &str) -> &str {
        self.env.get(name).unwrap_or_else(|| panic!(".run/env has no {name}"))
    }

    pub async fn get(&self, service: &str, path: &str) -> Value {
        self.staff(self.http.get(format!("{}{path}", self.env(service)))).await.1
    }

    pub async fn staff_post(&self, service: &str, path: &str) -> u16 {
        self.staff(self.http.post(format!("{}{path}", self.env(service)))).await.0
    }

    async fn staff(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.bearer_auth(self.env("STAFF_TOKEN")).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// Places an order, as often as it takes on a busy machine, and returns its id.
    pub async fn order(&self, customer: &str) -> String {
        let key = format!("\"{customer}-only\"");
        eventually("the order is taken", async || self.try_order(customer, &key).await).await
    }

    /// `None` when the answer is not 201: the customer would try again with the same key.
    pub async fn try_order(&self, customer: &str, key: &str) -> Option<String> {
        let order = json!({ "customerId": customer, "items": [{ "name": "Latte", "quantity": 2 }] });
        let url = format!("{}/orders", self.env("ORDER_API_URL"));
        let request = self.http.post(url).header("Idempotency-Key", key).json(&order);
        let answer = request.timeout(std::time::Duration::from_secs(10)).send().await.ok()?;
        let created = answer.status().as_u16() == 201;
        let body: Value = answer.json().await.ok()?;
        created.then(|| body["orderId"].as_str().unwrap().to_owned())
    }

    pub async fn status(&self, order: &str) -> String {
        let order = self.get("ORDER_API_URL", &format!("/orders/{order}")).await;
        order["status"].as_str().unwrap_or_default().to_owned()
    }

    pub async fn wait_for_status(&self, order: &str, status: &str) {
        eventually(&format!("order {order} is {status}"), async || {
            (self.status(order).await == status).then_some(())
        })
        .await;
    }

    pub async fn jetstream(&self) -> async_nats::jetstream::Context {
        let (options, servers) = messaging::broker::parse(self.env("OPERATOR_NATS_URL")).unwrap();
        let options = messaging::broker::trusting(options, self.env.get("NATS_CA").map(Path::new));
        async_nats::jetstream::new(options.connect(servers).await.unwrap())
    }

    pub async fn publish(&self, subject: &'static str, body: &str) {
        let js = self.jetstream().await;
        js.publish(subject, body.to_owned().into()).await.unwrap().await.unwrap();
    }

    pub fn mails(&self) -> Vec<String> {
        let folder = Path::new(self.env("MAIL_DIR")).join("new");
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect()
    }

    pub fn coffeectl(&self, arguments: &[&str]) -> Output {
        Command::new(testing::sibling_binary("coffeectl")).args(arguments).envs(&self.env).output().unwrap()
    }

    /// The ten invariants, over every database and the broker.
    pub fn audit(&self) {
        let output = self.coffeectl(&["audit", "--wait", "90s"]);
        assert!(output.status.success(), "{}\n{}", text(&output), self.shop.own_log());
        self.nothing_was_refused();
    }

    /// The broker writes down whatever it refused to a service.
    fn nothing_was_refused(&self) {
        for log in std::fs::read_dir(self.shop.run_folder().join("logs")).unwrap().flatten() {
            let text = std::fs::read_to_string(log.path()).unwrap_or_default();
            let refused = text.lines().find(|line| line.contains("Violation"));
            assert!(refused.is_none(), "{}: {refused:?}", log.path().display());
        }
    }

    pub fn kill(&self, process: &str) {
        crate::shop::kill(self.shop.pids()[process]);
    }
}
