//! The chaos suite: breaks the shop while orders keep coming, heals it, and proves that nothing was lost.
#![allow(dead_code)]

mod accounting;
mod load;
mod notes;
mod proxy;
mod report;

fn main() {}
