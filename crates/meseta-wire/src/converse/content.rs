//! Blocks of content as they stand in requests: what is unknown is left out, what is known must be right.

use std::borrow::Cow;

use super::citation;
use super::media;
use super::reasoning;
use crate::conversation::{
    Audio, CacheMark, CacheTtl, File, Image, Part, Source, Text, Thought, ToolCall, ToolResult,
};
use crate::feature::{Feature, Losses};
use crate::json::Json;
use crate::shape::{Malformed, Object};

/// What a block of content is.
pub enum Block<'j> {
    Part(Part<'j>),
    /// What stands before it may be cached.
    Mark(CacheMark),
    /// Unknown, or of a tool that runs at Bedrock.
    Left,
}

pub fn block<'j>(json: &'j Json<'_>, losses: &mut Losses) -> Result<Block<'j>, Malformed> {
    let object = Object::of(json)?;
    let part = if let Some(text) = object.text("text")? {
        Part::Text(Text { text: text.into(), ..Text::default() })
    } else if let Some(part) = object.inside("image", image)? {
        Part::Image(part)
    } else if let Some(part) = object.inside("document", document)? {
        Part::File(part)
    } else if let Some(part) = object.inside("audio", audio)? {
        let Some(part) = part else { return Ok(left(losses)) };
        Part::Audio(part)
    } else if let Some(part) = object.inside("toolUse", tool_use)? {
        let Some(part) = part else { return Ok(left(losses)) };
        Part::ToolCall(part)
    } else if let Some(part) = object.inside("toolResult", |json| tool_result(json, losses))? {
        let Some(part) = part else { return Ok(left(losses)) };
        Part::ToolResult(part)
    } else if let Some(part) = object.inside("reasoningContent", thought)? {
        let Some(part) = part else { return Ok(left(losses)) };
        Part::Thought(part)
    } else if let Some(part) = object.inside("citationsContent", |json| citation::content(json))? {
        Part::Text(part)
    } else if let Some(part) = object.inside("searchResult", search_result)? {
        Part::File(part)
    } else if let Some(text) = guarded(&object)? {
        Part::Text(text)
    } else if let Some(mark) = object.inside("cachePoint", mark)? {
        return Ok(Block::Mark(mark));
    } else {
        return Ok(left(losses));
    };
    Ok(Block::Part(part))
}

fn left<'j>(losses: &mut Losses) -> Block<'j> {
    losses.drop_feature(Feature::NativeParts);
    Block::Left
}

/// A call's arguments as the object that Converse wants; `None` where they are none.
pub fn input(arguments: &str) -> Option<Json<'_>> {
    if arguments.trim().is_empty() {
        return Some(Json::Object(Vec::new()));
    }
    matches!(Json::parse(arguments), Ok(Json::Object(_))).then_some(Json::Raw(Cow::Borrowed(arguments)))
}

/// Puts a mark on the last part, if that part can bear one.
pub fn set_mark(parts: &mut [Part<'_>], mark: CacheMark, losses: &mut Losses) {
    match parts.last_mut().and_then(Part::cache_mark) {
        Some(cache) => *cache = Some(mark),
        None => losses.drop_feature(Feature::CacheMarks),
    }
}

pub fn mark(json: &Json<'_>) -> Result<CacheMark, Malformed> {
    let object = Object::of(json)?;
    object.need_text("type")?;
    let ttl = match object.text("ttl")? {
        None => None,
        Some("5m") => Some(CacheTtl::FiveMinutes),
        Some("1h") => Some(CacheTtl::OneHour),
        Some(_) => return Err(Malformed::at("ttl", "must be 5m or 1h")),
    };
    Ok(CacheMark { ttl })
}

/// Text that a guardrail is to look at is text to the model. Guarded images are left out.
fn guarded<'j>(object: &Object<'j>) -> Result<Option<Text<'j>>, Malformed> {
    let text = object.inside("guardContent", |json| {
        Object::of(json)?.inside("text", |json| Object::of(json)?.need_text("text"))
    })?;
    Ok(text.flatten().map(|text| Text { text: text.into(), ..Text::default() }))
}

/// Where the bytes are: inside, or in S3. `None` where it is neither.
fn bytes_or_s3<'j>(source: &Object<'j>, media_type: Cow<'j, str>) -> Result<Option<Source<'j>>, Malformed> {
    if let Some(data) = source.text("bytes")? {
        return Ok(Some(Source::Base64 { media_type, data: data.into() }));
    }
    let uri = source.inside("s3Location", |json| Object::of(json)?.need_text("uri"))?;
    Ok(uri.map(|uri| Source::Url(uri.into())))
}

fn image<'j>(json: &'j Json<'_>) -> Result<Image<'j>, Malformed> {
    let object = Object::of(json)?;
    let format = object.need_text("format")?;
    let media_type = media::image_media_type(format)
        .ok_or_else(|| Malformed::at("format", "must be png, jpeg, gif or webp"))?;
    let source = object.need_object("source")?;
    let source = bytes_or_s3(&source, media_type.into())
        .and_then(|source| source.ok_or_else(|| Malformed::here("must have bytes or s3Location")))
        .map_err(|error| error.under("source"))?;
    Ok(Image { source, detail: None, cache: None })
}

