//! What is measured beside the answers: how far each consumer is behind, what the processes cost, and, once
//! the load is over, when the orders that were followed were settled and by whom.

pub mod followed;
pub mod lag;
pub mod machine;
pub mod observer;
pub mod processes;
mod store;
