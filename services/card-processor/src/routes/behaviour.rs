//! `GET /behaviour` and, for staff, `PUT /behaviour`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use service::Problem;

use super::{App, bad_fields};
use crate::behaviour::Behaviour;

pub async fn get(State(app): State<App>) -> Json<Behaviour> {
    Json(app.switch.get())
}

/// Replaces the whole behaviour; fields that are left out become harmless.
pub async fn put(State(app): State<App>, body: Bytes) -> Result<Json<Behaviour>, Problem> {
    let behaviour = Behaviour::parse(&body).map_err(bad_fields)?;
    tracing::info!(?behaviour, "behaves differently from now on");
    app.switch.set(behaviour);
    Ok(Json(behaviour))
}
