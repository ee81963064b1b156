//! A database and a role for every service, and a role that may read them all.
//!
//! Each service owns its database and nobody else may connect to it, so reading a neighbour's tables is
//! impossible, not just frowned upon. The operator reads everything and writes nothing.

use anyhow::{Context, Result};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::catalogue::SERVICES;
use crate::secrets::Secrets;

/// Name of the superuser's password among the secrets.
pub const SUPERUSER: &str = "postgres/superuser";
/// The role for people and tools.
pub const OPERATOR: &str = "operator";

/// Name of a role's password among the secrets.
pub fn password_name(role: &str) -> String {
    format!("postgres/{role}")
}

/// How the supervisor itself connects.
pub async fn connect(port: u16, secrets: &Secrets) -> Result<PgConnection> {
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username("postgres")
        .password(secrets.get(SUPERUSER))
        .database("postgres");
    Ok(options.connect().await?)
}

/// Makes what is missing and sets every password to the one in `.run/secrets`.
pub async fn prepare(port: u16, secrets: &Secrets) -> Result<()> {
    let mut connection =
        connect(port, secrets).await.context("cannot connect to Postgres as its superuser")?;
    role(&mut connection, OPERATOR, secrets).await?;
    run(&mut connection, format!("grant pg_read_all_data to \"{OPERATOR}\"")).await?;
    run(&mut connection, format!("alter role \"{OPERATOR}\" set default_transaction_read_only = on")).await?;
    for service in SERVICES {
        let name = service.database();
        role(&mut connection, &name, secrets).await?;
        database(&mut connection, &name).await.with_context(|| format!("cannot make the database {name}"))?;
    }
    connection.close().await?;
    Ok(())
}

async fn role(connection: &mut PgConnection, name: &str, secrets: &Secrets) -> Result<()> {
    let exists: bool = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
        .bind(name)
        .fetch_one(&mut *connection)
        .await?;
    let verb = if exists { "alter" } else { "create" };
    let password = secrets.get(&password_name(name));
    run(connection, format!("{verb} role \"{name}\" login password '{password}'")).await
}

async fn database(connection: &mut PgConnection, name: &str) -> Result<()> {
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(name)
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        run(connection, format!("create database \"{name}\" owner \"{name}\"")).await?;
    }
    run(connection, format!("revoke all on database \"{name}\" from public")).await?;
    run(connection, format!("grant connect on database \"{name}\" to \"{OPERATOR}\"")).await
}

/// Definitions take no parameters. The names come from the catalogue and the passwords are hex digits, so
/// nothing in them needs quoting.
async fn run(connection: &mut PgConnection, sql: String) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}
