//! Embeddings: the one client API (OpenAI's) and the providers that answer it in other words.
//!
//! Source of the shapes: the OpenAI API reference, "Create embeddings".

pub mod bedrock;
pub mod gemini;

use std::borrow::Cow;

use serde::Serialize;

use crate::base64_text;
use crate::feature::Losses;
use crate::json::Json;
use crate::shape::{Malformed, Object};

/// As many as OpenAI takes.
const MOST_INPUTS: usize = 2_048;

const KNOWN: [&str; 4] = ["model", "input", "dimensions", "encoding_format"];

/// What a client asks to have embedded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbeddingsRequest<'a> {
    /// At least one.
    pub inputs: Vec<Cow<'a, str>>,
    pub dimensions: Option<u64>,
    /// The client wants vectors as base64 of little-endian 32-bit floats, as OpenAI's own SDK does.
    pub base64: bool,
}

/// One vector for each input, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbeddingsAnswer {
    pub vectors: Vec<Vec<f32>>,
    pub input_tokens: Option<u64>,
}

/// Reads a client's request. Losses are fields that no other provider knows.
pub fn decode_request<'j>(
    json: &'j Json<'_>,
    losses: &mut Losses,
) -> Result<EmbeddingsRequest<'j>, Malformed> {
    let document = Object::of(json)?;
    let inputs = document.inside("input", inputs)?.ok_or_else(|| Malformed::at("input", "is missing"))?;
    let dimensions = document.count("dimensions")?;
    if dimensions == Some(0) {
        return Err(Malformed::at("dimensions", "must be at least 1"));
    }
    let base64 = match document.text("encoding_format")? {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Malformed::at("encoding_format", "must be \"float\" or \"base64\"")),
    };
    for (key, value) in document.iter() {
        if !value.is_null() && !KNOWN.contains(&key) {
            losses.unknown(key);
        }
    }
    Ok(EmbeddingsRequest { inputs, dimensions, base64 })
}

fn inputs<'j>(input: &'j Json<'j>) -> Result<Vec<Cow<'j, str>>, Malformed> {
    match input {
        Json::String(text) => Ok(vec![one(text)?]),
        Json::Array(items) if items.is_empty() => Err(Malformed::here("must not be empty")),
        Json::Array(items) if items.len() > MOST_INPUTS => Err(Malformed::here(format!(
            "must not have more than {MOST_INPUTS} items; it has {}",
            items.len()
        ))),
        Json::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| match item {
                Json::String(text) => one(text).map_err(|error| error.index(index)),
                Json::Number(_) | Json::Array(_) => Err(Malformed::here(
                    "must be text: numbers of tokens mean something else at another provider",
                )
                .index(index)),
                other => Err(Malformed::here(format!("must be a string, not {}", other.kind())).index(index)),
            })
            .collect(),
        other => {
            Err(Malformed::here(format!("must be a string or an array of strings, not {}", other.kind())))
        }
    }
}

fn one(text: &str) -> Result<Cow<'_, str>, Malformed> {
    if text.is_empty() {
        return Err(Malformed::here("must not be empty"));
    }
    Ok(Cow::Borrowed(text))
}

/// Writes the client's answer. `model` is the name by which the client asked.
pub fn encode_answer(answer: &EmbeddingsAnswer, model: &str, base64: bool, losses: &mut Losses) -> Vec<u8> {
    #[derive(Serialize)]
    struct List<'a> {
        object: &'static str,
        data: Vec<Item<'a>>,
        model: &'a str,
        usage: Counts,
    }
    #[derive(Serialize)]
    struct Item<'a> {
        object: &'static str,
        index: usize,
        embedding: Vector<'a>,
    }
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Vector<'a> {
        Numbers(&'a [f32]),
        Base64(String),
    }
    #[derive(Serialize)]
    struct Counts {
        prompt_tokens: u64,
        total_tokens: u64,
    }
    // The answer must hold counts, and these are none.
    let tokens = answer.input_tokens.unwrap_or_else(|| {
        losses.answer("usage");
        0
    });
    let data = answer.vectors.iter().enumerate().map(|(index, vector)| Item {
        object: "embedding",
        index,
        embedding: if base64 { Vector::Base64(in_base64(vector)) } else { Vector::Numbers(vector) },
    });
    let list = List {
        object: "list",
        data: data.collect(),
        model,
        usage: Counts { prompt_tokens: tokens, total_tokens: tokens },
    };
    // Nothing in it can fail to serialise.
    serde_json::to_vec(&list).unwrap_or_default()
}

fn in_base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    base64_text::encode(bytes)
}
