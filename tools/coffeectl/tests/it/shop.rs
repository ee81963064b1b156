//! A whole shop and the tool pointed at it.

use std::process::Output;

use serde_json::{Value, json};
use testing::{Mailbox, STAFF_TOKEN, Service, World, eventually, sibling_binary};

pub struct Shop {
    pub world: World,
    pub services: Vec<Service>,
    _mailbox: Option<Mailbox>,
}

const CONSUMING: [&str; 7] =
    ["order-api", "payment", "inventory", "email", "loyalty", "analytics", "kitchen-display"];

impl Shop {
    pub async fn open() -> Shop {
        let world = World::start().await;
        let mailbox = world.mailbox().await;
        let processor = world.service("card-processor", sibling_binary("card-processor")).start().await;
        let mut services = Vec::new();
        for name in CONSUMING {
            let service = world
                .service(name, sibling_binary(name))
                .env("CARD_PROCESSOR_URL", processor.url())
                .env("SMTP_URL", mailbox.smtp_url());
            services.push(service.start_unready().await);
        }
        for service in &mut services {
            service.ready().await;
        }
        services.push(processor);
        Shop { world, services, _mailbox: Some(mailbox) }
    }

    /// One service of it, which needs no other.
    pub async fn of(name: &str) -> Shop {
        let world = World::start().await;
        let service = world.service(name, sibling_binary(name)).start().await;
        Shop { world, services: vec![service], _mailbox: None }
    }

    /// A broker with its streams and nobody to read them.
    pub async fn without_services() -> Shop {
        Shop { world: World::start().await, services: Vec::new(), _mailbox: None }
    }

    pub fn service(&self, name: &str) -> &Service {
        self.services.iter().find(|service| service.name() == name).unwrap()
    }

    pub async fn sql(&self, service: &str, statement: &str) {
        let pool = self.service(service).pool();
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(pool).await.unwrap();
        assert!(done.rows_affected() > 0, "nothing changed: {statement}");
    }

    /// Places an order and returns its id.
    pub async fn order(&self, customer: &str) -> String {
        let body = json!({ "customerId": customer, "items": [{ "sku": "latte", "quantity": 2 }] });
        let url = format!("{}/orders", self.service("order-api").url());
        let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        answer.json::<Value>().await.unwrap()["orderId"].as_str().unwrap().to_owned()
    }

    /// A barista starts and finishes the ticket.
    pub async fn make(&self, order: &str) {
        let board = self.service("kitchen-display").url();
        for bump in ["start", "ready"] {
            let url = format!("{board}/tickets/{order}/{bump}");
            eventually("the ticket is bumped", async || {
                let request = reqwest::Client::new().post(&url).bearer_auth(STAFF_TOKEN);
                request.send().await.ok()?.status().is_success().then_some(())
            })
            .await;
        }
    }

    pub async fn coffeectl(&self, arguments: &[&str]) -> Output {
        self.command(arguments).await.output().await.unwrap()
    }

    /// With nobody at a terminal.
    pub async fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let url = self.world.database_url("order-api").await.replace("order_api", "{database}");
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_coffeectl"));
        command.args(arguments).stdin(std::process::Stdio::null());
        command.env("OPERATOR_NATS_URL", self.world.nats_url()).env("OPERATOR_DATABASE_URL", url);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command
    }

    /// Runs it with `--json`; it must succeed.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.coffeectl(&[arguments, &["--json"]].concat()).await;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub async fn assert_audit_holds(&self) {
        let output = self.coffeectl(&["audit", "--wait", "30s"]).await;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    }
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
