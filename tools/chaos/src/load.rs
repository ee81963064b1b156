//! The load: orders that keep coming whatever the shop answers.
