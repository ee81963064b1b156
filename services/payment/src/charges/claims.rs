//! Claims due payments, as many as there are free places, and starts their calls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use messaging::bounded;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{Answer, Caller, Desk};
use crate::store::{self, Claimed};

/// A claim outlives the call by this: time to write the answer down.
const TIME_TO_WRITE: Duration = Duration::from_secs(2);
/// How long a payment may be due before it is noticed, when nobody told of it.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// When all places are taken, some more are let come free, so that one claim fills many.
const GATHER: Duration = Duration::from_millis(5);
const DATABASE_AWAY: Duration = Duration::from_millis(500);

/// Runs until told to stop and until every call has ended.
pub async fn work(desk: &Desk, caller: Arc<Caller>, answers: mpsc::Sender<Answer>) {
    while !desk.stop.is_cancelled() {
        let Some(places) = free_places(desk, &caller).await else { break };
        let free = places.len();
        let pause = match claim_some(desk, &caller, places, &answers).await {
            Ok(claimed) if claimed == free => continue,
            Ok(_) => LOOK_EVERY,
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
    // All places free: no call is under way.
    let _ = caller.places.acquire_many(desk.in_flight).await;
}

/// At least one free place; `None` when it is time to stop.
async fn free_places(desk: &Desk, caller: &Caller) -> Option<Vec<OwnedSemaphorePermit>> {
    let mut places = Vec::new();
    if caller.places.available_permits() == 0 {
        tokio::select! {
            () = desk.stop.cancelled() => return None,
            place = Arc::clone(&caller.places).acquire_owned() => places.push(place.ok()?),
        }
        tokio::time::sleep(GATHER).await;
    }
    while let Ok(place) = Arc::clone(&caller.places).try_acquire_owned() {
        places.push(place);
    }
    Some(places)
}

async fn claim(desk: &Desk, admitted: usize) -> Result<Vec<Claimed>, sqlx::Error> {
    let mut db = desk.kept.take().await?;
    let claimed = store::claim(&mut db, admitted, desk.processor.timeout + TIME_TO_WRITE).await?;
    db.keep();
    Ok(claimed)
}

/// Starts as many calls as are due, admitted and have a place. Returns their number.
async fn claim_some(
    desk: &Desk,
    caller: &Arc<Caller>,
    mut places: Vec<OwnedSemaphorePermit>,
    answers: &mpsc::Sender<Answer>,
) -> Result<usize, sqlx::Error> {
    let admitted = caller.circuit().admit(places.len(), Instant::now());
    if admitted == 0 {
        return Ok(0);
    }
    let claimed = bounded(claim(desk, admitted)).await?;
    if !claimed.is_empty() {
        caller.circuit().tried(Instant::now());
    }
    let count = claimed.len();
    for payment in claimed {
        let (caller, answers, place) = (Arc::clone(caller), answers.clone(), places.pop());
        tokio::spawn(async move {
            let answer = caller.call(payment).await;
            // Closed only when the service ends; then the claim runs out.
            let _ = answers.send(answer).await;
            drop(place);
        });
    }
    Ok(count)
}
