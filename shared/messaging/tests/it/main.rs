//! The runtime's rules, each against a real broker and a real database.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod arbitrary;
mod consuming;
mod crash_loop;
mod dead_letters;
mod instance;
mod kept;
mod ordering;
mod outbox;
mod partitions;
mod reading_ahead;
mod recorder;
mod refill;
mod working;
