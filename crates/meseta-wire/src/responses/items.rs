//! Turns, written as the items of a request's input.

use std::collections::HashSet;

use crate::conversation::{
    Citation, File, Image, Message, Part, Request, Role, Source, Text, Thought, ToolCall, ToolResult,
};
use crate::data_url;
use crate::feature::{Feature, Losses, Refused};
use crate::fingerprint;
use crate::json::{Fields, Json};
use crate::object;
use crate::signature::Family;

/// A longer id of a call is refused.
const LONGEST_CALL_ID: usize = 64;

#[derive(Default)]
pub(super) struct Conversation<'r> {
    pub instructions: Option<String>,
    pub items: Vec<Json<'r>>,
}

pub(super) fn write<'r>(
    request: &'r Request<'_>,
    developer_role: bool,
    losses: &mut Losses,
) -> Result<Conversation<'r>, Refused> {
    let mut leading = request.messages.iter().take_while(|message| message.role == Role::System).count();
    // An input without items is refused, so words of the system that stand alone are an item.
    if leading == request.messages.len() {
        leading = 0;
    }
    let (system, turns) = request.messages.split_at(leading);
    let mut conversation = Conversation { instructions: instructions(system, losses)?, items: Vec::new() };
    for message in turns {
        if message.name.is_some() {
            losses.meet(Feature::MessageName)?;
        }
        match message.role {
            Role::Assistant => assistant(message, &mut conversation.items, losses)?,
            Role::Tool => {
                for part in &message.parts {
                    if let Part::ToolResult(result) = part {
                        conversation.items.push(output(result, losses)?);
                    } else {
                        losses.drop_feature(Feature::NativeParts);
                    }
                }
            }
            Role::User | Role::System | Role::Developer => {
                let role = match message.role {
                    Role::User => "user",
                    Role::Developer if developer_role => "developer",
                    _ => "system",
                };
                let content = content(&message.parts, losses)?;
                if !content.is_empty() {
                    conversation
                        .items
                        .push(object! { "type" => "message", "role" => role, "content" => content });
                }
            }
        }
    }
    conversation.items = answer_calls(conversation.items, losses);
    Ok(conversation)
}

/// A call without an output is refused: one that the client left out is told to be missing, before the words that follow.
fn answer_calls<'r>(items: Vec<Json<'r>>, losses: &mut Losses) -> Vec<Json<'r>> {
    let id = |item: &Json<'_>| item.get("call_id").and_then(Json::as_str).map(str::to_owned);
    let kind = |item: &Json<'r>| item.get("type").and_then(Json::as_str).unwrap_or_default().to_owned();
    let answered: HashSet<String> =
        items.iter().filter(|item| kind(item).ends_with("_output")).filter_map(id).collect();
    let mut all = Vec::with_capacity(items.len());
    let mut open: Vec<Json<'r>> = Vec::new();
    for item in items {
        let kind = kind(&item);
        if kind == "message" {
            all.append(&mut open);
        }
        if let Some(id) = id(&item).filter(|id| kind.ends_with("_call") && !answered.contains(id)) {
            losses.unknown("tool_result");
            open.push(object! {
                "type" => format!("{kind}_output"),
                "call_id" => id,
                "output" => "There is no result of this call.",
            });
        }
        all.push(item);
    }
    all.append(&mut open);
    all
}

