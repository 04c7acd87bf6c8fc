//! A whole answer, read and written.

use std::borrow::Cow;

use super::output::{Content, Item, Response, State, Status, annotation, incomplete_reason, logprob, told};
use super::{failure, part};
use crate::conversation::{Answer, Finish, Part, Thought, TokenLogprob, ToolCall};
use crate::dialect::Context;
use crate::feature::Losses;
use crate::json::Json;
use crate::shape::{Malformed, Object};
use crate::signature::{Family, Signature};
use crate::usage::{self, Usage};

/// Reads an answer as a good client would: what is odd or unknown in it is passed over.
pub fn decode_answer<'j>(json: &'j Json<'_>) -> Result<Answer<'j>, Malformed> {
    let response = Object::of(json)?;
    let text = |key: &str| json.get(key).and_then(Json::as_str).map(Cow::Borrowed);
    if let Some(error) = response.get("error") {
        let failure = failure::read(error);
        return Err(Malformed::at("error", format!("says that the model failed: {}", failure.message)));
    }
    let mut answer = Answer {
        id: text("id"),
        model: text("model"),
        created: created(json),
        usage: json.get("usage").and_then(usage),
        service_tier: text("service_tier"),
        ..Answer::default()
    };
    for item in response.need_array("output")? {
        read_item(item, &mut answer);
    }
    answer.finish = finish(
        json,
        answer.parts.iter().any(|part| matches!(part, Part::ToolCall(_))),
        answer.parts.iter().any(|part| matches!(part, Part::Refusal(_))),
    );
    Ok(answer)
}

fn read_item<'j>(item: &'j Json<'j>, answer: &mut Answer<'j>) {
    let text = |key: &str| item.get(key).and_then(Json::as_str);
    match text("type") {
        Some("message") => {
            for part in item.get("content").and_then(Json::as_array).unwrap_or_default() {
                let text = |key: &str| part.get(key).and_then(Json::as_str);
                match text("type") {
                    Some("output_text") => {
                        answer.parts.push(Part::Text(crate::conversation::Text {
                            text: Cow::Borrowed(text("text").unwrap_or_default()),
                            cache: None,
                            citations: part::citations(part.get("annotations")),
                        }));
                        answer.logprobs.extend(logprobs(part.get("logprobs")));
                    }
                    Some("refusal") => {
                        answer.parts.push(Part::Refusal(Cow::Borrowed(text("refusal").unwrap_or_default())));
                    }
                    _ => {}
                }
            }
        }
        Some(kind @ ("function_call" | "custom_tool_call")) => {
            let custom = kind == "custom_tool_call";
            let arguments = text(if custom { "input" } else { "arguments" }).unwrap_or_default();
            answer.parts.push(Part::ToolCall(ToolCall {
                id: Cow::Borrowed(text("call_id").or(text("id")).unwrap_or_default()),
                name: Cow::Borrowed(text("name").unwrap_or_default()),
                arguments: Cow::Borrowed(if arguments.is_empty() && !custom { "{}" } else { arguments }),
                custom,
                signature: None,
                cache: None,
            }));
        }
        Some("reasoning") => {
            let thought = thought(item);
            if !thought.text.is_empty() || thought.signature.is_some() {
                answer.parts.push(Part::Thought(thought));
            }
        }
        // Items of tools that ran at the provider.
        _ => {}
    }
}

pub(super) fn thought<'j>(item: &'j Json<'_>) -> Thought<'j> {
    let texts = |key: &str| -> Vec<&'j str> {
        let pieces = item.get(key).and_then(Json::as_array).unwrap_or_default();
        pieces.iter().filter_map(|piece| piece.get("text").and_then(Json::as_str)).collect()
    };
    let mut pieces = texts("summary");
    if pieces.is_empty() {
        pieces = texts("content");
    }
    let text = match pieces.as_slice() {
        [one] => Cow::Borrowed(*one),
        pieces => Cow::Owned(pieces.join("\n\n")),
    };
    let signature = item.get("encrypted_content").and_then(Json::as_str);
    Thought {
        id: item.get("id").and_then(Json::as_str).map(Cow::Borrowed),
        redacted: text.is_empty(),
        text,
        signature: signature.map(|signature| Signature::new(Family::OpenAi, signature)),
    }
}

pub(super) fn logprobs<'j>(list: Option<&'j Json<'_>>) -> Vec<TokenLogprob<'j>> {
    fn pair<'j>(entry: &'j Json<'_>) -> Option<(Cow<'j, str>, f64)> {
        let token = entry.get("token").and_then(Json::as_str)?;
        match entry.get("logprob") {
            Some(Json::Number(value)) => Some((Cow::Borrowed(token), value.as_f64()?)),
            _ => None,
        }
    }
    let entries = list.and_then(Json::as_array).unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| {
            let (token, logprob) = pair(entry)?;
            let top = entry.get("top_logprobs").and_then(Json::as_array).unwrap_or_default();
            Some(TokenLogprob { token, logprob, top: top.iter().filter_map(pair).collect() })
        })
        .collect()
}

