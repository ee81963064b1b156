//! A barista starts or finishes a ticket: the new state and the event about it in one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use events::{Data, Event, OrderId, TicketReady, TicketStarted};
use messaging::Outgoing;
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::sync::Notify;

use crate::board::Board;
use crate::domain::{Bump, Bumped, Refused, Ticket};
use crate::store;

#[derive(Clone)]
pub struct Counter {
    pub pool: PgPool,
    pub outbox_written: Arc<Notify>,
    pub board: Board,
}

/// What a bump comes to.
pub enum Outcome {
    Done(Ticket),
    Refused(Refused),
    Unknown,
}

impl Counter {
    pub async fn find(&self, order_id: &OrderId) -> Result<Option<Ticket>, sqlx::Error> {
        store::find(&self.pool, order_id.as_str()).await
    }

    /// What it says continues the order's trace.
    pub async fn bump(&self, order_id: &OrderId, bump: Bump) -> Result<Outcome, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let Some(mut ticket) = store::lock_one(&mut tx, order_id.as_str()).await? else {
            return Ok(Outcome::Unknown);
        };
        match ticket.bump(bump, OffsetDateTime::now_utc()) {
            Err(refused) => return Ok(Outcome::Refused(refused)),
            Ok(Bumped::Before) => return Ok(Outcome::Done(ticket)),
            Ok(Bumped::Now) => {}
        }
        // Nothing else can be started.
        let Some(trace) = ticket.order.as_ref().map(|order| order.trace.clone()) else {
            return Ok(Outcome::Unknown);
        };
        let event = Event::new(said(bump, order_id.clone()), None);
        let locked = [order_id.to_string()];
        store::save(&mut tx, &BTreeMap::from([(locked[0].clone(), ticket.clone())]), &locked).await?;
        messaging::append(&mut tx, &[Outgoing::event(&event, &trace)]).await?;
        tx.commit().await?;
        self.outbox_written.notify_one();
        self.board.changed();
        let bump = match bump {
            Bump::Start => "start",
            Bump::Finish => "finish",
        };
        metrics::counter!("tickets_bumped_total", "bump" => bump).increment(1);
        tracing::info!(order = %order_id, trace = trace.trace_id(), bump, "ticket bumped");
        Ok(Outcome::Done(ticket))
    }
}

fn said(bump: Bump, order_id: OrderId) -> Data {
    match bump {
        Bump::Start => TicketStarted { order_id }.into(),
        Bump::Finish => TicketReady { order_id }.into(),
    }
}
