//! Byte edits of a JSON document that leave every other byte as it was.

use std::ops::Range;

use crate::envelope::Envelope;

/// What must read differently upstream than what the client wrote.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Edits<'a> {
    /// The model id to send, when it is not what the client wrote.
    pub model: Option<&'a str>,
    /// Ask the provider for usage in the stream, though the client did not.
    pub ask_usage: bool,
}

/// The edited document, or `None` when the client's own bytes can travel as they are.
pub fn apply(body: &[u8], envelope: &Envelope, edits: &Edits<'_>) -> Option<Vec<u8>> {
    let spans = &envelope.spans;
    let mut splices: Vec<(Range<usize>, String)> = Vec::with_capacity(2);
    let mut insertion = String::new();
    if let Some(model) = edits.model.filter(|model| envelope.model.as_deref() != Some(*model)) {
        let quoted = serde_json::Value::from(model).to_string();
        match &spans.model {
            Some(span) => splices.push((span.clone(), quoted)),
            None => insertion.push_str(&format!("\"model\":{quoted},")),
        }
    }
    if edits.ask_usage && !envelope.include_usage {
        match (&spans.include_usage, &spans.stream_options) {
            (Some(span), _) => splices.push((span.clone(), "true".to_owned())),
            (None, Some(span)) if body[span.start] == b'{' => {
                let comma = if spans.stream_options_empty { "" } else { "," };
                let inside = span.start + 1;
                splices.push((inside..inside, format!("\"include_usage\":true{comma}")));
            }
            (None, Some(span)) => splices.push((span.clone(), "{\"include_usage\":true}".to_owned())),
            (None, None) => insertion.push_str("\"stream_options\":{\"include_usage\":true},"),
        }
    }
    if !insertion.is_empty() {
        if body[spans.opening..].trim_ascii_start().starts_with(b"}") {
            insertion.pop();
        }
        splices.push((spans.opening..spans.opening, insertion));
    }
    if splices.is_empty() {
        return None;
    }
    splices.sort_by_key(|(range, _)| range.start);
    let grown: usize = splices.iter().map(|(_, text)| text.len()).sum();
    let mut edited = Vec::with_capacity(body.len() + grown);
    let mut copied = 0;
    for (range, text) in splices {
        edited.extend_from_slice(&body[copied..range.start]);
        edited.extend_from_slice(text.as_bytes());
        copied = range.end;
    }
    edited.extend_from_slice(&body[copied..]);
    Some(edited)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Required, read};

    fn edited(body: &str, model: Option<&str>, ask_usage: bool) -> Option<String> {
        let envelope = read(body.as_bytes(), Required::Messages).unwrap();
        apply(body.as_bytes(), &envelope, &Edits { model, ask_usage })
            .map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn changes_nothing_when_nothing_differs() {
        assert_eq!(edited(r#"{"model":"m","messages":[]}"#, Some("m"), false), None);
        let asked = r#"{"model":"m","messages":[],"stream_options":{"include_usage":true}}"#;
        assert_eq!(edited(asked, None, true), None);
    }

    #[test]
    fn replaces_the_model_and_keeps_the_rest() {
        assert_eq!(
            edited(r#"{ "model" : "a/b" , "messages":[], "z":1.50}"#, Some("b"), false).unwrap(),
            r#"{ "model" : "b" , "messages":[], "z":1.50}"#
        );
        assert_eq!(
            edited(r#"{"messages":[]}"#, Some("say \"hi\""), false).unwrap(),
            r#"{"model":"say \"hi\"","messages":[]}"#
        );
        assert_eq!(
            edited(r#"{"messages":[],"model":null}"#, Some("b"), false).unwrap(),
            r#"{"messages":[],"model":"b"}"#
        );
    }

    #[test]
    fn an_insertion_into_an_empty_object_has_no_comma_behind_it() {
        let envelope = read(b"{ }", Required::MaybeInput).unwrap();
        let edits = Edits { model: Some("b"), ask_usage: false };
        assert_eq!(apply(b"{ }", &envelope, &edits).unwrap(), br#"{"model":"b" }"#);
    }

    #[test]
    fn asks_for_usage_whatever_the_client_wrote() {
        let cases = [
            (r#"{"messages":[]}"#, r#"{"stream_options":{"include_usage":true},"messages":[]}"#),
            (
                r#"{"messages":[],"stream_options":null}"#,
                r#"{"messages":[],"stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"messages":[],"stream_options":{ }}"#,
                r#"{"messages":[],"stream_options":{"include_usage":true }}"#,
            ),
            (
                r#"{"messages":[],"stream_options":{"x":1}}"#,
                r#"{"messages":[],"stream_options":{"include_usage":true,"x":1}}"#,
            ),
            (
                r#"{"messages":[],"stream_options":{"include_usage":false}}"#,
                r#"{"messages":[],"stream_options":{"include_usage":true}}"#,
            ),
        ];
        for (before, after) in cases {
            assert_eq!(edited(before, None, true).unwrap(), after);
        }
    }

    #[test]
    fn both_edits_at_once_in_any_order() {
        assert_eq!(
            edited(r#"{"stream_options":{"x":1},"messages":[],"model":"a"}"#, Some("b"), true).unwrap(),
            r#"{"stream_options":{"include_usage":true,"x":1},"messages":[],"model":"b"}"#
        );
        assert_eq!(
            edited(r#"{"messages":[]}"#, Some("b"), true).unwrap(),
            r#"{"model":"b","stream_options":{"include_usage":true},"messages":[]}"#
        );
    }
}
