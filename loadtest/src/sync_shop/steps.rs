//! The five steps, inside the request.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use sqlx::PgPool;

use super::mail::Mailer;
use super::store;

pub struct OldShop {
    pub pool: PgPool,
    pub http: reqwest::Client,
    pub card_processor: String,
    pub mailer: Mailer,
    /// Cents by sku.
    pub prices: HashMap<String, i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewOrder {
    customer_id: String,
    items: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    sku: String,
    quantity: i64,
}

/// Nothing undoes the steps before the one that fails; the old shop did not either.
pub async fn place(State(shop): State<Arc<OldShop>>, Json(order): Json<NewOrder>) -> Response {
    match shop.five_steps(&order).await {
        Ok(id) => (StatusCode::CREATED, [(header::LOCATION, format!("/orders/{id}"))]).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

impl OldShop {
    async fn five_steps(&self, order: &NewOrder) -> Result<String> {
        let lines: Vec<(&str, i64)> =
            order.items.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
        let price = |(sku, quantity): &(&str, i64)| Some(self.prices.get(*sku)? * quantity);
        let total = lines.iter().map(price).sum::<Option<i64>>().context("this is not on the menu")?;
        let id = uuid::Uuid::now_v7().to_string();

        store::insert_order(&self.pool, &id, &order.customer_id, total).await?;
        self.charge(&id, &order.customer_id, total).await?;
        store::mark_paid(&self.pool, &id).await?;
        store::take_stock(&self.pool, &lines).await?;
        store::give_points(&self.pool, &order.customer_id, total / 100).await?;
        self.mailer.send(&id, &order.customer_id, total).await?;
        store::mark_mailed(&self.pool, &id).await?;
        Ok(id)
    }

    async fn charge(&self, id: &str, customer: &str, cents: i64) -> Result<()> {
        let amount = cents as f64 / 100.0;
        let answer = self
            .http
            .post(format!("{}/charges", self.card_processor))
            .header("idempotency-key", id)
            .json(&json!({ "reference": id, "customer": customer, "amount": amount }))
            .send()
            .await
            .context("the card processor does not answer")?;
        ensure!(answer.status().is_success(), "the card was not charged: {}", answer.status());
        Ok(())
    }
}
