//! One request, and what its answer means. Only a whole 201 is ok and only a refusal that no repetition can
//! change is a failure; everything else, a 500 included, leaves open whether the order is stored.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::json;

use super::orders::{MenuItem, Order, cents};
use crate::notes::{Answer, Outcome};

const PATIENCE: Duration = Duration::from_secs(5);
const CONNECTING: Duration = Duration::from_secs(2);
const LONGEST_REASON: usize = 200;

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    shop: String,
}

#[derive(Deserialize)]
struct Menu {
    items: Vec<MenuItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    order_id: String,
    trace_id: String,
    #[serde(deserialize_with = "cents")]
    total: i64,
}

impl Client {
    pub fn new(order_api_url: &str) -> Result<Client> {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).connect_timeout(CONNECTING);
        let http = http.build().context("no HTTP client can be made")?;
        Ok(Client { http, shop: order_api_url.trim_end_matches('/').to_owned() })
    }

    pub async fn menu(&self) -> Result<Vec<MenuItem>> {
        let url = format!("{}/menu", self.shop);
        let read = async { self.http.get(&url).send().await?.error_for_status()?.json::<Menu>().await };
        let menu = read.await.with_context(|| format!("no menu at {url}: is the shop open?"))?;
        anyhow::ensure!(!menu.items.is_empty(), "the menu at {url} is empty: nothing can be ordered");
        Ok(menu.items)
    }

    pub async fn send(&self, order: &Order) -> Outcome {
        let body = json!({ "customerId": order.customer, "items": order.lines });
        let request = self.http.post(format!("{}/orders", self.shop)).json(&body);
        let answer = match request.header("idempotency-key", &order.key).send().await {
            Ok(answer) => answer,
            Err(error) => return unknown(reason(&error)),
        };
        let status = answer.status().as_u16();
        match answer.bytes().await {
            Ok(body) => judge(status, &body),
            Err(error) => unknown(format!("{status}, and then {}", reason(&error))),
        }
    }
}

fn judge(status: u16, body: &[u8]) -> Outcome {
    let failed = |why: String| Outcome::Failed { status, why };
    match status {
        201 => match serde_json::from_slice::<Accepted>(body) {
            Ok(Accepted { order_id, trace_id, total }) => {
                Outcome::Ok(Answer { order_id, trace_id, total_cents: total })
            }
            Err(error) => failed(format!("its body cannot be read: {error}")),
        },
        409 | 429 | 500.. => unknown(status.to_string()),
        _ => failed(String::from_utf8_lossy(body).chars().take(LONGEST_REASON).collect()),
    }
}

fn unknown(why: String) -> Outcome {
    Outcome::Unknown { why }
}

/// Few words, the same for the same trouble.
fn reason(error: &reqwest::Error) -> String {
    let what = if error.is_connect() {
        "no connection"
    } else if error.is_timeout() {
        "no answer in time"
    } else {
        "the connection was cut"
    };
    what.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_ok_failed_or_unknown() {
        let body = br#"{"orderId": "order-1", "traceId": "t", "total": 9.00, "status": "received"}"#;
        let answer = Answer { order_id: "order-1".into(), trace_id: "t".into(), total_cents: 900 };
        assert_eq!(judge(201, body), Outcome::Ok(answer));
        for status in [409, 429, 500, 502, 503, 504] {
            assert!(matches!(judge(status, b"{}"), Outcome::Unknown { .. }), "{status}");
        }
        for status in [200, 201, 302, 400, 404, 413, 415, 422] {
            assert!(matches!(judge(status, b"{}"), Outcome::Failed { .. }), "{status}");
        }
    }
}
