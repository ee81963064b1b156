//! Processes that die without a word, and processes that stop and come back as zombies: a paused one still
//! believes it holds its locks, its leases and the messages it has in hand.

use anyhow::Result;
use rustix::process::{Signal, kill_process};

use super::{Effect, Fault, fault, for_as_long};
use crate::schedule::Draw;
use crate::shop::{SERVICES, family};
use crate::site::Site;

const SEVERAL: &[&str] = &[
    "order-api+email",
    "payment+inventory+loyalty",
    "order-api+payment+kitchen-display",
    "inventory+analytics+card-processor",
    "order-api+payment+inventory+email+loyalty+kitchen-display+analytics",
];

pub const FAULTS: &[Fault] = &[
    fault("kill-service", "kill -9 of one service", &SERVICES, |s, d| Box::pin(kill(s, d))),
    fault("kill-several", "kill -9 of several services at once", SEVERAL, |s, d| Box::pin(kill(s, d))),
    fault("kill-broker", "kill -9 of nats-server", &["nats"], |s, d| Box::pin(kill(s, d))),
    fault("kill-postgres", "kill -9 of the whole Postgres", &["postgres"], |s, d| {
        Box::pin(kill_family(s, d))
    })
    .recovering_within(15),
    fault(
        "pause-service",
        "SIGSTOP of one service: a zombie relay, a payment paused past its ack wait",
        &SERVICES,
        |s, d| Box::pin(pause(s, d)),
    )
    .lasting(5, 30),
    fault("pause-broker", "SIGSTOP of nats-server", &["nats"], |s, d| Box::pin(pause(s, d))).lasting(5, 30),
    fault("pause-postgres", "SIGSTOP of Postgres and its backends", &["postgres"], |s, d| {
        Box::pin(pause(s, d))
    })
    .lasting(5, 30),
];

/// All at once; the supervisor starts them again.
async fn kill(site: &Site, draw: &Draw) -> Result<Effect> {
    for part in draw.target.split('+') {
        site.shop.signal(part, Signal::KILL)?;
    }
    Ok(Effect::Applied)
}

/// As when the machine of the database loses power.
async fn kill_family(site: &Site, draw: &Draw) -> Result<Effect> {
    for pid in family(site.shop.pid(draw.target)?) {
        let _ = kill_process(pid, Signal::KILL);
    }
    Ok(Effect::Applied)
}

async fn pause(site: &Site, draw: &Draw) -> Result<Effect> {
    // The parent first: it makes no more children then.
    let family = family(site.shop.pid(draw.target)?);
    for pid in &family {
        let _ = kill_process(*pid, Signal::STOP);
    }
    for_as_long(draw).await;
    for pid in family.iter().rev() {
        let _ = kill_process(*pid, Signal::CONT);
    }
    Ok(Effect::Applied)
}
