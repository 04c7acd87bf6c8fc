//! Amazon Bedrock's Converse and `ConverseStream`: one API over models of many makers.
//!
//! The model stands in the address. What only some models know goes into `additionalModelRequestFields`, so the model's
//! id decides more here than elsewhere: [`model`] holds what is known of each. Streams come in binary frames, see
//! [`crate::eventstream`].

mod answer;
mod citation;
mod content;
mod decode;
mod encode;
mod error;
mod media;
mod model;
mod reasoning;
mod stop;
mod stream_decoder;
mod stream_encoder;
mod thinking;
mod tools;
mod turns;
mod usage;

pub use answer::{decode_answer, encode_answer};
pub use decode::decode_request;
pub use encode::{encode_count, encode_request};
pub use error::{decode_error, encode_error};
pub use stream_decoder::StreamDecoder;
pub use stream_encoder::StreamEncoder;

/// Whether the model is known to go on from a last message that is its own.
pub(crate) fn continues_itself(model: &str) -> bool {
    model::Model::of(model).claude().is_some_and(model::Claude::continues_itself)
}
