//! Cargo wants a program or a library in every package.
