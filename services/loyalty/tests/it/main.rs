//! The loyalty programme as a process, on a real broker and a real database.
#![allow(clippy::unwrap_used)]

mod http;
mod orders;
mod support;
