//! Refuses bodies that do not say they are JSON. A page of somebody else can make a browser send text or a form without
//! asking, but not JSON, so this is a lock on routes that need no token.

use axum::http::{HeaderMap, StatusCode, header};

use crate::Problem;

pub fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = sent.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"));
    if is_json {
        return Ok(());
    }
    let detail = "the body has to be JSON: send it with the header 'Content-Type: application/json'";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
}
