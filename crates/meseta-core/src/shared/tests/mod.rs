//! The contract of every store, and the shared state over a real server that fails in all the ways that servers do.

mod contract;
mod faults;
mod replica;
mod server;