fn document<'j>(json: &'j Json<'_>) -> Result<File<'j>, Malformed> {
    let object = Object::of(json)?;
    let media_type = match object.text("format")? {
        None => None,
        Some(format) => Some(media::document_media_type(format).ok_or_else(|| {
            Malformed::at("format", "must be pdf, csv, doc, docx, xls, xlsx, html, txt or md")
        })?),
    };
    let source = object.need_object("source")?;
    let source = document_source(&source, media_type.unwrap_or("application/octet-stream"))
        .map_err(|error| error.under("source"))?;
    let citations = object.inside("citations", |json| Object::of(json)?.flag("enabled"))?;
    Ok(File {
        source,
        name: Some(object.need_text("name")?.into()),
        context: object.text("context")?.map(Cow::from),
        citations: citations.flatten().unwrap_or_default(),
        cache: None,
    })
}

fn document_source<'j>(source: &Object<'j>, media_type: &'static str) -> Result<Source<'j>, Malformed> {
    if let Some(source) = bytes_or_s3(source, media_type.into())? {
        return Ok(source);
    }
    if let Some(text) = source.text("text")? {
        return Ok(Source::Text(text.into()));
    }
    if source.get("content").is_some() {
        return Ok(Source::Text(texts(source)?));
    }
    Err(Malformed::here("must have bytes, s3Location, text or content"))
}

/// The texts of `content`, one after the other.
fn texts<'j>(object: &Object<'j>) -> Result<Cow<'j, str>, Malformed> {
    let mut texts: Vec<&'j str> = Vec::new();
    object.each("content", |json| {
        texts.extend(Object::of(json)?.text("text")?);
        Ok(())
    })?;
    Ok(match texts.as_slice() {
        [only] => Cow::Borrowed(*only),
        texts => Cow::Owned(texts.join("\n")),
    })
}

fn search_result<'j>(json: &'j Json<'_>) -> Result<File<'j>, Malformed> {
    let object = Object::of(json)?;
    let citations = object.inside("citations", |json| Object::of(json)?.flag("enabled"))?;
    Ok(File {
        source: Source::Text(texts(&object)?),
        name: Some(object.need_text("title")?.into()),
        context: Some(object.need_text("source")?.into()),
        citations: citations.flatten().unwrap_or_default(),
        cache: None,
    })
}

/// `None` where the audio is in S3, which no other dialect can be told.
fn audio<'j>(json: &'j Json<'_>) -> Result<Option<Audio<'j>>, Malformed> {
    let object = Object::of(json)?;
    let format = object.need_text("format")?;
    let source = object.need_object("source")?;
    let data = source.text("bytes").map_err(|error| error.under("source"))?;
    Ok(data.map(|data| Audio { format: format.into(), data: data.into() }))
}

/// `None` for a call of a tool that runs at Bedrock.
fn tool_use<'j>(json: &'j Json<'_>) -> Result<Option<ToolCall<'j>>, Malformed> {
    let object = Object::of(json)?;
    if object.text("type")?.is_some() {
        return Ok(None);
    }
    let arguments = match object.get("input") {
        None => Cow::Borrowed("{}"),
        Some(input) => Cow::Owned(input.to_text()),
    };
    Ok(Some(ToolCall {
        id: object.need_text("toolUseId")?.into(),
        name: object.need_text("name")?.into(),
        arguments,
        custom: false,
        signature: None,
        cache: None,
    }))
}

/// `None` for the result of a tool that runs at Bedrock.
fn tool_result<'j>(json: &'j Json<'_>, losses: &mut Losses) -> Result<Option<ToolResult<'j>>, Malformed> {
    let object = Object::of(json)?;
    if object.text("type")?.is_some() {
        return Ok(None);
    }
    let mut parts = Vec::new();
    object.need_array("content")?;
    object.each("content", |json| {
        let item = Object::of(json)?;
        if let Some(json) = item.get("json") {
            parts.push(Part::Text(Text { text: json.to_text().into(), ..Text::default() }));
            return Ok(());
        }
        match block(json, losses)? {
            Block::Part(part @ (Part::Text(_) | Part::Image(_) | Part::File(_))) => parts.push(part),
            Block::Mark(mark) => set_mark(&mut parts, mark, losses),
            Block::Part(_) => losses.drop_feature(Feature::NativeParts),
            Block::Left => {}
        }
        Ok(())
    })?;
    let error = match object.text("status")? {
        None | Some("success") => false,
        Some("error") => true,
        Some(_) => return Err(Malformed::at("status", "must be success or error")),
    };
    Ok(Some(ToolResult {
        id: object.need_text("toolUseId")?.into(),
        name: None,
        parts,
        error,
        custom: false,
        cache: None,
    }))
}

fn thought<'j>(json: &'j Json<'_>) -> Result<Option<Thought<'j>>, Malformed> {
    let object = Object::of(json)?;
    if let Some(data) = object.text("redactedContent")? {
        return Ok(Some(reasoning::redacted(data)));
    }
    object.inside("reasoningText", |json| {
        let text = Object::of(json)?;
        Ok(reasoning::thought(text.need_text("text")?, text.text("signature")?))
    })
}
