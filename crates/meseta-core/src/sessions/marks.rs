//! Where a request is marked for its target's prompt cache, if it is.

use http::HeaderMap;
use meseta_wire::cache_marks::Placement;
use meseta_wire::dialect::Dialect;

use crate::document::{CacheMarks, PromptCache, SessionSettings};
use crate::sessions::key::cache_is_off;

/// How a request in the target's dialect is marked, and the shortest prompt that is worth a mark.
pub(crate) fn marks(
    settings: &SessionSettings,
    cache: PromptCache,
    dialect: Dialect,
    headers: &HeaderMap,
) -> Option<(Placement, u64)> {
    let placement = match (cache.marks, dialect) {
        (CacheMarks::Messages, Dialect::AnthropicMessages) => Placement::Messages,
        (CacheMarks::ChatParts, Dialect::OpenaiChat) => Placement::ChatParts,
        (CacheMarks::Converse, Dialect::BedrockConverse) => Placement::Converse,
        // A target may speak several dialects, and has marks in one of them.
        _ => return None,
    };
    let minimum = settings.minimum_prefix_tokens.max(cache.minimum_tokens);
    (settings.cache_marks && !cache_is_off(headers)).then_some((placement, minimum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(cache_marks: bool) -> SessionSettings {
        SessionSettings {
            implicit: false,
            max_entries: 1,
            idle_ms: None,
            tenant_header: None,
            budget: None,
            cache_marks,
            minimum_prefix_tokens: 2_048,
        }
    }

    fn cache(marks: CacheMarks, minimum_tokens: u64) -> PromptCache {
        PromptCache { window_ms: 300_000, minimum_tokens, marks }
    }

    #[test]
    fn a_mark_is_of_the_dialect_that_is_sent() {
        let wanted = |marks, dialect| marks_of(true, cache(marks, 1), dialect, "").map(|(placed, _)| placed);
        let (messages, chat) = (Dialect::AnthropicMessages, Dialect::OpenaiChat);
        assert_eq!(wanted(CacheMarks::Messages, messages), Some(Placement::Messages));
        assert_eq!(wanted(CacheMarks::ChatParts, chat), Some(Placement::ChatParts));
        assert_eq!(wanted(CacheMarks::Converse, Dialect::BedrockConverse), Some(Placement::Converse));
        assert_eq!(wanted(CacheMarks::Messages, chat), None);
        assert_eq!(wanted(CacheMarks::None, messages), None);
    }

    #[test]
    fn nothing_is_marked_against_anybodys_will_and_nothing_that_is_too_short() {
        let dialect = Dialect::AnthropicMessages;
        let minimum = |wanted, least, header| {
            marks_of(wanted, cache(CacheMarks::Messages, least), dialect, header).map(|(_, least)| least)
        };
        assert_eq!(minimum(true, 1_024, ""), Some(2_048));
        assert_eq!(minimum(true, 4_096, "on"), Some(4_096));
        assert_eq!(minimum(true, 4_096, "Off"), None);
        assert_eq!(minimum(false, 1_024, ""), None);
    }

    fn marks_of(wanted: bool, cache: PromptCache, dialect: Dialect, off: &str) -> Option<(Placement, u64)> {
        let mut headers = HeaderMap::new();
        headers.insert("x-plano-cache", off.parse().unwrap());
        marks(&settings(wanted), cache, dialect, &headers)
    }
}
