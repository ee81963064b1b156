//! All SQL of the old shop: each statement commits by itself.

use sqlx::{Executor as _, PgPool};

use crate::engine::orders::MenuItem;

const PLENTY: i64 = 1_000_000_000;

pub async fn prepare(pool: &PgPool, menu: &[MenuItem]) -> Result<(), sqlx::Error> {
    pool.execute(
        "create table orders (id text primary key, customer_id text not null, total_cents bigint not null,
                              paid boolean not null default false, mailed boolean not null default false);
         create table stock (sku text primary key, available bigint not null check (available >= 0));
         create table points (customer_id text primary key, points bigint not null)",
    )
    .await?;
    sqlx::query("insert into stock select unnest($1::text[]), $2")
        .bind(menu.iter().map(|item| item.sku.as_str()).collect::<Vec<_>>())
        .bind(PLENTY)
        .execute(pool)
        .await?;
    Ok(())
}

pub async fn insert_order(pool: &PgPool, id: &str, customer: &str, cents: i64) -> Result<(), sqlx::Error> {
    let insert = sqlx::query("insert into orders (id, customer_id, total_cents) values ($1, $2, $3)");
    insert.bind(id).bind(customer).bind(cents).execute(pool).await?;
    Ok(())
}

pub async fn mark_paid(pool: &PgPool, id: &str) -> Result<(), sqlx::Error> {
    sqlx::query("update orders set paid = true where id = $1").bind(id).execute(pool).await?;
    Ok(())
}

pub async fn take_stock(pool: &PgPool, lines: &[(&str, i64)]) -> Result<(), sqlx::Error> {
    // In the order of the skus, so that two orders cannot wait for each other's lines.
    sqlx::query(
        "update stock set available = available - line.quantity
         from (select sku, sum(quantity)::bigint as quantity from (
                   select stock.sku, lines.quantity
                   from unnest($1::text[], $2::bigint[]) as lines (sku, quantity) join stock using (sku)
                   order by stock.sku for update of stock) as ordered group by sku) as line
         where stock.sku = line.sku",
    )
    .bind(lines.iter().map(|line| line.0).collect::<Vec<_>>())
    .bind(lines.iter().map(|line| line.1).collect::<Vec<_>>())
    .execute(pool)
    .await?;
    Ok(())
}

pub async fn give_points(pool: &PgPool, customer: &str, points: i64) -> Result<(), sqlx::Error> {
    let upsert = sqlx::query(
        "insert into points values ($1, $2)
         on conflict (customer_id) do update set points = points.points + excluded.points",
    );
    upsert.bind(customer).bind(points).execute(pool).await?;
    Ok(())
}

pub async fn mark_mailed(pool: &PgPool, id: &str) -> Result<(), sqlx::Error> {
    sqlx::query("update orders set mailed = true where id = $1").bind(id).execute(pool).await?;
    Ok(())
}

pub async fn paid_without_mail(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from orders where paid and not mailed").fetch_one(pool).await
}
