//! The payment company in trouble, by its own switch. What it charged it has charged, whatever it answers.

use anyhow::Result;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::network::set;
use super::{Effect, Fault, fault, for_as_long};
use crate::proxy::Mode;
use crate::schedule::Draw;
use crate::site::{Site, insist};

const CARD: &[&str] = &["card-processor"];

pub const FAULTS: &[Fault] = &[
    fault("card-slow", "the card processor takes 1.5 s for each answer", CARD, |s, d| {
        Box::pin(behave(s, d, json!({ "delayMs": 1_500 })))
    })
    .lasting(5, 20)
    .recovering_within(20),
    fault("card-fails", "the card processor answers 500 to nine of ten", CARD, |s, d| {
        Box::pin(behave(s, d, json!({ "failRate": 0.9 })))
    })
    .lasting(5, 20)
    .recovering_within(20),
    fault(
        "card-silent",
        "the card processor charges and then answers half of the calls never",
        CARD,
        |s, d| Box::pin(behave(s, d, json!({ "timeoutAfterSuccessRate": 0.5 }))),
    )
    .lasting(5, 20)
    .recovering_within(20),
    fault("card-killed", "kill -9 of the card processor in the middle of charges", CARD, |s, d| {
        Box::pin(killed(s, d))
    })
    .lasting(2, 5)
    .recovering_within(20),
    fault("card-cut", "connections of payment to the card processor are reset", LINK, |s, d| {
        Box::pin(set(s, d, Mode::Cut))
    })
    .lasting(5, 20)
    .recovering_within(20)
    .needing(CARD),
    fault("card-mute", "charges arrive, their answers are lost", LINK, |s, d| {
        Box::pin(set(s, d, Mode::SwallowAnswers))
    })
    .lasting(5, 20)
    .recovering_within(20)
    .needing(CARD),
];

const LINK: &[&str] = &["payment.card-processor"];

async fn behave(site: &Site, draw: &Draw, behaviour: Value) -> Result<Effect> {
    switch(site, &behaviour).await?;
    for_as_long(draw).await;
    switch(site, &json!({})).await?;
    Ok(Effect::Applied)
}

/// Slow first, so that charges are written and unanswered when it dies. It comes back well-behaved.
async fn killed(site: &Site, draw: &Draw) -> Result<Effect> {
    switch(site, &json!({ "delayMs": 1_000 })).await?;
    for_as_long(draw).await;
    site.shop.signal(draw.target, Signal::KILL)?;
    Ok(Effect::Applied)
}

async fn switch(site: &Site, behaviour: &Value) -> Result<()> {
    let url = site.shop.url_of("card-processor")?.join("behaviour")?;
    let token = site.address("STAFF_TOKEN")?;
    insist("switch the card processor's behaviour", async || {
        site.http.put(url.clone()).bearer_auth(&token).json(behaviour).send().await?.error_for_status()
    })
    .await?;
    Ok(())
}
