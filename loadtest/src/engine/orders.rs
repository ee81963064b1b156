//! What is ordered. Bodies are encoded once, before the load begins: while it runs, an order costs the
//! generator a reference count.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

const CUSTOMERS: usize = 10_000;

#[derive(Clone, Debug, Deserialize)]
pub struct MenuItem {
    pub sku: String,
    pub name: String,
    pub price: f64,
}

#[derive(Deserialize)]
struct Menu {
    items: Vec<MenuItem>,
}

impl MenuItem {
    pub fn cents(&self) -> i64 {
        (self.price * 100.0).round() as i64
    }
}

pub async fn menu(http: &reqwest::Client, order_api: &str) -> Result<Vec<MenuItem>> {
    let url = format!("{order_api}/menu");
    let read = async { http.get(&url).send().await?.error_for_status()?.json::<Menu>().await };
    let menu = read.await.with_context(|| format!("no menu at {url}: is the shop open?"))?;
    ensure!(!menu.items.is_empty(), "the menu at {url} is empty: nothing can be ordered");
    Ok(menu.items)
}

/// Orders of one to three different things by ten thousand customers, in a fixed mixture.
pub fn bodies(menu: &[MenuItem]) -> Vec<Bytes> {
    let body = |n: usize| {
        let lines = (0..=n % 3).map(|line| {
            let item = &menu[(n / 3 + line * 7) % menu.len()];
            json!({ "sku": item.sku, "quantity": 1 + (n + line) % 2 })
        });
        let lines: Vec<_> = lines.collect();
        Bytes::from(json!({ "customerId": format!("cust-{n}"), "items": lines }).to_string())
    };
    (0..CUSTOMERS).map(body).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_a_mixture_of_the_menu() {
        let item = |sku: &str| MenuItem { sku: sku.into(), name: sku.into(), price: 4.5 };
        let bodies = bodies(&[item("latte"), item("mocha")]);
        let mentions = |sku: &str| {
            let text = |body: &&Bytes| String::from_utf8_lossy(body).contains(sku);
            bodies.iter().filter(text).count()
        };
        assert!(mentions("latte") > CUSTOMERS / 3 && mentions("mocha") > CUSTOMERS / 3);
        assert_eq!(item("latte").cents(), 450);
    }
}
