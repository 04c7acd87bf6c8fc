//! Streams that break, and how they go on: every answer of `tests/conversations`, cut after every event.

mod client;
mod cuts;
mod fixtures;
mod joining;
mod requests;
mod sample;
