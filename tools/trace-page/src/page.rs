//! HTTP: the part of Jaeger's API that its search, trace, comparison and architecture pages ask for, and the pages.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use axum::Router;
use axum::extract::{Path as InPath, Query as InQuery, RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::jaeger;
use crate::search::{Query, trace_id};
use crate::store::{Store, Trace, TraceId};

/// Somebody who asks for more gets the newest of it.
const LONGEST_ANSWER: usize = 32 << 20;

/// Where Jaeger's own server puts its configuration into the page.
const CONFIG_PLACE: &str = "const JAEGER_CONFIG = DEFAULT_CONFIG;";
/// Without what there is no data for.
const CONFIG: &str =
    r#"const JAEGER_CONFIG = {"monitor":{"menuEnabled":false},"dependencies":{"menuEnabled":true}};"#;

const NO_PAGES: &str = "<!doctype html><title>Traces</title><h1>Traces are kept, but their pages are not here</h1>\
    <p><code>./scripts/lib/get-jaeger-ui</code> downloads them, or says why it cannot; the next <code>./scripts/up</code> \
    after <code>./scripts/down</code> shows them. Until then: <code>/api/traces/TRACE-ID</code>.";

type Shared = Arc<RwLock<Store>>;

pub fn router(store: Shared, pages: Option<&Path>) -> Router {
    let header = |name, value| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    let api = Router::new()
        .route("/health/ready", get(|| async { "ready" }))
        .route("/api/services", get(services))
        .route("/api/services/{service}/operations", get(operations_of))
        .route("/api/operations", get(operations))
        .route("/api/traces", get(traces))
        .route("/api/traces/{id}", get(trace))
        .route("/api/dependencies", get(dependencies))
        .route(
            "/api/{*rest}",
            get(|| async { failure(StatusCode::NOT_FOUND, "there is no such part of the API") }),
        )
        .with_state(store);
    with_pages(api, pages)
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(header::X_FRAME_OPTIONS, "DENY"))
        .layer(header(header::REFERRER_POLICY, "no-referrer"))
}

/// Every address beside those of files is one of the page's own.
fn with_pages(api: Router, folder: Option<&Path>) -> Router {
    let index = folder.map(|folder| (folder, fs::read_to_string(folder.join("index.html"))));
    match index {
        Some((folder, Ok(index))) => {
            let index = Html(index.replace(CONFIG_PLACE, CONFIG));
            api.nest_service("/static", ServeDir::new(folder.join("static")))
                .fallback(async move || index.clone())
        }
        missing => {
            if let Some((folder, Err(error))) = missing {
                eprintln!("the pages are not in {}: {error}", folder.display());
            }
            api.fallback(async || (StatusCode::NOT_FOUND, Html(NO_PAGES)))
        }
    }
}

async fn services(State(store): State<Shared>) -> Response {
    let store = read(&store);
    let spans = store.newest().flat_map(|(_, trace)| trace.spans());
    list(spans.map(|kept| kept.source.service.as_str()).collect::<BTreeSet<_>>())
}

async fn operations_of(State(store): State<Shared>, InPath(service): InPath<String>) -> Response {
    let store = read(&store);
    list(operations_with_kinds(&store, &service).into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>())
}

async fn operations(
    State(store): State<Shared>,
    InQuery(query): InQuery<HashMap<String, String>>,
) -> Response {
    let store = read(&store);
    let known = operations_with_kinds(&store, query.get("service").map_or("", String::as_str));
    let wanted = query.get("spanKind").filter(|kind| !kind.is_empty());
    let known = known.into_iter().filter(|(_, kind)| wanted.is_none_or(|wanted| wanted == kind));
    list(known.map(|(name, kind)| json!({ "name": name, "spanKind": kind })).collect::<Vec<_>>())
}

fn operations_with_kinds(store: &Store, service: &str) -> BTreeSet<(String, &'static str)> {
    let spans = store.newest().flat_map(|(_, trace)| trace.spans());
    let of_service = spans.filter(|kept| kept.source.service == service).map(|kept| kept.span());
    of_service
        .map(|span| {
            let kind = jaeger::kind(&span);
            (span.name, kind)
        })
        .collect()
}

async fn traces(State(store): State<Shared>, RawQuery(query): RawQuery) -> Response {
    match Query::parse(&query.unwrap_or_default()) {
        Ok(query) => answer(query.find(&read(&store))),
        Err(wrong) => failure(StatusCode::BAD_REQUEST, &wrong),
    }
}

async fn trace(State(store): State<Shared>, InPath(text): InPath<String>) -> Response {
    let Some(id) = trace_id(&text) else {
        return failure(StatusCode::BAD_REQUEST, "a trace's id is of up to 32 hex digits");
    };
    match read(&store).trace(&id) {
        Some(trace) => answer(std::iter::once((&id, trace))),
        None => failure(
            StatusCode::NOT_FOUND,
            "trace not found: it is not here yet (spans arrive after a second or two), was not sampled, or has made room",
        ),
    }
}

