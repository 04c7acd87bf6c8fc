//! Gemini's counts. Its output leaves out the thoughts, and its input what its own tools found.

use crate::json::{Fields, Json};
use crate::usage::{self, Usage};

/// `usageMetadata`; `None` if there is no count in it.
pub(crate) fn read(json: Option<&Json<'_>>) -> Option<Usage> {
    let metadata = json?;
    let count = |key: &str| usage::count(metadata.get(key));
    let prompt = count("promptTokenCount");
    let candidates = count("candidatesTokenCount");
    let thoughts = count("thoughtsTokenCount");
    prompt.or(candidates).or(thoughts)?;
    let reasoning = thoughts.unwrap_or(0);
    Some(Usage {
        input: prompt.unwrap_or(0).saturating_add(count("toolUsePromptTokenCount").unwrap_or(0)),
        cached: count("cachedContentTokenCount").unwrap_or(0),
        cache_write: 0,
        output: candidates.unwrap_or(0).saturating_add(reasoning),
        reasoning,
    })
}

pub(super) fn write(usage: &Usage) -> Json<'static> {
    let mut fields = Fields::new();
    fields.put("promptTokenCount", usage.input);
    if usage.cached > 0 {
        fields.put("cachedContentTokenCount", usage.cached);
    }
    fields.put("candidatesTokenCount", usage.output.saturating_sub(usage.reasoning));
    if usage.reasoning > 0 {
        fields.put("thoughtsTokenCount", usage.reasoning.min(usage.output));
    }
    fields.put("totalTokenCount", usage.input.saturating_add(usage.output));
    fields.into()
}
