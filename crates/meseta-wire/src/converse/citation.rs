//! Citations. Converse puts a text with its citations into one block; places are places in a document, which no other
//! dialect can follow, so only words, titles and addresses are kept.

use std::borrow::Cow;

use crate::conversation::{Citation, Text};
use crate::json::{Fields, Json};
use crate::shape::{Malformed, Object};

/// A `citationsContent` block.
pub fn content<'j>(json: &'j Json<'_>) -> Result<Text<'j>, Malformed> {
    let object = Object::of(json)?;
    let mut text = Cow::Borrowed("");
    object.each("content", |json| {
        let piece = Object::of(json)?.text("text")?.unwrap_or_default();
        if text.is_empty() {
            text = Cow::Borrowed(piece);
        } else {
            text.to_mut().push_str(piece);
        }
        Ok(())
    })?;
    let mut citations = Vec::new();
    object.each("citations", |json| {
        citations.push(citation(json)?);
        Ok(())
    })?;
    Ok(Text { text, cache: None, citations })
}

/// One citation, of a block or of a stream's delta.
pub fn citation<'j>(json: &'j Json<'_>) -> Result<Citation<'j>, Malformed> {
    let object = Object::of(json)?;
    let web = object
        .inside("location", |json| Object::of(json)?.inside("web", |json| Object::of(json)?.text("url")))?;
    let source = object.text("source")?;
    let mut cited = Cow::Borrowed("");
    object.each("sourceContent", |json| {
        let piece = Object::of(json)?.text("text")?.unwrap_or_default();
        if cited.is_empty() {
            cited = Cow::Borrowed(piece);
        } else {
            cited.to_mut().push_str(piece);
        }
        Ok(())
    })?;
    Ok(Citation {
        url: web.flatten().flatten().or(source.filter(|source| source.contains("://"))).map(Cow::from),
        title: object.text("title")?.map(Cow::from),
        cited: (!cited.is_empty()).then_some(cited),
        start: None,
        end: None,
    })
}

pub fn encode<'a>(citation: &'a Citation<'_>) -> Json<'a> {
    let mut fields = Fields::new();
    fields.put_some("title", citation.title.as_ref());
    if let Some(cited) = &citation.cited {
        fields.put("sourceContent", vec![crate::object! { "text" => cited }]);
    }
    if let Some(url) = &citation.url {
        fields.put("location", crate::object! { "web" => crate::object! { "url" => url } });
    }
    fields.into()
}
