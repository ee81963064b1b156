//! `GET /orders/{id}/events`: the order live, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};
use service::{Admitted, Problem};
use sqlx::PgPool;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::openapi;
use super::order::{find, no_such_order};
use crate::view::OrderView;
use crate::watch::{Watch, Watched};

const KEEP_ALIVE: Duration = Duration::from_secs(15);
const AFTER_TROUBLE: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct Following {
    pool: PgPool,
    watch: Watch,
}

pub fn routes(pool: PgPool, watch: Watch) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(events)).with_state(Following { pool, watch })
}

/// One event of the stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what axum writes")]
struct StatusEvent {
    #[schema(example = "status")]
    event: String,
    /// The order's version.
    #[schema(example = "3")]
    id: String,
    /// The order, as `GET /orders/{id}` shows it, in JSON.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// The same, live
///
/// Server-sent events named `status`: first the order as it is, then every change until it is ready or
/// cancelled. The event's id is the order's version. A browser that comes back after the last event is
/// answered 204, which tells it to stop.
#[utoipa::path(get, path = "/orders/{id}/events", tag = "orders",
    params(
        ("id" = String, Path, description = "The orderId that POST /orders answered"),
        ("Last-Event-ID" = Option<String>, Header, description = "The last version that the caller knows"),
    ),
    responses(
        (status = 200, description = "Events whose data is the order", body = StatusEvent, content_type = "text/event-stream"),
        (status = 204, description = "The caller has seen the last event of this order"),
        (status = 404, description = "No such order", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 429, description = "More than one client may ask", body = openapi::Problem, content_type = "application/problem+json",
            headers(("Retry-After" = u32, description = "Seconds"))),
        (status = 503, description = "Too many streams are open, or the database is away", body = openapi::Problem,
            content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds"))),
    ))]
async fn events(
    _: Admitted,
    State(Following { pool, watch }): State<Following>,
    id: Result<Path<String>, axum::extract::rejection::PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(id) = id.map_err(|_| no_such_order())?;
    let watched = watch.order(&id)?;
    let order = find(&pool, &id).await?;
    let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<i64>().ok());
    if order.status.is_final() && last_seen == Some(order.version) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    let mut response = Sse::new(follow(pool, watched, order)).keep_alive(keep_alive).into_response();
    // Proxies such as nginx would hold events back until their buffer is full.
    response.headers_mut().insert("x-accel-buffering", "no".parse().expect("a header value"));
    Ok(response)
}

/// Where a stream stands: what it has to say, or the version it said last.
enum Next {
    Say(Box<OrderView>),
    WaitAfter(i64),
    End,
}

fn follow(
    pool: PgPool,
    watched: Watched,
    order: OrderView,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let start = (pool, watched, Next::Say(Box::new(order)));
    stream::unfold(start, |(pool, mut watched, mut next)| async move {
        loop {
            next = match next {
                Next::Say(order) => {
                    let then =
                        if order.status.is_final() { Next::End } else { Next::WaitAfter(order.version) };
                    return Some((Ok(event(&order)), (pool, watched, then)));
                }
                Next::WaitAfter(version) if watched.newer_than(version).await => {
                    match find(&pool, watched.order_id()).await {
                        Ok(order) if order.version > version => Next::Say(Box::new(order)),
                        // The database was away for a moment; the change is not forgotten.
                        _ => {
                            tokio::time::sleep(AFTER_TROUBLE).await;
                            Next::WaitAfter(version)
                        }
                    }
                }
                Next::WaitAfter(_) | Next::End => return None,
            };
        }
    })
}

fn event(order: &OrderView) -> Event {
    let data = serde_json::to_string(order).expect("an order has only string keys");
    Event::default().event("status").id(order.version.to_string()).data(data)
}
