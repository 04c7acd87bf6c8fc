//! Whole answers, read and written.

use std::borrow::Cow;

use super::decode_messages::arguments;
use super::extras;
use super::ids;
use crate::conversation::{Answer, Citation, Finish, Part, Text, ToolCall};
use crate::dialect::Context;
use crate::feature::Losses;
use crate::json::{Fields, Json};
use crate::object;
use crate::shape::{Malformed, Object};

/// Reads the first choice. Whatever is odd in it is left out; only what is no answer at all is malformed.
pub fn decode_answer<'j>(json: &'j Json<'_>) -> Result<Answer<'j>, Malformed> {
    let answer = Object::of(json)?;
    let choices = answer.need_array("choices")?;
    let choice = choices.first().ok_or_else(|| Malformed::at("choices", "must not be empty"))?;
    let read = || Object::of(choice)?.need_object("message");
    let message = read().map_err(|error| error.index(0).under("choices"))?;

    let text = |key| answer.get(key).and_then(Json::as_str).filter(|text| !text.is_empty());
    let id = text("id");
    let parts = parts(&message, id.unwrap_or_default());
    let finish = finish(choice.get("finish_reason").and_then(Json::as_str), &parts);
    Ok(Answer {
        id: id.map(Cow::Borrowed),
        model: text("model").map(Cow::Borrowed),
        created: answer.count("created").ok().flatten(),
        parts,
        finish,
        usage: answer.get("usage").and_then(extras::usage),
        logprobs: extras::logprobs(choice.get("logprobs")),
        service_tier: text("service_tier").map(Cow::Borrowed),
    })
}

fn parts<'j>(message: &Object<'j>, answer_id: &str) -> Vec<Part<'j>> {
    let thoughts = extras::thoughts(message).unwrap_or_default();
    let mut parts: Vec<Part<'j>> = thoughts.into_iter().map(Part::Thought).collect();
    let mut texts = texts(message.get("content"));
    if let Some(last) = texts.last_mut() {
        last.citations = extras::citations(message.get("annotations"));
    }
    parts.extend(texts.into_iter().map(Part::Text));
    if let Some(refusal) = message.get("refusal").and_then(Json::as_str).filter(|text| !text.is_empty()) {
        parts.push(Part::Refusal(refusal.into()));
    }
    let calls = message.get("tool_calls").and_then(Json::as_array).unwrap_or_default();
    parts.extend(calls.iter().enumerate().filter_map(|(index, json)| call(json, answer_id, index)));
    // The older way to call, which has no id.
    if let Some(function) = message.get("function_call").filter(|_| calls.is_empty())
        && let Some(name) = function.get("name").and_then(Json::as_str)
    {
        parts.push(Part::ToolCall(ToolCall {
            id: ids::missing_call_id(answer_id, 0).into(),
            name: name.into(),
            arguments: arguments(function.get("arguments").and_then(Json::as_str)),
            custom: false,
            signature: None,
            cache: None,
        }));
    }
    parts
}

/// A string, or an array of text parts, as some servers have it.
fn texts<'j>(content: Option<&'j Json<'j>>) -> Vec<Text<'j>> {
    let text =
        |text: &'j str| (!text.is_empty()).then(|| Text { text: Cow::Borrowed(text), ..Text::default() });
    match content {
        Some(Json::String(content)) => text(content).into_iter().collect(),
        Some(Json::Array(items)) => {
            items.iter().filter_map(|item| item.get("text")?.as_str().and_then(text)).collect()
        }
        _ => Vec::new(),
    }
}

fn call<'j>(json: &'j Json<'j>, answer_id: &str, index: usize) -> Option<Part<'j>> {
    let custom = json.get("custom").is_some_and(|custom| custom.get("name").is_some());
    let inner = json.get(if custom { "custom" } else { "function" })?;
    let arguments = match inner.get(if custom { "input" } else { "arguments" }) {
        Some(Json::String(text)) if custom => Cow::Borrowed(text.as_ref()),
        Some(Json::String(text)) => arguments(Some(text)),
        // Some servers send the object itself.
        Some(object @ Json::Object(_)) => Cow::Owned(object.to_text()),
        _ if custom => Cow::Borrowed(""),
        _ => arguments(None),
    };
    let id = json.get("id").and_then(Json::as_str).filter(|id| !id.is_empty());
    Some(Part::ToolCall(ToolCall {
        id: id.map_or_else(|| Cow::Owned(ids::missing_call_id(answer_id, index)), Cow::Borrowed),
        name: inner.get("name").and_then(Json::as_str).filter(|name| !name.is_empty())?.into(),
        arguments,
        custom,
        signature: extras::call_signature(json),
        cache: None,
    }))
}

fn finish<'j>(reason: Option<&'j str>, parts: &[Part<'_>]) -> Finish<'j> {
    let called = parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
    let refused = parts.iter().any(|part| matches!(part, Part::Refusal(_)));
    finish_of(reason, called, refused)
}

/// What a `finish_reason` means beside what was answered: some servers say `stop` where a tool is called, and all say it
/// where the model declines.
pub(super) fn finish_of(reason: Option<&str>, called: bool, refused: bool) -> Finish<'_> {
    match reason {
        None | Some("stop" | "") if called => Finish::ToolCalls,
        None | Some("stop" | "") if refused => Finish::Refusal,
        None | Some("stop" | "") => Finish::Stop,
        Some("length") => Finish::Length,
        Some("tool_calls" | "function_call") => Finish::ToolCalls,
        Some("content_filter") => Finish::ContentFilter,
        Some(other) => Finish::Other(Cow::Borrowed(other)),
    }
}

