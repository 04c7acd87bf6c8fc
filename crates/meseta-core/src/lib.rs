//! The data plane: it accepts, checks, routes, forwards and relays every request, and writes the append-only log.
//!
//! It knows nothing of Python, YAML or the environment. What it does is decided by one resolved [`snapshot`], which
//! can be swapped whole while requests are in flight. Read [`handle`] first: one request on one screen.
#![forbid(unsafe_code)]

pub mod document;
pub mod error;
pub mod log;
pub mod plane;
pub mod snapshot;
pub mod stages;
pub mod target;

mod admission;
mod agents;
mod attempts;
mod continuation;
mod conversations;
mod deadline;
mod decision;
mod decompress;
mod dice;
mod endpoint;
mod generations;
mod handle;
mod health;
mod histories;
mod kept_file;
mod ledger;
mod models;
mod orchestrate;
mod plan;
mod pool;
mod probe;
mod replica;
mod respond;
mod retry_advice;
mod select;
mod serve;
mod sessions;
mod shared;
mod sigv4;
mod trip;
mod upstream;

pub use agents::room::AgentStatus;
pub use error::Code;
pub use health::{KeyStatus, ProbeStatus, State, TargetStatus};
pub use plane::{Plane, StartError};
