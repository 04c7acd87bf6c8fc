//! Gemini's `generateContent` and `streamGenerateContent`, at the Gemini API and at Vertex AI.
//!
//! Source of the shapes: <https://ai.google.dev/api/generate-content> and the types of the `google-genai` SDK. Whether an
//! answer is streamed and which model answers stand in the URL there, not in the document.

mod answer;
mod call_id;
mod contents;
mod decode;
mod encode;
mod error;
mod finish;
mod generation;
mod grounding;
mod media;
mod model;
mod part;
mod results;
mod schema;
mod signature;
mod stream_decoder;
mod stream_encoder;
mod turns;
pub(crate) mod usage;

pub use answer::{decode_answer, encode_answer};
pub use decode::decode_request;
pub use encode::{encode_count, encode_request};
pub use error::{decode_error, encode_error};
pub use stream_decoder::StreamDecoder;
pub use stream_encoder::StreamEncoder;
