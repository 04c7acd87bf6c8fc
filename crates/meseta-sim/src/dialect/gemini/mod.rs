//! Google's Gemini, at its own API and at Vertex AI.

mod embed;
mod reply;
mod request;

pub use embed::GeminiEmbeddings;
pub use reply::{Blocked, blocked, events, whole};
pub use request::GeminiRequest;