fn instructions(system: &[Message<'_>], losses: &mut Losses) -> Result<Option<String>, Refused> {
    let mut joined = String::new();
    for part in system.iter().flat_map(|message| &message.parts) {
        let Part::Text(text) = part else {
            losses.drop_feature(Feature::NativeParts);
            continue;
        };
        if text.cache.is_some() {
            losses.meet(Feature::CacheMarks)?;
        }
        if !joined.is_empty() && !text.text.is_empty() {
            joined.push_str("\n\n");
        }
        joined.push_str(&text.text);
    }
    Ok((!joined.is_empty()).then_some(joined))
}

fn assistant<'r>(
    message: &'r Message<'_>,
    items: &mut Vec<Json<'r>>,
    losses: &mut Losses,
) -> Result<(), Refused> {
    // A thought without the words or the call that it led to is refused, so it waits for them.
    let mut thoughts: Vec<Json<'r>> = Vec::new();
    let mut content: Vec<Json<'r>> = Vec::new();
    for part in &message.parts {
        match part {
            Part::Text(text) => {
                if text.cache.is_some() {
                    losses.meet(Feature::CacheMarks)?;
                }
                if text.text.is_empty() {
                    continue;
                }
                items.append(&mut thoughts);
                content.push(object! {
                    "type" => "output_text",
                    "text" => &text.text,
                    "annotations" => annotations(text, losses)?,
                });
            }
            Part::Refusal(refusal) => {
                losses.meet(Feature::Refusals)?;
                items.append(&mut thoughts);
                content.push(object! { "type" => "refusal", "refusal" => refusal });
            }
            Part::ToolCall(call) => {
                flush(&mut content, items);
                items.append(&mut thoughts);
                items.push(write_call(call, losses)?);
            }
            Part::Thought(thought) => {
                flush(&mut content, items);
                thoughts.extend(write_thought(thought, losses)?);
            }
            Part::Image(_) | Part::File(_) | Part::Audio(_) | Part::ToolResult(_) => {
                losses.drop_feature(Feature::NativeParts);
            }
        }
    }
    flush(&mut content, items);
    if !thoughts.is_empty() {
        losses.drop_feature(Feature::Thoughts);
    }
    Ok(())
}

fn flush<'r>(content: &mut Vec<Json<'r>>, items: &mut Vec<Json<'r>>) {
    if !content.is_empty() {
        let content = std::mem::take(content);
        items.push(object! { "type" => "message", "role" => "assistant", "content" => content });
    }
}

fn annotations<'r>(text: &'r Text<'_>, losses: &mut Losses) -> Result<Vec<Json<'r>>, Refused> {
    if !text.citations.is_empty() {
        losses.meet(Feature::Citations)?;
    }
    let length = || u64::try_from(text.text.chars().count()).unwrap_or(u64::MAX);
    Ok(text.citations.iter().filter_map(|citation| annotation(citation, length)).collect())
}

/// The API knows URLs; a source without one has no place.
pub(super) fn annotation<'r>(citation: &'r Citation<'_>, length: impl FnOnce() -> u64) -> Option<Json<'r>> {
    let url = citation.url.as_ref()?;
    Some(object! {
        "type" => "url_citation",
        "url" => url,
        "title" => citation.title.as_deref().unwrap_or_default(),
        "start_index" => citation.start.unwrap_or(0),
        "end_index" => citation.end.unwrap_or_else(length),
    })
}

fn write_call<'r>(call: &'r ToolCall<'_>, losses: &mut Losses) -> Result<Json<'r>, Refused> {
    if call.cache.is_some() {
        losses.meet(Feature::CacheMarks)?;
    }
    if call.signature.is_some() {
        losses.meet(Feature::ForeignThoughts)?;
    }
    let (kind, input) =
        if call.custom { ("custom_tool_call", "input") } else { ("function_call", "arguments") };
    let mut item = Fields::new();
    item.put("type", kind)
        .put("call_id", fingerprint::call_id(&call.id, LONGEST_CALL_ID))
        .put("name", &call.name);
    item.put(input, &call.arguments);
    Ok(item.into())
}

fn write_thought<'r>(thought: &'r Thought<'_>, losses: &mut Losses) -> Result<Option<Json<'r>>, Refused> {
    let content = thought.signature.as_ref().and_then(|signature| signature.valid_for(Family::OpenAi));
    let Some(content) = content.filter(|content| !content.is_empty()) else {
        losses.meet(Feature::ForeignThoughts)?;
        return Ok(None);
    };
    losses.meet(Feature::Thoughts)?;
    let mut item = Fields::new();
    item.put("type", "reasoning").put_some("id", thought.id.as_ref());
    let summary = if thought.text.is_empty() {
        Vec::new()
    } else {
        vec![object! { "type" => "summary_text", "text" => &thought.text }]
    };
    item.put("summary", summary).put("encrypted_content", content);
    Ok(Some(item.into()))
}

