//! What the tool reads from the tables that every service has: its outbox and its instances.

use sqlx::PgPool;

/// An instance says every second that it lives.
const GONE_AFTER_SECONDS: f64 = 5.0;

/// One running copy of a consumer, by its own account. Counters are those of its process.
#[derive(Debug, sqlx::FromRow, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    #[serde(skip)]
    pub consumer: String,
    pub instance: String,
    pub seen_seconds_ago: f64,
    pub handled: i64,
    pub duplicates: i64,
    pub retries: i64,
    pub buried: i64,
}

impl Instance {
    pub fn is_alive(&self) -> bool {
        self.seen_seconds_ago < GONE_AFTER_SECONDS
    }
}

#[derive(Debug, sqlx::FromRow)]
pub struct Backlog {
    pub unpublished: i64,
    /// Age of the oldest unpublished row.
    pub oldest_seconds: Option<f64>,
}

pub async fn instances(pool: &PgPool) -> Result<Vec<Instance>, sqlx::Error> {
    sqlx::query_as(
        "select consumer, instance, extract(epoch from now() - seen_at)::float8 as seen_seconds_ago,
                handled, duplicates, retries, buried
         from consumer_instances order by consumer, instance",
    )
    .fetch_all(pool)
    .await
}

pub async fn backlog(pool: &PgPool) -> Result<Backlog, sqlx::Error> {
    sqlx::query_as(
        "select count(*) as unpublished, extract(epoch from now() - min(created_at))::float8 as oldest_seconds
         from outbox_waiting",
    )
    .fetch_one(pool)
    .await
}
