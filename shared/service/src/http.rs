//! What stands around a service's routes: health and metrics, bounds on body, time and number, security headers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use messaging::span::{KeyValue, Span, SpanKind};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::clients::Clients;
use crate::connect::trace_of;
use crate::edge::Edge;
use crate::figures::Saturation;
use crate::health::Health;
use crate::{Problem, body};

/// Asked every few seconds by machines; their traces would hide all others.
const QUIET: [&str; 3] = ["/health/live", "/health/ready", "/metrics"];
const MAX_REQUEST_TIME: Duration = Duration::from_secs(15);

pub fn router(
    routes: Router,
    health: Health,
    metrics: PrometheusHandle,
    edge: &Edge,
    clients: Arc<Clients>,
) -> Router {
    let saturation = Saturation::of(&health);
    let ready = move || health.clone().ready();
    let header = |name, value| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    let ours = Router::new()
        .route("/health/live", get(|| async { "live" }))
        .route("/health/ready", get(ready))
        .route("/metrics", get(async move || saturation.render(&metrics)));
    #[cfg(feature = "failpoints")]
    let ours = ours.merge(crate::failpoints::routes());
    let places = Arc::new(Semaphore::new(edge.http_requests as usize));
    let body_time = Duration::from_secs(edge.http_body_seconds);
    // As one layer: the router would box each, for every request, and all that is within it.
    let around = ServiceBuilder::new()
        .layer(header(header::REFERRER_POLICY, "no-referrer"))
        .layer(header(header::X_FRAME_OPTIONS, "DENY"))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(middleware::from_fn(observe))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            tracing::error!("a request handler panicked");
            let problem =
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a defect on our side; nothing was stored");
            problem.into_response()
        }))
        .layer(middleware::from_fn(bound_time))
        .layer(Extension(clients))
        .layer(middleware::from_fn_with_state(body_time, body::bound));
    routes
        .layer(middleware::from_fn_with_state(places, bound_number))
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
        .layer(around)
}

/// Refuses what is too much at once, rather than let it wait for its time to run out. Health and metrics are not
/// among it: they tell of the crowd.
async fn bound_number(State(places): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let Ok(_place) = places.try_acquire() else {
        metrics::counter!("http_refused_total", "why" => "crowd").increment(1);
        return Problem::unavailable("too many requests are under way; nothing was done, please try again")
            .into_response();
    };
    next.run(request).await
}

/// With its body, however slowly that comes.
async fn bound_time(request: Request, next: Next) -> Response {
    timeout(MAX_REQUEST_TIME, next.run(request)).await.unwrap_or_else(|_| {
        Problem::unavailable("no answer in time; it is not known whether what was asked has happened")
            .into_response()
    })
}

/// Gives the request a span, and counts it, whoever answers it: rate, errors and duration, by route pattern so that ids do not
/// become labels.
async fn observe(mut request: Request, next: Next) -> Response {
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let mut span = route
        .as_deref()
        .filter(|route| !QUIET.contains(route))
        .map(|route| begin_span(&mut request, method, route));
    let started = Instant::now();
    let response = next.run(request).await;
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
    response
}

/// Takes the place of the caller's `traceparent`, so that whatever the route does goes under it.
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
    let context = span.context();
    for (name, value) in
        [("traceparent", Some(&context.traceparent)), ("tracestate", context.tracestate.as_ref())]
    {
        match value.and_then(|value| HeaderValue::from_str(value).ok()) {
            Some(value) => request.headers_mut().insert(name, value),
            None => request.headers_mut().remove(name),
        };
    }
    span
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
    async fn what_the_layers_answer_themselves_is_a_problem_and_is_counted() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let _here = metrics::set_default_local_recorder(&recorder);
        let routes = Router::new()
            .route("/slow", get(pending::<()>))
            .route("/panics", get(panics))
            .route("/orders/{id}", post(|_: Bytes| async {}));
        let pool = PgPool::connect_lazy("postgres://nobody@127.0.0.1:9/nothing").unwrap();
        let health = Health { pool, jetstream: None, broker_optional: true };
        let edge = Defaults::parse_from(["test"]).edge;
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
