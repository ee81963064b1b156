//! What stands around a service's routes: health and metrics, bounds on body, time and number, security headers.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::FutureExt;
use messaging::TraceContext;
use messaging::span::{KeyValue, Span, SpanKind};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::clients::Clients;
use crate::edge::Edge;
use crate::figures::Saturation;
use crate::health::Health;
use crate::{Problem, body};

/// Asked every few seconds by machines; their traces would hide all others. They need no place: they tell of the crowd.
const QUIET: [&str; 3] = ["/health/live", "/health/ready", "/metrics"];
const MAX_REQUEST_TIME: Duration = Duration::from_secs(15);
const SECURITY: [(header::HeaderName, HeaderValue); 3] = [
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
];

/// What [`around`] needs.
struct Bounds {
    /// Requests that may be under way.
    places: Semaphore,
    body_time: Duration,
    clients: Arc<Clients>,
}

pub fn router(
    routes: Router,
    health: Health,
    metrics: PrometheusHandle,
    edge: &Edge,
    clients: Arc<Clients>,
) -> Router {
    let saturation = Saturation::of(&health);
    let ready = move || health.clone().ready();
    let ours = Router::new()
        .route("/health/live", get(|| async { "live" }))
        .route("/health/ready", get(ready))
        .route("/metrics", get(async move || saturation.render(&metrics)));
    #[cfg(feature = "failpoints")]
    let ours = ours.merge(crate::failpoints::routes());
    let bounds = Bounds {
        places: Semaphore::new(edge.http_requests as usize),
        body_time: Duration::from_secs(edge.http_body_seconds),
        clients,
    };
    routes
        .merge(ours)
        .fallback(|| async {
            Problem::not_found("there is nothing here; see /openapi.json or the README for the routes")
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this address exists, but not for this method; see the Allow header",
            )
        })
        .layer(middleware::from_fn_with_state(Arc::new(bounds), around))
}

/// Gives the request a span, and counts it, whoever answers it: rate, errors and duration, by route pattern so that ids do not
/// become labels.
///
/// All of it is one layer: the router boxes each, and copies what is within it, for every request.
async fn around(State(bounds): State<Arc<Bounds>>, mut request: Request, next: Next) -> Response {
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let loud = route.as_deref().filter(|route| !QUIET.contains(route));
    let mut span = loud.map(|route| begin_span(&mut request, method, route));
    let started = Instant::now();
    let mut response = answer(&bounds, loud.is_some(), request, next).await;
    let (route, status) = (route.unwrap_or_else(|| "unmatched".to_owned()), response.status());
    metrics::counter!("http_requests_total", "method" => method, "route" => route.clone(), "status" => status.as_str().to_owned())
        .increment(1);
    metrics::histogram!("http_request_duration_seconds", "method" => method, "route" => route, "status" => status.as_str().to_owned())
        .record(started.elapsed().as_secs_f64());
    if let Some(span) = &mut span {
        span.set("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            span.fail(status.to_string());
        }
    }
    for (name, value) in SECURITY {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// Within a time, with the body, however slowly that comes; and whatever happens, with an answer.
async fn answer(bounds: &Bounds, is_bounded: bool, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Arc::clone(&bounds.clients));
    let answered = timeout(MAX_REQUEST_TIME, async {
        let request = match body::read(request, bounds.body_time).await {
            Ok(request) => request,
            Err(refusal) => return refusal,
        };
        // Too much at once is refused, rather than let it wait for its time to run out.
        let place = is_bounded.then(|| bounds.places.try_acquire());
        if let Some(Err(_)) = place {
            metrics::counter!("http_refused_total", "why" => "crowd").increment(1);
            let detail = "too many requests are under way; nothing was done, please try again";
            return Problem::unavailable(detail).into_response();
        }
        next.run(request).await
    });
    match AssertUnwindSafe(answered).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            Problem::unavailable("no answer in time; it is not known whether what was asked has happened")
                .into_response()
        }
        Err(_) => {
            tracing::error!("a request handler panicked");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a defect on our side; nothing was stored")
                .into_response()
        }
    }
}

/// Whatever the route does goes under it: the route finds its `Extension<TraceContext>`.
fn begin_span(request: &mut Request, method: &'static str, route: &str) -> Span {
    let span =
        Span::start(format!("{method} {route}"), SpanKind::Server, &trace_of(request.headers()), || {
            [
                KeyValue::new("http.request.method", method),
                KeyValue::new("url.path", request.uri().path().to_owned()),
                KeyValue::new("url.scheme", "http"),
                KeyValue::new("http.route", route.to_owned()),
            ]
        });
    request.extensions_mut().insert(span.context().clone());
    span
}

/// The caller's, or a new one.
fn trace_of(headers: &HeaderMap) -> TraceContext {
    let get = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    TraceContext::from_parts(get("traceparent"), get("tracestate"))
}

/// A client may invent methods, and each would be a label for ever.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::pending;

    use axum::body::{Body, Bytes, to_bytes};
    use axum::routing::post;
    use clap::Parser;
    use futures::stream;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use sqlx::PgPool;
    use tower::ServiceExt;

    use super::*;

    #[derive(Parser)]
    struct Defaults {
        #[command(flatten)]
        edge: Edge,
    }

    async fn panics() {
        panic!("as it should")
    }

    // Time passes at once where everybody waits for it.
    #[tokio::test(start_paused = true)]
    async fn whatever_goes_wrong_is_a_problem_is_counted_and_keeps_no_place() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let _here = metrics::set_default_local_recorder(&recorder);
        let routes = Router::new()
            .route("/slow", get(pending::<()>))
            .route("/panics", get(panics))
            .route("/orders/{id}", post(|_: Bytes| async {}));
        let pool = PgPool::connect_lazy("postgres://nobody@127.0.0.1:9/nothing").unwrap();
        let health = Health { pool, jetstream: None, broker_optional: true };
        let edge = Defaults::parse_from(["test", "--http-requests", "1"]).edge;
        let clients = Arc::new(Clients::new(&edge));
        let router = router(routes, health, recorder.handle(), &edge, clients);

        let endless = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let requests = [
            ("GET", "/slow", Body::empty(), 503),
            ("GET", "/panics", Body::empty(), 500),
            ("POST", "/orders/7", endless, 408),
            ("POST", "/orders/8", Body::from(vec![b' '; 70_000]), 413),
        ];
        for (method, path, body, status) in requests {
            let request = Request::builder().method(method).uri(path).body(body).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), status, "{path}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json", "{path}");
            assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
            to_bytes(response.into_body(), 10_000).await.unwrap();
        }
        let request = Request::builder().method("POST").uri("/orders/9").body(Body::empty()).unwrap();
        assert_eq!(router.oneshot(request).await.unwrap().status(), StatusCode::OK);
        let counted = recorder.handle().render();
        for expected in [
            r#"http_requests_total{method="GET",route="/slow",status="503"} 1"#,
            r#"http_requests_total{method="GET",route="/panics",status="500"} 1"#,
            r#"http_requests_total{method="POST",route="/orders/{id}",status="408"} 1"#,
            r#"http_requests_total{method="POST",route="/orders/{id}",status="413"} 1"#,
        ] {
            assert!(counted.contains(expected), "{expected} is not in\n{counted}");
        }
    }
}
