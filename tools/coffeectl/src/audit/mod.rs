//! The ten invariants of the shop, checked over the real databases, the card processor's ledger and the
//! broker. This file loads and hands on; what is compared with what is decided by pure functions, one file
//! for each group of invariants.

mod databases;
mod delivery;
mod figures;
mod kitchen;
mod letters;
mod mail;
mod money;
mod order;
mod orders;
mod points;
mod quiet;
mod reader;
pub mod report;
mod stock;
mod store;
mod stream;

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Result;
use events::topology::{CONSUMERS, EMAIL, ORDERS};
use messaging::dead_letter;

use databases::{CARD_PROCESSOR, Databases};
use delivery::Missing;
use letters::Letters;
use order::Orders;
use report::{Check, Report};
use stream::{EventKey, StreamLog};

use crate::progress::Progress;
use crate::shop::Shop;

/// `answered`: orders that somebody was told exist.
pub async fn run(shop: &Shop, patience: Duration, answered: &[String]) -> Result<Report> {
    let mut progress = Progress::new();
    let databases = Databases::open(shop).await?;
    let busy = quiet::wait(shop, &databases, patience, &mut progress).await?;
    let audit = Audit::load(shop, databases, &mut progress).await?;
    let (delivered, mailed) = audit.delivered(shop, &busy, &mut progress).await?;
    progress.say("comparing".into());
    let checks = vec![
        audit.exist(answered).await?,
        audit.told_once().await?,
        audit.charged_once().await?,
        orders::settled(&audit.orders, &audit.letters),
        audit.stock().await?,
        audit.recomputed().await?,
        audit.kitchen().await?,
        audit.never_backwards().await?,
        delivered,
        mailed,
    ];
    progress.done();
    Ok(Report::new(busy, checks))
}

/// What several checks need.
struct Audit {
    databases: Databases,
    orders: Orders,
    log: StreamLog,
    letters: Letters,
}

impl Audit {
    async fn load(shop: &Shop, databases: Databases, progress: &mut Progress) -> Result<Audit> {
        progress.say("loading the orders".into());
        let orders = store::orders(databases.of("order-api")).await?;
        let letters = dead_letter::list(&shop.jetstream).await?;
        let buried = letters.iter().map(|letter| letter.stream_sequence);
        let log = reader::read(shop, &orders, buried, progress).await?;
        let letters = Letters::new(&letters, &log);
        Ok(Audit { databases, orders, log, letters })
    }

    async fn exist(&self, answered: &[String]) -> Result<Check> {
        let keys = store::idempotency_keys(self.databases.of("order-api")).await?;
        Ok(orders::exist(&self.orders, &keys, answered))
    }

    async fn told_once(&self) -> Result<Check> {
        let outbox = store::created_in_outbox(self.databases.of("order-api")).await?;
        Ok(orders::told_once(&self.orders, &outbox))
    }

    async fn charged_once(&self) -> Result<Check> {
        let charges = store::charges(self.databases.of(CARD_PROCESSOR)).await?;
        Ok(money::charged_once(&self.orders, &self.log, &self.letters, &charges))
    }

    async fn stock(&self) -> Result<Check> {
        let inventory = self.databases.of("inventory");
        let (stock, reservations) = (store::stock(inventory).await?, store::reservations(inventory).await?);
        Ok(stock::adds_up(&self.orders, &self.log, &self.letters, &stock, &reservations))
    }

    async fn recomputed(&self) -> Result<Check> {
        let Audit { orders, log, letters, .. } = self;
        let (loyalty, analytics) = (self.databases.of("loyalty"), self.databases.of("analytics"));
        let (awards, balances) = (store::awards(loyalty).await?, store::balances(loyalty).await?);
        let figures = figures::Figures {
            facts: store::facts(analytics).await?,
            totals: store::totals(analytics).await?,
            items: store::item_totals(analytics).await?,
        };
        let mut check = Check::of(6);
        points::equal_recomputation(&mut check, orders, log, letters, &awards, &balances);
        figures::equal_recomputation(&mut check, orders, log, letters, &figures);
        check.note(log.foreign(orders).count(), "orders are known from events published by hand only");
        Ok(check)
    }

    async fn kitchen(&self) -> Result<Check> {
        let tickets = store::tickets(self.databases.of("kitchen-display")).await?;
        Ok(kitchen::one_live_ticket(&self.orders, &self.log, &self.letters, &tickets))
    }

    async fn never_backwards(&self) -> Result<Check> {
        let mut timelines = orders::Timelines::new(&self.orders);
        store::timelines(self.databases.of("order-api"), &mut timelines).await?;
        Ok(timelines.finish())
    }

    /// Invariants 9 and 10. One inbox at a time is in memory.
    async fn delivered(
        &self,
        shop: &Shop,
        busy: &[String],
        progress: &mut Progress,
    ) -> Result<(Check, Check)> {
        let mut check = Check::of(9);
        let mut mailed = Check::of(10);
        for reason in busy {
            check.violation("the shop", format!("did not come to rest: {reason}"));
        }
        for (service, pool) in self.databases.of_services() {
            delivery::half_done(&mut check, service, &store::attempts(pool).await?);
        }
        for spec in CONSUMERS.into_iter().filter(|spec| *spec.stream == ORDERS) {
            progress.say(format!("comparing the stream with the inbox of {}", spec.name));
            let inbox = store::inbox(self.databases.of(spec.service), spec.name).await?;
            let missing = delivery::missing(&mut check, spec, &self.log, &inbox, &self.letters);
            self.name(shop, &mut check, &missing).await;
            if *spec == EMAIL {
                mailed = self.mailed(&inbox).await?;
            }
        }
        check.note(self.log.unreadable, "messages of the stream cannot be read as events");
        Ok((check, mailed))
    }

    async fn mailed(&self, inbox: &HashSet<EventKey>) -> Result<Check> {
        let mails = store::confirmations(self.databases.of("email")).await?;
        Ok(mail::at_least_one(&self.log, inbox, &self.letters, &mails))
    }

    /// Missing messages get their order's id from the stream, one by one: few are named.
    async fn name(&self, shop: &Shop, check: &mut Check, missing: &[Missing]) {
        for Missing { consumer, entry } in missing {
            let sequence = entry.sequence;
            let order = if check.has_room() { reader::order_at(shop, sequence).await } else { None };
            let about = order.unwrap_or_else(|| format!("ORDERS:{sequence}"));
            let subject = self.log.subject(entry);
            check.violation(
                &about,
                format!("message {sequence} ({subject}): expected in the inbox or the dead letters of {consumer}, found in neither"),
            );
        }
    }
}
