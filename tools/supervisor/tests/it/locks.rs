//! What a stolen password is good for, tried on real servers with the configuration of a real shop: whoever has
//! it asks for what the service itself never needs, and the server refuses.

use std::sync::{Arc, Mutex};

use async_nats::jetstream::{self, Context};
use async_nats::{Client, Event};
use events::topology::STREAMS;
use serde_json::{Value, json};
use testing::eventually;

use crate::shop::Shop;

/// A shop whose services are stand-ins, so that only the test speaks for them.
struct Bank {
    shop: Shop,
    operator: Context,
}

impl Bank {
    async fn open() -> Bank {
        let shop = Shop::new();
        shop.open(&[]);
        let (options, servers) = messaging::broker::parse(&shop.env()["OPERATOR_NATS_URL"]).unwrap();
        let operator = jetstream::new(options.connect(servers).await.unwrap());
        messaging::streams::declare(&operator, "operator", messaging::Settings::default().streams)
            .await
            .unwrap();
        Bank { shop, operator }
    }

    /// What the service is told; the stand-ins answer with their environment.
    fn nats_url(&self, service: &str) -> String {
        let told = self.shop.ask(service).unwrap();
        let (_, url) = told.split_once(r#""NATS_URL": ""#).expect("it is told a broker");
        url.split('"').next().unwrap().to_owned()
    }

    async fn thief(&self, service: &str) -> Thief {
        let (options, servers) = messaging::broker::parse(&self.nats_url(service)).unwrap();
        let refused = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&refused);
        let options = options.event_callback(move |event| {
            if let Event::ServerError(error) = &event {
                heard.lock().unwrap().push(error.to_string().to_lowercase());
            }
            async {}
        });
        Thief { client: options.connect(servers).await.unwrap(), refused }
    }

    async fn messages(&self, stream: &str) -> u64 {
        self.operator.get_stream(stream).await.unwrap().cached_info().state.messages
    }

    async fn publish(&self, subject: &'static str) {
        self.operator.publish(subject, "kept".into()).await.unwrap().await.unwrap();
    }
}

/// Somebody with a service's password.
struct Thief {
    client: Client,
    refused: Arc<Mutex<Vec<String>>>,
}

impl Thief {
    async fn cannot_publish(&self, subject: &str, body: &Value) {
        let reply = self.client.new_inbox();
        let body = body.to_string();
        self.client.publish_with_reply(subject.to_owned(), reply, body.into()).await.unwrap();
        self.is_refused(&format!("publish to \"{subject}\"")).await;
    }

    async fn cannot_hear(&self, subject: &str) {
        let _heard = self.client.subscribe(subject.to_owned()).await.unwrap();
        self.is_refused(&format!("subscription to \"{subject}\"")).await;
    }

    async fn is_refused(&self, what: &str) {
        let what = what.to_lowercase();
        eventually(&format!("the broker refuses {what}"), async || {
            self.refused.lock().unwrap().iter().any(|refusal| refusal.contains(&what)).then_some(())
        })
        .await;
    }

