//! A customer's points over HTTP, for staff.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router, middleware};
use events::CustomerId;
use serde::Serialize;
use service::{Problem, StaffToken};
use sqlx::PgPool;

use crate::store::{self, AwardRow};

const LAST_AWARDS: i64 = 20;

pub fn router(pool: PgPool, staff: StaffToken) -> Router {
    Router::new()
        .route("/customers/{id}", get(customer))
        .route_layer(middleware::from_fn_with_state(staff, service::staff::require))
        .with_state(pool)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Customer {
    customer_id: String,
    points: i64,
    last_awards: Vec<AwardRow>,
}

async fn customer(
    State(pool): State<PgPool>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Customer>, Problem> {
    let Path(id) = id?;
    let id = CustomerId::try_from(id).map_err(Problem::unprocessable)?;
    let points = store::balance(&pool, id.as_str()).await?.ok_or_else(|| {
        Problem::not_found(format!("no order of {:?} has reached the loyalty programme", id.as_str()))
    })?;
    let last_awards = store::last_awards(&pool, id.as_str(), LAST_AWARDS).await?;
    Ok(Json(Customer { customer_id: id.into(), points, last_awards }))
}
