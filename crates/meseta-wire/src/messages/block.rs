//! Content blocks of a request, read.

use std::borrow::Cow;

use crate::conversation::{
    CacheMark, CacheTtl, File, Image, Part, Role, Source, Text, Thought, ToolCall, ToolResult,
};
use crate::data_url;
use crate::feature::{Feature, Losses};
use crate::json::Json;
use crate::shape::{Malformed, Object};
use crate::signature::{Family, Signature};

use super::{citation, signed};

pub(super) fn plain(text: &str) -> Part<'_> {
    Part::Text(Text { text: Cow::Borrowed(text), cache: None, citations: Vec::new() })
}

/// A string, or an array of text blocks: a system prompt.
pub(super) fn texts<'j>(json: &'j Json<'j>) -> Result<Vec<Part<'j>>, Malformed> {
    match json {
        Json::String(text) => Ok(vec![plain(text)]),
        Json::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                let read = || {
                    let object = Object::of(item)?;
                    match object.need_text("type")? {
                        "text" => read_text(&object),
                        _ => Err(Malformed::at("type", "must be text")),
                    }
                };
                read().map_err(|error: Malformed| error.index(index))
            })
            .collect(),
        other => {
            Err(Malformed::here(format!("must be a string or an array of text blocks, not {}", other.kind())))
        }
    }
}

/// Reads one block of a user's or an assistant's message, behind the parts that were read before it.
pub(super) fn read<'j>(
    json: &'j Json<'j>,
    role: Role,
    parts: &mut Vec<Part<'j>>,
    losses: &mut Losses,
) -> Result<(), Malformed> {
    let object = Object::of(json)?;
    match object.need_text("type")? {
        "tool_use" if role != Role::Assistant => {
            return Err(Malformed::at("type", "must not be tool_use here: calls are the assistant's"));
        }
        "tool_result" if role != Role::User => {
            return Err(Malformed::at("type", "must not be tool_result here: results are the user's"));
        }
        "tool_use" => {
            let signature = take_signature(parts);
            parts.push(read_call(&object, signature)?);
        }
        "tool_result" => parts.push(read_result(&object, losses)?),
        "thinking" => parts.push(Part::Thought(Thought {
            id: None,
            text: Cow::Borrowed(object.text("thinking")?.unwrap_or_default()),
            signature: object.text("signature")?.and_then(signed::read),
            redacted: false,
        })),
        "redacted_thinking" => parts.push(Part::Thought(Thought {
            signature: signed::read(object.need_text("data")?),
            redacted: true,
            ..Thought::default()
        })),
        kind => read_media(&object, kind, parts, losses)?,
    }
    Ok(())
}

/// The signature of Gemini's on the thought right before a call is the call's. A thought without words was made by the
/// encoder of answers, only to carry it.
fn take_signature<'j>(parts: &mut Vec<Part<'j>>) -> Option<Signature<'j>> {
    let Some(Part::Thought(Thought { text, signature: Some(signature), redacted: false, .. })) = parts.last()
    else {
        return None;
    };
    if signature.family != Family::Gemini {
        return None;
    }
    let signature = signature.clone();
    if text.is_empty() {
        parts.pop();
    }
    Some(signature)
}

fn read_call<'j>(object: &Object<'j>, signature: Option<Signature<'j>>) -> Result<Part<'j>, Malformed> {
    let arguments = object.inside("input", |input| {
        Object::of(input)?;
        Ok(Cow::Owned(input.to_text()))
    })?;
    Ok(Part::ToolCall(ToolCall {
        id: Cow::Borrowed(object.need_text("id")?),
        name: Cow::Borrowed(object.need_text("name")?),
        arguments: arguments.unwrap_or(Cow::Borrowed("{}")),
        custom: false,
        signature,
        cache: cache_mark(object)?,
    }))
}

fn read_result<'j>(object: &Object<'j>, losses: &mut Losses) -> Result<Part<'j>, Malformed> {
    let mut parts = Vec::new();
    object.inside("content", |content| match content {
        Json::String(text) => {
            parts.push(plain(text));
            Ok(())
        }
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let mut read = || {
                    let block = Object::of(item)?;
                    read_media(&block, block.need_text("type")?, &mut parts, losses)
                };
                read().map_err(|error: Malformed| error.index(index))?;
            }
            Ok(())
        }
        other => {
            Err(Malformed::here(format!("must be a string or an array of blocks, not {}", other.kind())))
        }
    })?;
    Ok(Part::ToolResult(ToolResult {
        id: Cow::Borrowed(object.need_text("tool_use_id")?),
        name: None,
        parts,
        error: object.flag("is_error")?.unwrap_or(false),
        custom: false,
        cache: cache_mark(object)?,
    }))
}

/// Blocks that may stand in a message and in a tool's result alike.
fn read_media<'j>(
    object: &Object<'j>,
    kind: &str,
    parts: &mut Vec<Part<'j>>,
    losses: &mut Losses,
) -> Result<(), Malformed> {
    match kind {
        "text" => parts.push(read_text(object)?),
        "image" => parts.push(read_image(object)?),
        "document" => read_document(object, parts)?,
        "search_result" => parts.push(read_search_result(object, losses)?),
        _ => losses.drop_feature(Feature::NativeParts),
    }
    Ok(())
}

