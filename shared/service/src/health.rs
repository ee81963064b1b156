//! `/health/live` answers while the process can answer at all; `/health/ready` says whether it can do its
//! work right now, and names what is missing.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sqlx::PgPool;

#[derive(Clone)]
pub struct Health {
    pub(crate) pool: PgPool,
    pub(crate) jetstream: Option<jetstream::Context>,
    /// Whether the service can do its work without the broker, as the order API can for a while.
    pub(crate) broker_optional: bool,
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    postgres: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    nats: Option<&'static str>,
}

impl Health {
    pub async fn ready(self) -> Response {
        let ping = sqlx::query("select 1").execute(&self.pool);
        let postgres = matches!(tokio::time::timeout(Duration::from_secs(2), ping).await, Ok(Ok(_)));
        let nats = self.jetstream.as_ref().map(|js| js.client().connection_state() == State::Connected);
        let ready = postgres && (self.broker_optional || nats.unwrap_or(true));
        let word = |up| if up { "up" } else { "down" };
        let report = Report {
            status: if ready { "ready" } else { "not ready" },
            postgres: word(postgres),
            nats: nats.map(word),
        };
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, Json(report)).into_response()
    }
}
