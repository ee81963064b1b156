//! Claims payments that are due, as many as there are free places, and starts their calls. Most payments are claimed when they
//! are noted; these are the others: there was no place, they are tried again, they are refunds, or another instance has left
//! them undone.

use std::sync::atomic::Ordering;
use std::time::Duration;

use messaging::bounded;
use tokio::sync::mpsc;

use super::{Answer, Caller, Desk};
use crate::store::{self, Claimed};

/// How long a payment may be due before it is noticed, when nobody told of it.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// When all places are taken, some more are let come free, so that one claim fills many.
const GATHER: Duration = Duration::from_millis(5);
const DATABASE_AWAY: Duration = Duration::from_millis(500);

/// Runs until told to stop and until every call has ended; until then its answer is taken.
pub async fn work(desk: &Desk, answers: mpsc::Sender<Answer>) {
    loop {
        tokio::select! {
            biased;
            () = desk.stop.cancelled() => break,
            () = wait_for_a_place(&desk.caller) => {}
        }
        let pause = match claim_some(desk).await {
            Ok(true) => continue,
            Ok(false) => LOOK_EVERY,
            Err(error) => {
                tracing::warn!(%error, "cannot claim payments; they wait");
                DATABASE_AWAY
            }
        };
        tokio::select! {
            () = desk.stop.cancelled() => {}
            () = desk.due.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    desk.caller.no_more().await;
    drop(answers);
}

async fn wait_for_a_place(caller: &Caller) {
    if caller.places.available_permits() == 0 {
        let _place = caller.places.acquire().await;
        tokio::time::sleep(GATHER).await;
    }
}

/// Starts as many calls as are due, admitted and have a place. `true` when more may be due.
async fn claim_some(desk: &Desk) -> Result<bool, sqlx::Error> {
    // Not all, or new payments would find none while this looks.
    let places = desk.caller.reserve(desk.caller.in_flight.div_ceil(2) as usize);
    if places.is_empty() {
        return Ok(false);
    }
    let claimed = bounded(claim(desk, places.len())).await?;
    let is_full = claimed.len() == places.len();
    desk.caller.is_behind.store(is_full, Ordering::Relaxed);
    for (claimed, place) in claimed.into_iter().zip(places) {
        desk.caller.start(claimed, place);
    }
    Ok(is_full)
}

async fn claim(desk: &Desk, most: usize) -> Result<Vec<Claimed>, sqlx::Error> {
    let mut db = desk.kept.take().await?;
    let claimed = store::claim(&mut db, most, desk.caller.claim()).await?;
    db.keep();
    Ok(claimed)
}
