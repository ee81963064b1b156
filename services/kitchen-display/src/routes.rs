//! The HTTP face of the kitchen: the page, the board as JSON and live, and the bumps, which need staff
//! rights. Anyone at the counter may look.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use events::OrderId;
use futures::{Stream, StreamExt, future};
use serde::Serialize;
use service::{Problem, StaffToken, staff};
use time::OffsetDateTime;
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;

use crate::board::{Board, View};
use crate::bumping::{Counter, Outcome};
use crate::domain::{Bump, Ticket};
use crate::page;

/// A page that hears nothing for longer knows that it is cut off.
const BEAT: Duration = Duration::from_secs(4);

#[derive(Clone)]
struct Kitchen {
    counter: Counter,
    board: Board,
    stop: CancellationToken,
}

pub fn router(counter: Counter, staff_token: StaffToken, stop: CancellationToken) -> Router {
    let board = counter.board.clone();
    let bumps = Router::new()
        .route("/tickets/{order_id}/start", post(start))
        .route("/tickets/{order_id}/ready", post(finish))
        .layer(middleware::from_fn_with_state(staff_token, staff::require));
    Router::new()
        .route("/board", get(snapshot))
        .route("/board/events", get(live))
        .route("/tickets/{order_id}", get(ticket))
        .merge(bumps)
        .with_state(Kitchen { counter, board, stop })
        .merge(page::router())
}

async fn snapshot(State(kitchen): State<Kitchen>) -> Result<Response, Problem> {
    let snapshot = kitchen.board.snapshot().await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(snapshot.frame())).into_response())
}

/// `event: board` carries a whole snapshot, so that a page that missed any is right again with the next;
/// `away` says that the database cannot be asked, `beat` that all is quiet.
async fn live(State(kitchen): State<Kitchen>) -> Result<impl IntoResponse, Problem> {
    let Some(page) = kitchen.board.open() else {
        return Err(Problem::unavailable(
            "too many boards are open at this instance; close one, or start more instances",
        ));
    };
    let place = page.place;
    let views = WatchStream::new(page.views).filter_map(move |view| {
        let _held_while_streaming = &place;
        future::ready(sent(&view))
    });
    let views = views.map(Ok::<_, Infallible>).take_until(kitchen.stop.cancelled_owned());
    let beat = KeepAlive::new().interval(BEAT).event(Sent::default().event("beat").data("-"));
    let headers = [(header::CACHE_CONTROL, "no-store"), (X_ACCEL_BUFFERING, "no")];
    Ok((headers, Sse::new(retry_soon().chain(views)).keep_alive(beat)))
}

/// Asks reverse proxies not to hold the stream back.
const X_ACCEL_BUFFERING: header::HeaderName = header::HeaderName::from_static("x-accel-buffering");

fn retry_soon() -> impl Stream<Item = Result<Sent, Infallible>> {
    futures::stream::once(future::ready(Ok(Sent::default().retry(Duration::from_millis(500)))))
}

fn sent(view: &View) -> Option<Sent> {
    match view {
        View::Unknown => None,
        View::Away => Some(Sent::default().event("away").data("-")),
        View::Board(snapshot) => Sent::default().event("board").json_data(snapshot.frame()).ok(),
    }
}

async fn ticket(
    State(kitchen): State<Kitchen>,
    asked: Result<Path<String>, PathRejection>,
) -> Result<Json<Answer>, Problem> {
    let order_id = order_id(asked)?;
    let ticket = kitchen.counter.find(&order_id).await?.ok_or_else(no_ticket)?;
    Ok(Json(Answer::new(order_id, &ticket)))
}

fn order_id(asked: Result<Path<String>, PathRejection>) -> Result<OrderId, Problem> {
    let Path(id) = asked?;
    OrderId::try_from(id).map_err(Problem::unprocessable)
}

fn no_ticket() -> Problem {
    Problem::not_found("the kitchen has no ticket for this order")
}

async fn start(
    State(kitchen): State<Kitchen>,
    asked: Result<Path<String>, PathRejection>,
) -> Result<Json<Answer>, Problem> {
    bump(&kitchen, order_id(asked)?, Bump::Start).await
}

async fn finish(
    State(kitchen): State<Kitchen>,
    asked: Result<Path<String>, PathRejection>,
) -> Result<Json<Answer>, Problem> {
    bump(&kitchen, order_id(asked)?, Bump::Finish).await
}

async fn bump(kitchen: &Kitchen, order_id: OrderId, bump: Bump) -> Result<Json<Answer>, Problem> {
    match kitchen.counter.bump(&order_id, bump).await? {
        Outcome::Done(ticket) => Ok(Json(Answer::new(order_id, &ticket))),
        Outcome::Refused(refused) => Err(Problem::new(StatusCode::CONFLICT, refused.reason())),
        Outcome::Unknown => Err(no_ticket()),
    }
}

/// Where a ticket stands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    order_id: OrderId,
    state: &'static str,
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    ready_at: Option<OffsetDateTime>,
}

impl Answer {
    fn new(order_id: OrderId, ticket: &Ticket) -> Answer {
        let state = ticket.state().as_str();
        Answer { order_id, state, started_at: ticket.started_at, ready_at: ticket.ready_at }
    }
}
