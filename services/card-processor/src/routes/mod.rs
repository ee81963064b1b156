//! The processor's HTTP face. Anybody who can reach it may charge, as the shop would through a private line;
//! only staff may switch its behaviour.

mod behaviour;
mod charges;
mod refunds;

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware;
use axum::routing::{get, post, put};
use service::problem::FieldError;
use service::{Problem, StaffToken, staff};
use tokio_util::sync::CancellationToken;

use crate::behaviour::{Fate, Switch};
use crate::domain;
use crate::ledger::Ledger;

/// Longer than any sensible caller waits.
const NO_ANSWER: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct App {
    pub ledger: Ledger,
    pub switch: Switch,
    pub stop: CancellationToken,
}

pub fn router(app: App, staff_token: StaffToken) -> Router {
    let for_staff = Router::new()
        .route("/behaviour", put(behaviour::put))
        .route_layer(middleware::from_fn_with_state(staff_token, staff::require));
    Router::new()
        .route("/charges", post(charges::create).get(charges::list))
        .route("/charges/{charge_id}", get(charges::show))
        .route("/charges/{charge_id}/refunds", post(refunds::create))
        .route("/behaviour", get(behaviour::get))
        .merge(for_staff)
        .with_state(app)
}

impl App {
    /// What shall happen to this request; some fail right here.
    fn fate(&self) -> Result<Fate, Problem> {
        let fate = self.switch.roll();
        if fate.fails {
            let detail = "failing as PUT /behaviour asked for; nothing was charged or refunded";
            return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail));
        }
        Ok(fate)
    }

    /// Takes the time that the behaviour asks for, after the ledger was written.
    async fn take_time(&self, fate: Fate) -> Result<(), Problem> {
        if fate.is_left_waiting {
            self.pause(NO_ANSWER).await;
            let detail = "nobody waited for this answer; ask again with the same Idempotency-Key";
            return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, detail));
        }
        self.pause(fate.delay).await;
        Ok(())
    }

    async fn pause(&self, length: Duration) {
        if !length.is_zero() {
            let _ = tokio::time::timeout(length, self.stop.cancelled()).await;
        }
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<String, Problem> {
    let header = headers.get("idempotency-key").map(|value| value.to_str().unwrap_or_default());
    domain::idempotency_key(header).map_err(|detail| Problem::new(StatusCode::BAD_REQUEST, detail))
}

fn bad_fields(errors: Vec<FieldError>) -> Problem {
    // A pointer to the whole body means that it could not be read at all.
    let unreadable = errors.iter().any(|error| error.pointer.is_empty());
    let status = if unreadable { StatusCode::BAD_REQUEST } else { StatusCode::UNPROCESSABLE_ENTITY };
    Problem::new(status, "the body is not as it should be; see errors").with_errors(errors)
}
