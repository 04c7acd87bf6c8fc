//! The form in which a message is kept: one JSON text, of a version, that loses nothing of the conversation's model but
//! media that are too large to keep.

use std::borrow::Cow;

use super::Kept;
use crate::conversation::{
    Audio, CacheMark, CacheTtl, Citation, File, Image, Message, Part, Role, Source, Text, Thought, ToolCall,
    ToolResult,
};
use crate::json::{Fields, Json};
use crate::shape::{Malformed, Object};
use crate::signature::{Family, Signature};

/// A change of the form raises it and says how older messages are read.
const VERSION: u64 = 1;
/// Results of tools hold parts, and those parts hold none.
const DEEPEST: usize = 2;

/// How many bytes of one image, file or recording may be kept inside its message, in base64. In place of a larger one
/// stands a text that says what was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inline(pub usize);

pub fn write(kept: &Kept<'_>, inline: Inline) -> String {
    let message = &kept.message;
    let mut fields = Fields::new();
    fields.put("v", VERSION).put("role", role_name(message.role));
    if kept.instructions {
        fields.put("instructions", true);
    }
    fields.put_some("name", message.name.as_ref());
    fields.put("parts", message.parts.iter().map(|part| write_part(part, inline)).collect::<Vec<_>>());
    Json::from(fields).to_text()
}

/// Reads a message that [`write`] wrote, or says what is wrong with it.
pub fn read(text: &str) -> Result<Kept<'static>, Malformed> {
    let json = Json::parse(text).map_err(|error| Malformed::here(format!("is not JSON: {error}")))?;
    let object = Object::of(&json)?;
    match object.count("v")? {
        Some(VERSION) => {}
        Some(other) => {
            return Err(Malformed::at("v", format!("is {other}, and this Meseta reads {VERSION}")));
        }
        None => return Err(Malformed::at("v", "is missing")),
    }
    let role = object.need_text("role")?;
    let role = ROLES.iter().find(|(_, name)| *name == role).map(|(role, _)| *role);
    let role = role.ok_or_else(|| Malformed::at("role", "is none that this Meseta knows"))?;
    Ok(Kept {
        instructions: object.flag("instructions")?.unwrap_or(false),
        message: Message { role, name: text_of(&object, "name")?, parts: read_parts(&object, DEEPEST)? },
    })
}

/// What stands where media were. It says their size, so that a client's own copy is known as the same.
pub(super) fn left_out(part: &Part<'_>) -> Option<String> {
    let (what, bytes) = match part {
        Part::Image(Image { source: Source::Base64 { media_type, data }, .. })
        | Part::File(File { source: Source::Base64 { media_type, data }, .. }) => {
            (Cow::Borrowed(&**media_type), data.len())
        }
        Part::Audio(audio) => (Cow::Owned(format!("audio/{}", audio.format)), audio.data.len()),
        _ => return None,
    };
    Some(format!("[{what} of {bytes} bytes in base64, which was too large to be kept]"))
}

const ROLES: [(Role, &str); 5] = [
    (Role::System, "system"),
    (Role::Developer, "developer"),
    (Role::User, "user"),
    (Role::Assistant, "assistant"),
    (Role::Tool, "tool"),
];

fn role_name(role: Role) -> &'static str {
    ROLES.iter().find(|(known, _)| *known == role).map_or("user", |(_, name)| name)
}

const FAMILIES: [(Family, &str); 3] =
    [(Family::Anthropic, "anthropic"), (Family::OpenAi, "openai"), (Family::Gemini, "gemini")];

