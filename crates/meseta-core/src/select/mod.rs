//! Choosing by meaning: which models, or which agents, a conversation asks for.
//!
//! A cascade of steps, each of which may choose, pass the question on, or be off: the operator's rules, the embedded
//! chooser, a model that is asked, and what is the default. Nothing ever fails because a step failed; what passed a
//! question on, and why, is told with the decision and counted. What needs no plane for it is in `meseta-select`.

mod answers;
mod asking;
mod cascade;
mod counters;
mod decision;
mod embedders;
mod inline;
mod paces;
mod pending;
mod ranking;
mod settings;
mod shared_steps;
#[cfg(test)]
mod tests;

pub(crate) use answers::Answers;
pub(crate) use asking::Unanswered;
pub(crate) use cascade::{Cascade, Offer, Question};
pub(crate) use counters::Counters;
pub(crate) use decision::{Decision, Reason, Step};
pub(crate) use embedders::Embedders;
pub(crate) use paces::{Paces, Trial};
pub(crate) use ranking::{Speeds, rank};
pub use settings::{ChooserDocument, Prefer, PreferenceDocument};
pub(crate) use shared_steps::SharedSteps;
