//! Everything one test needs: a broker of its own, databases of its own, and a view of what was said.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use events::Event;
use events::permissions::OPERATOR;
use events::topology::{self, CONSUMERS, DLQ, ORDERS};
use futures::TryStreamExt;
use messaging::dead_letter::{self, DeadLetter};
use messaging::streams::ensure_stream;
use sqlx::PgPool;

use crate::broker::Broker;
use crate::postgres::Postgres;
use crate::process::Folder;
use crate::{Mailbox, Service, ServiceBuilder, eventually};

pub struct World {
    id: String,
    jetstream: jetstream::Context,
    postgres: Option<Postgres>,
    databases: Mutex<Vec<(String, String)>>,
    broker: Mutex<Broker>,
    folder: Folder,
}

impl World {
    pub async fn start() -> World {
        World::new(None).await
    }

    /// With a Postgres that no other test uses, for tests that stop it.
    pub async fn with_own_postgres() -> World {
        World::new(Some(Postgres::start())).await
    }

    async fn new(postgres: Option<Postgres>) -> World {
        let folder = Folder::new();
        let broker = Broker::start(folder.join("nats"), folder.join("nats.log"));
        let url = broker.url(OPERATOR);
        let connect = async || {
            let (options, servers) = messaging::broker::parse(&url).unwrap();
            let options = options.reconnect_delay_callback(|_| Duration::from_millis(50));
            options.connect(servers).await.ok()
        };
        let client = eventually("the broker answers", connect).await;
        let jetstream = jetstream::new(client);
        let streams = messaging::Settings::default().streams;
        eventually("JetStream is up", async || jetstream.query_account().await.ok()).await;
        for spec in topology::STREAMS {
            ensure_stream(&jetstream, spec, streams).await.unwrap();
        }
        let id = uuid::Uuid::new_v4().simple().to_string();
        let (databases, broker) = (Mutex::default(), Mutex::new(broker));
        World { id, jetstream, postgres, databases, broker, folder }
    }