fn write_part<'a>(part: &'a Part<'_>, inline: Inline) -> Json<'a> {
    let mut fields = Fields::new();
    let size = match part {
        Part::Image(Image { source: Source::Base64 { data, .. }, .. })
        | Part::File(File { source: Source::Base64 { data, .. }, .. }) => data.len(),
        Part::Audio(audio) => audio.data.len(),
        _ => 0,
    };
    if let Some(words) = left_out(part).filter(|_| size > inline.0) {
        fields.put("type", "text").put("text", words);
        return fields.into();
    }
    match part {
        Part::Text(text) => {
            fields.put("type", "text").put("text", &text.text);
            if !text.citations.is_empty() {
                fields.put("citations", text.citations.iter().map(write_citation).collect::<Vec<_>>());
            }
            fields.put_some("cache", cache_name(text.cache));
        }
        Part::Image(image) => {
            fields.put("type", "image").put("source", write_source(&image.source));
            fields.put_some("detail", image.detail.as_ref());
            fields.put_some("cache", cache_name(image.cache));
        }
        Part::File(file) => {
            fields.put("type", "file").put("source", write_source(&file.source));
            fields.put_some("name", file.name.as_ref()).put_some("context", file.context.as_ref());
            put_true(&mut fields, "citations", file.citations);
            fields.put_some("cache", cache_name(file.cache));
        }
        Part::Audio(audio) => {
            fields.put("type", "audio").put("format", &audio.format).put("data", &audio.data);
        }
        Part::ToolCall(call) => {
            fields.put("type", "call").put("id", &call.id).put("name", &call.name);
            fields.put("arguments", &call.arguments);
            put_true(&mut fields, "custom", call.custom);
            fields.put_some("signature", call.signature.as_ref().map(write_signature));
            fields.put_some("cache", cache_name(call.cache));
        }
        Part::ToolResult(result) => {
            fields.put("type", "result").put("id", &result.id).put_some("name", result.name.as_ref());
            let parts = result.parts.iter().map(|part| write_part(part, inline));
            fields.put("parts", parts.collect::<Vec<_>>());
            put_true(&mut fields, "error", result.error);
            put_true(&mut fields, "custom", result.custom);
            fields.put_some("cache", cache_name(result.cache));
        }
        Part::Thought(thought) => {
            fields.put("type", "thought").put_some("id", thought.id.as_ref()).put("text", &thought.text);
            fields.put_some("signature", thought.signature.as_ref().map(write_signature));
            put_true(&mut fields, "redacted", thought.redacted);
        }
        Part::Refusal(text) => {
            fields.put("type", "refusal").put("text", text);
        }
    }
    fields.into()
}

fn put_true<'a>(fields: &mut Fields<'a>, key: &'a str, value: bool) {
    fields.put_some(key, value.then_some(true));
}

fn write_citation<'a>(citation: &'a Citation<'_>) -> Json<'a> {
    let mut fields = Fields::new();
    fields.put_some("url", citation.url.as_ref()).put_some("title", citation.title.as_ref());
    fields.put_some("cited", citation.cited.as_ref());
    fields.put_some("start", citation.start).put_some("end", citation.end);
    fields.into()
}

fn write_source<'a>(source: &'a Source<'_>) -> Json<'a> {
    let mut fields = Fields::new();
    match source {
        Source::Url(url) => fields.put("url", url),
        Source::Base64 { media_type, data } => fields.put("media_type", media_type).put("data", data),
        Source::FileId(id) => fields.put("file_id", id),
        Source::Text(text) => fields.put("text", text),
    };
    fields.into()
}

fn write_signature<'a>(signature: &'a Signature<'_>) -> Json<'a> {
    let known = FAMILIES.iter().find(|(family, _)| *family == signature.family);
    let family = known.map_or("", |(_, name)| *name);
    let mut fields = Fields::new();
    fields.put("family", family).put("value", &signature.value);
    fields.into()
}

fn cache_name(mark: Option<CacheMark>) -> Option<&'static str> {
    mark.map(|mark| match mark.ttl {
        None => "default",
        Some(CacheTtl::FiveMinutes) => "5m",
        Some(CacheTtl::OneHour) => "1h",
    })
}

fn read_parts(object: &Object<'_>, depth: usize) -> Result<Vec<Part<'static>>, Malformed> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Malformed::at("parts", "stand too deep inside one another"));
    };
    let mut parts = Vec::new();
    object.each("parts", |json| {
        parts.push(read_part(&Object::of(json)?, depth)?);
        Ok(())
    })?;
    Ok(parts)
}

