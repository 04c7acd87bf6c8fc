//! Embeddings as Google asks for them and gives them, one or several at a time.

use serde_json::Value;

use crate::dialect::texts;
use crate::field::{At, Wrong};
use crate::fingerprint::Fingerprint;
use crate::prompt::join;
use crate::vector::{floats, vector};

const DIMENSIONS: u64 = 3072;
const MOST_DIMENSIONS: u64 = 4096;
const MOST_REQUESTS: usize = 100;

pub struct GeminiEmbeddings {
    inputs: Vec<(String, u64)>,
    several: bool,
}

impl GeminiEmbeddings {
    pub fn read(value: &Value, several: bool) -> Result<Self, Wrong> {
        let root = At::snake(value);
        if !several {
            return Ok(Self { inputs: vec![one(&root)?], several });
        }
        root.only(&["requests"])?;
        let requests = root.need("requests")?;
        let list = requests.list()?;
        if list.is_empty() || list.len() > MOST_REQUESTS {
            return Err(requests
                .wrong(format!("at least 1 and at most {MOST_REQUESTS} requests can be in one batch")));
        }
        for request in &list {
            request.need("model")?.text()?;
        }
        Ok(Self { inputs: list.iter().map(one).collect::<Result<_, _>>()?, several })
    }

    /// All text there is, for the rules of a script.
    pub fn text(&self) -> String {
        join(&self.inputs.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>())
    }

    pub fn body(&self) -> Vec<u8> {
        let mut out = String::from(if self.several { r#"{"embeddings":["# } else { r#"{"embedding":"# });
        for (index, (text, dimensions)) in self.inputs.iter().enumerate() {
            out.push_str(if index == 0 { r#"{"values":"# } else { r#",{"values":"# });
            floats(&vector(Fingerprint::of(text.as_bytes()), *dimensions), &mut out);
            out.push('}');
        }
        out.push_str(if self.several { "]}" } else { "}" });
        out.into_bytes()
    }
}

fn one(request: &At<'_>) -> Result<(String, u64), Wrong> {
    request.only(&[
        "model",
        "content",
        "taskType",
        "title",
        "outputDimensionality",
        "autoTruncate",
        "embedContentConfig",
    ])?;
    let content = request.need("content")?;
    content.only(&["role", "parts"])?;
    let parts = content.need("parts")?;
    let text = join(&texts(&parts));
    if text.is_empty() {
        return Err(content.wrong("content is empty"));
    }
    let dimensions = request.whole_at("outputDimensionality", 1)?.unwrap_or(DIMENSIONS);
    if dimensions > MOST_DIMENSIONS {
        return Err(request
            .need("outputDimensionality")?
            .wrong(format!("must be at most {MOST_DIMENSIONS}")));
    }
    Ok((text, dimensions))
}
