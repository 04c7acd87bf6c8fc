//! The dialect of Anthropic's Messages API, as a client speaks it and as a provider does.
//!
//! Source of the shapes: Anthropic's API reference (Messages, token counting, streaming, errors) and the types of its
//! Python SDK. Translated requests hold what both API versions, 2023-06-01 and 2026-10-21, accept, but for the sampling
//! parameters: only the older version still takes those, and only for models before Claude 4.7.

mod answer;
mod block;
mod cache;
mod citation;
mod content;
mod decode;
mod encode;
mod error;
mod frame;
mod held;
mod model;
mod schema;
mod signed;
mod stream_decoder;
mod stream_encoder;
mod thinking;
mod tool;
mod turn;
mod usage;

use crate::json::Json;
use crate::shape::{Malformed, Object};

pub use answer::{decode_answer, encode_answer};
pub use decode::decode_request;
pub use encode::{encode_count, encode_request};
pub use error::{decode_error, encode_error};
pub use stream_decoder::StreamDecoder;
pub use stream_encoder::StreamEncoder;
pub(crate) use usage::Counts;

/// `max_tokens` must be there in a request for an answer; a request to count tokens has none.
pub fn check_limit(json: &Json<'_>) -> Result<(), Malformed> {
    match Object::of(json)?.count("max_tokens")? {
        Some(_) => Ok(()),
        None => Err(Malformed::at("max_tokens", "is missing")),
    }
}

/// Whether the model is known to go on from a last message that is its own. Servers that only speak the dialect are not.
pub(crate) fn continues_itself(model: &str) -> bool {
    model.contains("claude-") && model::Model::of(model).prefill
}
