pub mod outcomes;

pub use outcomes::Outcomes;
