//! The languages in which the simulator is asked and answers. Each dialect reads its requests into what the
//! engine asks for, and puts the engine's answer into its own words, whole and step by step.

pub mod bedrock;
pub mod chat;
pub mod embeddings;
mod error;
pub mod gemini;
pub mod messages;
mod refusal;
pub mod responses;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::answer::{Answer, Block};
use crate::failure::Failure;
use crate::field::At;
use crate::fingerprint::Fingerprint;
use crate::stream::Piece;
use crate::tokens;
use crate::usage::Usage;

pub use error::exception;
pub use refusal::retry_info;

/// The time at which every answer was made, so that answers differ in nothing but what they say.
pub const CREATED: u64 = 1_735_689_600;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
    Bedrock,
}

/// An answer with what its envelope says.
pub struct Saying<'a> {
    pub fingerprint: Fingerprint,
    pub model: &'a str,
    pub answer: Answer,
    pub usage: Option<Usage>,
}

impl Saying<'_> {
    /// A block's text; in place of filler stands a mark, which `pieces` replaces.
    pub fn text(&self, block: &Block) -> String {
        if let Block::Filler(_) = block { self.mark() } else { block.told().to_owned() }
    }

    /// Drawn from the whole request, so that nothing the request says can be the mark.
    fn mark(&self) -> String {
        format!("filler-{:016x}", self.fingerprint.draw(u64::MAX))
    }

    /// A document's bytes, with the filler where its mark is.
    pub fn pieces(&self, document: &Value) -> Vec<Piece> {
        let text = document.to_string();
        let filler = self.answer.blocks.iter().find_map(|block| match block {
            Block::Filler(bytes) => Some(*bytes),
            _ => None,
        });
        let ready = |text: &str| Piece::Ready(Bytes::copy_from_slice(text.as_bytes()));
        match filler.and_then(|bytes| Some((bytes, text.split_once(&self.mark())?))) {
            Some((bytes, (before, after))) => vec![ready(before), Piece::Filler(bytes), ready(after)],
            None => vec![Piece::Ready(Bytes::from(text))],
        }
    }
}

/// A server-sent event with a name.
pub fn named_event(name: &str, data: &Value) -> Vec<u8> {
    format!("event: {name}\ndata: {data}\n\n").into_bytes()
}

pub fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Only strings and values come here, and a vector takes every byte: nothing in it can fail.
pub fn write_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let _ = serde_json::to_writer(out, value);
}

/// Parses a body; what is no JSON and what is the wrong JSON are told apart.
pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        let message = if error.is_data() {
            format!("A field of the request is not what it must be: {error}.")
        } else {
            format!("The request body is not valid JSON: {error}.")
        };
        Failure::request(None, message)
    })
}

/// The texts of a value that is a string or a list of objects with a text.
pub fn texts<'a>(at: &At<'a>) -> Vec<&'a str> {
    match at.value {
        Value::String(text) => vec![text],
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => Vec::new(),
    }
}

/// A made-up but constant probability: one of e^-0.25 for every token.
pub const LOGPROB: f64 = -0.25;

/// One entry for every token of a text, as both of `OpenAI`'s dialects have it.
pub fn logprobs(text: &str) -> Vec<Value> {
    let entry = |token: &str| json!({"token": token, "logprob": LOGPROB, "bytes": token.as_bytes(), "top_logprobs": []});
    tokens::all(text).map(entry).collect()
}
