//! What the order API answers over HTTP. The OpenAPI page is made from these routes, so it cannot drift.

mod events;
mod list;
mod menu;
mod openapi;
mod order;
mod place;

use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::{Router, middleware};
use service::StaffToken;
use sqlx::PgPool;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

pub use place::Placing;

use crate::watch::Watch;

/// Swagger UI sets styles by script, and draws its icons from data.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub fn router(placing: Placing, pool: PgPool, watch: Watch, staff: StaffToken) -> Router {
    let (routes, page) = OpenApiRouter::with_openapi(openapi::Page::openapi())
        .merge(menu::routes())
        .merge(place::routes(placing))
        .merge(list::routes(pool.clone(), staff))
        .merge(order::routes(pool.clone()))
        .merge(events::routes(pool, watch))
        .split_for_parts();
    let docs = Router::from(SwaggerUi::new("/docs").url("/openapi.json", page));
    routes.merge(docs.layer(middleware::map_response(nothing_from_elsewhere)))
}

/// The page of the documentation brings all it needs; what it shows of the API is no reason to run or load more.
async fn nothing_from_elsewhere(mut response: Response) -> Response {
    let policy = HeaderValue::from_static(DOCS_POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}
