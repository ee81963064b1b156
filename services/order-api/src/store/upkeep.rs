//! Looking after the tables: how much waits to be published, and which keys have expired.

use std::time::Duration;

use sqlx::PgPool;

/// Unpublished events: how many, and how long the oldest has waited.
///
/// Ids of waiting rows lie close together, so first and last give the most there can be at the price of two
/// looks into the index. Only when that is more than `enough` are they counted, and no further than that.
pub async fn backlog(pool: &PgPool, enough: i64) -> Result<(i64, Duration), sqlx::Error> {
    let (rows, age): (i64, f64) = sqlx::query_as(
        "with span as (
             select (select id from outbox where published_at is null order by id limit 1) as first,
                    (select id from outbox where published_at is null order by id desc limit 1) as last
         )
         select case
                    when last - first + 1 > $1
                    then (select count(*) from (select from outbox where published_at is null limit $1 + 1) as waiting)
                    else coalesce(last - first + 1, 0)
                end,
                coalesce((select extract(epoch from now() - created_at) from outbox where id = first), 0)::float8
         from span",
    )
    .bind(enough)
    .fetch_one(pool)
    .await?;
    Ok((rows, Duration::from_secs_f64(age.max(0.0))))
}

/// Removes some expired idempotency keys and returns how many.
pub async fn forget_keys(pool: &PgPool, limit: i64) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "delete from idempotency_keys where key in (
             select key from idempotency_keys where created_at < now() - interval '24 hours'
             limit $1 for update skip locked)",
    );
    Ok(done.bind(limit).execute(pool).await?.rows_affected())
}
