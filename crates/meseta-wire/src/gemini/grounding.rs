//! What a text rests on: `groundingMetadata`, read as citations and written from them.
//!
//! Its places are counted in bytes of UTF-8, ours in characters. A stream's text is not kept, so [`Widths`] remembers
//! only where the width of its characters changes.

use std::borrow::Cow;

use crate::conversation::Citation;
use crate::json::{Fields, Json};
use crate::object;

/// More changes of width than this are not remembered; places behind them are unknown.
const MOST_RUNS: usize = 1 << 16;

/// More citations than this in one answer are left out.
pub(super) const MOST_CITATIONS: usize = 1_024;

/// Characters of one width, one behind the other.
#[derive(Clone, Copy, Debug)]
struct Run {
    byte: u64,
    character: u64,
    width: u64,
}

/// Turns bytes of a text into characters and back, without the text.
#[derive(Debug, Default)]
pub(super) struct Widths {
    runs: Vec<Run>,
    bytes: u64,
    characters: u64,
    full: bool,
}

impl Widths {
    pub(super) fn of(text: &str) -> Widths {
        let mut widths = Widths::default();
        widths.push(text);
        widths
    }

    pub(super) fn push(&mut self, text: &str) {
        if self.full {
            return;
        }
        if text.is_ascii() && self.runs.last().is_some_and(|run| run.width == 1) {
            self.bytes += text.len() as u64;
            self.characters += text.len() as u64;
            return;
        }
        for character in text.chars() {
            let width = character.len_utf8() as u64;
            if self.runs.last().is_none_or(|run| run.width != width) {
                if self.runs.len() == MOST_RUNS {
                    self.full = true;
                    return;
                }
                self.runs.push(Run { byte: self.bytes, character: self.characters, width });
            }
            self.bytes += width;
            self.characters += 1;
        }
    }

    /// The character at a byte; `None` behind the text.
    fn character(&self, byte: u64) -> Option<u64> {
        if byte > self.bytes {
            return None;
        }
        let behind = self.runs.partition_point(|run| run.byte <= byte);
        let Some(run) = behind.checked_sub(1).and_then(|index| self.runs.get(index)) else { return Some(0) };
        Some(run.character + (byte - run.byte) / run.width)
    }

    /// The byte at which a character begins; `None` behind the text.
    fn byte(&self, character: u64) -> Option<u64> {
        if character > self.characters {
            return None;
        }
        let behind = self.runs.partition_point(|run| run.character <= character);
        let Some(run) = behind.checked_sub(1).and_then(|index| self.runs.get(index)) else { return Some(0) };
        Some(run.byte + (character - run.character) * run.width)
    }
}

/// A citation and the index of the part that it belongs to.
pub(super) struct Placed<'j> {
    pub(super) part: usize,
    /// In bytes of that part.
    pub(super) start: Option<u64>,
    pub(super) end: Option<u64>,
    pub(super) url: Option<&'j str>,
    pub(super) title: Option<&'j str>,
}

impl<'j> Placed<'j> {
    pub(super) fn citation(&self, widths: &Widths) -> Citation<'j> {
        let character = |byte: Option<u64>| byte.and_then(|byte| widths.character(byte));
        Citation {
            url: self.url.map(Cow::Borrowed),
            title: self.title.map(Cow::Borrowed),
            cited: None,
            start: character(self.start),
            end: character(self.end),
        }
    }
}