/// Seconds since 1970; some servers write fractions of them.
pub(super) fn created(response: &Json<'_>) -> Option<u64> {
    match response.get("created_at") {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(Json::Number(number)) => number.as_u64().or_else(|| {
            number.as_f64().filter(|seconds| (0.0..1e12).contains(seconds)).map(|seconds| seconds as u64)
        }),
        _ => None,
    }
}

/// The counts of a `usage` object; `None` where there is no object.
pub(crate) fn usage(usage: &Json<'_>) -> Option<Usage> {
    if !matches!(usage, Json::Object(_)) {
        return None;
    }
    let count = |object: Option<&Json<'_>>, key: &str| {
        usage::count(object.and_then(|object| object.get(key))).unwrap_or(0)
    };
    let input = usage.get("input_tokens_details");
    Some(Usage {
        input: count(Some(usage), "input_tokens"),
        cached: count(input, "cached_tokens"),
        cache_write: count(input, "cache_write_tokens"),
        output: count(Some(usage), "output_tokens"),
        reasoning: count(usage.get("output_tokens_details"), "reasoning_tokens"),
    })
}

pub(super) fn finish<'j>(response: &'j Json<'_>, called: bool, refused: bool) -> Finish<'j> {
    let reason = response.get("incomplete_details").and_then(|details| details.get("reason"));
    match (reason.and_then(Json::as_str), response.get("status").and_then(Json::as_str)) {
        (Some("max_output_tokens"), _) => Finish::Length,
        (Some("content_filter"), _) => Finish::ContentFilter,
        (Some(reason), _) => Finish::Other(Cow::Borrowed(reason)),
        (None, Some(status)) if status != "completed" => Finish::Other(Cow::Borrowed(status)),
        (None, _) if called => Finish::ToolCalls,
        (None, _) if refused => Finish::Refusal,
        (None, _) => Finish::Stop,
    }
}

pub fn encode_answer(answer: &Answer<'_>, context: &Context, losses: &mut Losses) -> Vec<u8> {
    let output = output(answer, context, losses);
    let last = output.len().saturating_sub(1);
    let finish = told(&answer.finish, output.iter());
    let cut = incomplete_reason(finish).is_some();
    let items: Vec<Json<'_>> = output
        .iter()
        .enumerate()
        .map(|(index, item)| {
            item.to_json(if cut && index == last { Status::Incomplete } else { Status::Completed })
        })
        .collect();
    Response::new(context, answer.model.as_deref()).write(
        &State::Ended(finish),
        items,
        answer.usage,
        answer.service_tier.as_deref(),
    )
}

fn output(answer: &Answer<'_>, context: &Context, losses: &mut Losses) -> Vec<Item> {
    let mut output: Vec<Item> = Vec::with_capacity(answer.parts.len());
    let mut probabilities: Vec<Json<'static>> = answer.logprobs.iter().map(logprob).collect();
    for part in &answer.parts {
        let index = output.len();
        match part {
            Part::Text(text) => {
                let length = || u64::try_from(text.text.chars().count()).unwrap_or(u64::MAX);
                let annotations: Vec<_> =
                    text.citations.iter().filter_map(|citation| annotation(citation, length)).collect();
                if annotations.len() < text.citations.len() {
                    losses.answer("citations");
                }
                // They are the whole answer's, and nearly always there is one text.
                let logprobs = std::mem::take(&mut probabilities);
                let text = text.text.clone().into_owned();
                say(&mut output, context, Content::Text { text, annotations, logprobs });
            }
            Part::Refusal(refusal) => {
                say(&mut output, context, Content::Refusal(refusal.clone().into_owned()));
            }
            Part::Thought(thought) => {
                let mut item = Item::reasoning(context, index, thought.id.as_deref());
                if let Item::Reasoning { summary, .. } = &mut item {
                    // An empty summary and none differ: without one, the thought is redacted.
                    let says = !thought.text.is_empty() || thought.signature.is_some();
                    *summary = (!thought.redacted && says).then(|| thought.text.clone().into_owned());
                }
                if let Some(signature) = &thought.signature {
                    item.sign(signature);
                }
                output.push(item);
            }
            Part::ToolCall(call) => {
                if let Some(signature) = &call.signature {
                    output.push(Item::signature(context, index, signature));
                }
                let mut item = Item::call(context, output.len(), &call.id, &call.name, call.custom);
                if let Item::Call { arguments, .. } = &mut item {
                    call.arguments.as_ref().clone_into(arguments);
                }
                output.push(item);
            }
            Part::Image(_) => losses.answer("images"),
            Part::File(_) => losses.answer("files"),
            Part::Audio(_) => losses.answer("audio"),
            Part::ToolResult(_) => losses.answer("tool-results"),
        }
    }
    if !probabilities.is_empty() {
        losses.answer("logprobs");
    }
    output
}

/// Texts that follow each other are one message.
fn say(output: &mut Vec<Item>, context: &Context, content: Content) {
    if !matches!(output.last(), Some(Item::Message { .. })) {
        output.push(Item::message(context, output.len()));
    }
    if let Some(Item::Message { parts, .. }) = output.last_mut() {
        parts.push(content);
    }
}
