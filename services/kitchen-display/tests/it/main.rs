//! The kitchen display as the process it is, against a real broker and a real Postgres.
#![allow(clippy::unwrap_used)]

mod bumping;
mod events;
mod instances;
mod kitchen;
mod noise;
mod page;
