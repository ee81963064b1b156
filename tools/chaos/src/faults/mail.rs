//! An SMTP server that refuses, dawdles, or dies in the middle of a mail.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use super::network::set;
use super::{Effect, Fault, fault, for_as_long};
use crate::proxy::Mode;
use crate::schedule::Draw;
use crate::site::Site;

const LINK: &[&str] = &["email.mailbox"];

pub const FAULTS: &[Fault] = &[
    fault("smtp-refuses", "the SMTP server resets every connection", LINK, |s, d| {
        Box::pin(set(s, d, Mode::Cut))
    })
    .lasting(5, 20)
    .needing(&["mailbox"]),
    fault("smtp-slow", "0.4 s more each way between email and the SMTP server", LINK, |s, d| {
        Box::pin(set(s, d, Mode::Delay(Duration::from_millis(400))))
    })
    .lasting(10, 20)
    .recovering_within(20)
    .needing(&["mailbox"]),
    fault("smtp-mute", "mails are taken, but nobody hears that they were", LINK, |s, d| {
        Box::pin(set(s, d, Mode::SwallowAnswers))
    })
    .lasting(5, 15)
    .needing(&["mailbox"]),
    fault(
        "smtp-dies",
        "the SMTP server dies in the middle of mails, again and again",
        &["mailbox"],
        |s, d| Box::pin(dies(s, d)),
    )
    .lasting(2, 4)
    .needing(&["email.mailbox"]),
];

/// Slowed down first, so that mails are under way when it dies.
async fn dies(site: &Site, draw: &Draw) -> Result<Effect> {
    for _ in 0..3 {
        site.links.set(LINK[0], Mode::Delay(Duration::from_millis(100)))?;
        for_as_long(draw).await;
        let before = site.shop.pid(draw.target)?;
        site.shop.signal(draw.target, Signal::KILL)?;
        site.links.set(LINK[0], Mode::Pass)?;
        site.shop.started_again(draw.target, before, Duration::from_secs(30)).await?;
    }
    Ok(Effect::Applied)
}
