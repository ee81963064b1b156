//! What the order API answers over HTTP. The OpenAPI page is made from these routes, so it cannot drift.

mod events;
mod list;
mod menu;
mod openapi;
mod order;
mod place;

use axum::Router;
use service::StaffToken;
use sqlx::PgPool;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

pub use place::Placing;

use crate::watch::Watch;

pub fn router(placing: Placing, pool: PgPool, watch: Watch, staff: StaffToken) -> Router {
    let (routes, page) = OpenApiRouter::with_openapi(openapi::Page::openapi())
        .merge(menu::routes())
        .merge(place::routes(placing))
        .merge(list::routes(pool.clone(), staff))
        .merge(order::routes(pool.clone()))
        .merge(events::routes(pool, watch))
        .split_for_parts();
    routes.merge(SwaggerUi::new("/docs").url("/openapi.json", page))
}
