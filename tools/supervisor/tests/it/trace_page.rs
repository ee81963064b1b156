//! The trace page that comes with a shop: an order is found in it, a rush does not overrun it, and nothing of the
//! shop needs it.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::{Value, json};
use testing::eventually;

use crate::counter::Counter;
use crate::shop::{SERVICES, Shop, text};

/// What an order of nobody's trace begins, per second and at once (TRACES_PER_SECOND).
const RATE: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_found_in_the_trace_page_through_every_service() {
    let counter = Counter::open(&["--scale", "traces=1"]);
    let (order, trace) = place(&counter).await;
    counter.wait_for_status(&order, "confirmed").await;
    eventually("the trace has spans of every service", async || {
        let found = traces(&counter, &format!("/api/traces/{trace}")).await?;
        let services = SERVICES.into_iter().map(str::to_owned).collect();
        (services_of(&found[0]) == services).then_some(())
    })
    .await;

    let tag = format!("/api/traces?service=loyalty&tags=%7B%22order.id%22:%22{order}%22%7D");
    let found = traces(&counter, &tag).await.unwrap();
    assert_eq!((found.len(), &found[0]["traceID"]), (1, &json!(trace)));
    let spans = found[0]["spans"].as_array().unwrap();
    let roots = spans.iter().filter(|span| span["references"] == json!([]));
    let roots: Vec<_> = roots.map(|span| &span["operationName"]).collect();
    assert_eq!(roots, ["POST /orders"]);

    a_rush_is_traced_in_part(&counter).await;

    // Nobody waits for it, and it is back.
    counter.kill("traces");
    let order = counter.order("without-traces").await;
    counter.wait_for_status(&order, "confirmed").await;
    eventually("an order is traced again", async || {
        let (_, trace) = place(&counter).await;
        is_traced(&counter, &trace).await.then_some(())
    })
    .await;
    counter.shop.open(&["--scale", "traces=0"]);
    assert!(!counter.shop.pids().contains_key("traces"));
    counter.audit();
}

async fn a_rush_is_traced_in_part(counter: &Counter) {
    let before = orders_traced(counter).await;
    let begun = Instant::now();
    let orders = futures::stream::iter(0..400).map(|_| place(counter)).buffer_unordered(16);
    assert_eq!(orders.collect::<BTreeSet<_>>().await.len(), 400);
    let most = RATE * (begun.elapsed().as_secs() as usize + 2);
    let (last, trace) = eventually("the rush is over", async || {
        let (order, trace) = place(counter).await;
        is_traced(counter, &trace).await.then_some((order, trace))
    })
    .await;
    counter.wait_for_status(&last, "confirmed").await;
    let traced = orders_traced(counter).await - before;
    println!("{traced} of 400 orders were traced; the last is {trace}");
    assert!((RATE..=most + 2).contains(&traced), "{traced} of at most {most}");
}

/// Whether a trace comes within the time that spans are on their way. One that was not sampled never does. Each service
/// sends its own part in its own time, so it is the counter's that is waited for: what it traced before is there then, too.
async fn is_traced(counter: &Counter, trace: &str) -> bool {
    let comes = eventually("the counter's part of the trace is there", async || {
        let found = traces(counter, &format!("/api/traces/{trace}")).await?;
        services_of(&found[0]).contains("order-api").then_some(())
    });
    tokio::time::timeout(Duration::from_secs(4), comes).await.is_ok()
}

async fn orders_traced(counter: &Counter) -> usize {
    let search = "/api/traces?service=order-api&operation=POST%20/orders&limit=1500";
    traces(counter, search).await.unwrap().len()
}

#[test]
fn a_shop_opens_without_a_trace_page_and_says_why() {
    let shop = Shop::new();
    let said = shop.open(&[]);
    assert!(said.contains("NOTE: the shop has no trace page: no program trace-page in"), "{said}");
    assert!(said.contains("cargo build --release --bin trace-page"), "{said}");
    assert!(!shop.env().contains_key("TRACES_URL"));
    assert!(!shop.ask("payment").unwrap().contains("OTEL_EXPORTER_OTLP_ENDPOINT"));
}

#[test]
fn a_trace_page_that_cannot_start_keeps_nobody_waiting() {
    let shop = Shop::new();
    shop.set_program("trace-page", "#!/bin/sh\necho no traces today; exit 3\n");
    let said = shop.open(&[]);
    assert!(said.contains("The shop is open") && said.contains("traces died (exit code 3)"), "{said}");
    let otlp = &shop.env()["TRACES_OTLP_URL"];
    let told = format!("\"OTEL_EXPORTER_OTLP_ENDPOINT\": {otlp:?}");
    assert!(shop.ask("payment").unwrap().contains(&told), "{told}");
}

#[test]
fn a_taken_port_of_the_trace_page_is_refused_like_any_other() {
    let shop = Shop::new();
    shop.set_program("trace-page", "#!/bin/sh\nsleep 60\n");
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    for variable in ["TRACES_PORT", "TRACES_OTLP_PORT"] {
        let output = shop.command(&["up", "--detach"]).env(variable, &port).output().unwrap();
        assert!(!output.status.success());
        assert!(text(&output).contains(&format!("{variable}={port}")), "{}", text(&output));
    }
}

/// Of an order that nobody else traces: its id and its trace's.
async fn place(counter: &Counter) -> (String, String) {
    let order = json!({ "customerId": "ann", "items": [{ "name": "Latte" }] });
    let url = format!("{}/orders", counter.env("ORDER_API_URL"));
    let answer = reqwest::Client::new().post(url).json(&order).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    (text("orderId"), text("traceId"))
}

async fn traces(counter: &Counter, path: &str) -> Option<Vec<Value>> {
    let answer = reqwest::get(format!("{}{path}", counter.env("TRACES_URL"))).await.ok()?;
    let mut answer: Value = answer.json().await.ok()?;
    match answer["data"].take() {
        Value::Array(traces) => Some(traces),
        _ => None,
    }
}

fn services_of(trace: &Value) -> BTreeSet<String> {
    let processes = trace["processes"].as_object().unwrap().values();
    processes.map(|process| process["serviceName"].as_str().unwrap().to_owned()).collect()
}
