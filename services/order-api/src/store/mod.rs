//! All SQL of the order API, by what it is for. Every statement handles many rows at once.

mod accept;
mod outcomes;
mod read;
mod upkeep;

pub use accept::{accept, is_order_stored, replay, stored_among};
pub use outcomes::{lock, lock_overdue, save};
pub use read::{list, versions, view};
pub use upkeep::{backlog, forget_keys, unsettled};

/// A value in the database that the code does not know: a row written by another version of it.
fn undecodable(error: String) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}
