//! The order API as a process, over HTTP, with a real Postgres and a real broker.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod edge;
mod foreign_pages;
mod idempotency;
mod live;
mod outages;
mod outcomes;
mod pages;
mod placing;
mod shop;
mod sweeping;
