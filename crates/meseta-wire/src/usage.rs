//! Token usage by class, as the OpenAI chat API reports it.

use serde::Deserialize;

/// Tokens of one answer. `input` includes `cached` and `output` includes `reasoning`, which is both OpenAI's meaning
/// and that of the OpenTelemetry GenAI conventions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub cached: u64,
    pub output: u64,
    pub reasoning: u64,
}

/// The `usage` object of chat completions and of embeddings (which has no output). Counts that are missing, null, or
/// not whole numbers count as absent: one odd provider must not hide the other counts.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Reported {
    #[serde(default)]
    prompt_tokens: Count,
    #[serde(default)]
    completion_tokens: Count,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Debug, Default, Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Count,
}

#[derive(Debug, Default, Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Count,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        // More than a trillion tokens is no count: sums over many answers must stay in range.
        Ok(Count(value.as_u64().filter(|count| *count <= 1_000_000_000_000).unwrap_or(0)))
    }
}

impl From<Reported> for Usage {
    fn from(reported: Reported) -> Usage {
        Usage {
            input: reported.prompt_tokens.0,
            cached: reported.prompt_tokens_details.unwrap_or_default().cached_tokens.0,
            output: reported.completion_tokens.0,
            reasoning: reported.completion_tokens_details.unwrap_or_default().reasoning_tokens.0,
        }
    }
}
