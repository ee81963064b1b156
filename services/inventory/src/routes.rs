//! The stock over HTTP: anyone may see it, staff may set it.

use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::routing::{get, put};
use axum::{Json, Router, middleware};
use events::check_text;
use serde::Deserialize;
use service::problem::FieldError;
use service::{Problem, StaffToken};
use sqlx::PgPool;

use crate::store::{self, StockRow};

const MAX_AVAILABLE: i64 = 1_000_000_000;

pub fn router(pool: PgPool, staff: StaffToken) -> Router {
    let for_staff = Router::new()
        .route("/stock/{sku}", put(set_stock))
        .route_layer(middleware::from_fn_with_state(staff, service::staff::require));
    Router::new().route("/stock", get(list_stock)).merge(for_staff).with_state(pool)
}

async fn list_stock(State(pool): State<PgPool>) -> Result<Json<Vec<StockRow>>, Problem> {
    Ok(Json(store::list_stock(&pool).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetStock {
    available: i64,
}

async fn set_stock(
    State(pool): State<PgPool>,
    sku: Result<Path<String>, PathRejection>,
    body: Result<Json<SetStock>, JsonRejection>,
) -> Result<Json<StockRow>, Problem> {
    let Path(sku) = sku?;
    let Json(SetStock { available }) = body.map_err(|error| {
        Problem::new(error.status(), format!("send {{\"available\": 100}}: {}", error.body_text()))
    })?;
    if !(0..=MAX_AVAILABLE).contains(&available) {
        let detail = format!("must be between 0 and {MAX_AVAILABLE}");
        return Err(Problem::unprocessable("the amount is out of bounds")
            .with_errors(vec![FieldError { pointer: "/available".to_owned(), detail }]));
    }
    check_text("the sku", &sku, 200).map_err(Problem::unprocessable)?;
    let row = store::set_available(&pool, &sku, available).await?;
    row.map(Json)
        .ok_or_else(|| Problem::not_found(format!("there is no item {sku:?}; GET /stock lists all items")))
}
