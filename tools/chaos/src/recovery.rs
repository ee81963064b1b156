//! When a fault is over: the moment at which everything said before its end is done by everybody. Every
//! event in any outbox is in the inbox of each of its hearers, every mail is sent, every order is settled and
//! every injected event is buried, while new orders keep coming.
//!
//! It is asked of the databases, not of the broker: a broker that lost its tail reports no lag at all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use events::topology::CONSUMERS;
use time::OffsetDateTime;

use crate::databases::Said;
use crate::site::Site;

const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// A transaction may commit this long after the time its rows carry.
const LATE_COMMITS: Duration = Duration::from_secs(30);
const SPEAKERS: [&str; 5] = ["order-api", "payment", "inventory", "email", "kitchen-display"];

/// Knows up to which moment everything was seen done.
pub struct Recovery {
    done_until: OffsetDateTime,
}

/// How a recovery went.
#[derive(Debug)]
pub struct Recovered {
    pub took: Duration,
    /// What it was waited for longest.
    pub last: Option<String>,
    /// What was left when patience ended; nothing if the shop recovered.
    pub left: Vec<String>,
}

impl Recovery {
    pub fn starting_now() -> Recovery {
        Recovery { done_until: OffsetDateTime::now_utc() - LATE_COMMITS }
    }

    /// Waits until everything said before `healed` is done.
    pub async fn since(&mut self, healed: Instant, site: &Site, patience: Duration) -> Recovered {
        let until = OffsetDateTime::now_utc() - healed.elapsed();
        let mut open: Option<Open> = None;
        let mut last = None;
        loop {
            let left = match look(site, &mut open, self.done_until, until).await {
                Ok(left) => left,
                // Whatever cannot be asked has not recovered.
                Err(error) => vec![format!("{error:#}")],
            };
            let took = healed.elapsed();
            if left.is_empty() {
                self.done_until = until - LATE_COMMITS;
            }
            if left.is_empty() || took > patience {
                return Recovered { took, last, left };
            }
            last = left.into_iter().next();
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }
}

async fn look(
    site: &Site,
    open: &mut Option<Open>,
    from: OffsetDateTime,
    until: OffsetDateTime,
) -> Result<Vec<String>> {
    let open = match open {
        Some(open) => open,
        None => open.insert(Open::load(site, from, until).await?),
    };
    open.forget_what_is_done(site).await?;
    let mut left = open.left();
    let unsettled = site.databases.unsettled(until).await?;
    if unsettled > 0 {
        left.push(format!("{unsettled} orders are not settled"));
    }
    left.extend(site.letters.missing(&site.broker).await?);
    Ok(left)
}

/// What has not been done yet, by consumer. It only shrinks, so each look costs less than the one before.
struct Open {
    events: BTreeMap<(&'static str, &'static str), Vec<String>>,
    mails: Vec<String>,
}

impl Open {
    async fn load(site: &Site, from: OffsetDateTime, until: OffsetDateTime) -> Result<Open> {
        let mut open = Open { events: BTreeMap::new(), mails: Vec::new() };
        for service in SPEAKERS {
            for said in site.databases.said(service, from, until).await? {
                open.add(said);
            }
        }
        Ok(open)
    }

    fn add(&mut self, said: Said) {
        if let Some(kind) = said.event_type.strip_prefix("Send") {
            self.mails.push(format!("{}:{}", kind.to_lowercase(), said.order_id));
            return;
        }
        for consumer in CONSUMERS.iter().filter(|consumer| consumer.is_heard(&said.subject)) {
            self.events.entry((consumer.service, consumer.name)).or_default().push(said.event_id.clone());
        }
    }

    async fn forget_what_is_done(&mut self, site: &Site) -> Result<()> {
        for ((service, consumer), events) in &mut self.events {
            if !events.is_empty() {
                *events = site.databases.unheard(service, consumer, events).await?;
            }
        }
        if !self.mails.is_empty() {
            self.mails = site.databases.unsent(&self.mails).await?;
        }
        Ok(())
    }

    /// In words, with one example each.
    fn left(&self) -> Vec<String> {
        let unheard = self.events.iter().filter(|(_, events)| !events.is_empty());
        let mut left: Vec<String> = unheard
            .map(|((_, consumer), events)| {
                format!("{} events were not heard by {consumer}, such as {}", events.len(), events[0])
            })
            .collect();
        if let Some(mail) = self.mails.first() {
            left.push(format!("{} mails were not sent, such as {mail}", self.mails.len()));
        }
        left
    }
}
