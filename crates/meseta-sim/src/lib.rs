//! A simulated model provider. It speaks `OpenAI` chat and Responses, Anthropic Messages, Gemini and Bedrock over HTTP/1.1 and HTTP/2 on a thread of its own,
//! answers the same request with the same bytes, counts tokens honestly, and misbehaves on demand: by model
//! name, by header or by script. `docs/guides/simulated-provider.md` is its manual.

#![forbid(unsafe_code)]

mod answer;
mod arguments;
mod base64;
mod body;
mod control;
mod delivery;
mod dialect;
mod directives;
mod failure;
mod faults;
mod field;
mod fingerprint;
mod handle;
mod limits;
mod link;
mod prompt;
mod record;
mod reply;
mod route;
mod script;
mod server;
mod stats;
mod stream;
mod talk;
mod telling;
mod tokens;
mod usage;
mod vector;

pub use directives::{BadDirective, DIRECTIVES, Directives};
pub use faults::BadFaults;
pub use record::{End, Recorded};
pub use script::BadScript;
pub use server::{Simulator, StartError};
pub use stats::Stats;
