//! The operator's tool against a whole shop of real processes.
#![allow(clippy::unwrap_used)]

mod audit;
mod dead_letters;
mod replay;
mod shop;
