//! Deaths at exactly one point of the code, through failpoints that only the suite's builds have. What a
//! random kill meets once in a thousand runs, these meet each time.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::{Effect, Fault, fault};
use crate::schedule::Draw;
use crate::site::{Site, insist};

/// Before the failpoint's own name.
const NAME: &str = "die-at-";
/// A process that has not come by its failpoint until then is spared.
const PATIENCE: Duration = Duration::from_secs(20);

const CONSUMERS: &[&str] =
    &["order-api", "payment", "inventory", "email", "loyalty", "kitchen-display", "analytics"];
const RELAYS: &[&str] = &["order-api", "payment", "inventory", "email"];

pub const FAULTS: &[Fault] = &[
    point("die-at-consumer-before-commit", "effects and claim written, not committed", CONSUMERS),
    point("die-at-consumer-after-commit", "effects committed, nothing acknowledged", CONSUMERS),
    point("die-at-consumer-after-ack", "acknowledgements sent, perhaps not read", CONSUMERS),
    point("die-at-relay-before-publish", "rows claimed, nothing sent", RELAYS),
    point("die-at-relay-before-answers", "events sent, answers not awaited", RELAYS),
    point("die-at-relay-before-mark", "events stored by the broker, rows not marked", RELAYS),
    point("die-at-relay-after-mark", "rows marked as published", RELAYS),
    point("die-at-order-before-commit", "order written, not committed", &["order-api"]),
    point("die-at-order-after-commit", "order committed, the customer not told", &["order-api"]),
    point("die-at-charge-before-call", "charge intended, the card processor not called", &["payment"]),
    point("die-at-charge-after-call", "charged, the result not written", &["payment"]),
    point("die-at-mail-before-send", "mail begun, not sent", &["email"]),
    point("die-at-mail-after-send", "mail sent, not noted", &["email"]),
    point("die-at-task-before-ack", "task done, not acknowledged", &["email"]),
    burial("die-at-bury-before-store", "about to bury an event"),
    burial("die-at-bury-after-store", "dead letter stored, the original not terminated"),
];

const fn point(name: &'static str, about: &'static str, services: &'static [&'static str]) -> Fault {
    // The order in hand waits out its ack wait before somebody else gets it.
    fault(name, about, services, |s, d| Box::pin(die(s, d, false))).recovering_within(15)
}

const fn burial(name: &'static str, about: &'static str) -> Fault {
    fault(
        name,
        about,
        &["payment", "inventory", "email", "loyalty", "kitchen-display", "analytics"],
        |s, d| Box::pin(die(s, d, true)),
    )
    .recovering_within(15)
    .needing(&["nats"])
}

async fn die(site: &Site, draw: &Draw, at_a_burial: bool) -> Result<Effect> {
    let failpoint = draw.fault.name.trim_start_matches(NAME);
    let alive = site.shop.pid(draw.target)?;
    insist("arm a failpoint", async || site.arm(draw.target, failpoint, "return").await).await?;
    if at_a_burial {
        site.letters.inject(&site.broker, "orders.created", b"an event to be buried").await?;
    }
    let deadline = Instant::now() + PATIENCE;
    while site.shop.pid(draw.target).is_ok_and(|pid| pid == alive) {
        if Instant::now() > deadline {
            insist("disarm a failpoint", async || site.arm(draw.target, failpoint, "off").await).await?;
            return Ok(Effect::Skipped(format!("{} did not come by {failpoint}", draw.target)));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(Effect::Applied)
}
