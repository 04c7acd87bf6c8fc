//! Content blocks of a request, written.

use super::cache::Marks;
use crate::base64_text;
use crate::conversation::{File, Image, Part, Source, ToolCall};
use crate::dialect::Dialect;
use crate::feature::{Feature, Losses, Refused};
use crate::json::{Fields, Json};
use crate::object;

pub(super) fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

pub(super) fn text_block<'a>(text: impl Into<Json<'a>>) -> Fields<'a> {
    let mut fields = Fields::new();
    fields.put("type", "text").put("text", text);
    fields
}

/// The arguments of a call as the object that the API demands, and whether they were one.
pub(super) fn input<'r>(call: &'r ToolCall<'_>) -> (Json<'r>, bool) {
    let arguments: &str = &call.arguments;
    if call.custom {
        return (object! { "input" => arguments }, true);
    }
    if is_blank(arguments) {
        return (Json::Object(Vec::new()), true);
    }
    match Json::parse(arguments) {
        Ok(Json::Object(_)) => (Json::Raw(arguments.into()), true),
        _ => (object! { "arguments" => arguments }, false),
    }
}

/// A block of a user's turn or of a tool's result; `None` for a part that is no such block.
pub(super) fn write_users<'r>(
    part: &'r Part<'r>,
    marks: &mut Marks,
    losses: &mut Losses,
) -> Result<Option<Json<'r>>, Refused> {
    let (mut fields, cache) = match part {
        Part::Text(text) => (text_block(&text.text), text.cache),
        Part::Refusal(text) => (text_block(text), None),
        Part::Image(image) => (write_image(image, losses)?, image.cache),
        Part::File(file) => (write_file(file, losses)?, file.cache),
        Part::Audio(_) | Part::ToolCall(_) | Part::ToolResult(_) | Part::Thought(_) => return Ok(None),
    };
    fields.put_some("cache_control", marks.take(cache));
    Ok(Some(fields.into()))
}

fn write_image<'r>(image: &'r Image<'_>, losses: &mut Losses) -> Result<Fields<'r>, Refused> {
    if image.detail.as_deref().is_some_and(|detail| detail != "auto") {
        losses.meet(Feature::ImageDetail)?;
    }
    let source = match &image.source {
        Source::Base64 { media_type, data } => base64_source(media_type, data),
        Source::Url(url) => object! { "type" => "url", "url" => url },
        Source::FileId(id) => {
            losses.meet(Feature::ImageFileId)?;
            object! { "type" => "file", "file_id" => id }
        }
        Source::Text(text) => return Ok(text_block(text)),
    };
    let mut fields = Fields::new();
    fields.put("type", "image").put("source", source);
    Ok(fields)
}

fn base64_source<'r>(media_type: &'r str, data: &'r str) -> Json<'r> {
    object! { "type" => "base64", "media_type" => media_type, "data" => data }
}

fn text_source<'a>(text: impl Into<Json<'a>>) -> Json<'a> {
    let data: Json<'a> = text.into();
    object! { "type" => "text", "media_type" => "text/plain", "data" => data }
}

fn write_file<'r>(file: &'r File<'_>, losses: &mut Losses) -> Result<Fields<'r>, Refused> {
    let source = match &file.source {
        Source::Base64 { media_type, data } => {
            let media_type = media_type.as_ref();
            if media_type.starts_with("image/") {
                let mut fields = Fields::new();
                fields.put("type", "image").put("source", base64_source(media_type, data));
                return Ok(fields);
            }
            // `JVBERi` is how `%PDF-` begins in base64.
            if media_type == "application/pdf" || data.starts_with("JVBERi") {
                base64_source("application/pdf", data)
            } else {
                // Any other file is sent if it is text; the API reads nothing else.
                let text = base64_text::decode(data).and_then(|bytes| String::from_utf8(bytes).ok());
                text_source(text.ok_or_else(|| refuse(Feature::FileBase64, losses))?)
            }
        }
        Source::Text(text) => text_source(text),
        Source::Url(url) => object! { "type" => "url", "url" => url },
        Source::FileId(id) => {
            losses.meet(Feature::FileId)?;
            object! { "type" => "file", "file_id" => id }
        }
    };
    let mut fields = Fields::new();
    fields.put("type", "document").put("source", source);
    fields.put_some("title", file.name.as_ref().filter(|name| !is_blank(name)));
    fields.put_some("context", file.context.as_ref().filter(|context| !is_blank(context)));
    if file.citations {
        fields.put("citations", object! { "enabled" => true });
    }
    Ok(fields)
}

fn refuse(feature: Feature, losses: &Losses) -> Refused {
    Refused { feature, target: Dialect::AnthropicMessages, path: feature.path(losses.client()) }
}
