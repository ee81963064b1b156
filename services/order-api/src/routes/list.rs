//! `GET /orders`, for staff: ids are capabilities, so whoever sees the list may see every order.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::middleware;
use serde::{Deserialize, Serialize};
use service::problem::FieldError;
use service::{Problem, StaffToken, staff};
use sqlx::PgPool;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::openapi;
use crate::domain::Status;
use crate::store;
use crate::view::{self, Listed};

const PAGE: usize = 100;
const MAX_ID_BYTES: usize = 128;

pub fn routes(pool: PgPool, token: StaffToken) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list))
        .route_layer(middleware::from_fn_with_state(token, staff::require))
        .with_state(pool)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only orders with this status: received, confirmed, preparing, ready or cancelled.
    #[param(inline, value_type = Option<view::Status>)]
    status: Option<String>,
    /// The `next` of the page before.
    #[param(min_length = 1, max_length = 128, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    before: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Orders {
    /// Newest first, at most 100.
    orders: Vec<Listed>,
    /// Where the next page starts; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The latest orders
#[utoipa::path(get, path = "/orders", tag = "staff", params(Which), security(("staff" = [])),
    responses(
        (status = 200, description = "A page of orders", body = Orders),
        (status = 400, description = "The query cannot be read", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 401, description = "No staff token", body = openapi::Problem, content_type = "application/problem+json",
            headers(("WWW-Authenticate" = String, description = "Bearer"))),
        (status = 422, description = "No such status or page", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens", body = openapi::Problem, content_type = "application/problem+json",
            headers(("Retry-After" = u32, description = "Seconds"))),
        (status = 503, description = "The database is away", body = openapi::Problem, content_type = "application/problem+json",
            headers(("Retry-After" = u32, description = "Seconds"))),
    ))]
async fn list(
    State(pool): State<PgPool>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Orders>, Problem> {
    let Query(which) = which?;
    let mut errors = Vec::new();
    let mut mistake = |field: &str, detail| errors.push(FieldError { pointer: format!("/{field}"), detail });
    let status: Option<Status> = match which.status.as_deref().map(str::parse).transpose() {
        Ok(status) => status,
        Err(detail) => {
            mistake("status", detail);
            None
        }
    };
    let is_id = |id: &String| (1..=MAX_ID_BYTES).contains(&id.len()) && !id.contains(char::is_control);
    if which.before.as_ref().is_some_and(|before| !is_id(before)) {
        mistake("before", "is not the 'next' of a page".to_owned());
    }
    if !errors.is_empty() {
        return Err(
            Problem::unprocessable("the query is not one we understand; see the errors").with_errors(errors)
        );
    }
    // One more than shown tells whether there is a next page.
    let mut orders = store::list(&pool, status, which.before.as_deref(), PAGE as i64 + 1).await?;
    let more = orders.len() > PAGE;
    orders.truncate(PAGE);
    let next = orders.last().filter(|_| more).map(|order| order.order_id.clone());
    Ok(Json(Orders { orders, next }))
}
