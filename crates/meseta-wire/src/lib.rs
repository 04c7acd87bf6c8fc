//! Wire formats of model APIs, as pure functions over bytes.
//!
//! Nothing here waits, opens a socket or knows a target: the data plane calls these functions with the bytes
//! that it holds and gets back what it acts on. Bytes that nobody acts on are never decoded, so unknown fields
//! survive untouched.
#![forbid(unsafe_code)]

mod base64_text;
pub mod cache_marks;
pub mod chat;
pub mod conversation;
pub mod converse;
mod data_url;
pub mod dialect;
pub mod edit;
pub mod embeddings;
pub mod envelope;
pub mod estimate;
pub mod eventstream;
pub mod failure;
pub mod feature;
mod fingerprint;
pub mod form;
pub mod gemini;
pub mod history;
pub mod json;
pub mod limits;
pub mod messages;
mod moment;
pub mod responses;
pub mod resume;
mod said;
pub mod scan;
pub mod shape;
pub mod signature;
pub mod sse;
mod template;
pub mod usage;
