//! A simulated model provider. It speaks the `OpenAI` API over HTTP/1.1 and HTTP/2 on a thread of its own,
//! answers the same request with the same bytes, counts tokens honestly, and misbehaves on demand: by model
//! name, by header or by script. `docs/guides/simulated-provider.md` is its manual.

#![forbid(unsafe_code)]

mod answer;
mod arguments;
mod chat;
mod delivery;
mod directives;
mod embeddings;
mod failure;
mod fingerprint;
mod handle;
mod link;
mod request;
mod script;
mod server;
mod stats;
mod stream;
mod tokens;

pub use directives::{BadDirective, DIRECTIVES, Directives};
pub use script::BadScript;
pub use server::{Simulator, StartError};
pub use stats::Stats;
