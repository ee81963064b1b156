//! The figures over HTTP, for everyone: as JSON, and as a page that keeps itself up to date.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use events::Cents;
use serde::Serialize;
use service::Problem;
use sqlx::PgPool;

use crate::store::{self, ItemRow, TotalsRow};

const BEST_SELLERS: i64 = 10;

pub fn router(pool: PgPool) -> Router {
    Router::new()
        .route("/figures", get(figures))
        .route("/", get(async || asset("text/html", include_str!("page/index.html"))))
        .route("/figures.css", get(async || asset("text/css", include_str!("page/figures.css"))))
        .route("/figures.js", get(async || asset("text/javascript", include_str!("page/figures.js"))))
        .with_state(pool)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    orders: i64,
    confirmed: i64,
    cancelled: i64,
    ready: i64,
    /// Captured less refunded.
    revenue: Cents,
    captured: Cents,
    refunded: Cents,
    /// The most sold first.
    best_sellers: Vec<BestSeller>,
    /// `null` until the first order is ready.
    average_seconds_to_ready: Option<f64>,
}

#[derive(Serialize)]
struct BestSeller {
    name: String,
    quantity: i64,
    revenue: Cents,
}

impl From<ItemRow> for BestSeller {
    fn from(row: ItemRow) -> BestSeller {
        BestSeller { name: row.name, quantity: row.quantity, revenue: Cents(row.cents) }
    }
}

impl Figures {
    fn new(totals: TotalsRow, items: Vec<ItemRow>) -> Figures {
        let (captured, refunded) = (Cents(totals.captured_cents), Cents(totals.refunded_cents));
        let average = totals.seconds_to_ready / totals.timed as f64;
        Figures {
            orders: totals.orders,
            confirmed: totals.confirmed,
            cancelled: totals.cancelled,
            ready: totals.ready,
            revenue: captured - refunded,
            captured,
            refunded,
            best_sellers: items.into_iter().map(BestSeller::from).collect(),
            average_seconds_to_ready: (totals.timed > 0).then(|| (average * 10.0).round() / 10.0),
        }
    }
}

async fn figures(State(pool): State<PgPool>) -> Result<impl IntoResponse, Problem> {
    let totals = store::totals(&pool).await?;
    let items = store::best_sellers(&pool, BEST_SELLERS).await?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(Figures::new(totals, items))))
}

/// Compiled into the binary: the page needs nothing from elsewhere, and may load nothing from elsewhere.
fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, format!("{kind}; charset=utf-8")),
        (CACHE_CONTROL, "no-cache".to_owned()),
        (CONTENT_SECURITY_POLICY, "default-src 'self'; frame-ancestors 'none'".to_owned()),
    ];
    (headers, text)
}
