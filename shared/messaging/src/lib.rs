//! How events move: the outbox and its relay on the sending side; consumers, the inbox and dead letters on
//! the receiving side. Nothing here knows what the events are about.
//!
//! The promise is at-least-once delivery with exactly-once effects in the consumer's database. It rests on
//! two transactions that each do one thing: a service writes its state change and the event about it into
//! its own database together ([`outbox`]), and a consumer writes the effects of an event and the note that
//! it was processed together ([`consumer`]). Everything between may fail and is repeated.

mod alone;
mod arrivals;
mod backoff;
mod batch;
mod bounded;
pub mod broker;
pub mod consumer;
pub mod dead_letter;
mod delivery;
pub mod failpoint;
mod failure;
pub mod figures;
mod inbox;
mod instances;
mod kept;
pub mod message;
pub mod outbox;
mod partitions;
mod position;
pub mod relay;
pub mod replay;
pub mod retention;
pub mod settings;
mod settle;
pub mod span;
pub mod streams;
mod succession;
mod together;
mod trace;
pub mod worker;

pub use bounded::bounded;
pub use consumer::{Consumer, Runtime};
pub use failure::{Failure, Rejectable};
pub use kept::{Kept, Lent};
pub use message::{Message, Received};
pub use outbox::{Outgoing, append};
pub use settings::Settings;
pub use together::{Statement, Together};
pub use trace::TraceContext;
pub use worker::Worker;

/// The tables of this crate, kept apart from the service's own migrations by a table name of their own.
pub fn migrations() -> sqlx::migrate::Migrator {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.dangerous_set_table_name("_messaging_migrations");
    migrator
}
