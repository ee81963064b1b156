//! Bounds request bodies in size and time. What is too large is read to its end, up to a limit, and thrown away before the
//! refusal is sent: a connection closed on a client that is still sending shows it a reset, not the answer
//! (RFC 9112, section 9.6).

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;

use crate::Problem;

const MAX_BODY_BYTES: usize = 64 * 1024;
/// A client that sends more than this does see the connection close.
const MAX_DRAINED_BYTES: usize = 32 * 1024 * 1024;

/// The request with all of its body, or why not.
pub async fn read(request: Request, within: Duration) -> Result<Request, Response> {
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(within, collect(body.into_data_stream())).await {
        Ok(Ok(body)) => Ok(Request::from_parts(parts, Body::from(body))),
        Ok(Err(problem)) => Err(problem.into_response()),
        Err(_) => {
            metrics::counter!("http_connections_cut_total", "why" => "slow body").increment(1);
            let detail = "the body did not arrive in time; nothing was done";
            let mut response = Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response();
            // The rest of it may still come and would be taken for the next request.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            Err(response)
        }
    }
}

async fn collect(mut chunks: BodyDataStream) -> Result<Vec<u8>, Problem> {
    let (mut kept, mut seen) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body broke off before its end"))?;
        seen += chunk.len();
        if seen <= MAX_BODY_BYTES {
            kept.extend_from_slice(&chunk);
        } else if seen > MAX_DRAINED_BYTES {
            break;
        }
    }
    if seen > MAX_BODY_BYTES {
        let detail = "the body is larger than the 64 KB that are read here";
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(kept)
}