fn read_text<'j>(object: &Object<'j>) -> Result<Part<'j>, Malformed> {
    let mut citations = Vec::new();
    object.each("citations", |item| {
        Object::of(item)?;
        citations.extend(citation::read(item));
        Ok(())
    })?;
    Ok(Part::Text(Text {
        text: Cow::Borrowed(object.need_text("text")?),
        cache: cache_mark(object)?,
        citations,
    }))
}

fn read_image<'j>(object: &Object<'j>) -> Result<Part<'j>, Malformed> {
    let source = object.inside("source", |json| {
        let source = Object::of(json)?;
        match source.need_text("type")? {
            "base64" => read_base64(&source),
            "url" => read_url(&source),
            "file" => Ok(Source::FileId(Cow::Borrowed(source.need_text("file_id")?))),
            _ => Err(Malformed::at("type", "must be one of base64, url, file")),
        }
    })?;
    let source = source.ok_or_else(|| Malformed::at("source", "is missing"))?;
    Ok(Part::Image(Image { source, detail: None, cache: cache_mark(object)? }))
}

/// A document is a file; the images of one that is made of blocks follow it.
fn read_document<'j>(object: &Object<'j>, parts: &mut Vec<Part<'j>>) -> Result<(), Malformed> {
    let mut images = Vec::new();
    let source = object.inside("source", |json| {
        let source = Object::of(json)?;
        match source.need_text("type")? {
            "base64" => read_base64(&source),
            "text" => Ok(Source::Text(Cow::Borrowed(source.need_text("data")?))),
            "url" => read_url(&source),
            "file" => Ok(Source::FileId(Cow::Borrowed(source.need_text("file_id")?))),
            "content" => read_blocks(&source, &mut images),
            _ => Err(Malformed::at("type", "must be one of base64, text, url, file, content")),
        }
    })?;
    let cited = object.object("citations")?.map(|citations| citations.flag("enabled"));
    let cited = cited.transpose().map_err(|error| error.under("citations"))?.flatten();
    parts.push(Part::File(File {
        source: source.ok_or_else(|| Malformed::at("source", "is missing"))?,
        name: object.text("title")?.map(Cow::Borrowed),
        context: object.text("context")?.map(Cow::Borrowed),
        citations: cited.unwrap_or(false),
        cache: cache_mark(object)?,
    }));
    parts.append(&mut images);
    Ok(())
}

fn read_blocks<'j>(source: &Object<'j>, images: &mut Vec<Part<'j>>) -> Result<Source<'j>, Malformed> {
    if let Some(Json::String(text)) = source.get("content") {
        return Ok(Source::Text(Cow::Borrowed(text)));
    }
    let mut texts = Vec::new();
    source.need_array("content")?;
    source.each("content", |item| {
        let block = Object::of(item)?;
        match block.need_text("type")? {
            "text" => texts.push(block.need_text("text")?),
            "image" => images.push(read_image(&block)?),
            _ => return Err(Malformed::at("type", "must be text or image")),
        }
        Ok(())
    })?;
    Ok(Source::Text(Cow::Owned(texts.join("\n\n"))))
}

/// The other dialects have no search results: it becomes a text that begins with what it is and where it is from.
fn read_search_result<'j>(object: &Object<'j>, losses: &mut Losses) -> Result<Part<'j>, Malformed> {
    let mut text = format!("{}\n{}\n", object.need_text("title")?, object.need_text("source")?);
    object.need_array("content")?;
    object.each("content", |item| {
        let block = Object::of(item)?;
        match block.need_text("type")? {
            "text" => text.extend(["\n", block.need_text("text")?]),
            _ => return Err(Malformed::at("type", "must be text")),
        }
        Ok(())
    })?;
    let cited = object.object("citations")?.map(|citations| citations.flag("enabled"));
    if cited.transpose().map_err(|error| error.under("citations"))?.flatten() == Some(true) {
        losses.drop_feature(Feature::FileCitations);
    }
    Ok(Part::Text(Text { text: Cow::Owned(text), cache: cache_mark(object)?, citations: Vec::new() }))
}

fn read_base64<'j>(source: &Object<'j>) -> Result<Source<'j>, Malformed> {
    Ok(Source::Base64 {
        media_type: Cow::Borrowed(source.need_text("media_type")?),
        data: Cow::Borrowed(source.need_text("data")?),
    })
}

fn read_url<'j>(source: &Object<'j>) -> Result<Source<'j>, Malformed> {
    let url = source.need_text("url")?;
    let source = data_url::read(url).unwrap_or(Ok(Source::Url(Cow::Borrowed(url))));
    source.map_err(|error| error.under("url"))
}

pub(super) fn cache_mark(object: &Object<'_>) -> Result<Option<CacheMark>, Malformed> {
    object.inside("cache_control", |json| {
        let control = Object::of(json)?;
        if control.need_text("type")? != "ephemeral" {
            return Err(Malformed::at("type", "must be ephemeral"));
        }
        let ttl = match control.text("ttl")? {
            None => None,
            Some("5m") => Some(CacheTtl::FiveMinutes),
            Some("1h") => Some(CacheTtl::OneHour),
            Some(_) => return Err(Malformed::at("ttl", "must be 5m or 1h")),
        };
        Ok(CacheMark { ttl })
    })
}
