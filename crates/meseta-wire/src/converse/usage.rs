//! Token counts. Bedrock's input excludes what was read from the cache and what was written to it.

use serde::{Deserialize, Serialize};

use crate::json::Json;
use crate::shape::Object;
use crate::usage::{Count, Usage};

/// The counts of a `usage` object; `None` where it is none.
pub fn read(json: &Json<'_>) -> Option<Usage> {
    Object::of(json).ok()?;
    serde_json::from_slice::<Reported>(&json.to_vec()).ok().map(Usage::from)
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[allow(clippy::struct_field_names)] // Bedrock's names.
#[serde(rename_all = "camelCase")]
struct Reported {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
    #[serde(default)]
    cache_read_input_tokens: Count,
    #[serde(default)]
    cache_write_input_tokens: Count,
}

impl From<Reported> for Usage {
    fn from(reported: Reported) -> Usage {
        let (cached, cache_write) = (reported.cache_read_input_tokens.0, reported.cache_write_input_tokens.0);
        Usage {
            input: reported.input_tokens.0.saturating_add(cached).saturating_add(cache_write),
            cached,
            cache_write,
            output: reported.output_tokens.0,
            // Part of the output, and not told apart.
            reasoning: 0,
        }
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
#[allow(clippy::struct_field_names)] // Bedrock's names.
#[serde(rename_all = "camelCase")]
pub struct Written {
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
    cache_read_input_tokens: u64,
    cache_write_input_tokens: u64,
}

impl From<Usage> for Written {
    fn from(usage: Usage) -> Written {
        Written {
            input_tokens: usage.uncached_input(),
            output_tokens: usage.output,
            // The whole, cache and all.
            total_tokens: usage.input.saturating_add(usage.output),
            cache_read_input_tokens: usage.cached,
            cache_write_input_tokens: usage.cache_write,
        }
    }
}
