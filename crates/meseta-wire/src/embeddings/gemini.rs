//! Gemini's `batchEmbedContents`.
//!
//! Source of the shapes: <https://ai.google.dev/api/embeddings>. Many models give no counts of tokens.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{EmbeddingsAnswer, EmbeddingsRequest};
use crate::json::{Fields, Json};
use crate::object;
use crate::shape::Malformed;

/// Every item names the model again.
pub fn encode_request(request: &EmbeddingsRequest<'_>, model: &str) -> Vec<u8> {
    let model = if model.contains('/') { model.to_owned() } else { format!("models/{model}") };
    let requests: Vec<Json<'_>> = request
        .inputs
        .iter()
        .map(|input| {
            let mut one = Fields::new();
            one.put("model", &model);
            one.put("content", object! { "parts" => vec![object! { "text" => input }] });
            one.put_some("outputDimensionality", request.dimensions);
            one.into()
        })
        .collect();
    object! { "requests" => requests }.to_vec()
}

/// Reads the answer to a request of so many inputs.
pub fn decode_answer(body: &[u8], inputs: usize) -> Result<EmbeddingsAnswer, Malformed> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(default)]
        embeddings: Vec<Embedding>,
        #[serde(borrow, default, rename = "usageMetadata")]
        usage: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Embedding {
        #[serde(default)]
        values: Vec<f32>,
    }
    let body: Body<'_> = serde_json::from_slice(body)
        .map_err(|_| Malformed::here("is not the answer of batchEmbedContents"))?;
    if body.embeddings.len() != inputs {
        let message = format!("has {} items for {inputs} inputs", body.embeddings.len());
        return Err(Malformed::at("embeddings", message));
    }
    let mut vectors = Vec::with_capacity(inputs);
    for (index, embedding) in body.embeddings.into_iter().enumerate() {
        if embedding.values.is_empty() || !embedding.values.iter().all(|value| value.is_finite()) {
            let message = "must be numbers of 32 bits, and at least one";
            return Err(Malformed::at("values", message).index(index).under("embeddings"));
        }
        vectors.push(embedding.values);
    }
    let usage = body.usage.and_then(|usage| Json::parse(usage.get()).ok());
    Ok(EmbeddingsAnswer {
        vectors,
        input_tokens: crate::gemini::usage::read(usage.as_ref()).map(|usage| usage.input),
    })
}
