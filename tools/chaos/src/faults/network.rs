//! A network that fails between one service and the server it speaks to, in the ways that look alike from one
//! end: an answer that never comes does not tell whether the question arrived.

use std::time::Duration;

use anyhow::Result;

use super::{Effect, Fault, fault, for_as_long};
use crate::proxy::Mode;
use crate::schedule::Draw;
use crate::site::Site;

const TO_BROKER: &[&str] = &[
    "order-api.nats",
    "payment.nats",
    "inventory.nats",
    "email.nats",
    "loyalty.nats",
    "kitchen-display.nats",
    "analytics.nats",
];
const TO_POSTGRES: &[&str] = &[
    "order-api.postgres",
    "payment.postgres",
    "inventory.postgres",
    "email.postgres",
    "loyalty.postgres",
    "kitchen-display.postgres",
    "analytics.postgres",
    "card-processor.postgres",
];

pub const FAULTS: &[Fault] = &[
    fault("broker-cut", "connections of a service to the broker are reset", TO_BROKER, |s, d| {
        Box::pin(set(s, d, Mode::Cut))
    })
    .lasting(1, 20)
    .with_one_broker(),
    fault("broker-slow", "0.3 s more each way between a service and the broker", TO_BROKER, |s, d| {
        Box::pin(set(s, d, SLOW))
    })
    .lasting(10, 20)
    .with_one_broker(),
    fault("broker-mute", "a service's words reach the broker, its answers are lost", TO_BROKER, |s, d| {
        Box::pin(set(s, d, Mode::SwallowAnswers))
    })
    .lasting(5, 20)
    .with_one_broker(),
    fault("broker-unreachable", "nothing passes between a service and the broker", TO_BROKER, |s, d| {
        Box::pin(set(s, d, Mode::BlackHole))
    })
    .lasting(5, 30)
    .with_one_broker(),
    fault("postgres-cut", "connections of a service to Postgres are reset", TO_POSTGRES, |s, d| {
        Box::pin(set(s, d, Mode::Cut))
    })
    .lasting(1, 20),
    fault("postgres-slow", "0.3 s more each way between a service and Postgres", TO_POSTGRES, |s, d| {
        Box::pin(set(s, d, SLOW))
    })
    .lasting(10, 20),
    fault(
        "postgres-mute",
        "a service's statements are carried out, the answers are lost",
        TO_POSTGRES,
        |s, d| Box::pin(set(s, d, Mode::SwallowAnswers)),
    )
    .lasting(5, 20),
    fault("postgres-unreachable", "nothing passes between a service and Postgres", TO_POSTGRES, |s, d| {
        Box::pin(set(s, d, Mode::BlackHole))
    })
    .lasting(5, 30),
];

const SLOW: Mode = Mode::Delay(Duration::from_millis(300));

pub(super) async fn set(site: &Site, draw: &Draw, mode: Mode) -> Result<Effect> {
    site.links.set(draw.target, mode)?;
    for_as_long(draw).await;
    site.links.set(draw.target, Mode::Pass)?;
    Ok(Effect::Applied)
}
