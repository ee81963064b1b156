//! The email service as the process it is, against a real broker, Postgres and SMTP server.
#![allow(clippy::unwrap_used)]

mod events;
mod post;
mod trouble;
