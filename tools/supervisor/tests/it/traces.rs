//! What a collector is told about an order, by every process of a real shop.

use async_nats::HeaderMap;
use messaging::span::SpanKind;
use serde_json::{Value, json};
use testing::eventually;

use crate::collector::{Collector, Told, hex};
use crate::counter::Counter;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const POISON: &str = "1bf7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn traceparent(trace: &str) -> String {
    format!("00-{trace}-{CALLER}-01")
}

/// What has to be there: who, what, of which kind, and under what.
const ORDER: &[(&str, &str, SpanKind, &str)] = &[
    ("order-api", "commit order", SpanKind::Client, "POST /orders"),
    ("order-api", "publish orders.created", SpanKind::Producer, "POST /orders"),
    ("payment", "process payment", SpanKind::Consumer, "publish orders.created"),
    ("payment", "POST charge", SpanKind::Client, "process payment"),
    ("card-processor", "POST /charges", SpanKind::Server, "POST charge"),
    ("payment", "publish orders.payment-captured", SpanKind::Producer, "process payment"),
    ("inventory", "process inventory", SpanKind::Consumer, "publish orders.created"),
    ("inventory", "publish orders.stock-reserved", SpanKind::Producer, "process inventory"),
    ("order-api", "process order-api", SpanKind::Consumer, "publish orders.stock-reserved"),
    ("order-api", "process order-api", SpanKind::Consumer, "publish orders.payment-captured"),
    ("order-api", "publish orders.confirmed", SpanKind::Producer, "process order-api"),
    ("loyalty", "process loyalty", SpanKind::Consumer, "publish orders.created"),
    ("kitchen-display", "process kitchen-display", SpanKind::Consumer, "publish orders.confirmed"),
    ("email", "process email", SpanKind::Consumer, "publish orders.created"),
    ("email", "publish emails.received", SpanKind::Producer, "process email"),
    ("email", "process email-worker", SpanKind::Consumer, "publish emails.received"),
    ("email", "SMTP send", SpanKind::Client, "process email-worker"),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_one_trace_through_every_service_and_a_dead_letter_stays_in_its_own() {
    let mut collector = Collector::start();
    let endpoint = format!("*.OTEL_EXPORTER_OTLP_ENDPOINT={}", collector.url);
    let linked = "analytics.TRACE_CONSUMERS=link";
    let counter = Counter::open(&["--set", &endpoint, "--set", linked]);

    let answer = place(&counter, &traceparent(TRACE)).await;
    assert_eq!(answer["traceId"], TRACE);
    let order = answer["orderId"].as_str().unwrap();
    counter.wait_for_status(order, "confirmed").await;
    for (service, name, kind, parent) in ORDER {
        let told = eventually(&format!("{service} tells of {name} under {parent}"), async || {
            let spans = collector.trace(TRACE);
            let under = |span: &Told| spans.iter().any(|p| p.span.name == *parent && span.is_child_of(p));
            spans.iter().find(|t| t.service == *service && t.span.name == *name && under(t)).cloned()
        })
        .await;
        assert_eq!(told.span.kind, 1 + kind_number(kind), "{told}");
        assert_eq!(told.error(), None, "{told}");
    }
    let spans = collector.trace(TRACE);
    println!("{} spans in the order's trace", spans.len());
    for told in &spans {
        let parent = hex(&told.span.parent_span_id);
        let known = parent == CALLER || spans.iter().any(|p| told.is_child_of(p));
        assert!(known, "{told} hangs under nothing");
        match (told.span.name.split(' ').next().unwrap(), told.attribute("messaging.system")) {
            ("publish" | "process", system) => assert_eq!(system.as_deref(), Some("nats"), "{told}"),
            ("commit", _) => assert_eq!(told.attribute("db.system.name").unwrap(), "postgresql"),
            _ => {}
        }
        if told.span.name.starts_with("process") {
            assert_eq!(told.attribute("order.id").as_deref(), Some(order), "{told}");
        }
    }
    let placed = named(&spans, "POST /orders");
    assert_eq!(placed[0].attribute("http.response.status_code").unwrap(), "201");
    assert!(spans.iter().all(|told| told.service != "analytics"), "it starts traces of its own");
    let published = named(&spans, "publish orders.created");
    eventually("analytics has linked its trace with the message", async || {
        named(&collector.all(), "process analytics").iter().find(|s| s.is_linked_with(&published[0])).cloned()
    })
    .await;

    a_batch_is_linked_with_its_events(&collector, &counter).await;
    a_dead_letter_stays_in_the_trace(&collector, &counter).await;
    without_a_collector_nothing_is_missed(&mut collector, &counter).await;
}

async fn a_batch_is_linked_with_its_events(collector: &Collector, counter: &Counter) {
    counter.shop.open(&["--scale", "loyalty=0"]);
    for customer in ["b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8"] {
        let order = counter.order(customer).await;
        counter.wait_for_status(&order, "confirmed").await;
    }
    counter.shop.open(&["--scale", "loyalty=1"]);
    let batch = eventually("loyalty has handled several events at once", async || {
        named(&collector.all(), "process batch loyalty").first().cloned()
    })
    .await;
    let size: usize = batch.attribute("messaging.batch.message_count").unwrap().parse().unwrap();
    assert!(size > 1 && batch.span.links.len() == size, "{size}");
    let events = named(&collector.all(), "process loyalty");
    let mutual = events.iter().filter(|event| event.is_linked_with(&batch) && batch.is_linked_with(event));
    assert_eq!(mutual.count(), size);
}

async fn a_dead_letter_stays_in_the_trace(collector: &Collector, counter: &Counter) {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", traceparent(POISON));
    let js = counter.jetstream().await;
    let sent = js.publish_with_headers("orders.created", headers, "this is not an event".into());
    sent.await.unwrap().await.unwrap();
    let buried = async |times| {
        eventually("loyalty buries it, in its trace", async || {
            let spans = collector.trace(POISON);
            let of_loyalty = spans.into_iter().filter(|told| told.service == "loyalty");
            let (buried, rest): (Vec<_>, Vec<_>) = of_loyalty.partition(|told| told.span.name == "bury");
            let published = rest.iter().filter(|told| told.span.name == "publish dlq.loyalty").count();
            (buried.len() == times && published == times).then_some(buried)
        })
        .await
    };
    let letter = buried(1).await;
    assert!(letter[0].error().is_some_and(|why| why.contains("undecodable")), "{:?}", letter[0].error());
    let list = counter.coffeectl(&["dlq", "list", "--json"]);
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    let number =
        list.as_array().unwrap().iter().find(|l| l["consumer"] == "loyalty").unwrap()["number"].to_string();
    assert!(counter.coffeectl(&["dlq", "redrive", &number]).status.success());
    buried(2).await;
}

async fn without_a_collector_nothing_is_missed(collector: &mut Collector, counter: &Counter) {
    collector.stop();
    let order = counter.order("cleo").await;
    counter.wait_for_status(&order, "confirmed").await;
    let http = reqwest::Client::new();
    eventually("what could not be told is counted", async || {
        let url = format!("{}/metrics", counter.env("ORDER_API_URL"));
        let metrics = http.get(url).send().await.ok()?.text().await.ok()?;
        let lost = metrics.lines().find(|l| l.starts_with("trace_spans_exported_total{outcome=\"lost\"}"))?;
        (!lost.ends_with(" 0")).then_some(())
    })
    .await;
}

async fn place(counter: &Counter, traceparent: &str) -> Value {
    let order = json!({ "customerId": "ann", "items": [{ "name": "Latte" }] });
    let request = reqwest::Client::new().post(format!("{}/orders", counter.env("ORDER_API_URL")));
    request.header("traceparent", traceparent).json(&order).send().await.unwrap().json().await.unwrap()
}

fn named(spans: &[Told], name: &str) -> Vec<Told> {
    spans.iter().filter(|told| told.span.name == name).cloned().collect()
}

/// As OTLP counts them.
fn kind_number(kind: &SpanKind) -> i32 {
    match kind {
        SpanKind::Internal => 0,
        SpanKind::Server => 1,
        SpanKind::Client => 2,
        SpanKind::Producer => 3,
        SpanKind::Consumer => 4,
    }
}
