//! Real shops with a real broker, database server and mailbox; only the services are stand-ins, so that
//! what a service does cannot hide what the supervisor does.
#![allow(clippy::unwrap_used)]

mod closing;
mod opening;
mod restarting;
mod shop;
mod stand_in;
