//! `POST /charges/{chargeId}/refunds`: gives the whole amount back, once.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use events::Cents;
use serde::Serialize;
use service::Problem;
use uuid::Uuid;

use super::{App, idempotency_key};
use crate::domain::{NoNewRefund, no_new_refund};
use crate::store::{self, Refunded};

pub async fn create(
    State(app): State<App>,
    charge_id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(charge_id) = charge_id?;
    let key = idempotency_key(&headers)?;
    let unknown = || Problem::not_found("there is no charge with this id");
    events::check_text("chargeId", &charge_id, 128).map_err(|_| unknown())?;
    let fate = app.fate()?;
    let refund_id = format!("re_{}", Uuid::now_v7().simple());
    match store::refund(&app.ledger.pool, &charge_id, &refund_id, &key).await? {
        Refunded::Now(amount) => {
            app.take_time(fate).await?;
            Ok(answer(&refund_id, &charge_id, amount))
        }
        Refunded::Not(None) => Err(unknown()),
        Refunded::Not(Some(state)) => match no_new_refund(&state.status, state.refund, &key) {
            NoNewRefund::Repetition { refund_id } => Ok(answer(&refund_id, &charge_id, state.amount)),
            NoNewRefund::AlreadyRefunded => {
                Err(Problem::new(StatusCode::CONFLICT, "this charge was refunded before, with another key"))
            }
            NoNewRefund::WasDeclined => Err(Problem::new(
                StatusCode::CONFLICT,
                "this charge was declined: there is nothing to refund",
            )),
        },
        Refunded::KeyTaken => Err(Problem::unprocessable(
            "this Idempotency-Key was used for another refund; send a new key for a new refund",
        )),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    refund_id: &'a str,
    charge_id: &'a str,
    status: &'static str,
    amount: Cents,
}

fn answer(refund_id: &str, charge_id: &str, amount: Cents) -> Response {
    let body = Answer { refund_id, charge_id, status: "refunded", amount };
    (StatusCode::CREATED, Json(body)).into_response()
}
