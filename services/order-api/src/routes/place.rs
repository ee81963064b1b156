//! `POST /orders`

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use events::Cents;
use messaging::TraceContext;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::{Admitted, Problem};
use sqlx::{PgExecutor, PgPool};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::openapi;
use crate::backlog::{self, Backlog};
use crate::idempotency::{self, Running};
use crate::menu::MENU;
use crate::placement::Placement;
use crate::request::Request;
use crate::store;
use crate::view::Status;
use crate::writer::{Outcome, Writer};

/// What placing an order needs.
#[derive(Clone)]
pub struct Placing {
    pub writer: Writer,
    pub backlog: Backlog,
    pub running: Running,
    /// For looking up what an idempotency key stands for.
    pub pool: PgPool,
}

pub fn routes(placing: Placing) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(place)).with_state(placing)
}

/// An order to be placed. Unknown fields are ignored.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body; request.rs reads it, naming all mistakes at once")]
struct NewOrder {
    /// Not blank, and at most 128 bytes.
    #[schema(
        example = "cust-456",
        min_length = 1,
        max_length = 64,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"
    )]
    customer_id: String,
    /// Where to send the receipt.
    #[schema(example = "a@example.com", format = "email", max_length = 254)]
    email: Option<String>,
    #[schema(min_items = 1, max_items = 50)]
    items: Vec<NewLine>,
}

#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the body")]
struct NewLine {
    /// As on the menu, in any case. Either this or `sku` is needed.
    #[schema(schema_with = names)]
    name: Option<String>,
    /// If both are sent, they have to agree.
    #[schema(schema_with = skus)]
    sku: Option<String>,
    /// 1 if left out.
    #[schema(minimum = 1, maximum = 100, example = 2)]
    quantity: Option<u32>,
    /// Need not be sent. If it is, it must be the price on the menu.
    #[schema(value_type = Option<f64>, example = 4.50)]
    price: Option<Cents>,
}

fn names() -> Object {
    one_of(MENU.map(|item| item.name))
}

fn skus() -> Object {
    one_of(MENU.map(|item| item.sku))
}

fn one_of(texts: [&'static str; MENU.len()]) -> Object {
    let values = texts.map(Value::from).into_iter().chain([Value::Null]);
    let types = SchemaType::from_iter([Type::String, Type::Null]);
    ObjectBuilder::new().schema_type(types).enum_values(Some(values)).build()
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    #[schema(example = "order-0199e5a2b3c-5f0c7f0e2b9d4c3aa1b2c3d4e5f60718")]
    order_id: String,
    status: Status,
    #[schema(value_type = f64, example = 9.00)]
    total: Cents,
    #[schema(example = "Order received!")]
    message: &'static str,
    /// What to look for in the logs and the trace page of every service.
    trace_id: String,
}

/// Place an order
///
/// Answered as soon as the order is safely stored. With an `Idempotency-Key` it can be sent again safely: the
/// same key and order get the same answer for 24 hours.
#[utoipa::path(post, path = "/orders", tag = "orders", request_body = NewOrder,
    params(
        ("Idempotency-Key" = Option<String>, Header, max_length = 257,
            pattern = r#"^("([ !#-\[\]-~]|\\["\\])+"|[!#-~]+)$"#, description = "1 to 255 visible ASCII characters, bare, or quoted and then with spaces too"),
        ("traceparent" = Option<String>, Header, description = "W3C trace context to continue"),
    ),
    responses(
        (status = 201, description = "The order is stored", body = Accepted, headers(
            ("Location" = String, description = "/orders/{id}"),
            ("Idempotency-Replayed" = Option<String>, description = "true: this is the answer to an earlier request with the same key"))),
        (status = 400, description = "Not JSON, or not an Idempotency-Key", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 409, description = "The order with this key is being placed right now", body = openapi::Problem,
            content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds"))),
        (status = 413, description = "More than 64 KB", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not application/json", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not an order we can take, or the key belongs to another order", body = openapi::Problem,
            content_type = "application/problem+json"),
        (status = 429, description = "More than one client may ask", body = openapi::Problem, content_type = "application/problem+json",
            headers(("Retry-After" = u32, description = "Seconds"))),
        (status = 500, description = "A defect on our side; nothing was stored", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too busy, or the database is away; the detail says whether the order may have been stored",
            body = openapi::Problem, content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds"))),
    ))]
async fn place(
    _: Admitted,
    Extension(trace): Extension<TraceContext>,
    State(placing): State<Placing>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let key = idempotency::read(&headers)?;
    let request = Request::parse(&headers, &body.map_err(unreadable)?)?;
    let claim = match key {
        Some(key) => Some(placing.running.claim(key, &request).ok_or_else(still_running)?),
        None => None,
    };
    if placing.backlog.is_too_much() {
        // An order that is stored already adds nothing to it. Only a connection that nobody needs is asked.
        if let Some(claim) = &claim
            && let Some(mut db) = placing.pool.try_acquire()
            && let Some(first) = replay(&mut *db, &claim.key, &claim.fingerprint).await?
        {
            return Ok(first);
        }
        return Err(backlog::refuse());
    }
    let asked = claim.as_ref().map(|claim| (claim.key.clone(), claim.fingerprint));
    let placement = Placement::new(request, claim, &trace);
    let (order_id, total) = (placement.order_id.to_string(), placement.total);
    match (placing.writer.write(placement).await?, asked) {
        (Outcome::KeyTaken, Some((key, fingerprint))) => {
            // If it is gone again, it has expired since.
            replay(&placing.pool, &key, &fingerprint).await?.ok_or_else(still_running)
        }
        (Outcome::Stored | Outcome::KeyTaken, _) => Ok(accepted(order_id, total, &trace)),
    }
}

fn accepted(order_id: String, total: Cents, trace: &TraceContext) -> Response {
    let location = format!("/orders/{order_id}");
    let trace_id = trace.trace_id().to_owned();
    let body = Accepted { order_id, status: Status::Received, total, message: "Order received!", trace_id };
    (StatusCode::CREATED, [(header::LOCATION, location)], Json(body)).into_response()
}

/// The answer that the first request with this key got, word for word, if there was one.
async fn replay(db: impl PgExecutor<'_>, key: &str, fingerprint: &[u8]) -> Result<Option<Response>, Problem> {
    let Some(first) = store::replay(db, key).await? else { return Ok(None) };
    if first.request_hash != fingerprint {
        return Err(Problem::unprocessable(
            "this Idempotency-Key belongs to another order; use a new key for a new order",
        ));
    }
    metrics::counter!("orders_replayed_total").increment(1);
    let trace = TraceContext::from_parts(Some(&first.traceparent), None);
    let mut response = accepted(first.order_id, first.total, &trace);
    response.headers_mut().insert("idempotency-replayed", "true".parse().expect("a header value"));
    Ok(Some(response))
}

fn still_running() -> Problem {
    let detail = "an order with this Idempotency-Key is being placed right now; ask again in a moment";
    Problem::new(StatusCode::CONFLICT, detail).retry_after(1)
}

fn unreadable(rejection: BytesRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "an order has at most 64 KB")
        }
        status => Problem::new(status, "the body did not arrive in full; please send it again"),
    }
}