    /// What the broker answers to a request it lets through.
    async fn asks(&self, subject: &str, body: &Value) -> String {
        // With a subscription of its own: a message of a stream comes under its own subject.
        let request =
            async_nats::Request::new().payload(body.to_string().into()).inbox(self.client.new_inbox());
        let answer = self.client.send_request(subject.to_owned(), request).await.unwrap();
        String::from_utf8_lossy(&answer.payload).into_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_says_its_own_events_and_no_others() {
    let bank = Bank::open().await;
    let payment = bank.thief("payment").await;
    let forged: Value = serde_json::from_str(testing::SAMPLE).unwrap();
    for subject in [
        "orders.created.0",
        "orders.created",
        "orders.stock-reserved.3",
        "orders.redrive.loyalty.0",
        "emails.received",
        "dlq.email",
        "dlq.payment.discarded",
        "_INBOX_email.anything",
    ] {
        payment.cannot_publish(subject, &forged).await;
    }
    bank.thief("email").await.cannot_publish("orders.payment-captured.1", &forged).await;
    for stream in STREAMS {
        assert_eq!(bank.messages(stream.name).await, 0, "{}", stream.name);
    }
    let stored = payment.asks("orders.payment-captured.0", &forged).await;
    assert!(stored.contains(r#""stream":"ORDERS""#), "{stored}");
    assert_eq!(bank.messages("ORDERS").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_reads_no_dead_letters_and_no_tasks_but_its_own() {
    let bank = Bank::open().await;
    for subject in ["dlq.payment", "dlq.email", "emails.received"] {
        bank.publish(subject).await;
    }
    let email = bank.thief("email").await;
    let by_number = json!({ "seq": 1 });
    for request in [
        "STREAM.MSG.GET.DLQ",
        "DIRECT.GET.DLQ",
        "DIRECT.GET.DLQ.dlq.payment",
        "DIRECT.GET.DLQ.dlq.email",
        "CONSUMER.CREATE.DLQ",
        "CONSUMER.CREATE.DLQ.mine",
        "CONSUMER.CREATE.DLQ.mine.dlq.payment",
        "CONSUMER.DURABLE.CREATE.DLQ.mine",
        "CONSUMER.MSG.NEXT.DLQ.mine",
    ] {
        email.cannot_publish(&format!("$JS.API.{request}"), &by_number).await;
    }
    for subject in [">", "orders.>", "dlq.*", "dlq.email", "_INBOX.>", "_INBOX_payment.>", "$JS.API.>"] {
        email.cannot_hear(subject).await;
    }
    let payment = bank.thief("payment").await;
    for request in ["STREAM.MSG.GET.EMAILS", "STREAM.INFO.EMAILS", "CONSUMER.CREATE.EMAILS.payment"] {
        payment.cannot_publish(&format!("$JS.API.{request}"), &by_number).await;
    }

    // The request says whose letters, and the broker holds the consumer to it.
    let look = |filter: &str| {
        let config = json!({ "name": "look", "ack_policy": "none", "deliver_policy": "last", "filter_subject": filter });
        json!({ "stream_name": "DLQ", "config": config })
    };
    let own = "$JS.API.CONSUMER.CREATE.DLQ.look.dlq.email";
    let refused = email.asks(own, &look("dlq.payment")).await;
    assert!(refused.contains("did not match filtered subject"), "{refused}");
    let allowed = email.asks(own, &look("dlq.email")).await;
    assert!(allowed.contains(r#""num_pending":1"#), "{allowed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_destroys_nothing_and_reads_by_no_other_ones_consumer() {
    let bank = Bank::open().await;
    bank.publish("orders.created").await;
    let stream = bank.operator.get_stream("ORDERS").await.unwrap();
    let config =
        jetstream::consumer::pull::Config { durable_name: Some("loyalty".into()), ..Default::default() };
    stream.create_consumer(config).await.unwrap();
    let payment = bank.thief("payment").await;
    for request in [
        "STREAM.DELETE.ORDERS",
        "STREAM.PURGE.ORDERS",
        "STREAM.UPDATE.ORDERS",
        "STREAM.MSG.DELETE.ORDERS",
        "STREAM.SNAPSHOT.ORDERS",
        "STREAM.CREATE.THEIRS",
        "STREAM.CREATE.EMAILS",
        "STREAM.NAMES",
        "CONSUMER.DELETE.ORDERS.loyalty",
        "CONSUMER.DELETE.ORDERS.payment",
        "CONSUMER.CREATE.ORDERS",
        "CONSUMER.CREATE.ORDERS.loyalty",
        "CONSUMER.CREATE.ORDERS.new",
        "CONSUMER.DURABLE.CREATE.ORDERS.loyalty",
        "CONSUMER.MSG.NEXT.ORDERS.loyalty",
        "CONSUMER.RESET.ORDERS.loyalty",
        "CONSUMER.RESET.ORDERS.payment",
        "CONSUMER.PAUSE.ORDERS.loyalty",
    ] {
        payment.cannot_publish(&format!("$JS.API.{request}"), &json!({ "seq": 1 })).await;
    }
    // An answer to this one, sent into a stream, would be stored as an event that payment cannot say.
    payment.cannot_publish("$JS.API.DIRECT.GET.ORDERS.orders.payment-captured.0", &json!({})).await;
    payment.cannot_publish("$JS.ACK.ORDERS.loyalty.1.1.1.1.0", &json!({})).await;
    assert_eq!(bank.messages("ORDERS").await, 1);
    assert_eq!(stream.consumer_info("loyalty").await.unwrap().delivered.consumer_sequence, 0);

    let made =
        json!({ "stream_name": "ORDERS", "config": { "durable_name": "payment", "ack_policy": "explicit" } });
    let made = payment.asks("$JS.API.CONSUMER.CREATE.ORDERS.payment", &made).await;
    assert!(made.contains(r#""name":"payment""#), "{made}");
    let found = payment.asks("$JS.API.STREAM.INFO.ORDERS", &json!({})).await;
    assert!(found.contains(r#""messages":1"#), "{found}");
    let next = payment.asks("$JS.API.CONSUMER.MSG.NEXT.ORDERS.payment", &json!({ "batch": 1 })).await;
    assert_eq!(next, "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_signs_in_without_a_password_of_their_own() {
    let bank = Bank::open().await;
    let url = bank.nats_url("payment");
    let (credentials, address) = url.strip_prefix("nats://").unwrap().split_once('@').unwrap();
    let (_, password) = credentials.split_once(':').unwrap();
    let signs_in = async |credentials: &str| {
        let (options, servers) =
            messaging::broker::parse(&format!("nats://{credentials}@{address}")).unwrap();
        options.connect(servers).await.map(|_| ()).map_err(|error| error.to_string())
    };
    assert!(signs_in(credentials).await.is_ok());
    for wrong in
        ["payment:guessed", &format!("email:{password}"), &format!("card-processor:{password}"), "x:"]
    {
        let refused = signs_in(wrong).await.unwrap_err();
        assert!(refused.contains("authorization violation"), "{wrong}: {refused}");
    }
    let anonymous = async_nats::ConnectOptions::new().connect(format!("nats://{address}")).await;
    assert!(anonymous.unwrap_err().to_string().contains("authorization violation"));
    assert!(!bank.shop.ask("card-processor").unwrap().contains("NATS_URL"), "it has no business there");
}

#[test]
fn the_configuration_for_containers_is_one_that_the_broker_takes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docker/nats");
    for file in ["brokers-1.conf", "brokers-3.conf"] {
        let mut broker = std::process::Command::new(testing::server_program("NATS_SERVER"));
        broker.args(["-t", "-c", &format!("{folder}/{file}")]).env("HOSTNAME", "nats");
        broker.env("ROUTES", "[]").env("ROUTES_NATS_PASSWORD", "\"7\"");
        for user in events::permissions::users() {
            let variable = format!("{}_NATS_PASSWORD", user.replace('-', "_").to_uppercase());
            broker.env(variable, "\"0123\"");
        }
        let output = broker.output().unwrap();
        assert!(output.status.success(), "{file}: {}", crate::shop::text(&output));
    }
}

#[tokio::test]
async fn no_role_reaches_another_ones_database_or_rises_above_itself() {
    use sqlx::{Connection, PgConnection};
    let shop = Shop::new();
    shop.open(&[]);
    let env = shop.env();
    let owners: Vec<(String, &String)> = crate::shop::SERVICES
        .map(|service| service.replace('-', "_"))
        .map(|name| (name.clone(), &env[&format!("{}_DATABASE_URL", name.to_uppercase())]))
        .into();
    let of = |url: &str, database: &str| format!("{}/{database}", url.rsplit_once('/').unwrap().0);
    for (role, url) in &owners {
        let mut own = PgConnection::connect(url).await.unwrap();
        for (other, _) in owners.iter().filter(|(other, _)| other != role) {
            let refused = PgConnection::connect(&of(url, other)).await.unwrap_err().to_string();
            assert!(refused.contains("permission denied for database"), "{role} at {other}: {refused}");
        }
        for forbidden in [
            "create role thief superuser",
            "create database loot",
            "set role postgres",
            "set role operator",
            "alter role operator password 'mine'",
            "copy (select 1) to program 'true'",
            "select pg_read_file('/etc/hostname')",
        ] {
            let tried = sqlx::raw_sql(sqlx::AssertSqlSafe(forbidden)).execute(&mut own).await;
            let refused = tried.unwrap_err().to_string();
            assert!(
                refused.contains("permission denied") || refused.contains("must be"),
                "{role}: {refused}"
            );
        }
    }
    let operator = &env["OPERATOR_DATABASE_URL"];
    let mut reader = PgConnection::connect(operator).await.unwrap();
    let strong: Vec<String> = sqlx::query_scalar(
        "select rolname from pg_roles where rolname <> 'postgres' and rolcanlogin
         and (rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls)",
    )
    .fetch_all(&mut reader)
    .await
    .unwrap();
    assert!(strong.is_empty(), "{strong:?}");
    for (database, url) in &owners {
        let mut owner = PgConnection::connect(url).await.unwrap();
        sqlx::raw_sql("create table kept (id int); insert into kept values (7)")
            .execute(&mut owner)
            .await
            .unwrap();
        let mut reader = PgConnection::connect(&of(operator, database)).await.unwrap();
        let id: i32 = sqlx::query_scalar("select id from kept").fetch_one(&mut reader).await.unwrap();
        assert_eq!(id, 7);
        sqlx::raw_sql("set default_transaction_read_only = off").execute(&mut reader).await.unwrap();
        for forbidden in ["update kept set id = 8", "drop table kept", "create table mine (id int)"] {
            let tried = sqlx::raw_sql(sqlx::AssertSqlSafe(forbidden)).execute(&mut reader).await;
            let refused = tried.unwrap_err().to_string();
            assert!(refused.contains("permission denied") || refused.contains("must be owner"), "{refused}");
        }
    }
}
