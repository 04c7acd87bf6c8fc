//! OpenAI chat completions: `POST /v1/chat/completions`, as OpenAI has it and as the many servers that imitate it.
//!
//! Extensions that are understood and, in answers, written: `reasoning_content` (DeepSeek), `reasoning` and
//! `reasoning_details` (OpenRouter), `cache_control` (OpenRouter), `extra_content.google.thought_signature` of a
//! call (Google). The errors here are those of the Responses dialect, too.

mod answer;
mod arguments;
mod content;
mod decode;
mod decode_messages;
mod encode;
mod encode_messages;
mod error;
mod extras;
mod ids;
mod stream_calls;
mod stream_decoder;
mod stream_encoder;
mod thinking;
mod tools;

pub(crate) use answer::service_tier;
pub use answer::{decode_answer, encode_answer};
pub use decode::decode_request;
pub use encode::encode_request;
pub use error::{decode_error, encode_error};
pub use stream_decoder::StreamDecoder;
pub use stream_encoder::StreamEncoder;
