//! Embeddings as `OpenAI` asks for them and gives them.

use std::fmt::Write;

use serde::Deserialize;

use crate::base64;
use crate::dialect::parse;
use crate::failure::Failure;
use crate::fingerprint::Fingerprint;
use crate::tokens;
use crate::vector::{floats, vector};

const DIMENSIONS: u64 = 1536;
const MOST_DIMENSIONS: u64 = 4096;
const MOST_INPUTS: usize = 2048;

#[derive(Deserialize)]
pub struct EmbeddingsRequest {
    pub model: Option<String>,
    input: Input,
    dimensions: Option<u64>,
    encoding_format: Option<Format>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    TokenLists(Vec<Vec<u32>>),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Float,
    Base64,
}

/// A request that has been checked.
pub struct Embeddings {
    /// The number each vector is drawn from.
    seeds: Vec<Fingerprint>,
    dimensions: u64,
    format: Format,
    tokens: u64,
    /// All text there is, for the rules of a script.
    pub text: String,
}

impl EmbeddingsRequest {
    pub fn parse(body: &[u8]) -> Result<Self, Failure> {
        parse(body)
    }

    pub fn check(self) -> Result<Embeddings, Failure> {
        let dimensions = self.dimensions.unwrap_or(DIMENSIONS);
        if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
            let message = format!("The field dimensions must be from 1 to {MOST_DIMENSIONS}.");
            return Err(Failure::request(Some("dimensions"), message));
        }
        let inputs = match self.input {
            Input::Text(text) => vec![One::Text(text)],
            Input::Texts(texts) => texts.into_iter().map(One::Text).collect(),
            Input::Tokens(tokens) => vec![One::Tokens(tokens)],
            Input::TokenLists(lists) => lists.into_iter().map(One::Tokens).collect(),
        };
        if inputs.is_empty() || inputs.len() > MOST_INPUTS || inputs.iter().any(One::is_empty) {
            let message =
                format!("The field input must have 1 to {MOST_INPUTS} entries, none of them empty.");
            return Err(Failure::request(Some("input"), message));
        }
        let texts: Vec<&str> = inputs.iter().map(One::text).collect();
        Ok(Embeddings {
            seeds: inputs.iter().map(One::fingerprint).collect(),
            dimensions,
            format: self.encoding_format.unwrap_or(Format::Float),
            tokens: inputs.iter().map(One::tokens).sum(),
            text: texts.join("\n"),
        })
    }
}

impl Embeddings {
    pub fn body(&self, model: &str, with_usage: bool) -> Vec<u8> {
        let mut out = String::from(r#"{"object":"list","data":["#);
        for (index, seed) in self.seeds.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(out, r#"{comma}{{"object":"embedding","index":{index},"embedding":"#);
            let vector = vector(*seed, self.dimensions);
            match self.format {
                Format::Float => floats(&vector, &mut out),
                Format::Base64 => {
                    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                    out.push('"');
                    base64::encode(&bytes, &mut out);
                    out.push('"');
                }
            }
            out.push('}');
        }
        let _ = write!(out, r#"],"model":{}"#, serde_json::Value::from(model));
        if with_usage {
            let tokens = self.tokens;
            let _ = write!(out, r#","usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}"#);
        }
        out.push('}');
        out.into_bytes()
    }
}

enum One {
    Text(String),
    Tokens(Vec<u32>),
}

impl One {
    fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Tokens(tokens) => tokens.is_empty(),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Tokens(_) => "",
        }
    }

    fn tokens(&self) -> u64 {
        match self {
            Self::Text(text) => tokens::count(text),
            Self::Tokens(tokens) => tokens.len() as u64,
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Text(text) => Fingerprint::of(text.as_bytes()),
            Self::Tokens(tokens) => {
                let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
                Fingerprint::of(&bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_checked() {
        for body in [
            r#"{"input":""}"#,
            r#"{"input":[]}"#,
            r#"{"input":["a",""]}"#,
            r#"{"input":[[]]}"#,
            r#"{"input":5}"#,
            r#"{"input":["a",1]}"#,
            r#"{"input":[-1]}"#,
            r#"{"input":"a","dimensions":0}"#,
            "{}",
            r#"{"input":"a","dimensions":4097}"#,
            r#"{"input":"a","encoding_format":"hex"}"#,
        ] {
            let result = EmbeddingsRequest::parse(body.as_bytes()).and_then(EmbeddingsRequest::check);
            assert_eq!(result.err().map(|failure| failure.status.as_u16()), Some(400), "{body}");
        }
    }
}
