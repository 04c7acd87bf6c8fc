//! Choosing by meaning: which of some described routes a conversation asks for.
//!
//! The parts of the cascade that need no network: the operator's rules, the embedded chooser, and the words in which
//! a model is asked to choose. The data plane runs the cascade; the evaluation calls the same code from Python.
#![forbid(unsafe_code)]

mod cut;

pub mod embedded;
pub mod prompt;
pub mod reply;
pub mod route;
pub mod rules;
pub mod turns;
