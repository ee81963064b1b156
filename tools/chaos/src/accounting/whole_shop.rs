//! The accounting against a real shop: after some hundred orders its books are clean, and a wrong row in any
//! table is found. The checks themselves are tried in `tests.rs`; here it is the reading.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::time::Duration;

use events::topology::CONSUMERS;
use sqlx::AssertSqlSafe;
use testing::{Mailbox, Service, World, eventually, sibling_binary};

use super::{Account, Place, check};
use crate::load::Load;
use crate::notes::Note;
use crate::report::{Sample, Sampler};

const CONSUMING: [&str; 7] =
    ["order-api", "payment", "inventory", "email", "loyalty", "analytics", "kitchen-display"];

struct Shop {
    world: World,
    services: Vec<Service>,
    mailbox: Mailbox,
    place: Place,
}

impl Shop {
    async fn open() -> Shop {
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
        let database_url = world.database_url("order-api").await.replace("order_api", "{database}");
        let place = Place { database_url, mail_dir: mailbox.maildir().to_owned() };
        Shop { world, services, mailbox, place }
    }

    fn service(&self, name: &str) -> &Service {
        self.services.iter().find(|service| service.name() == name).unwrap()
    }

    /// Some hundred orders, and nothing left to do for any of them.
    async fn orders(&self) -> Vec<Note> {
        let load = Load::start(&self.service("order-api").url(), 200.0, 42).await.unwrap();
        let book = load.book();
        let (nats, databases) = (self.world.nats_url(), &self.place.database_url);
        let sampler =
            Sampler::start(load.began(), &nats, databases, move || book.progress().ok).await.unwrap();
        eventually("300 orders", async || (load.book().progress().ok >= 300).then_some(())).await;
        let notes = load.finish(Duration::from_secs(20)).await;
        let settled = async || {
            let waiting = "select count(*) from orders where status = 'received'";
            let waiting: i64 =
                sqlx::query_scalar(waiting).fetch_one(self.service("order-api").pool()).await.ok()?;
            (waiting == 0 && is_quiet(sampler.samples().last()?)).then_some(())
        };
        eventually("every order is settled and nothing waits", settled).await;
        let samples = sampler.samples();
        assert!(samples.iter().any(|sample| sample.lag.values().sum::<u64>() > 0), "lag was never seen");
        assert!(samples.windows(2).all(|pair| pair[0].accepted <= pair[1].accepted));
        notes
    }

    async fn sql(&self, service: &str, statement: &str) {
        let pool = self.service(service).pool();
        let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(pool).await.unwrap();
        assert!(done.rows_affected() > 0, "nothing changed: {statement}");
    }

    async fn account(&self, notes: &[Note]) -> Account {
        check(&self.place, notes, &HashSet::new()).await.unwrap()
    }
}

fn is_quiet(sample: &Sample) -> bool {
    sample.lag.len() == CONSUMERS.len()
        && sample.unpublished.len() == CONSUMING.len()
        && sample.lag.values().all(|lag| *lag == 0)
        && sample.unpublished.values().all(|rows| *rows == 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_row_in_any_service_is_found() {
    let shop = Shop::open().await;
    let notes = shop.orders().await;
    let clean = shop.account(&notes).await;
    assert_eq!(clean.offences, []);
    assert_eq!((clean.counts.orders, clean.counts.unknown_without_trace), (notes.len() as u64, 0));
    assert!(clean.counts.cancelled.values().sum::<u64>() > 0 && clean.counts.mails > clean.counts.orders);
    let whose = |declined: bool| {
        let mut found = notes.iter().filter(|note| note.customer.starts_with("declined-") == declined);
        found.next().unwrap().answer().unwrap().order_id.clone()
    };
    let (good, bad) = (whose(false), whose(true));
    let corruptions = [
        ("order-api", "update orders set total_cents = total_cents + 1", &good, "order-api: the total"),
        ("order-api", "delete from idempotency_keys", &good, "order-api: its key stands for nothing"),
        ("payment", "delete from payments", &good, "payment: the payment is missing"),
        ("inventory", "update reservations set state = 'reserved'", &bad, "inventory: the state"),
        ("loyalty", "update awards set points = points * 2", &good, "loyalty: the points"),
        ("analytics", "update order_facts set captured_cents = 0", &good, "analytics: cents"),
        ("kitchen-display", "delete from tickets", &good, "kitchen-display: the ticket is missing"),
        ("email", "delete from mails", &bad, "email: the list of mails"),
    ];
    for (service, statement, order, _) in corruptions {
        shop.sql(service, &format!("{statement} where order_id = '{order}'")).await;
    }
    let twice = "insert into charges (charge_id, idempotency_key, reference, customer, amount_cents, status)
                 select 'ch-twice', 'twice', reference, customer, amount_cents, status from charges";
    shop.sql("card-processor", &format!("{twice} where reference = '{good}'")).await;
    shop.sql(
        "loyalty",
        "insert into awards select 'order-x', customer_id, 1, state, now() from awards limit 1",
    )
    .await;
    std::fs::write(shop.mailbox.maildir().join("new/forged"), "Message-ID: <forged@shop>\n\n").unwrap();
    let offences = shop.account(&notes).await.offences;
    let by_hand = [
        (Some(&good), "card-processor: the number of charges"),
        (Some(&"order-x".to_owned()), "loyalty: no request asked for this order"),
        (None, "mailbox: <forged@shop> arrived"),
    ]
    .map(|(order, what)| (order.cloned(), what));
    let found = corruptions.map(|(_, _, order, what)| (Some(order.clone()), what));
    for (order, what) in found.into_iter().chain(by_hand) {
        let is_it = |offence: &super::Offence| offence.order_id == order && offence.what.starts_with(what);
        assert!(offences.iter().any(is_it), "{what} of {order:?}: {offences:#?}");
    }
}
