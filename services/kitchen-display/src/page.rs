//! The page of the board, compiled into the program: a kitchen's tablet needs nothing but this address. The
//! content security policy lets it run its own script and talk to its own server, and nothing else.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tower_http::set_header::SetResponseHeaderLayer;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let policy = HeaderValue::from_static(POLICY);
    Router::new()
        .route("/", get(|| asset("text/html; charset=utf-8", include_str!("page/board.html"))))
        .route("/board.css", get(|| asset("text/css; charset=utf-8", include_str!("page/board.css"))))
        .route("/cup.svg", get(|| asset("image/svg+xml", include_str!("page/cup.svg"))))
        .route("/board.js", get(|| asset(SCRIPT, include_str!("page/board.js"))))
        .route("/connection.js", get(|| asset(SCRIPT, include_str!("page/connection.js"))))
        .route("/keys.js", get(|| asset(SCRIPT, include_str!("page/keys.js"))))
        .route("/staff.js", get(|| asset(SCRIPT, include_str!("page/staff.js"))))
        .route("/ticket.js", get(|| asset(SCRIPT, include_str!("page/ticket.js"))))
        .layer(SetResponseHeaderLayer::overriding(header::CONTENT_SECURITY_POLICY, policy))
}

/// Not cached, so that a new version of the shop is on every tablet with the next reload.
async fn asset(content_type: &'static str, body: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-cache")], body)
}
