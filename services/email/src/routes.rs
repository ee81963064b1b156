//! Which mails an order got, for staff: addresses are nobody else's business.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde::Deserialize;
use service::{Problem, StaffToken, staff};
use sqlx::PgPool;

use crate::store::{self, Sent};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    order_id: Option<String>,
}

pub fn router(pool: PgPool, staff_token: StaffToken) -> Router {
    Router::new()
        .route("/mails", get(mails))
        .with_state(pool)
        .layer(middleware::from_fn_with_state(staff_token, staff::require))
}

async fn mails(
    State(pool): State<PgPool>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Vec<Sent>>, Problem> {
    let Query(asked) = asked?;
    let order_id = asked.order_id.filter(|id| !id.is_empty() && !id.contains('\0')).ok_or_else(|| {
        Problem::unprocessable("say which order: /mails?orderId=<the id the order API answered with>")
    })?;
    Ok(Json(store::of_order(&pool, &order_id).await?))
}
