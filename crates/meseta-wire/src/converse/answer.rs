//! Whole answers.

use std::borrow::Cow;

use super::citation;
use super::content;
use super::media;
use super::reasoning;
use super::stop;
use super::usage::{self, Written};
use crate::conversation::{Answer, Image, Part, Source, Text, Thought, ToolCall};
use crate::dialect::Context;
use crate::feature::Losses;
use crate::json::{Fields, Json};
use crate::object;
use crate::shape::{Malformed, Object};
use crate::signature::Family;

pub fn decode_answer<'j>(json: &'j Json<'_>) -> Result<Answer<'j>, Malformed> {
    let object = Object::of(json)?;
    let output = object.need_object("output")?;
    let message = output.need_object("message").map_err(|error| error.under("output"))?;
    let blocks = message.get("content").and_then(Json::as_array).unwrap_or_default();
    let sequence = object
        .get("additionalModelResponseFields")
        .and_then(|fields| fields.get("stop_sequence"))
        .and_then(Json::as_str);
    let reason = object.get("stopReason").and_then(Json::as_str).unwrap_or("end_turn");
    let model = object
        .get("trace")
        .and_then(|trace| trace.get("promptRouter"))
        .and_then(|router| router.get("invokedModelId"))
        .and_then(Json::as_str);
    let tier = object.get("serviceTier").and_then(|tier| tier.get("type")).and_then(Json::as_str);
    Ok(Answer {
        model: model.map(Cow::from),
        parts: blocks.iter().filter_map(part).collect(),
        finish: stop::decode(reason, sequence),
        usage: object.get("usage").and_then(usage::read),
        service_tier: tier.map(Cow::from),
        ..Answer::default()
    })
}

/// What of an answer is known; the rest is no reason to lose what is.
fn part<'j>(json: &'j Json<'_>) -> Option<Part<'j>> {
    let object = Object::of(json).ok()?;
    if let Some(text) = object.get("text").and_then(Json::as_str) {
        return Some(Part::Text(Text { text: text.into(), ..Text::default() }));
    }
    if let Some(call) = object.get("toolUse") {
        // A call with a type runs at Bedrock.
        let call = Object::of(call).ok().filter(|call| call.get("type").is_none())?;
        return Some(Part::ToolCall(ToolCall {
            id: call.text("toolUseId").ok()?.unwrap_or_default().into(),
            name: call.text("name").ok()??.into(),
            arguments: arguments(call.get("input")),
            custom: false,
            signature: None,
            cache: None,
        }));
    }
    if let Some(content) = object.get("reasoningContent") {
        return thought(Object::of(content).ok()?).map(Part::Thought);
    }
    if let Some(content) = object.get("citationsContent") {
        return citation::content(content).ok().map(Part::Text);
    }
    if let Some(image) = object.get("image") {
        return Object::of(image).ok().and_then(|image| self::image(&image)).map(Part::Image);
    }
    None
}

fn arguments<'j>(input: Option<&'j Json<'j>>) -> Cow<'j, str> {
    match input {
        None => Cow::Borrowed("{}"),
        // Some models write the object as a text.
        Some(Json::String(text)) => Cow::Borrowed(text),
        Some(input) => Cow::Owned(input.to_text()),
    }
}

fn thought(content: Object<'_>) -> Option<Thought<'_>> {
    if let Some(data) = content.get("redactedContent").and_then(Json::as_str) {
        return Some(reasoning::redacted(data));
    }
    let text = content.object("reasoningText").ok()??;
    Some(reasoning::thought(text.text("text").ok()?.unwrap_or_default(), text.text("signature").ok()?))
}

fn image<'j>(image: &Object<'j>) -> Option<Image<'j>> {
    let media_type = media::image_media_type(image.text("format").ok()??)?;
    let data = image.object("source").ok()??.text("bytes").ok()??;
    let source = Source::Base64 { media_type: media_type.into(), data: data.into() };
    Some(Image { source, detail: None, cache: None })
}

pub fn encode_answer(answer: &Answer<'_>, _context: &Context, losses: &mut Losses) -> Vec<u8> {
    let blocks: Vec<Json<'_>> = answer.parts.iter().filter_map(|part| block(part, losses)).collect();
    if !answer.logprobs.is_empty() {
        losses.answer("logprobs");
    }
    let mut body = Fields::new();
    body.put("output", object! { "message" => object! { "role" => "assistant", "content" => blocks } });
    body.put("stopReason", stop::encode(&answer.finish));
    body.put("usage", written(answer.usage.unwrap_or_default().into()));
    // Clients demand the number, and only Bedrock knows it.
    body.put("metrics", object! { "latencyMs" => 0_u64 });
    if let Some(sequence) = stop::sequence(&answer.finish) {
        body.put("additionalModelResponseFields", object! { "stop_sequence" => sequence });
    }
    if let Some(tier @ ("priority" | "default" | "flex" | "reserved")) = answer.service_tier.as_deref() {
        body.put("serviceTier", object! { "type" => tier });
    }
    Json::from(body).to_vec()
}

fn written(usage: Written) -> Json<'static> {
    Json::Raw(Cow::Owned(serde_json::to_string(&usage).unwrap_or_default()))
}

fn block<'a>(part: &'a Part<'_>, losses: &mut Losses) -> Option<Json<'a>> {
    Some(match part {
        Part::Text(text) if text.citations.is_empty() => object! { "text" => &text.text },
        Part::Text(text) => {
            let citations: Vec<Json<'a>> = text.citations.iter().map(citation::encode).collect();
            object! {
                "citationsContent" => object! {
                    "content" => vec![object! { "text" => &text.text }],
                    "citations" => citations,
                }
            }
        }
        Part::Refusal(text) => object! { "text" => text },
        Part::ToolCall(call) => {
            if call.signature.is_some() {
                losses.answer("signatures");
            }
            let input = if call.custom {
                object! { "input" => &call.arguments }
            } else {
                content::input(&call.arguments).unwrap_or_else(|| object! { "arguments" => &call.arguments })
            };
            object! {
                "toolUse" => object! { "toolUseId" => &call.id, "name" => &call.name, "input" => input }
            }
        }
        Part::Thought(thought) => object! { "reasoningContent" => reasoning_content(thought)? },
        Part::Image(image) => match &image.source {
            Source::Base64 { media_type, data } => object! {
                "image" => object! {
                    "format" => media::image_format(media_type)?,
                    "source" => object! { "bytes" => data },
                }
            },
            _ => return lost(losses, "images"),
        },
        Part::File(_) => return lost(losses, "files"),
        Part::Audio(_) => return lost(losses, "audio"),
        Part::ToolResult(_) => return None,
    })
}

fn lost<'a>(losses: &mut Losses, what: &'static str) -> Option<Json<'a>> {
    losses.answer(what);
    None
}

/// `None` where a thought is redacted and nothing proves it.
fn reasoning_content<'a>(thought: &'a Thought<'_>) -> Option<Json<'a>> {
    let signature = thought.signature.as_ref().map(|signature| signature.write(Family::Anthropic));
    if thought.redacted {
        let data = reasoning::redacted_content(signature.as_deref()?).into_owned();
        return Some(object! { "redactedContent" => data });
    }
    let mut text = Fields::new();
    text.put("text", &thought.text);
    text.put_some("signature", signature);
    Some(object! { "reasoningText" => text })
}
