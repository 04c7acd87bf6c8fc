//! Why an answer ended.

use std::borrow::Cow;

use crate::conversation::Finish;

/// The filters' words.
const FILTERED: [&str; 11] = [
    "SAFETY",
    "RECITATION",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "MODEL_ARMOR",
    "JAILBREAK",
    "ESCALATION",
];

/// Words of Gemini's that mean something of their own.
const OTHERS: [&str; 9] = [
    "LANGUAGE",
    "MALFORMED_FUNCTION_CALL",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
    "MALFORMED_RESPONSE",
    "IMAGE_OTHER",
    "NO_IMAGE",
    "CONTINUATION",
];

/// `called`: the answer holds calls. Gemini has no word for that.
pub(super) fn read(word: &str, called: bool) -> Finish<'_> {
    match word {
        "STOP" if called => Finish::ToolCalls,
        "STOP" => Finish::Stop,
        "MAX_TOKENS" => Finish::Length,
        word if FILTERED.contains(&word) => Finish::ContentFilter,
        word => Finish::Other(Cow::Borrowed(word)),
    }
}

pub(super) fn write(finish: &Finish<'_>) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopSequence(_) | Finish::ToolCalls => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::ContentFilter | Finish::Refusal => "SAFETY",
        Finish::Pause => "OTHER",
        // A word that Gemini does not have would be an error to a strict client.
        Finish::Other(word) => OTHERS.iter().find(|known| *known == word).copied().unwrap_or("OTHER"),
    }
}
