//! Embeddings of Bedrock's `InvokeModel`, whose words are those of the model's maker.

use std::fmt;

use serde::Deserialize;

use super::{EmbeddingsAnswer, EmbeddingsRequest};
use crate::json::{Fields, Json};
use crate::shape::Malformed;

/// Cohere embeds at most so many texts in one call.
const MOST_TEXTS: usize = 96;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    /// One text in a call. The second generation can shorten its vectors.
    Titan { has_dimensions: bool },
    /// Many texts in a call. The fourth generation can shorten its vectors.
    Cohere { has_dimensions: bool },
}

/// What a model cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    Model,
    Inputs { most: usize },
    Dimensions,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsupported::Model => formatter.write_str(
                "This model of Bedrock is not known to embed texts. Known are amazon.titan-embed-text and \
                 amazon.titan-embed-g1-text models, and cohere.embed models.",
            ),
            Unsupported::Inputs { most: 1 } => {
                formatter.write_str("This model embeds one text in a call. Send one request for each text.")
            }
            Unsupported::Inputs { most } => write!(
                formatter,
                "This model embeds at most {most} texts in a call. Send them in several requests."
            ),
            Unsupported::Dimensions => {
                formatter.write_str("The vectors of this model have one length. Leave out `dimensions`.")
            }
        }
    }
}

impl std::error::Error for Unsupported {}

impl Maker {
    /// From a model id with or without a region before it, or an ARN that ends in one.
    fn of(model: &str) -> Option<Maker> {
        if let Some((_, name)) = model.split_once("amazon.titan-embed-") {
            // Images are embedded by a model of their own words.
            let is_text = name.starts_with("text-") || name.starts_with("g1-text-");
            return is_text.then(|| Maker::Titan { has_dimensions: name.starts_with("text-v2") });
        }
        let (_, name) = model.split_once("cohere.embed-")?;
        Some(Maker::Cohere { has_dimensions: name.starts_with("v4") })
    }
}

pub fn encode_request(request: &EmbeddingsRequest<'_>, model: &str) -> Result<Vec<u8>, Unsupported> {
    let maker = Maker::of(model).ok_or(Unsupported::Model)?;
    let (Maker::Titan { has_dimensions } | Maker::Cohere { has_dimensions }) = maker;
    if request.dimensions.is_some() && !has_dimensions {
        return Err(Unsupported::Dimensions);
    }
    let mut body = Fields::new();
    match maker {
        Maker::Titan { .. } => {
            let [text] = request.inputs.as_slice() else { return Err(Unsupported::Inputs { most: 1 }) };
            body.put("inputText", text).put_some("dimensions", request.dimensions);
        }
        Maker::Cohere { .. } => {
            if request.inputs.len() > MOST_TEXTS {
                return Err(Unsupported::Inputs { most: MOST_TEXTS });
            }
            let texts: Vec<Json<'_>> = request.inputs.iter().map(Json::from).collect();
            // Cohere wants to know what for, and OpenAI's API does not say: most texts are what is searched.
            body.put("texts", texts).put("input_type", "search_document");
            body.put_some("output_dimension", request.dimensions);
            if has_dimensions {
                body.put("embedding_types", vec!["float"]);
            }
        }
    }
    Ok(Json::from(body).to_vec())
}

/// Reads the answer to a request of so many inputs.
pub fn decode_answer(body: &[u8], inputs: usize, model: &str) -> Result<EmbeddingsAnswer, Malformed> {
    let answer = match Maker::of(model) {
        Some(Maker::Titan { .. }) => {
            let titan: Titan = read(body)?;
            let tokens = titan.input_text_token_count.filter(|tokens| *tokens <= MOST_TOKENS);
            EmbeddingsAnswer { vectors: vec![titan.embedding], input_tokens: tokens }
        }
        Some(Maker::Cohere { .. }) => {
            let cohere: Cohere = read(body)?;
            let (Embeddings::Floats(vectors) | Embeddings::ByType { float: vectors }) = cohere.embeddings;
            // The count stands in a header.
            EmbeddingsAnswer { vectors, input_tokens: None }
        }
        None => return Err(Malformed::here("is of a model that is not known to embed texts")),
    };
    if answer.vectors.len() != inputs {
        let message = format!("has {} vectors for {inputs} inputs", answer.vectors.len());
        return Err(Malformed::here(message));
    }
    // A number out of range would become one that JSON cannot say.
    let is_sound = |vector: &Vec<f32>| !vector.is_empty() && vector.iter().all(|number| number.is_finite());
    if answer.vectors.iter().all(is_sound) {
        Ok(answer)
    } else {
        Err(Malformed::here("has a vector that is empty or has a number out of range"))
    }
}

