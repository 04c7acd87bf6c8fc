//! The OpenAI Responses dialect.
//!
//! Source of the shapes: the API's reference and the types of OpenAI's own SDK. A request is a list of items (messages,
//! calls, their outputs, reasoning) and so is an answer; a stream names every item, part and delta by its place.
//!
//! Errors of this API are those of chat completions and are read and written there.

mod answer;
mod decode;
mod decoder;
mod echo;
mod encode;
mod encoder;
mod failure;
mod frame;
mod history;
mod input;
mod items;
mod output;
mod part;
mod resume;
mod tool;

pub(crate) use answer::usage;
pub use answer::{decode_answer, encode_answer};
pub use decode::decode_request;
pub use decoder::StreamDecoder;
pub use echo::echo;
pub use encode::{encode_count, encode_request};
pub use encoder::StreamEncoder;
pub use history::{input_items, output_items, with_history};
pub(crate) use resume::Resume;
pub use resume::last_words;

/// What stands before the id of a reasoning item that we named ourselves. OpenAI checks that encrypted reasoning comes
/// back under the id that it was made with, so an id of ours must never be sent there.
const OWN_REASONING: &str = "rs_meseta_";
