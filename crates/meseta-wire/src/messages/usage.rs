//! Counts of tokens as the Messages API has them: its `input_tokens` leaves out what the cache gave and took.

use serde::Serialize;

use crate::json::Json;
use crate::usage::{Usage, count};

/// Counts as they come: all at once in an answer, or the input's first and the output's later in a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    input: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    output: Option<u64>,
    thinking: Option<u64>,
}

impl Counts {
    /// Takes over the counts that a `usage` object has. They are totals: a later one replaces an earlier one.
    pub fn merge(&mut self, usage: &Json<'_>) {
        for (place, key) in [
            (&mut self.input, "input_tokens"),
            (&mut self.cache_read, "cache_read_input_tokens"),
            (&mut self.cache_write, "cache_creation_input_tokens"),
            (&mut self.output, "output_tokens"),
        ] {
            *place = count(usage.get(key)).or(*place);
        }
        let details = usage.get("output_tokens_details");
        self.thinking = count(details.and_then(|details| details.get("thinking_tokens"))).or(self.thinking);
    }

    /// `None` as long as nothing was counted.
    pub fn usage(&self) -> Option<Usage> {
        self.input.or(self.output)?;
        let cached = self.cache_read.unwrap_or(0);
        let cache_write = self.cache_write.unwrap_or(0);
        Some(Usage {
            input: self.input.unwrap_or(0).saturating_add(cached).saturating_add(cache_write),
            cached,
            cache_write,
            output: self.output.unwrap_or(0),
            reasoning: self.thinking.unwrap_or(0),
        })
    }
}

/// A `usage` object for a client.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Report {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<Details>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Details {
    thinking_tokens: u64,
}

impl From<Usage> for Report {
    fn from(usage: Usage) -> Report {
        Report {
            input_tokens: usage.uncached_input(),
            cache_creation_input_tokens: usage.cache_write,
            cache_read_input_tokens: usage.cached,
            output_tokens: usage.output,
            output_tokens_details: (usage.reasoning > 0)
                .then_some(Details { thinking_tokens: usage.reasoning }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_counts_replace_earlier_ones_and_nonsense_is_absent() {
        let mut counts = Counts::default();
        assert_eq!(counts.usage(), None);
        let start = r#"{"input_tokens":10,"cache_read_input_tokens":5,"cache_creation_input_tokens":2,"output_tokens":1}"#;
        counts.merge(&Json::parse(start).unwrap());
        let end = r#"{"output_tokens":30,"input_tokens":-1,"cache_read_input_tokens":null,
            "cache_creation_input_tokens":2000000000000,"output_tokens_details":{"thinking_tokens":20}}"#;
        counts.merge(&Json::parse(end).unwrap());
        let usage = Usage { input: 17, cached: 5, cache_write: 2, output: 30, reasoning: 20 };
        assert_eq!(counts.usage(), Some(usage));
        let report = serde_json::to_string(&Report::from(usage)).unwrap();
        assert_eq!(
            report,
            r#"{"input_tokens":10,"cache_creation_input_tokens":2,"cache_read_input_tokens":5,"output_tokens":30,"output_tokens_details":{"thinking_tokens":20}}"#
        );
    }
}
