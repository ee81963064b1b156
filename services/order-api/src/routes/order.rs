//! `GET /orders/{id}`

use axum::Json;
use axum::extract::{Path, State};
use service::Problem;
use sqlx::PgPool;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::openapi;
use crate::store;
use crate::view::OrderView;

pub fn routes(pool: PgPool) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(order)).with_state(pool)
}

pub fn no_such_order() -> Problem {
    Problem::not_found("there is no order with this id; it is the orderId that POST /orders answered")
}

/// An order and its timeline
#[utoipa::path(get, path = "/orders/{id}", tag = "orders",
    params(("id" = String, Path, description = "The orderId that POST /orders answered")),
    responses(
        (status = 200, description = "The order as it is now", body = OrderView),
        (status = 404, description = "No such order", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = openapi::Problem, content_type = "application/problem+json",
            headers(("Retry-After" = u32, description = "Seconds"))),
    ))]
async fn order(
    State(pool): State<PgPool>,
    id: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Result<Json<OrderView>, Problem> {
    let Path(id) = id.map_err(|_| no_such_order())?;
    find(&pool, &id).await.map(Json)
}

pub async fn find(pool: &PgPool, id: &str) -> Result<OrderView, Problem> {
    // Postgres cannot compare a text with NUL; no order has one.
    if id.contains('\0') {
        return Err(no_such_order());
    }
    store::view(pool, id).await?.ok_or_else(no_such_order)
}
