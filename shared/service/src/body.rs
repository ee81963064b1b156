//! Bounds request bodies. What is too large is read to its end, up to a limit, and thrown away before the
//! refusal is sent: a connection closed on a client that is still sending shows it a reset, not the answer
//! (RFC 9112, section 9.6).

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;

use crate::Problem;

const MAX_BODY_BYTES: usize = 64 * 1024;
/// A client that sends more than this does see the connection close.
const MAX_DRAINED_BYTES: usize = 32 * 1024 * 1024;

pub async fn bound(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let mut chunks = body.into_data_stream();
    let (mut kept, mut seen) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else {
            return Problem::new(StatusCode::BAD_REQUEST, "the body broke off before its end")
                .into_response();
        };
        seen += chunk.len();
        if seen <= MAX_BODY_BYTES {
            kept.extend_from_slice(&chunk);
        } else if seen > MAX_DRAINED_BYTES {
            break;
        }
    }
    if seen > MAX_BODY_BYTES {
        let detail = "the body is larger than the 64 KB that are read here";
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response();
    }
    next.run(Request::from_parts(parts, Body::from(kept))).await
}