/// Each trace is written before the next one is read: a search may find all there is.
fn answer<'a>(traces: impl Iterator<Item = (&'a TraceId, &'a Trace)>) -> Response {
    let mut body = String::from(r#"{"data":["#);
    for (number, (id, trace)) in traces.enumerate() {
        if body.len() > LONGEST_ANSWER {
            break;
        }
        body += if number == 0 { "" } else { "," };
        body += &jaeger::trace(id, trace).to_string();
    }
    body += r#"],"total":0,"limit":0,"offset":0,"errors":null}"#;
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Who calls whom, over all traces: the page "System Architecture".
async fn dependencies(State(store): State<Shared>) -> Response {
    let store = read(&store);
    let mut calls: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (_, trace) in store.newest() {
        for kept in trace.spans() {
            let parent = kept.span().parent_span_id;
            let parent = trace.span(&parent).map(|parent| parent.source.service.as_str());
            if let Some(parent) = parent.filter(|parent| *parent != kept.source.service) {
                *calls.entry((parent, &kept.source.service)).or_default() += 1;
            }
        }
    }
    let link = |((parent, child), count)| json!({ "parent": parent, "child": child, "callCount": count });
    list(calls.into_iter().map(link).collect::<Vec<_>>())
}

fn list(data: impl IntoIterator<Item = impl Into<Value>>) -> Response {
    let data: Vec<Value> = data.into_iter().map(Into::into).collect();
    let total = data.len();
    axum::Json(json!({ "data": data, "total": total, "limit": 0, "offset": 0, "errors": null }))
        .into_response()
}

fn failure(status: StatusCode, why: &str) -> Response {
    let errors = json!([{ "code": status.as_u16(), "msg": why }]);
    let body = json!({ "data": null, "total": 0, "limit": 0, "offset": 0, "errors": errors });
    (status, axum::Json(body)).into_response()
}

fn read(store: &Shared) -> RwLockReadGuard<'_, Store> {
    store.read().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::Limits;
    use crate::testing::{sent, span};
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    async fn ask(pages: Option<&Path>, path: &str) -> (u16, String) {
        let mut store = Store::new(Limits::default());
        store.add(sent("order-api", [span(1, 1, 0, "POST /orders")]));
        store.add(sent("payment", [span(1, 2, 1, "process payment"), span(1, 3, 2, "POST charge")]));
        let router = router(Arc::new(RwLock::new(store)), pages);
        let answer = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        (status, String::from_utf8(to_bytes(answer.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap())
    }

    async fn data(path: &str) -> Value {
        let (status, body) = ask(None, path).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["data"].take()
    }

    #[tokio::test]
    async fn the_search_page_finds_what_it_asks_for() {
        assert_eq!(data("/api/services").await, json!(["order-api", "payment"]));
        assert_eq!(data("/api/services/payment/operations").await, json!(["POST charge", "process payment"]));
        let operations = json!([{ "name": "POST /orders", "spanKind": "internal" }]);
        assert_eq!(data("/api/operations?service=order-api").await, operations);
        assert_eq!(
            data("/api/traces?service=payment&limit=5").await[0]["spans"].as_array().unwrap().len(),
            3
        );
        let calls = json!([{ "parent": "order-api", "child": "payment", "callCount": 1 }]);
        assert_eq!(data("/api/dependencies?endTs=1&lookback=2").await, calls);
    }

    #[tokio::test]
    async fn a_trace_is_there_or_it_is_said_why_not() {
        assert_eq!(
            data("/api/traces/00000000000000000000000000000001").await[0]["spans"][2]["operationName"],
            "POST charge"
        );
        for (path, status) in
            [("/api/traces/2", 404), ("/api/traces/xyz", 400), ("/api/traces?limit=x", 400), ("/api/x", 404)]
        {
            let (answered, body) = ask(None, path).await;
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!((answered, &body["errors"][0]["code"]), (status, &json!(status)), "{path}");
        }
    }

    #[tokio::test]
    async fn pages_are_served_where_they_are_and_missed_with_a_hint_where_not() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("static")).unwrap();
        fs::write(folder.path().join("index.html"), format!("<script>{CONFIG_PLACE}</script>")).unwrap();
        fs::write(folder.path().join("static/index.js"), "1").unwrap();
        let (status, body) = ask(Some(folder.path()), "/trace/1").await;
        assert!(status == 200 && body.contains(CONFIG), "{body}");
        assert_eq!(ask(Some(folder.path()), "/static/index.js").await, (200, "1".to_owned()));
        assert_eq!(ask(Some(folder.path()), "/static/index.css").await.0, 404);
        for pages in [None, Some(Path::new("/nowhere"))] {
            let (status, body) = ask(pages, "/trace/1").await;
            assert!(status == 404 && body.contains("get-jaeger-ui"), "{body}");
        }
    }
}
