//! Real shops with a real broker, database server and mailbox. Where the supervisor is tested the services
//! are stand-ins, so that what a service does cannot hide what the supervisor does; `whole_shop`,
//! `traces`, `trace_page`, `trouble`, `leader` and `encrypted` are the shop as people meet it, end to end.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod closing;
mod cluster;
mod collector;
mod counter;
mod encrypted;
mod holding;
mod leader;
mod locks;
mod opening;
mod restarting;
mod shop;
mod stand_in;
mod telling;
mod trace_page;
mod traces;
mod trouble;
mod whole_shop;