/// The word of `finish_reason`, and what it does not say.
pub(super) fn finish_reason(finish: &Finish<'_>, refused: bool) -> (&'static str, Option<&'static str>) {
    match finish {
        Finish::Stop | Finish::StopSequence(None) => ("stop", None),
        Finish::StopSequence(Some(_)) => ("stop", Some("stop-sequence")),
        Finish::Length => ("length", None),
        Finish::ToolCalls => ("tool_calls", None),
        // The words stand in `refusal`; where there are none, only the reason can say it.
        Finish::Refusal if refused => ("stop", None),
        Finish::Refusal | Finish::ContentFilter => ("content_filter", None),
        Finish::Pause => ("stop", Some("pause")),
        Finish::Other(_) => ("stop", Some("finish-reason")),
    }
}

/// OpenAI's clients know these words and no others.
pub(crate) fn service_tier(tier: &str) -> Option<&'static str> {
    const KNOWN: [&str; 6] = ["auto", "default", "flex", "scale", "priority", "fast"];
    match tier {
        "standard" => Some("default"),
        other => KNOWN.into_iter().find(|known| *known == other),
    }
}

pub fn encode_answer(answer: &Answer<'_>, context: &Context, losses: &mut Losses) -> Vec<u8> {
    let refused = answer.parts.iter().any(|part| matches!(part, Part::Refusal(_)));
    let (reason, lost) = finish_reason(&answer.finish, refused);
    if let Some(lost) = lost {
        losses.answer(lost);
    }
    let mut choice = Fields::new();
    choice.put("index", 0_u64).put("message", message(&answer.parts, losses));
    choice.put("logprobs", extras::logprobs_json(&answer.logprobs)).put("finish_reason", reason);

    let mut document = Fields::new();
    document.put("id", format!("chatcmpl-{}", context.id)).put("object", "chat.completion");
    document.put("created", context.created).put("model", &context.model);
    document.put("choices", vec![choice]);
    document.put_some("usage", answer.usage.as_ref().map(extras::usage_json));
    if let Some(tier) = answer.service_tier.as_deref() {
        let known = service_tier(tier);
        document.put_some("service_tier", known);
        if known.is_none() {
            losses.answer("service-tier");
        }
    }
    Json::from(document).to_vec()
}

fn message<'a>(parts: &'a [Part<'_>], losses: &mut Losses) -> Json<'a> {
    let mut content: Option<String> = None;
    let mut refusal: Option<String> = None;
    let mut reasoning: Vec<&str> = Vec::new();
    let (mut details, mut annotations, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    let mut signed = false;
    let mut base = 0;
    for part in parts {
        match part {
            Part::Text(text) => {
                content.get_or_insert_default().push_str(&text.text);
                let end = text.text.chars().fold(base, |count: u64, _| count.saturating_add(1));
                for citation in &text.citations {
                    match extras::annotation(citation, base, end) {
                        Some(annotation) => annotations.push(annotation),
                        None => losses.answer("citations"),
                    }
                }
                base = end;
            }
            Part::Refusal(text) => refusal.get_or_insert_default().push_str(text),
            Part::Thought(thought) => {
                signed |= thought.signature.is_some();
                if !thought.text.is_empty() {
                    reasoning.push(&thought.text);
                }
                details.push(extras::detail(thought, details.len()));
            }
            Part::ToolCall(call) => calls.push(call_json(call)),
            Part::Image(_) => losses.answer("images"),
            Part::File(_) => losses.answer("files"),
            Part::Audio(_) => losses.answer("audio"),
            Part::ToolResult(_) => losses.answer("tool-results"),
        }
    }
    let mut message = Fields::new();
    message.put("role", "assistant").put("content", content.map_or(Json::Null, Json::from));
    message.put("refusal", refusal.map_or(Json::Null, Json::from));
    if !reasoning.is_empty() {
        message.put("reasoning_content", reasoning.join("\n\n"));
    }
    if signed {
        message.put("reasoning_details", details);
    }
    message.put("annotations", annotations);
    if !calls.is_empty() {
        message.put("tool_calls", calls);
    }
    message.into()
}

fn call_json<'a>(call: &'a ToolCall<'_>) -> Json<'a> {
    let (kind, text) = if call.custom { ("custom", "input") } else { ("function", "arguments") };
    let mut json = Fields::new();
    json.put("id", &call.id).put("type", kind);
    json.put(kind, object! { "name" => &call.name, text => &call.arguments });
    json.put_some("extra_content", call.signature.as_ref().map(extras::call_extra));
    json.into()
}

/// A citation that stands alone, in a stream: its text's place in the message and the number of its entry.
pub(super) fn annotation_json<'a>(
    citation: &'a Citation<'_>,
    base: u64,
    end: u64,
    index: u64,
) -> Option<Json<'a>> {
    let mut annotation = extras::annotation(citation, base, end)?;
    // OpenAI's clients join the lists of a stream by this number and fail without it.
    annotation.put("index", index);
    Some(annotation.into())
}
