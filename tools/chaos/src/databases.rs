//! What the suite asks the services' databases, with the operator's right to read them all. All SQL of the
//! faults and of the recovery is here.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::Url;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};
use time::OffsetDateTime;

use crate::shop::SERVICES;

/// A row of an outbox.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Said {
    pub event_id: String,
    pub event_type: String,
    pub order_id: String,
    pub subject: String,
}

pub struct Databases {
    operator: PgConnectOptions,
    pools: BTreeMap<&'static str, PgPool>,
}

impl Databases {
    /// Connections are made when they are needed, and made anew after a fault.
    pub fn connect(operator: &Url) -> Result<Databases> {
        let operator = PgConnectOptions::from_str(operator.as_str())?.application_name("chaos");
        let pool = |service: &'static str| {
            let options = operator.clone().database(&service.replace('-', "_"));
            let pool = PgPoolOptions::new().max_connections(2).min_connections(1);
            (service, pool.acquire_timeout(Duration::from_secs(3)).connect_lazy_with(options))
        };
        let pools = SERVICES.into_iter().map(pool).collect();
        Ok(Databases { operator, pools })
    }

    fn of(&self, service: &str) -> Result<&PgPool> {
        self.pools.get(service).with_context(|| format!("there is no service {service}"))
    }

    /// Orders taken before this moment that are neither confirmed nor cancelled.
    pub async fn unsettled(&self, before: OffsetDateTime) -> Result<i64> {
        let unsettled = "select count(*) from orders where status = 'received' and created_at < $1";
        Ok(sqlx::query_scalar(unsettled).bind(before).fetch_one(self.of("order-api")?).await?)
    }

    /// What a service said between two moments; dead letters are not said to anybody.
    pub async fn said(&self, service: &str, from: OffsetDateTime, to: OffsetDateTime) -> Result<Vec<Said>> {
        let said = sqlx::query_as(
            "select event_id, event_type, order_id, subject from outbox
             where created_at >= $1 and created_at < $2 and subject not like 'dlq.%'",
        );
        Ok(said.bind(from).bind(to).fetch_all(self.of(service)?).await?)
    }

    /// Those of the events that the consumer has not processed.
    pub async fn unheard(&self, service: &str, consumer: &str, events: &[String]) -> Result<Vec<String>> {
        let unheard = sqlx::query_scalar(
            "select id from unnest($1::text[]) id
             where not exists (select from inbox where consumer = $2 and event_id = id)",
        );
        Ok(unheard.bind(events).bind(consumer).fetch_all(self.of(service)?).await?)
    }

    /// Those of the mails, each named `kind:order`, that were not sent.
    pub async fn unsent(&self, mails: &[String]) -> Result<Vec<String>> {
        let unsent = sqlx::query_scalar(
            "select id from unnest($1::text[]) id
             where not exists (select from mails where kind = split_part(id, ':', 1)
                               and order_id = substr(id, strpos(id, ':') + 1))",
        );
        Ok(unsent.bind(mails).fetch_all(self.of("email")?).await?)
    }

    /// Takes connections until Postgres has none left to give.
    pub async fn take_all_connections(&self) -> Result<Vec<PgConnection>> {
        let mut taken = Vec::new();
        while taken.len() < 1_000 {
            match self.operator.connect().await {
                Ok(connection) => taken.push(connection),
                Err(_) if !taken.is_empty() => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(taken)
    }
}

/// Ends up to `most` of a service's backends, which only the service itself may do.
pub async fn terminate_backends(service: &Url, most: i64) -> Result<i64> {
    let mut connection = PgConnection::connect(service.as_str()).await?;
    let terminated = sqlx::query_scalar(
        "select count(pg_terminate_backend(pid)) from
         (select pid from pg_stat_activity where usename = current_user and pid <> pg_backend_pid()
          order by state = 'active' desc, query_start desc limit $1) backends",
    );
    Ok(terminated.bind(most).fetch_one(&mut connection).await?)
}
