//! Trouble that arrives as messages: old events many times in the wrong order, events that nobody can read,
//! and events that kill whoever handles them.

use anyhow::{Context as _, Result};
use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use events::topology::ORDERS;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{Effect, Fault, fault, for_as_long};
use crate::schedule::Draw;
use crate::site::{Site, insist};

const TIMES: usize = 10;
const EVENTS_REPEATED: u64 = 200;
/// Subjects with two hearers each; the killer has to die five times of it at each.
const SUBJECTS: &[&str] = &["orders.confirmed", "orders.ready", "orders.ticket-started"];
const MOST_BYTES: usize = 300 * 1_024;

pub const FAULTS: &[Fault] = &[
    fault("events-repeated", "the last 200 events come ten times more, in reverse", &["ORDERS"], |s, d| {
        Box::pin(repeat(s, d))
    })
    .needing(&["nats"]),
    fault(
        "events-malformed",
        "arbitrary bytes, bad JSON, unknown types and oversized events",
        &["orders.created"],
        |s, d| Box::pin(malform(s, d)),
    )
    .lasting(2, 5)
    .needing(&["nats"]),
    fault("events-deadly", "an event that kills each process that handles it", SUBJECTS, |s, d| {
        Box::pin(kill(s, d))
    })
    .recovering_within(90)
    .needing(&["nats", "supervisor"]),
];

#[expect(clippy::disallowed_methods, reason = "these events left through the outbox once")]
async fn repeat(site: &Site, _draw: &Draw) -> Result<Effect> {
    let mut events = last_events(&site.broker).await?;
    events.reverse();
    for event in &events {
        for _ in 0..TIMES {
            insist("publish an event again", async || {
                let message = PublishMessage::build().payload(event.payload.clone());
                let message = message.headers(without_id(&event.headers));
                site.broker.send_publish(event.subject.clone(), message).await?.await
            })
            .await?;
        }
    }
    match events.len() {
        0 => Ok(Effect::Skipped("no event was there yet".into())),
        _ => Ok(Effect::Applied),
    }
}

/// By its id the broker would recognise the event and drop it.
fn without_id(headers: &HeaderMap) -> HeaderMap {
    let others = headers.iter().filter(|(name, _)| AsRef::<str>::as_ref(name) != "Nats-Msg-Id");
    others.flat_map(|(name, values)| values.iter().map(|value| (name.clone(), value.clone()))).collect()
}

async fn last_events(broker: &Context) -> Result<Vec<StreamMessage>> {
    let stream = insist("find the stream", async || broker.get_stream(ORDERS.name).await).await?;
    let state = &stream.cached_info().state;
    let first = state.first_sequence.max(state.last_sequence.saturating_sub(EVENTS_REPEATED - 1)).max(1);
    let mut events = Vec::new();
    for sequence in first..=state.last_sequence {
        let event = insist("read an event", async || stream.get_raw_message(sequence).await).await;
        let event = event.context("the broker does not give out what it holds")?;
        // What was injected to be buried was buried once.
        if event.headers.get(crate::letters::NUMBER).is_none() {
            events.push(event);
        }
    }
    Ok(events)
}

/// A few of each kind, spread over the fault's time, between the good ones.
async fn malform(site: &Site, draw: &Draw) -> Result<Effect> {
    let mut dice = ChaCha8Rng::seed_from_u64(draw.seed);
    for _ in 0..2 {
        for body in malformed(&mut dice) {
            site.letters.inject(&site.broker, draw.target, &body).await?;
        }
        for_as_long(draw).await;
    }
    Ok(Effect::Applied)
}

fn malformed(dice: &mut ChaCha8Rng) -> Vec<Vec<u8>> {
    let mut noise = vec![0; dice.random_range(1..200)];
    dice.fill(noise.as_mut_slice());
    let unknown = event("OrderTeleported", &format!("unknown-{}", dice.random::<u32>()), "");
    let oversized =
        event("OrderCreated", &format!("oversized-{}", dice.random::<u32>()), &"x".repeat(MOST_BYTES));
    let cut = event("OrderCreated", &format!("cut-{}", dice.random::<u32>()), "");
    vec![noise, cut[..cut.len() / 2].into(), unknown.into(), oversized.into(), b"{}".into(), Vec::new()]
}

async fn kill(site: &Site, draw: &Draw) -> Result<Effect> {
    let id = format!("kills-its-process-{:x}", draw.seed);
    let kind = match draw.target {
        "orders.confirmed" => "OrderConfirmed",
        "orders.ready" => "OrderReady",
        _ => "TicketStarted",
    };
    site.letters.inject(&site.broker, draw.target, event(kind, &id, "").as_bytes()).await?;
    Ok(Effect::Applied)
}

fn event(kind: &str, id: &str, filling: &str) -> String {
    format!(
        r#"{{"eventType":"{kind}","eventId":"{id}","timestamp":"2024-03-15T10:30:00Z","sequence":1,"filling":"{filling}",
        "data":{{"orderId":"order-of-{id}","customerId":"chaos","items":[],"total":0.00}}}}"#
    )
}
