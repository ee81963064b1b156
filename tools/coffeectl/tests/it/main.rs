//! The operator's tool against a whole shop of real processes.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod audit;
mod dead_letters;
mod interrupted;
mod letters;
mod replay;
mod shop;
