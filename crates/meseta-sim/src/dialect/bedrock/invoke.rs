//! Embedding models behind Bedrock's invoke: Amazon's Titan and Cohere's, each in the maker's own words.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::field::{At, Wrong};
use crate::fingerprint::Fingerprint;
use crate::prompt::join;
use crate::tokens;
use crate::vector::{floats, vector};

const MOST_TEXTS: usize = 96;

/// A request that has been checked.
pub struct Invocation {
    maker: Maker,
    texts: Vec<String>,
    dimensions: u64,
    /// Cohere's answer names the kinds of numbers only if the request did.
    typed: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Maker {
    Titan,
    Cohere,
}

impl Invocation {
    /// What invokes any other model is not simulated.
    pub fn read(model: &str, value: &Value) -> Result<Result<Self, Wrong>, Failure> {
        // The identifier of an inference profile begins with a region.
        if model.contains("titan-embed") {
            Ok(titan(&At::root(value)))
        } else if model.contains("cohere.embed") {
            Ok(cohere(&At::root(value)))
        } else {
            let message =
                "The simulator invokes amazon.titan-embed and cohere.embed models alone. Use Converse.";
            Err(Failure::request(None, message))
        }
    }

    /// All text there is, for the rules of a script.
    pub fn text(&self) -> String {
        join(&self.texts.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub fn tokens(&self) -> u64 {
        self.texts.iter().map(|text| tokens::count(text)).sum()
    }

    /// Titan's count of tokens is in its answer; Cohere has none there.
    pub fn body(&self, with_usage: bool) -> Vec<u8> {
        let mut vectors = String::new();
        for (index, text) in self.texts.iter().enumerate() {
            if index > 0 {
                vectors.push(',');
            }
            floats(&vector(Fingerprint::of(text.as_bytes()), self.dimensions), &mut vectors);
        }
        let id = Fingerprint::of(vectors.as_bytes()).hex();
        match self.maker {
            Maker::Titan => {
                let tokens = self.tokens();
                let count =
                    if with_usage { format!(r#","inputTextTokenCount":{tokens}"#) } else { String::new() };
                format!(r#"{{"embedding":{vectors},"embeddingsByType":{{"float":{vectors}}}{count}}}"#)
            }
            Maker::Cohere => {
                let texts = json!(self.texts);
                let (kind, vectors) = if self.typed {
                    ("embeddings_by_type", format!(r#"{{"float":[{vectors}]}}"#))
                } else {
                    ("embeddings_floats", format!("[{vectors}]"))
                };
                format!(r#"{{"embeddings":{vectors},"id":"{id}","response_type":"{kind}","texts":{texts}}}"#)
            }
        }
        .into_bytes()
    }
}

fn titan(root: &At<'_>) -> Result<Invocation, Wrong> {
    root.only(&["inputText", "dimensions", "normalize", "embeddingTypes"])?;
    let text = root.need("inputText")?;
    if text.text()?.is_empty() {
        return Err(text.wrong("expected minLength: 1, actual: 0"));
    }
    let dimensions = root.whole_at("dimensions", 1)?.unwrap_or(1024);
    if ![256, 512, 1024].contains(&dimensions) {
        return Err(root.need("dimensions")?.wrong(format!("{dimensions} is not one of 256, 512, 1024")));
    }
    Ok(Invocation { maker: Maker::Titan, texts: vec![text.text()?.to_owned()], dimensions, typed: false })
}

fn cohere(root: &At<'_>) -> Result<Invocation, Wrong> {
    root.only(&["texts", "input_type", "truncate", "embedding_types", "output_dimension", "max_tokens"])?;
    root.need("input_type")?.word(&["search_document", "search_query", "classification", "clustering"])?;
    let list = root.need("texts")?;
    let texts = list.list()?;
    if texts.is_empty() || texts.len() > MOST_TEXTS {
        return Err(list.wrong(format!("expected 1 to {MOST_TEXTS} texts, actual: {}", texts.len())));
    }
    let texts = texts.iter().map(|text| text.text().map(str::to_owned)).collect::<Result<_, _>>()?;
    for kind in root.list_at("embedding_types")? {
        kind.word(&["float"])?;
    }
    let dimensions = root.whole_at("output_dimension", 1)?.unwrap_or(1024);
    if ![256, 512, 1024, 1536].contains(&dimensions) {
        return Err(root.need("output_dimension")?.wrong("must be one of 256, 512, 1024, 1536"));
    }
    let typed = root.find("embedding_types")?.is_some();
    Ok(Invocation { maker: Maker::Cohere, texts, dimensions, typed })
}