/// More is no count.
const MOST_TOKENS: u64 = 1_000_000_000_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Titan {
    embedding: Vec<f32>,
    input_text_token_count: Option<u64>,
}

#[derive(Deserialize)]
struct Cohere {
    embeddings: Embeddings,
}

/// Both forms are documented; which comes depends on whether types were asked for.
#[derive(Deserialize)]
#[serde(untagged)]
enum Embeddings {
    Floats(Vec<Vec<f32>>),
    ByType { float: Vec<Vec<f32>> },
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Malformed> {
    serde_json::from_slice(body)
        .map_err(|error| Malformed::here(format!("is not an answer with embeddings: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(inputs: &[&'static str], dimensions: Option<u64>) -> EmbeddingsRequest<'static> {
        EmbeddingsRequest {
            inputs: inputs.iter().map(|text| (*text).into()).collect(),
            dimensions,
            base64: false,
        }
    }

    fn encoded(model: &str, inputs: &[&'static str], dimensions: Option<u64>) -> Result<String, Unsupported> {
        encode_request(&request(inputs, dimensions), model).map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn every_maker_gets_its_own_words() {
        assert_eq!(encoded("amazon.titan-embed-text-v1", &["hi"], None).unwrap(), r#"{"inputText":"hi"}"#);
        assert_eq!(
            encoded("amazon.titan-embed-text-v2:0", &["hi"], Some(256)).unwrap(),
            r#"{"inputText":"hi","dimensions":256}"#
        );
        assert_eq!(
            encoded("cohere.embed-english-v3", &["a", "b"], None).unwrap(),
            r#"{"texts":["a","b"],"input_type":"search_document"}"#
        );
        assert_eq!(
            encoded("us.cohere.embed-v4:0", &["a"], Some(512)).unwrap(),
            r#"{"texts":["a"],"input_type":"search_document","output_dimension":512,"embedding_types":["float"]}"#
        );
    }

    #[test]
    fn what_a_model_cannot_do_is_said() {
        assert_eq!(
            encoded("amazon.titan-embed-text-v2:0", &["a", "b"], None),
            Err(Unsupported::Inputs { most: 1 })
        );
        assert_eq!(encoded("amazon.titan-embed-text-v1", &["a"], Some(256)), Err(Unsupported::Dimensions));
        assert_eq!(
            encoded("cohere.embed-english-v3", &["a"; 97], None),
            Err(Unsupported::Inputs { most: 96 })
        );
        for model in ["amazon.titan-embed-image-v1", "anthropic.claude-sonnet-4-5", ""] {
            assert_eq!(encoded(model, &["a"], None), Err(Unsupported::Model));
        }
    }

    #[test]
    fn answers_of_every_form_are_read() {
        let titan = br#"{"embedding":[0.5,-1],"inputTextTokenCount":7}"#;
        assert_eq!(
            decode_answer(titan, 1, "amazon.titan-embed-text-v2:0").unwrap(),
            EmbeddingsAnswer { vectors: vec![vec![0.5, -1.0]], input_tokens: Some(7) }
        );
        for text in
            [r#"{"embeddings":[[1],[2]],"id":"x"}"#, r#"{"embeddings":{"float":[[1],[2]]},"texts":[]}"#]
        {
            let cohere = decode_answer(text.as_bytes(), 2, "cohere.embed-v4:0").unwrap();
            assert_eq!(cohere, EmbeddingsAnswer { vectors: vec![vec![1.0], vec![2.0]], input_tokens: None });
        }
    }

    #[test]
    fn what_is_no_answer_is_malformed() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"embeddings":[[1]]}"#,
            r#"{"embeddings":[[1],["2"]]}"#,
            r#"{"embeddings":[[1],[1e300]]}"#,
            r#"{"embeddings":[[1],[]]}"#,
            r#"{"embeddings":{"int8":[[1],[2]]}}"#,
        ] {
            assert!(decode_answer(text.as_bytes(), 2, "cohere.embed-v4:0").is_err(), "{text}");
        }
    }
}
