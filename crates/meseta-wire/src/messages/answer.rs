//! Whole answers.

use std::borrow::Cow;

use serde::Serialize;

use super::citation;
use super::content::input;
use super::signed;
use super::usage::{Counts, Report};
use crate::conversation::{Answer, Finish, Part, Text, Thought, ToolCall};
use crate::dialect::Context;
use crate::feature::Losses;
use crate::json::{Fields, Json};
use crate::object;
use crate::shape::{Malformed, Object};
use crate::signature::Signature;
use crate::usage::Usage;

pub fn decode_answer<'j>(json: &'j Json<'_>) -> Result<Answer<'j>, Malformed> {
    let object = Object::of(json)?;
    let content = object.need_array("content")?;
    let text = |key: &str| object.text(key).ok().flatten();
    let mut counts = Counts::default();
    if let Some(usage) = object.get("usage") {
        counts.merge(usage);
    }
    Ok(Answer {
        id: text("id").map(Cow::Borrowed),
        model: text("model").map(Cow::Borrowed),
        created: None,
        parts: content.iter().filter_map(read_block).collect(),
        finish: read_finish(text("stop_reason"), text("stop_sequence")),
        usage: counts.usage(),
        logprobs: Vec::new(),
        service_tier: object
            .get("usage")
            .and_then(|usage| usage.get("service_tier"))
            .and_then(Json::as_str)
            .map(Cow::Borrowed),
    })
}

/// Blocks of the provider's own tools, and blocks that are no blocks, are passed over.
fn read_block<'j>(json: &'j Json<'j>) -> Option<Part<'j>> {
    let object = Object::of(json).ok()?;
    let text = |key: &str| object.text(key).ok().flatten();
    Some(match text("type")? {
        "text" => Part::Text(Text {
            text: Cow::Borrowed(text("text")?),
            cache: None,
            citations: object
                .array("citations")
                .ok()
                .flatten()
                .unwrap_or_default()
                .iter()
                .filter_map(citation::read)
                .collect(),
        }),
        "thinking" => Part::Thought(Thought {
            id: None,
            text: Cow::Borrowed(text("thinking").unwrap_or_default()),
            signature: text("signature").and_then(signed::read),
            redacted: false,
        }),
        "redacted_thinking" => Part::Thought(Thought {
            signature: text("data").and_then(signed::read),
            redacted: true,
            ..Thought::default()
        }),
        "tool_use" => Part::ToolCall(ToolCall {
            id: Cow::Borrowed(text("id").unwrap_or_default()),
            name: Cow::Borrowed(text("name")?),
            arguments: match object.get("input") {
                Some(input @ Json::Object(_)) => Cow::Owned(input.to_text()),
                _ => Cow::Borrowed("{}"),
            },
            custom: false,
            signature: None,
            cache: None,
        }),
        _ => return None,
    })
}

/// The API's word for the end, in the words of the conversation.
pub(super) fn read_finish<'a>(reason: Option<&'a str>, sequence: Option<&'a str>) -> Finish<'a> {
    match reason {
        None | Some("end_turn") => Finish::Stop,
        Some("stop_sequence") => Finish::StopSequence(sequence.map(Cow::Borrowed)),
        Some("max_tokens" | "model_context_window_exceeded") => Finish::Length,
        Some("tool_use") => Finish::ToolCalls,
        Some("refusal") => Finish::Refusal,
        Some("pause_turn") => Finish::Pause,
        Some(other) => Finish::Other(Cow::Borrowed(other)),
    }
}

/// How an answer ended, as the API says it.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Stop<'a> {
    #[serde(rename = "stop_reason")]
    reason: Option<&'static str>,
    #[serde(rename = "stop_sequence")]
    sequence: Option<&'a str>,
    /// Anthropic's word for the kind of a refusal; nobody else has one.
    #[serde(rename = "stop_details")]
    details: Option<()>,
}

impl<'a> Stop<'a> {
    pub const NOT_YET: Stop<'static> = Stop { reason: None, sequence: None, details: None };

