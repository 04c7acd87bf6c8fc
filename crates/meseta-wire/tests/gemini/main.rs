//! The dialect of Gemini: requests, answers and streams, whole and broken.

mod answers;
mod hostile;
mod requests;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod turns;

use meseta_wire::conversation::{Message, Request};
use meseta_wire::dialect::{Destination, Dialect, Quirks};
use meseta_wire::feature::Losses;
use meseta_wire::gemini;
use meseta_wire::json::Json;
use serde_json::Value;
use support::{call, message, result, text};

const GEMINI: Dialect = Dialect::GeminiGenerateContent;

fn losses() -> Losses {
    Losses::new(Dialect::AnthropicMessages, GEMINI)
}

fn encode_for(model: &str, request: &Request<'_>, losses: &mut Losses) -> Value {
    let quirks = Quirks::default();
    let destination = Destination { model, max_output_tokens: 4096, quirks: &quirks };
    serde_json::from_slice(&gemini::encode_request(request, &destination, losses).unwrap()).unwrap()
}

fn encode(request: &Request<'_>) -> Value {
    encode_for("gemini-2.5-flash", request, &mut losses())
}

fn decode(text: &str, check: impl FnOnce(Request<'_>, Losses)) {
    let json = Json::parse(text).unwrap();
    let mut losses = losses();
    let request = gemini::decode_request(&json, &mut losses).unwrap();
    check(request, losses);
}

fn conversation(messages: Vec<Message<'_>>) -> Request<'_> {
    Request { messages, ..Request::default() }
}
