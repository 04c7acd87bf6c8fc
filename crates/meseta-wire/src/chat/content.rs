//! Reading the parts of a message: text, images, files, audio, refusals.

use std::borrow::Cow;

use crate::conversation::{Audio, CacheMark, CacheTtl, File, Image, Part, Role, Source, Text};
use crate::data_url;
use crate::feature::{Feature, Losses};
use crate::json::Json;
use crate::shape::{Malformed, Object};

/// The value of `content`: a string, or an array of parts.
pub(super) fn decode<'j>(
    content: &'j Json<'j>,
    role: Role,
    losses: &mut Losses,
) -> Result<Vec<Part<'j>>, Malformed> {
    match content {
        Json::String(text) => Ok(vec![plain(text)]),
        Json::Array(items) => {
            let mut parts = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                parts.extend(part(item, role, losses).map_err(|error| error.index(index))?);
            }
            Ok(parts)
        }
        other => Err(Malformed::here(format!("must be a string or an array of parts, not {}", other.kind()))),
    }
}

pub(super) fn plain(text: &str) -> Part<'_> {
    Part::Text(Text { text: Cow::Borrowed(text), ..Text::default() })
}

fn part<'j>(json: &'j Json<'j>, role: Role, losses: &mut Losses) -> Result<Option<Part<'j>>, Malformed> {
    let object = Object::of(json)?;
    let kind = object.need_text("type")?;
    let media = matches!(role, Role::User | Role::Tool);
    Ok(Some(match kind {
        "text" => Part::Text(Text {
            text: object.need_text("text")?.into(),
            cache: cache_mark(&object)?,
            citations: Vec::new(),
        }),
        "refusal" if role == Role::Assistant => Part::Refusal(object.need_text("refusal")?.into()),
        "image_url" if media => image(&object)?,
        "file" if media => file(&object)?,
        "input_audio" if role == Role::User => {
            let audio = object.need_object("input_audio")?;
            let read = || -> Result<Audio<'j>, Malformed> {
                Ok(Audio { format: audio.need_text("format")?.into(), data: audio.need_text("data")?.into() })
            };
            Part::Audio(read().map_err(|error| error.under("input_audio"))?)
        }
        "image_url" | "file" | "input_audio" | "refusal" => {
            return Err(Malformed::at("type", "is a part that messages of this role cannot hold"));
        }
        _ => {
            losses.drop_feature(Feature::NativeParts);
            return Ok(None);
        }
    }))
}

fn image<'j>(object: &Object<'j>) -> Result<Part<'j>, Malformed> {
    let image = object.need_object("image_url")?;
    let read = || -> Result<(Source<'j>, Option<&'j str>), Malformed> {
        let url = image.need_text("url")?;
        Ok((source(url).map_err(|error| error.under("url"))?, image.text("detail")?))
    };
    let (source, detail) = read().map_err(|error| error.under("image_url"))?;
    Ok(Part::Image(Image { source, detail: detail.map(Cow::Borrowed), cache: cache_mark(object)? }))
}

fn file<'j>(object: &Object<'j>) -> Result<Part<'j>, Malformed> {
    let file = object.need_object("file")?;
    let read = || -> Result<File<'j>, Malformed> {
        let name = file.text("filename")?;
        let source = match (file.text("file_data")?, file.text("file_id")?) {
            // Bare base64 is not what the API says, but some clients send it.
            (Some(data), _) if !data.contains(':') && !data.is_empty() => {
                Source::Base64 { media_type: data_url::type_of_name(name).into(), data: data.into() }
            }
            (Some(data), _) => source(data).map_err(|error| error.under("file_data"))?,
            (None, Some(id)) => Source::FileId(id.into()),
            (None, None) => return Err(Malformed::here("must have `file_data` or `file_id`")),
        };
        Ok(File {
            source,
            name: name.map(Cow::Borrowed),
            context: None,
            citations: false,
            cache: cache_mark(object)?,
        })
    };
    read().map(Part::File).map_err(|error| error.under("file"))
}

/// A URL, where `data:` is taken apart. Other schemes would reach into somebody's machine.
fn source(url: &str) -> Result<Source<'_>, Malformed> {
    if let Some(source) = data_url::read(url) {
        return source;
    }
    let (scheme, rest) = url.split_once(':').unwrap_or_default();
    let remote = ["https", "http", "gs", "s3"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if remote && rest.len() > 2 && rest.starts_with("//") {
        return Ok(Source::Url(Cow::Borrowed(url)));
    }
    Err(Malformed::here("must be an https URL or a data URL with base64"))
}

/// `cache_control` as Anthropic has it, or OpenAI's own `prompt_cache_breakpoint`.
pub(super) fn cache_mark(object: &Object<'_>) -> Result<Option<CacheMark>, Malformed> {
    if let Some(control) = object.object("cache_control")? {
        let read = || -> Result<CacheMark, Malformed> {
            if control.need_text("type")? != "ephemeral" {
                return Err(Malformed::at("type", "must be `ephemeral`"));
            }
            let ttl = match control.text("ttl")? {
                None => None,
                Some("5m") => Some(CacheTtl::FiveMinutes),
                Some("1h") => Some(CacheTtl::OneHour),
                Some(_) => return Err(Malformed::at("ttl", "must be `5m` or `1h`")),
            };
            Ok(CacheMark { ttl })
        };
        return read().map(Some).map_err(|error| error.under("cache_control"));
    }
    // Its lifetimes (30m, 12h) are longer than anybody else's; the shortest is the default everywhere.
    Ok(object.object("prompt_cache_breakpoint")?.map(|_| CacheMark { ttl: None }))
}
