//! Reading a token without parsing its event.
//!
//! The events of a stream's text differ in nothing but the text: what stands before it and behind it is the same, byte for
//! byte, from one to the next. Once such an event was parsed, the next one that begins and ends alike, with a plain string
//! between, must mean the same; an event that differs anywhere else is parsed again. It costs a twentieth.

use std::ops::Range;

/// What stands around the text. Empty until something was learnt.
#[derive(Debug, Default)]
pub(crate) struct Template {
    before: Vec<u8>,
    behind: Vec<u8>,
}

/// Longer surroundings are not kept.
const MOST_BYTES: usize = 1024;

impl Template {
    /// Keeps the surroundings of a text that stands in an event that says nothing else. `text` must be a part of `data`,
    /// without escapes.
    pub fn learn(&mut self, data: &[u8], text: &str) {
        let Some(Range { start, end }) = place(data, text) else { return };
        let (before, behind) = (&data[..start], &data[end..]);
        if before.len() + behind.len() <= MOST_BYTES && (before != self.before || behind != self.behind) {
            self.before = before.to_vec();
            self.behind = behind.to_vec();
        }
    }

    /// The text of an event that is the learnt one but for it; `None` for any other, and for a text with escapes.
    pub fn read<'d>(&self, data: &'d [u8]) -> Option<&'d str> {
        if self.before.is_empty() {
            return None;
        }
        let text = data.strip_prefix(&*self.before)?.strip_suffix(&*self.behind)?;
        let plain = |byte: &u8| *byte >= b' ' && *byte != b'"' && *byte != b'\\';
        if text.is_empty() || !text.iter().all(plain) {
            return None;
        }
        std::str::from_utf8(text).ok()
    }
}

/// Where `text` stands in `data`, between quotation marks. Also false friends are told: a text that only happens to be
/// equal is at another address.
fn place(data: &[u8], text: &str) -> Option<Range<usize>> {
    let start = (text.as_ptr() as usize).checked_sub(data.as_ptr() as usize)?;
    let end = start.checked_add(text.len())?;
    let quoted = start > 0 && data.get(start - 1) == Some(&b'"') && data.get(end) == Some(&b'"');
    (quoted && data.get(start..end) == Some(text.as_bytes())).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(data: &str, at: Range<usize>) -> Template {
        let mut template = Template::default();
        template.learn(data.as_bytes(), &data[at]);
        template
    }

    #[test]
    fn reads_what_differs_in_its_text_alone() {
        let template = learnt(r#"{"id":1,"text":"abc","more":null}"#, 16..19);
        assert_eq!(template.read(r#"{"id":1,"text":"é x","more":null}"#.as_bytes()), Some("é x"));
        for other in [
            r#"{"id":2,"text":"abc","more":null}"#,
            r#"{"id":1,"text":"abc","more":true}"#,
            r#"{"id":1,"text":"a\nc","more":null}"#,
            r#"{"id":1,"text":"a","text":"b","more":null}"#,
            "{\"id\":1,\"text\":\"a\nb\",\"more\":null}",
            r#"{"id":1,"text":"","more":null}"#,
            r#"{"id":1,"text":""#,
            "",
        ] {
            assert_eq!(template.read(other.as_bytes()), None, "{other}");
        }
        let mut broken = br#"{"id":1,"text":"abc","more":null}"#.to_vec();
        broken[17] = 0xff;
        assert_eq!(template.read(&broken), None);
    }

    #[test]
    fn learns_nothing_from_a_text_that_stands_elsewhere() {
        let mut template = Template::default();
        template.learn(br#"{"text":"abc"}"#, &String::from("abc"));
        template.learn(br#"{"text":"abc"}"#, "");
        assert_eq!(template.read(br#"{"text":"abc"}"#), None);
        assert_eq!(learnt(r#"{"text":"abc"}"#, 10..12).read(br#"{"text":"abc"}"#), None);
    }
}
