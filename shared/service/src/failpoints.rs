//! `PUT /failpoints/{name}`: how the chaos suite arms a place in a running service. Exists only in builds
//! with the feature `failpoints`.

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::put;
use messaging::failpoint;

use crate::Problem;

pub fn routes() -> Router {
    Router::new().route("/failpoints/{name}", put(set))
}

async fn set(Path(name): Path<String>, action: String) -> Result<StatusCode, Problem> {
    failpoint::set(&name, &action).map_err(|why| Problem::new(StatusCode::BAD_REQUEST, why))?;
    Ok(StatusCode::NO_CONTENT)
}
