//! What the payment service hears.

mod orders;

pub use orders::Orders;
