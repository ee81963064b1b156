//! Analytics as a process, on a real broker and a real database.
#![allow(clippy::unwrap_used)]

mod events_heard;
mod page;
mod support;
