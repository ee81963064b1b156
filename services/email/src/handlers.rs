//! Hears of orders and puts a task on the work queue for each mail they call for, through the outbox: the
//! stream is read as fast as Postgres writes, however slow the SMTP server is.

use std::time::Duration;

use events::Event;
use events::topology::{self, ConsumerSpec};
use messaging::{Consumer, Failure, Outgoing, Received};
use sqlx::PgConnection;

use crate::task;

pub struct Orders;

impl Consumer for Orders {
    type Message = Event;

    const SPEC: &'static ConsumerSpec = &topology::EMAIL;

    /// A mail takes longer than that anyway.
    const PACE: Duration = Duration::from_millis(100);

    async fn handle(&self, tx: &mut PgConnection, batch: &[Received<Event>]) -> Result<(), Failure> {
        let tasks: Vec<Outgoing> = batch.iter().filter_map(task::caused_by).collect();
        messaging::append(tx, &tasks).await?;
        Ok(())
    }
}