fn output<'r>(result: &'r ToolResult<'_>, losses: &mut Losses) -> Result<Json<'r>, Refused> {
    if result.cache.is_some() {
        losses.meet(Feature::CacheMarks)?;
    }
    for part in &result.parts {
        match part {
            Part::Image(_) => losses.meet(Feature::ToolResultImage)?,
            Part::File(_) => losses.meet(Feature::ToolResultFile)?,
            _ => {}
        }
    }
    let mut content: Vec<Json<'r>> = Vec::new();
    if result.error {
        losses.meet(Feature::ToolResultError)?;
        content.push(input_text("Error:"));
    }
    content.extend(self::content(&result.parts, losses)?);
    let output = match result.parts.as_slice() {
        [] if !result.error => "".into(),
        [Part::Text(text)] if !result.error => Json::from(&text.text),
        [Part::Text(text)] => format!("Error: {}", text.text).into(),
        _ => Json::Array(content),
    };
    let kind = if result.custom { "custom_tool_call_output" } else { "function_call_output" };
    Ok(
        object! { "type" => kind, "call_id" => fingerprint::call_id(&result.id, LONGEST_CALL_ID), "output" => output },
    )
}

fn input_text<'r>(text: impl Into<Json<'r>>) -> Json<'r> {
    object! { "type" => "input_text", "text" => text.into() }
}

/// Parts of what is said to the model.
fn content<'r>(parts: &'r [Part<'_>], losses: &mut Losses) -> Result<Vec<Json<'r>>, Refused> {
    let mut content = Vec::with_capacity(parts.len());
    for part in parts {
        content.extend(match part {
            Part::Text(text) => {
                if text.cache.is_some() {
                    losses.meet(Feature::CacheMarks)?;
                }
                (!text.text.is_empty()).then(|| input_text(&text.text))
            }
            Part::Image(image) => write_image(image, losses)?,
            Part::File(file) => Some(write_file(file, losses)?),
            Part::Audio(_) => {
                losses.meet(Feature::AudioInput)?;
                None
            }
            Part::Refusal(text) => Some(input_text(text)),
            Part::ToolCall(_) | Part::ToolResult(_) | Part::Thought(_) => {
                losses.drop_feature(Feature::NativeParts);
                None
            }
        });
    }
    Ok(content)
}

fn write_image<'r>(image: &'r Image<'_>, losses: &mut Losses) -> Result<Option<Json<'r>>, Refused> {
    if image.cache.is_some() {
        losses.meet(Feature::CacheMarks)?;
    }
    let mut part = Fields::new();
    part.put("type", "input_image").put("detail", image.detail.as_deref().unwrap_or("auto"));
    match &image.source {
        Source::Base64 { media_type, data } => {
            losses.meet(Feature::ImageBase64)?;
            part.put("image_url", data_url::write(media_type, data))
        }
        Source::Url(url) => {
            losses.meet(Feature::ImageUrl)?;
            part.put("image_url", url)
        }
        Source::FileId(id) => {
            losses.meet(Feature::ImageFileId)?;
            part.put("file_id", id)
        }
        Source::Text(_) => {
            losses.drop_feature(Feature::NativeParts);
            return Ok(None);
        }
    };
    Ok(Some(part.into()))
}

fn write_file<'r>(file: &'r File<'_>, losses: &mut Losses) -> Result<Json<'r>, Refused> {
    for (feature, met) in [
        (Feature::CacheMarks, file.cache.is_some()),
        (Feature::FileContext, file.context.is_some()),
        (Feature::FileCitations, file.citations),
    ] {
        if met {
            losses.meet(feature)?;
        }
    }
    let mut part = Fields::new();
    part.put("type", "input_file");
    match &file.source {
        Source::Base64 { media_type, data } => {
            losses.meet(Feature::FileBase64)?;
            // Bytes are refused without a name.
            let name = file.name.as_deref().unwrap_or(match media_type.as_ref() {
                "application/pdf" => "document.pdf",
                "text/plain" => "document.txt",
                _ => "document",
            });
            part.put("filename", name).put("file_data", data_url::write(media_type, data));
        }
        Source::Url(url) => {
            losses.meet(Feature::FileUrl)?;
            part.put("file_url", url);
        }
        Source::FileId(id) => {
            losses.meet(Feature::FileId)?;
            part.put("file_id", id);
        }
        Source::Text(text) => {
            losses.meet(Feature::FileText)?;
            return Ok(match &file.name {
                Some(name) => input_text(format!("{name}\n\n{text}")),
                None => input_text(text),
            });
        }
    }
    Ok(part.into())
}
