//! Parts of a message's content, and of a tool's output, as they are read.

use std::borrow::Cow;

use crate::conversation::{Audio, CacheMark, CacheTtl, Citation, File, Image, Part, Source, Text};
use crate::data_url;
use crate::feature::{Feature, Losses};
use crate::json::Json;
use crate::shape::{Malformed, Object};

/// A string, or a list of parts.
pub(super) fn parts<'j>(
    object: Object<'j>,
    key: &str,
    losses: &mut Losses,
) -> Result<Vec<Part<'j>>, Malformed> {
    match object.get(key) {
        None => Err(Malformed::at(key, "is missing")),
        Some(Json::String(text)) => Ok(vec![plain(text)]),
        Some(Json::Array(_)) => {
            let mut parts = Vec::new();
            object.each(key, |item| {
                parts.extend(part(Object::of(item)?, losses)?);
                Ok(())
            })?;
            Ok(parts)
        }
        Some(other) => {
            Err(Malformed::at(key, format!("must be a string or an array of parts, not {}", other.kind())))
        }
    }
}

fn plain(text: &str) -> Part<'_> {
    Part::Text(Text { text: Cow::Borrowed(text), ..Text::default() })
}

fn part<'j>(part: Object<'j>, losses: &mut Losses) -> Result<Option<Part<'j>>, Malformed> {
    let read = match part.need_text("type")? {
        "input_text" | "output_text" | "text" => Part::Text(Text {
            text: Cow::Borrowed(part.need_text("text")?),
            cache: cache(part)?,
            citations: citations(part.get("annotations")),
        }),
        "refusal" => Part::Refusal(Cow::Borrowed(part.need_text("refusal")?)),
        "input_image" => Part::Image(image(part)?),
        "input_file" => Part::File(file(part)?),
        "input_audio" => {
            let audio = part.need_object("input_audio")?;
            let read = || -> Result<Audio<'j>, Malformed> {
                Ok(Audio {
                    format: Cow::Borrowed(audio.need_text("format")?),
                    data: Cow::Borrowed(audio.need_text("data")?),
                })
            };
            Part::Audio(read().map_err(|error| error.under("input_audio"))?)
        }
        _ => {
            losses.drop_feature(Feature::NativeParts);
            return Ok(None);
        }
    };
    Ok(Some(read))
}

/// The least that a mark asks for is half an hour or more, which only the hour of other providers covers.
fn cache(part: Object<'_>) -> Result<Option<CacheMark>, Malformed> {
    let Some(mark) = part.object("prompt_cache_breakpoint")? else { return Ok(None) };
    let ttl = mark.text("ttl").map_err(|error| error.under("prompt_cache_breakpoint"))?;
    Ok(Some(CacheMark { ttl: ttl.map(|_| CacheTtl::OneHour) }))
}

fn image(part: Object<'_>) -> Result<Image<'_>, Malformed> {
    let source = match (part.text("image_url")?, part.text("file_id")?) {
        (Some(url), _) => located(url).map_err(|error| error.under("image_url"))?,
        (None, Some(id)) => Source::FileId(Cow::Borrowed(id)),
        (None, None) => return Err(Malformed::at("image_url", "is missing, and so is `file_id`")),
    };
    Ok(Image { source, detail: part.text("detail")?.map(Cow::Borrowed), cache: cache(part)? })
}

fn file(part: Object<'_>) -> Result<File<'_>, Malformed> {
    let name = part.text("filename")?;
    let source = match (part.text("file_data")?, part.text("file_url")?, part.text("file_id")?) {
        (Some(data), _, _) if data.starts_with("data:") => {
            located(data).map_err(|error| error.under("file_data"))?
        }
        (Some(data), _, _) => Source::Base64 {
            media_type: Cow::Borrowed(data_url::type_of_name(name)),
            data: data_url::base64(data).map_err(|error| error.under("file_data"))?,
        },
        (None, Some(url), _) => located(url).map_err(|error| error.under("file_url"))?,
        (None, None, Some(id)) => Source::FileId(Cow::Borrowed(id)),
        (None, None, None) => {
            return Err(Malformed::at("file_data", "is missing, and so are `file_url` and `file_id`"));
        }
    };
    Ok(File { source, name: name.map(Cow::Borrowed), context: None, citations: false, cache: cache(part)? })
}

/// Where a URL leads; a data URL is its bytes.
fn located(url: &str) -> Result<Source<'_>, Malformed> {
    match data_url::read(url) {
        Some(source) => source,
        None if url.is_empty() => Err(Malformed::here("must not be empty")),
        None => Ok(Source::Url(Cow::Borrowed(url))),
    }
}

/// What the text of an answer rests on. Annotations of other kinds name places in files that only OpenAI knows; of those
/// the file's name is kept.
pub(super) fn citations<'j>(annotations: Option<&'j Json<'_>>) -> Vec<Citation<'j>> {
    annotations.and_then(Json::as_array).unwrap_or_default().iter().filter_map(citation).collect()
}

pub(super) fn citation<'j>(annotation: &'j Json<'_>) -> Option<Citation<'j>> {
    let text = |key: &str| annotation.get(key).and_then(Json::as_str).map(Cow::Borrowed);
    let count = |key: &str| Object::of(annotation).ok()?.count(key).ok()?;
    match annotation.get("type").and_then(Json::as_str)? {
        "url_citation" => Some(Citation {
            url: text("url"),
            title: text("title"),
            cited: None,
            start: count("start_index"),
            end: count("end_index"),
        }),
        "file_citation" | "container_file_citation" => Some(Citation {
            title: text("filename"),
            start: count("start_index"),
            end: count("end_index"),
            ..Citation::default()
        }),
        _ => None,
    }
}
