//! Why an answer ended.

use std::borrow::Cow;

use crate::conversation::Finish;

/// `sequence` is the stop sequence that was met, which Claude tells when asked.
pub fn decode<'a>(reason: &'a str, sequence: Option<&'a str>) -> Finish<'a> {
    match reason {
        "end_turn" => Finish::Stop,
        "stop_sequence" => Finish::StopSequence(sequence.map(Cow::from)),
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "tool_use" => Finish::ToolCalls,
        "guardrail_intervened" | "content_filtered" => Finish::ContentFilter,
        "refusal" => Finish::Refusal,
        "pause_turn" => Finish::Pause,
        other => Finish::Other(other.into()),
    }
}

pub fn encode(finish: &Finish<'_>) -> &'static str {
    match finish {
        Finish::Stop | Finish::Pause => "end_turn",
        Finish::StopSequence(_) => "stop_sequence",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
        // A refusal is the model's own filter: no other word says that there is nothing more to come.
        Finish::ContentFilter | Finish::Refusal => "content_filtered",
        Finish::Other(word) => match word.as_ref() {
            "malformed_model_output" => "malformed_model_output",
            "malformed_tool_use" => "malformed_tool_use",
            _ => "end_turn",
        },
    }
}

/// The stop sequence that was met.
pub fn sequence<'f>(finish: &'f Finish<'_>) -> Option<&'f str> {
    match finish {
        Finish::StopSequence(sequence) => sequence.as_deref(),
        _ => None,
    }
}
