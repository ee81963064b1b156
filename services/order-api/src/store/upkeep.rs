//! Looking after the tables: how much waits to be published or settled, and which keys have expired.

use std::time::Duration;

use sqlx::PgPool;

/// Unpublished events: how many, and how long the oldest has waited. Dead letters are not among them: they hold up nobody.
///
/// Ids of waiting rows lie close together, so first and last give the most there can be at the price of two
/// looks into the index. Only when that is more than `enough` are they counted, and no further than that.
pub async fn backlog(pool: &PgPool, enough: i64) -> Result<(i64, Duration), sqlx::Error> {
    let (rows, age): (i64, f64) = sqlx::query_as(
        "with span as materialized (
             select (select min(id) from outbox_waiting where not is_letter) as first,
                    (select max(id) from outbox_waiting where not is_letter) as last
         )
         select case
                    when last - first + 1 > $1
                    then (select count(*) from (select from outbox_waiting where not is_letter limit $1 + 1) as waiting)
                    else coalesce(last - first + 1, 0)
                end,
                coalesce((select extract(epoch from now() - created_at) from outbox_waiting where id = first), 0)::float8
         from span",
    )
    .bind(enough)
    .fetch_one(pool)
    .await?;
    Ok((rows, Duration::from_secs_f64(age.max(0.0))))
}

/// Orders that are neither confirmed nor cancelled, counted up to 10,000, and the age of the oldest of these.
pub async fn unsettled(pool: &PgPool) -> Result<(i64, Duration), sqlx::Error> {
    let (orders, age): (i64, f64) = sqlx::query_as(
        "select count(*), coalesce(extract(epoch from now() - min(created_at)), 0)::float8
         from (select created_at from orders where status = 'received'
               order by deadline_at limit $1) as unsettled",
    )
    .bind(10_000_i64)
    .fetch_one(pool)
    .await?;
    Ok((orders, Duration::from_secs_f64(age.max(0.0))))
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