/// Every support names a piece of the text and the sources for it: one citation for each pair. Sources that stand
/// without any support are citations of the whole text.
pub(super) fn read<'j>(metadata: &'j Json<'_>) -> Vec<Placed<'j>> {
    let list = |key: &str| metadata.get(key).and_then(Json::as_array).unwrap_or_default();
    let chunks = list("groundingChunks");
    let supports = list("groundingSupports");
    if supports.is_empty() {
        let whole = chunks.iter().filter_map(|chunk| place(chunk, 0, None, None));
        return whole.take(MOST_CITATIONS).collect();
    }
    let mut placed = Vec::new();
    for support in supports {
        let segment = support.get("segment");
        let number = |key: &str| match segment.and_then(|segment| segment.get(key)) {
            Some(Json::Number(number)) => number.as_u64(),
            _ => None,
        };
        let end = number("endIndex");
        // Proto3 JSON leaves out a zero.
        let start = number("startIndex").or(end.map(|_| 0));
        let part = number("partIndex").and_then(|part| usize::try_from(part).ok()).unwrap_or(0);
        let indices = support.get("groundingChunkIndices").and_then(Json::as_array).unwrap_or_default();
        for index in indices {
            let Json::Number(index) = index else { continue };
            let index = index.as_u64().and_then(|index| usize::try_from(index).ok());
            let found = index.and_then(|index| chunks.get(index));
            placed.extend(found.and_then(|chunk| place(chunk, part, start, end)));
            if placed.len() == MOST_CITATIONS {
                return placed;
            }
        }
    }
    placed
}

/// Sources are pages of the web, places of Maps, or documents of one's own store.
fn place<'j>(chunk: &'j Json<'_>, part: usize, start: Option<u64>, end: Option<u64>) -> Option<Placed<'j>> {
    let source = ["web", "retrievedContext", "maps"].iter().find_map(|kind| chunk.get(kind))?;
    let url = source.get("uri").and_then(Json::as_str);
    let title = source.get("title").and_then(Json::as_str);
    url.or(title)?;
    Some(Placed { part, start, end, url, title })
}

/// Citations as `groundingMetadata`; each with the index of its part and the widths of that part's text.
pub(super) fn write<'c>(citations: &[(usize, &Widths, &'c Citation<'_>)]) -> Option<Json<'c>> {
    if citations.is_empty() {
        return None;
    }
    let mut chunks: Vec<Json<'c>> = Vec::new();
    let mut supports = Vec::new();
    let mut known: Vec<(Option<&str>, Option<&str>)> = Vec::new();
    for (part, widths, citation) in citations {
        let source = (citation.url.as_deref(), citation.title.as_deref());
        let chunk = known.iter().position(|other| *other == source).unwrap_or_else(|| {
            let mut web = Fields::new();
            web.put_some("uri", source.0).put_some("title", source.1);
            chunks.push(object! { "web" => web });
            known.push(source);
            known.len() - 1
        });
        let start = citation.start.and_then(|start| widths.byte(start));
        let Some(end) = citation.end.and_then(|end| widths.byte(end)) else { continue };
        let mut segment = Fields::new();
        if *part > 0 {
            segment.put("partIndex", *part);
        }
        segment.put_some("startIndex", start).put("endIndex", end);
        supports.push(object! { "segment" => segment, "groundingChunkIndices" => vec![chunk] });
    }
    let mut metadata = Fields::new();
    metadata.put("groundingChunks", Json::Array(chunks));
    if !supports.is_empty() {
        metadata.put("groundingSupports", Json::Array(supports));
    }
    Some(metadata.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_characters_agree_with_the_text() {
        let text = "Zürich – 東京 und 🙂 ok";
        let mut widths = Widths::default();
        for piece in ["Zürich – ", "東", "京 und ", "🙂 ", "ok"] {
            widths.push(piece);
        }
        for (count, (byte, _)) in text.char_indices().enumerate() {
            assert_eq!(widths.character(byte as u64), Some(count as u64), "byte {byte}");
            assert_eq!(widths.byte(count as u64), Some(byte as u64), "character {count}");
        }
        assert_eq!(widths.character(text.len() as u64), Some(text.chars().count() as u64));
        assert_eq!(widths.character(text.len() as u64 + 1), None);
        assert_eq!(Widths::default().character(0), Some(0));
    }

    #[test]
    fn a_text_that_changes_width_all_the_time_is_bounded() {
        let mut widths = Widths::of(&"aé".repeat(MOST_RUNS));
        widths.push("more");
        assert_eq!(widths.runs.len(), MOST_RUNS);
        assert_eq!(widths.character(3 * MOST_RUNS as u64), None);
    }
}
