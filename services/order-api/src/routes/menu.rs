//! `GET /menu`

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use events::Cents;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::openapi;
use crate::menu::MENU;

#[derive(Clone, Serialize, ToSchema)]
pub struct Menu {
    items: Vec<MenuLine>,
}

#[derive(Clone, Serialize, ToSchema)]
struct MenuLine {
    #[schema(example = "latte")]
    sku: &'static str,
    #[schema(example = "Latte")]
    name: &'static str,
    #[schema(value_type = f64, example = 4.50)]
    price: Cents,
}

pub fn routes() -> OpenApiRouter {
    let line = |item: &crate::menu::MenuItem| MenuLine { sku: item.sku, name: item.name, price: item.price };
    let ours = Menu { items: MENU.iter().map(line).collect() };
    OpenApiRouter::new().routes(routes!(menu)).with_state(ours)
}

/// What there is, and for how much
#[utoipa::path(get, path = "/menu", tag = "menu", responses(
    (status = 200, description = "The menu", body = Menu),
    (status = 503, description = "Too busy", body = openapi::Problem, content_type = "application/problem+json",
        headers(("Retry-After" = u32, description = "Seconds"))),
))]
async fn menu(State(menu): State<Menu>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "public, max-age=60")], Json(menu))
}
