//! Agent listeners against agents that do what a test tells them: who is asked, with what, and what the client gets.

mod chaining;
mod holding;
mod identity;
mod street;
#[path = "../support/mod.rs"]
mod support;
