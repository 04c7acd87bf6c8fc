//! Token usage by class, and how the OpenAI chat API reports it.

use serde::Deserialize;

use crate::json::Json;

/// Tokens of one answer. `input` includes `cached` (read from the provider's cache) and `cache_write` (written to it);
/// `output` includes `reasoning`. That is OpenAI's meaning and that of the OpenTelemetry GenAI conventions; dialects that
/// count otherwise (Anthropic's and Bedrock's input excludes both cache classes, Gemini's output excludes thoughts) are
/// put right where they are read and put back where they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub cached: u64,
    pub cache_write: u64,
    pub output: u64,
    pub reasoning: u64,
}

/// The `usage` object of chat completions and of embeddings (which has no output). Counts that are missing, null, or
/// not whole numbers count as absent: one odd provider must not hide the other counts.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Chat {
    prompt_tokens: Count,
    completion_tokens: Count,
    prompt_tokens_details: Option<InputDetails>,
    completion_tokens_details: Option<OutputDetails>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Count,
    /// OpenRouter's.
    cache_write_tokens: Count,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Count,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count(pub u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Count(value.as_u64().and_then(in_range).unwrap_or(0)))
    }
}

/// More than a trillion tokens is no count: sums over many answers must stay in range.
fn in_range(tokens: u64) -> Option<u64> {
    (tokens <= 1_000_000_000_000).then_some(tokens)
}

/// A count in a document; `None` for what is missing or is none.
pub(crate) fn count(value: Option<&Json<'_>>) -> Option<u64> {
    match value {
        Some(Json::Number(number)) => number.as_u64().and_then(in_range),
        _ => None,
    }
}

impl Usage {
    /// What two answers took together.
    #[must_use]
    pub fn plus(self, other: Usage) -> Usage {
        Usage {
            input: self.input.saturating_add(other.input),
            cached: self.cached.saturating_add(other.cached),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            output: self.output.saturating_add(other.output),
            reasoning: self.reasoning.saturating_add(other.reasoning),
        }
    }

    /// The input as dialects count it that leave out what the cache gave and took.
    pub(crate) fn uncached_input(&self) -> u64 {
        self.input.saturating_sub(self.cached).saturating_sub(self.cache_write)
    }
}

impl From<Chat> for Usage {
    fn from(reported: Chat) -> Usage {
        let details = reported.prompt_tokens_details.unwrap_or_default();
        Usage {
            input: reported.prompt_tokens.0,
            cached: details.cached_tokens.0,
            cache_write: details.cache_write_tokens.0,
            output: reported.completion_tokens.0,
            reasoning: reported.completion_tokens_details.unwrap_or_default().reasoning_tokens.0,
        }
    }
}