    /// A service that keeps its data in the database `name`; a second one of the same name shares it.
    pub fn service(&self, name: &str, binary: impl AsRef<Path>) -> PendingService<'_> {
        PendingService {
            world: self,
            name: name.to_owned(),
            instance: name.to_owned(),
            builder: Vec::new(),
            binary: binary.as_ref().to_owned(),
        }
    }

    pub async fn mailbox(&self) -> Mailbox {
        Mailbox::start(self.folder.join("mail"), self.folder.join("mailbox.log")).await
    }

    /// An empty database, for tests without a service.
    pub async fn database(&self, name: &str) -> PgPool {
        PgPool::connect(&self.database_url(name).await).await.unwrap()
    }

    pub async fn database_url(&self, name: &str) -> String {
        let known =
            self.databases.lock().unwrap().iter().find(|(n, _)| n == name).map(|(_, url)| url.clone());
        match known {
            Some(url) => url,
            None => {
                let database = format!("{}_{}", name.replace('-', "_"), &self.id[..8]);
                let url = self.postgres().create(&database).await;
                self.databases.lock().unwrap().push((name.to_owned(), url.clone()));
                url
            }
        }
    }

    fn postgres(&self) -> &Postgres {
        self.postgres.as_ref().unwrap_or_else(|| Postgres::shared())
    }

    pub fn kill_postgres(&self) {
        self.postgres.as_ref().expect("World::with_own_postgres()").kill();
    }

    pub fn start_postgres(&self) {
        self.postgres().start_again();
    }

    /// As the operator, who may do everything.
    pub fn nats_url(&self) -> String {
        self.broker.lock().unwrap().url(OPERATOR)
    }

    /// As the user of a service, with the permissions it has in a real shop. `None` for one that is not on the
    /// broker.
    pub fn nats_url_of(&self, service: &str) -> Option<String> {
        topology::service(service).map(|service| self.broker.lock().unwrap().url(service.name))
    }

    /// SIGKILL; what the broker has stored stays.
    pub async fn stop_nats(&self) {
        self.broker.lock().unwrap().kill();
    }

    pub async fn start_nats(&self) {
        self.broker.lock().unwrap().start_again();
        eventually("the broker answers again", async || self.jetstream.query_account().await.ok()).await;
    }

    /// Remembers what the broker has stored so far.
    pub fn copy_broker_store(&self) {
        self.broker.lock().unwrap().copy_store();
    }

    /// The stopped broker loses what it has stored since [`World::copy_broker_store`], or everything.
    pub fn lose_broker_store(&self) {
        self.broker.lock().unwrap().lose_newer();
    }

    /// As above, but it still knows how far its consumers had come.
    pub fn lose_broker_messages(&self) {
        self.broker.lock().unwrap().lose_newer_messages();
    }

    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// As somebody would by hand: no headers, no id.
    pub async fn publish(&self, subject: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref().to_vec();
        self.jetstream.publish(subject.to_owned(), body.into()).await.unwrap().await.unwrap();
    }

    /// As the relay of a service does.
    pub async fn publish_event(&self, event: &Event) {
        let mut headers = HeaderMap::new();
        headers.insert("ce-specversion", "1.0");
        headers.insert("Nats-Msg-Id", event.id.as_str());
        let subject = topology::subject(event.event_type(), event.order_id());
        let sent = self.jetstream.publish_with_headers(subject, headers, event.encode().into());
        sent.await.unwrap().await.unwrap();
    }

    /// The bodies stored in ORDERS so far under a subject, wildcards allowed.
    pub async fn published(&self, filter: &str) -> Vec<serde_json::Value> {
        let config = pull::Config {
            filter_subject: filter.to_owned(),
            ack_policy: AckPolicy::None,
            inactive_threshold: Duration::from_secs(5),
            ..pull::Config::default()
        };
        let stream = self.jetstream.get_stream(ORDERS.name).await.unwrap();
        let consumer = stream.create_consumer(config).await.unwrap();
        let expected = consumer.cached_info().num_pending as usize;
        let mut bodies = Vec::new();
        while bodies.len() < expected {
            let left = expected - bodies.len();
            let batch = consumer.fetch().max_messages(left).messages().await.unwrap();
            let messages: Vec<_> = batch.try_collect().await.unwrap();
            bodies.extend(messages.iter().map(|m| serde_json::from_slice(&m.payload).unwrap_or_default()));
        }
        bodies
    }

    /// Dead letters that wait for a person.
    pub async fn dead_letters(&self) -> Vec<DeadLetter> {
        let streams = messaging::Settings::default().streams;
        ensure_stream(&self.jetstream, &DLQ, streams).await.unwrap();
        let letters = dead_letter::list(&self.jetstream).await.unwrap();
        letters.into_iter().filter(|letter| !letter.discarded).collect()
    }

    /// Waits until the service has finished everything it was told and said everything it had to say.
    pub async fn settle(&self, service: &Service) {
        let what = format!("{} is quiet", service.name());
        eventually(&what, async || self.is_quiet(service).await.then_some(())).await;
    }

    async fn is_quiet(&self, service: &Service) -> bool {
        for spec in CONSUMERS.iter().filter(|spec| spec.service == service.name()) {
            let Ok(stream) = self.jetstream.get_stream(spec.stream.name).await else { return false };
            for (durable, _) in spec.durables() {
                match stream.consumer_info(&durable).await {
                    Ok(info) if info.num_pending == 0 && info.num_ack_pending == 0 => {}
                    _ => return false,
                }
            }
        }
        let unpublished = "select count(*) from outbox_waiting";
        sqlx::query_scalar::<_, i64>(unpublished)
            .fetch_one(service.pool())
            .await
            .is_ok_and(|count| count == 0)
    }
}

/// A service that asks the broker for what it may not have would fail in a real shop: its permissions, or the
/// service, are wrong.
impl Drop for World {
    fn drop(&mut self) {
        let log = std::fs::read_to_string(self.folder.join("nats.log")).unwrap_or_default();
        let refused = log.lines().find(|line| line.contains("Violation"));
        assert!(refused.is_none() || std::thread::panicking(), "the broker refused something: {refused:?}");
    }
}

/// A service to be started; its environment can still be changed.
pub struct PendingService<'a> {
    world: &'a World,
    name: String,
    instance: String,
    binary: std::path::PathBuf,
    builder: Vec<(String, String)>,
}

impl PendingService<'_> {
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.builder.push((name.to_owned(), value.into()));
        self
    }

    /// For a second instance, which needs a name of its own.
    pub fn instance(mut self, instance: &str) -> Self {
        self.instance = instance.to_owned();
        self
    }

    pub async fn start(self) -> Service {
        let mut service = self.start_unready().await;
        service.ready().await;
        service
    }

    pub async fn start_unready(self) -> Service {
        let database_url = self.world.database_url(&self.name).await;
        let log = self.world.folder.join(&format!("{}.log", self.instance));
        let nats_url = self.world.nats_url_of(&self.name);
        let builder = ServiceBuilder::new(&self.name, &self.binary, log, database_url, nats_url);
        let builder = builder.env("INSTANCE", self.instance);
        self.builder
            .into_iter()
            .fold(builder, |builder, (name, value)| builder.env(&name, value))
            .start_unready()
    }
}
