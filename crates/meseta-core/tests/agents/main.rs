//! Agent listeners against agents that do what a test tells them: who is asked, with what, and what the client gets.

mod chaining;
mod choosing;
mod circling;
mod failing;
mod forms;
mod holding;
mod identity;
mod keeping;
mod parallel;
mod preferences;
mod resuming;
mod street;
mod supervising;
#[path = "../support/mod.rs"]
mod support;