    /// `called` says whether the answer calls a tool: some providers then still say that it just stopped.
    pub fn of(finish: &'a Finish<'_>, called: bool) -> Stop<'a> {
        let mut sequence = None;
        let reason = match finish {
            Finish::Stop | Finish::Other(_) if called => "tool_use",
            Finish::Stop | Finish::Other(_) => "end_turn",
            Finish::StopSequence(text) => {
                sequence = text.as_deref();
                "stop_sequence"
            }
            Finish::Length => "max_tokens",
            Finish::ToolCalls => "tool_use",
            Finish::ContentFilter | Finish::Refusal => "refusal",
            Finish::Pause => "pause_turn",
        };
        Stop { reason: Some(reason), sequence, details: None }
    }
}

#[derive(Serialize)]
pub(super) struct Message<'a> {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Json<'a>>,
    #[serde(flatten)]
    stop: Stop<'a>,
    usage: Report,
}

impl<'a> Message<'a> {
    pub fn new(
        id: &str,
        model: &'a str,
        content: Vec<Json<'a>>,
        stop: Stop<'a>,
        usage: Option<Usage>,
    ) -> Message<'a> {
        Message {
            id: format!("msg_{id}"),
            kind: "message",
            role: "assistant",
            model,
            content,
            stop,
            usage: Report::from(usage.unwrap_or_default()),
        }
    }
}

pub fn encode_answer(answer: &Answer<'_>, context: &Context, losses: &mut Losses) -> Vec<u8> {
    let mut content = Vec::with_capacity(answer.parts.len());
    let mut called = false;
    let mut before = None;
    for part in &answer.parts {
        called |= matches!(part, Part::ToolCall(_));
        write_part(part, before, &mut content, losses);
        before = Some(part);
    }
    if !answer.logprobs.is_empty() {
        losses.answer("logprobs");
    }
    let stop = Stop::of(&answer.finish, called);
    let message = Message::new(&context.id, &context.model, content, stop, answer.usage);
    // Nothing in it can fail to serialise: keys are strings and numbers are finite.
    serde_json::to_vec(&message).unwrap_or_default()
}

fn write_part<'a>(
    part: &'a Part<'_>,
    before: Option<&Part<'_>>,
    content: &mut Vec<Json<'a>>,
    losses: &mut Losses,
) {
    match part {
        Part::Text(text) => {
            // The API refuses an empty block when the client sends the answer back.
            if text.text.is_empty() {
                return;
            }
            let mut fields = Fields::new();
            fields.put("type", "text").put("text", &text.text);
            let citations: Vec<_> = text.citations.iter().filter_map(citation::write).collect();
            if citations.len() < text.citations.len() {
                losses.answer("citations");
            }
            fields.put("citations", if citations.is_empty() { Json::Null } else { Json::Array(citations) });
            content.push(fields.into());
        }
        Part::Refusal(text) if text.is_empty() => {}
        Part::Refusal(text) => {
            content.push(object! { "type" => "text", "text" => text, "citations" => Json::Null });
        }
        Part::Thought(thought) => {
            let signature = thought.signature.as_ref();
            if !thought.redacted {
                content.push(write_thought(&thought.text, signed::write(signature)));
            } else if signature.is_some() {
                content.push(object! { "type" => "redacted_thinking", "data" => signed::write(signature) });
            }
        }
        Part::ToolCall(call) => {
            let signature = signed::of_call(call.signature.as_ref());
            if let Some(signature) = signature.filter(|signature| !carries(before, signature)) {
                content.push(write_thought("", signed::write(Some(signature))));
            }
            let (input, _) = input(call);
            content.push(object! {
                "type" => "tool_use", "id" => &call.id, "name" => &call.name, "input" => input,
            });
        }
        Part::Image(_) => losses.answer("images"),
        Part::File(_) => losses.answer("files"),
        Part::Audio(_) => losses.answer("audio"),
        Part::ToolResult(_) => losses.answer("tool-results"),
    }
}

fn write_thought<'a>(text: &'a str, signature: Cow<'a, str>) -> Json<'a> {
    object! { "type" => "thinking", "thinking" => text, "signature" => signature }
}

/// A thought right before the call that has the very signature carries it already.
fn carries(before: Option<&Part<'_>>, signature: &Signature<'_>) -> bool {
    matches!(before, Some(Part::Thought(thought)) if !thought.redacted && thought.signature.as_ref() == Some(signature))
}
