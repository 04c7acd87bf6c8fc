//! `OpenAI`'s chat completions.

mod reply;
mod request;

pub use reply::Completion;
pub use request::ChatRequest;
