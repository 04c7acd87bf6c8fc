//! Citations of a text. The API has five kinds; what they share is a source's name and its words.

use std::borrow::Cow;

use crate::conversation::Citation;
use crate::json::{Fields, Json};
use crate::shape::Object;
use crate::signature::UNSIGNED;

/// Reads a citation of any kind. Places are counted in the source, not in the answer, and are not kept.
pub(super) fn read<'j>(json: &'j Json<'_>) -> Option<Citation<'j>> {
    let object = Object::of(json).ok()?;
    let text = |key: &str| object.text(key).ok().flatten().filter(|text| !text.is_empty());
    let url = text("url").or_else(|| text("source").filter(|source| source.contains("://")));
    let citation = Citation {
        url: url.map(Cow::Borrowed),
        title: text("title").or_else(|| text("document_title")).map(Cow::Borrowed),
        cited: text("cited_text").map(Cow::Borrowed),
        start: None,
        end: None,
    };
    (citation != Citation::default()).then_some(citation)
}

/// Writes a citation of a web page; `None` where there is no page. Only Anthropic can make an encrypted index.
pub(super) fn write<'a>(citation: &'a Citation<'_>) -> Option<Json<'a>> {
    let url = citation.url.as_ref()?;
    let mut fields = Fields::new();
    fields
        .put("type", "web_search_result_location")
        .put("cited_text", citation.cited.as_deref().unwrap_or_default())
        .put("encrypted_index", UNSIGNED)
        .put("title", citation.title.as_deref().map_or(Json::Null, Json::from))
        .put("url", url);
    Some(fields.into())
}
