//! Postgres that takes connections away, or has none to give.

use anyhow::Result;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{Effect, Fault, fault, for_as_long};
use crate::databases::terminate_backends;
use crate::schedule::Draw;
use crate::shop::{SERVICES, variable};
use crate::site::{Site, insist};

pub const FAULTS: &[Fault] = &[
    fault("kill-backend", "pg_terminate_backend of one to three backends of a service", &SERVICES, |s, d| {
        Box::pin(kill_backend(s, d))
    })
    .needing(&["postgres"]),
    fault(
        "postgres-full",
        "Postgres has no connection left, and services lose theirs",
        &["postgres"],
        |s, d| Box::pin(full(s, d)),
    )
    .lasting(5, 20),
];

async fn kill_backend(site: &Site, draw: &Draw) -> Result<Effect> {
    let most = ChaCha8Rng::seed_from_u64(draw.seed).random_range(1..=3);
    let database = site.shop.address(&format!("{}_DATABASE_URL", variable(draw.target)))?;
    match insist("reach Postgres", async || terminate_backends(&database, most).await).await? {
        0 => Ok(Effect::Skipped(format!("{} had no backend", draw.target))),
        _ => Ok(Effect::Applied),
    }
}

/// Takes every free connection, then ends all backends of one service and takes those as well.
async fn full(site: &Site, draw: &Draw) -> Result<Effect> {
    let service = SERVICES[ChaCha8Rng::seed_from_u64(draw.seed).random_range(0..SERVICES.len())];
    let database = site.shop.address(&format!("{}_DATABASE_URL", variable(service)))?;
    let mut taken = site.databases.take_all_connections().await?;
    // One is needed to end the others with.
    drop(taken.pop());
    let _ = terminate_backends(&database, 100).await;
    taken.extend(site.databases.take_all_connections().await.unwrap_or_default());
    for_as_long(draw).await;
    Ok(Effect::Applied)
}
