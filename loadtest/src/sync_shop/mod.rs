//! The old shop: it takes an order, charges the card, takes the stock, gives the points and sends the mail, one
//! after the other while the customer waits. Each step is right by itself; together they are as slow as their
//! sum, and as available as the worst of them.
//!
//! It has databases of its own and a card processor of its own, which is the same program as the shop's, so
//! that the shop's audit finds no strangers in the books.

mod mail;
mod steps;
mod store;

use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::routing::post;
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::process::{Child, Command};
use tokio::task::AbortHandle;

use self::mail::Mailer;
use self::steps::OldShop;
use crate::engine::orders::MenuItem;
use crate::shop::Shop;

const DATABASE: &str = "loadtest_sync";
const CARD_DATABASE: &str = "loadtest_sync_cards";
const STAFF_TOKEN: &str = "staff-of-the-old-shop";
const CONNECTIONS: u32 = 50;
const READY_WITHIN: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

pub struct SyncShop {
    pub url: String,
    card_processor: String,
    http: reqwest::Client,
    pool: PgPool,
    serving: AbortHandle,
    _process: Child,
}

impl SyncShop {
    pub async fn open(shop: &Shop, menu: &[MenuItem]) -> Result<SyncShop> {
        shop.run_folder("the old shop")?;
        let options = shop.own_database(DATABASE).await?;
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await?;
        store::prepare(&pool, menu).await?;
        shop.own_database(CARD_DATABASE).await?;
        let (process, card_processor) = card_processor(shop).await?;
        let old = OldShop {
            pool: pool.clone(),
            http: shop.http.clone(),
            card_processor: card_processor.clone(),
            mailer: Mailer::new(shop.get("SMTP_URL")?)?,
            prices: menu.iter().map(|item| (item.sku.clone(), item.cents())).collect(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().route("/orders", post(steps::place)).with_state(Arc::new(old));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        let serving = serving.abort_handle();
        Ok(SyncShop { url, card_processor, http: shop.http.clone(), pool, serving, _process: process })
    }

    /// How long its card processor takes.
    pub async fn delay_charges(&self, delay: Duration) -> Result<()> {
        let url = format!("{}/behaviour", self.card_processor);
        let body = json!({ "delayMs": delay.as_millis() as u64 });
        let answer = self.http.put(url).bearer_auth(STAFF_TOKEN).json(&body).send().await?;
        ensure!(answer.status().is_success(), "the old shop's card processor: {}", answer.status());
        Ok(())
    }

    /// Orders that were paid and of which no mail was sent: their customers saw an error.
    pub async fn paid_without_mail(&self) -> Result<i64> {
        Ok(store::paid_without_mail(&self.pool).await?)
    }

    pub async fn close(self, shop: &Shop) -> Result<()> {
        let SyncShop { pool, serving, mut _process, .. } = self;
        serving.abort();
        _process.kill().await?;
        pool.close().await;
        shop.drop_database(DATABASE).await?;
        shop.drop_database(CARD_DATABASE).await
    }
}

/// Another process of the shop's own card processor.
async fn card_processor(shop: &Shop) -> Result<(Child, String)> {
    // Free for a moment at least: nobody else on this machine asks for that very port.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let process = Command::new(shop.program_of("card-processor")?)
        .env("HTTP_ADDR", address.to_string())
        .env("DATABASE_URL", shop.own_url(CARD_DATABASE)?)
        .env("STAFF_TOKEN", STAFF_TOKEN)
        .env("INSTANCE", "card-processor-of-the-old-shop")
        .env_remove("NATS_URL")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a card processor for the old shop")?;
    let url = format!("http://{address}");
    let (ready, began) = (format!("{url}/health/ready"), Instant::now());
    while !shop.http.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
        ensure!(began.elapsed() < READY_WITHIN, "the old shop's card processor does not become ready");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok((process, url))
}
