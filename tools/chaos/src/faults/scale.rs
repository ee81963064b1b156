//! More instances and fewer: partitions change hands while their orders are under way.

use anyhow::Result;

use super::{Effect, Fault, fault, for_as_long};
use crate::schedule::Draw;
use crate::site::Site;

pub const FAULTS: &[Fault] = &[fault(
    "scale",
    "a service runs with two instances, then four, then one",
    &["kitchen-display", "payment", "inventory"],
    |s, d| Box::pin(scale(s, d)),
)
.lasting(3, 6)
.needing(&["supervisor", "nats", "postgres"])];

async fn scale(site: &Site, draw: &Draw) -> Result<Effect> {
    for instances in [2, 4, 1] {
        site.shop.up(&["--scale".into(), format!("{}={instances}", draw.target)]).await?;
        for_as_long(draw).await;
    }
    Ok(Effect::Applied)
}
