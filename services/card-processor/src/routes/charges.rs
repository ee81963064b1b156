//! `POST /charges`, `GET /charges?reference=…`, `GET /charges/{chargeId}`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use events::Cents;
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::Problem;

use super::{App, bad_fields, idempotency_key};
use crate::domain::{Charge, Request, Status};
use crate::store;

/// Charges a card once per `Idempotency-Key`: 201 when captured, 402 when declined, 422 when the key was
/// used for something else, 415 for what is not JSON.
pub async fn create(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    service::require_json(&headers)?;
    let request = Request::parse(&body).map_err(bad_fields)?;
    let fate = app.fate()?;
    let charge = Charge::new(request.clone(), key, fate.is_declined);
    let booked = app.ledger.book(charge).await?;
    if booked.charge.request != request {
        return Err(Problem::unprocessable(
            "this Idempotency-Key was used for another charge; send a new key for a new charge",
        ));
    }
    if booked.is_new {
        app.take_time(fate).await?;
    }
    Ok(answer(&booked.charge))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Captured<'a> {
    charge_id: &'a str,
    status: &'static str,
    amount: Cents,
}

/// Both answers name the charge. In the 402 the RFC 9457 member `status` is the HTTP status, so the charge's
/// own is `chargeStatus`.
fn answer(charge: &Charge) -> Response {
    match &charge.status {
        Status::Captured => {
            let body = Captured { charge_id: &charge.id, status: "captured", amount: charge.request.amount };
            (StatusCode::CREATED, Json(body)).into_response()
        }
        Status::Declined { reason } => {
            let body = json!({
                "type": "urn:coffee-shop:card-declined",
                "title": "Payment Required",
                "status": 402,
                "detail": "the card was not charged; ask the customer for another one",
                "chargeId": charge.id,
                "chargeStatus": "declined",
                "reason": reason,
            });
            let mut response = (StatusCode::PAYMENT_REQUIRED, Json(body)).into_response();
            let problem = HeaderValue::from_static("application/problem+json");
            response.headers_mut().insert(header::CONTENT_TYPE, problem);
            response
        }
    }
}

#[derive(Deserialize)]
pub struct Filter {
    reference: Option<String>,
}

#[derive(Serialize)]
pub struct List {
    charges: Vec<store::Statement>,
}

pub async fn list(
    State(app): State<App>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<List>, Problem> {
    let Query(filter) = filter?;
    let reference = filter.reference.ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "say which charges: /charges?reference=<order id>")
    })?;
    events::check_text("reference", &reference, 128)
        .map_err(|detail| Problem::new(StatusCode::BAD_REQUEST, detail))?;
    let charges = store::by_reference(&app.ledger.pool, &reference).await?;
    Ok(Json(List { charges }))
}

pub async fn show(
    State(app): State<App>,
    charge_id: Result<Path<String>, PathRejection>,
) -> Result<Json<store::Statement>, Problem> {
    let Path(charge_id) = charge_id?;
    let known = match events::check_text("chargeId", &charge_id, 128) {
        Ok(()) => store::by_id(&app.ledger.pool, &charge_id).await?,
        Err(_) => None,
    };
    known.map(Json).ok_or_else(|| Problem::not_found("there is no charge with this id"))
}