fn read_part(part: &Object<'_>, depth: usize) -> Result<Part<'static>, Malformed> {
    let need = |key: &str| part.need_text(key).map(own);
    let flag = |key: &str| Ok::<_, Malformed>(part.flag(key)?.unwrap_or(false));
    Ok(match part.need_text("type")? {
        "text" => {
            let mut citations = Vec::new();
            part.each("citations", |json| {
                citations.push(read_citation(&Object::of(json)?)?);
                Ok(())
            })?;
            Part::Text(Text { text: need("text")?, cache: read_cache(part)?, citations })
        }
        "image" => Part::Image(Image {
            source: read_source(part)?,
            detail: text_of(part, "detail")?,
            cache: read_cache(part)?,
        }),
        "file" => Part::File(File {
            source: read_source(part)?,
            name: text_of(part, "name")?,
            context: text_of(part, "context")?,
            citations: flag("citations")?,
            cache: read_cache(part)?,
        }),
        "audio" => Part::Audio(Audio { format: need("format")?, data: need("data")? }),
        "call" => Part::ToolCall(ToolCall {
            id: need("id")?,
            name: need("name")?,
            arguments: need("arguments")?,
            custom: flag("custom")?,
            signature: read_signature(part)?,
            cache: read_cache(part)?,
        }),
        "result" => Part::ToolResult(ToolResult {
            id: need("id")?,
            name: text_of(part, "name")?,
            parts: read_parts(part, depth)?,
            error: flag("error")?,
            custom: flag("custom")?,
            cache: read_cache(part)?,
        }),
        "thought" => Part::Thought(Thought {
            id: text_of(part, "id")?,
            text: need("text")?,
            signature: read_signature(part)?,
            redacted: flag("redacted")?,
        }),
        "refusal" => Part::Refusal(need("text")?),
        _ => return Err(Malformed::at("type", "is none that this Meseta knows")),
    })
}

fn read_citation(citation: &Object<'_>) -> Result<Citation<'static>, Malformed> {
    Ok(Citation {
        url: text_of(citation, "url")?,
        title: text_of(citation, "title")?,
        cited: text_of(citation, "cited")?,
        start: citation.count("start")?,
        end: citation.count("end")?,
    })
}

fn read_source(part: &Object<'_>) -> Result<Source<'static>, Malformed> {
    let source = part.need_object("source")?;
    let text = |key: &str| text_of(&source, key).map_err(|error| error.under("source"));
    if let Some(url) = text("url")? {
        return Ok(Source::Url(url));
    }
    if let Some(data) = text("data")? {
        let media_type = text("media_type")?;
        let media_type = media_type.ok_or_else(|| Malformed::at("source.media_type", "is missing"))?;
        return Ok(Source::Base64 { media_type, data });
    }
    if let Some(id) = text("file_id")? {
        return Ok(Source::FileId(id));
    }
    let words = text("text")?;
    words.map(Source::Text).ok_or_else(|| Malformed::at("source", "says nothing"))
}

fn read_signature(part: &Object<'_>) -> Result<Option<Signature<'static>>, Malformed> {
    let Some(signature) = part.object("signature")? else { return Ok(None) };
    let name = signature.need_text("family")?;
    let family = FAMILIES.iter().find(|(_, known)| *known == name).map(|(family, _)| *family);
    let family = family.ok_or_else(|| Malformed::at("family", "is none that this Meseta knows"))?;
    Ok(Some(Signature { family, value: own(signature.need_text("value")?) }))
}

fn read_cache(part: &Object<'_>) -> Result<Option<CacheMark>, Malformed> {
    let ttl = match part.text("cache")? {
        None => return Ok(None),
        Some("5m") => Some(CacheTtl::FiveMinutes),
        Some("1h") => Some(CacheTtl::OneHour),
        Some(_) => None,
    };
    Ok(Some(CacheMark { ttl }))
}

fn text_of(object: &Object<'_>, key: &str) -> Result<Option<Cow<'static, str>>, Malformed> {
    Ok(object.text(key)?.map(own))
}

fn own(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}
