//! Speaks to the card processor over HTTP and turns every way a call can end into an [`Outcome`]. Each order
//! has one key for its charge and one for its refund, so that asking again is always safe.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Context, ensure};
use events::{Cents, check_text};
use messaging::span::{KeyValue, Span, SpanKind};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde::{Deserialize, Serialize};

use crate::domain::{Outcome, Payment, State};

#[derive(clap::Args, Clone, Debug)]
// The service's own settings are called Config too, and a group takes the name of its struct.
#[group(skip)]
pub struct Config {
    /// Address of the card processor.
    #[arg(long, env, default_value = "http://127.0.0.1:8090")]
    pub card_processor_url: Url,

    /// A call without an answer for this long is given up; it may have been carried out all the same.
    #[arg(long, env, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub charge_timeout_ms: u64,
}

#[derive(Clone)]
pub struct Processor {
    client: Client,
    charges: Url,
    pub timeout: Duration,
}

#[derive(Serialize)]
struct Charge<'a> {
    reference: &'a str,
    customer: &'a str,
    amount: Cents,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Captured {
    charge_id: String,
}

#[derive(Deserialize)]
struct Problem {
    reason: Option<String>,
    detail: Option<String>,
}

impl Processor {
    pub fn new(config: &Config) -> anyhow::Result<Processor> {
        let url = &config.card_processor_url;
        ensure!(
            url.scheme() == "http" && url.has_host(),
            "CARD_PROCESSOR_URL is {url}; it has to be http://host:port (put a TLS proxy in between for https)"
        );
        let mut charges = url.clone();
        charges
            .path_segments_mut()
            .map_err(|()| anyhow::anyhow!("CARD_PROCESSOR_URL is {url}; it has to be http://host:port"))?
            .pop_if_empty()
            .push("charges");
        let timeout = Duration::from_millis(config.charge_timeout_ms);
        let client = Client::builder()
            .no_proxy()
            .timeout(timeout)
            .pool_max_idle_per_host(usize::MAX)
            // Sooner than the other side does, or a charge is sent into a connection that is being closed.
            .pool_idle_timeout(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("cannot build the HTTP client")?;
        Ok(Processor { client, charges, timeout })
    }

    /// Does what the payment's state asks for. Never fails: every end of it is an outcome.
    pub async fn call(&self, payment: &Payment) -> Outcome {
        match (payment.state, &payment.charge_id) {
            (State::RefundDue, Some(charge_id)) => self.refund(payment, charge_id).await,
            (State::RefundDue, None) => Outcome::Refused { why: "there is no charge to refund".into() },
            _ => self.charge(payment).await,
        }
    }

    async fn charge(&self, payment: &Payment) -> Outcome {
        let body = Charge {
            reference: payment.order_id.as_str(),
            customer: payment.customer_id.as_str(),
            amount: payment.amount,
        };
        let request = self.client.post(self.charges.clone()).json(&body);
        let (status, body) = match self.ask(request, "charge", payment).await {
            Ok(answer) => answer,
            Err(outcome) => return outcome,
        };
        match status {
            StatusCode::CREATED | StatusCode::OK => match serde_json::from_slice::<Captured>(&body) {
                Ok(answer) if check_text("chargeId", &answer.charge_id, 200).is_ok() => {
                    Outcome::Captured { charge_id: answer.charge_id }
                }
                _ => {
                    tracing::error!(order = %payment.order_id, "the card processor says captured, but its answer has no usable chargeId");
                    Outcome::Unknown
                }
            },
            StatusCode::PAYMENT_REQUIRED => Outcome::Declined { reason: reason(&body) },
            status => unhappy(status, &body),
        }
    }

    async fn refund(&self, payment: &Payment, charge_id: &str) -> Outcome {
        let mut url = self.charges.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(charge_id).push("refunds");
        }
        match self.ask(self.client.post(url), "refund", payment).await {
            Ok((status, _)) if status.is_success() => Outcome::Refunded,
            Ok((status, body)) => unhappy(status, &body),
            Err(outcome) => outcome,
        }
    }

    async fn ask(
        &self,
        request: RequestBuilder,
        what: &str,
        payment: &Payment,
    ) -> Result<(StatusCode, Vec<u8>), Outcome> {
        let mut span = Span::start(format!("POST {what}"), SpanKind::Client, &payment.trace, || {
            [
                KeyValue::new("http.request.method", "POST"),
                KeyValue::new("server.address", self.charges.host_str().unwrap_or_default().to_owned()),
                KeyValue::new("server.port", i64::from(self.charges.port_or_known_default().unwrap_or(80))),
                KeyValue::new("order.id", payment.order_id.to_string()),
            ]
        });
        let mut request = request
            .header("Idempotency-Key", format!("\"{what}:{}\"", key_of(payment.order_id.as_str())))
            .header("traceparent", &span.context().traceparent);
        if let Some(tracestate) = &span.context().tracestate {
            request = request.header("tracestate", tracestate);
        }
        let answer: Result<(StatusCode, Vec<u8>), reqwest::Error> = async {
            let response = request.send().await?;
            Ok((response.status(), response.bytes().await?.into()))
        }
        .await;
        match answer {
            Ok((status, body)) => {
                span.set("http.response.status_code", i64::from(status.as_u16()));
                if status.is_client_error() || status.is_server_error() {
                    span.fail(status.to_string());
                }
                Ok((status, body))
            }
            Err(error) => {
                span.fail(error.to_string());
                Err(if error.is_connect() { Outcome::NotReached } else { Outcome::Unknown })
            }
        }
    }
}

/// Ids are any text, a header is not; different ones stay different.
fn key_of(order_id: &str) -> impl Display {
    const NOT_IN_A_QUOTED_STRING: &AsciiSet = &CONTROLS.add(b'%').add(b'"').add(b'\\');
    utf8_percent_encode(order_id, NOT_IN_A_QUOTED_STRING)
}

/// Neither captured, refunded nor declined.
fn unhappy(status: StatusCode, body: &[u8]) -> Outcome {
    let try_later =
        [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    if status.is_client_error() && !try_later {
        let detail = serde_json::from_slice::<Problem>(body).ok().and_then(|problem| problem.detail);
        return Outcome::Refused { why: format!("{status}: {}", detail.unwrap_or_default()) };
    }
    Outcome::Unknown
}

/// For the customer, so only if it can be shown to one.
fn reason(body: &[u8]) -> String {
    serde_json::from_slice::<Problem>(body)
        .ok()
        .and_then(|problem| problem.reason)
        .filter(|reason| check_text("reason", reason, 500).is_ok())
        .unwrap_or_else(|| "the card was declined".to_owned())
}
