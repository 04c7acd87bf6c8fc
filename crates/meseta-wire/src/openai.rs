//! The OpenAI dialect: what is read from answers and stream events, and how an error looks.
//!
//! Source of the shapes: the OpenAI API reference, chat completions and embeddings.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::usage::{Reported, Usage};

/// What a whole answer says about itself. The bytes themselves travel on as they are.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub usage: Option<Usage>,
}

/// Reads a whole answer; an error means that the body is not a JSON object.
pub fn read_answer(body: &[u8]) -> Result<Answer, serde_json::Error> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        usage: Option<&'a RawValue>,
    }
    let body: Body<'_> = serde_json::from_slice(body)?;
    Ok(Answer { usage: body.usage.and_then(usage) })
}

fn usage(raw: &RawValue) -> Option<Usage> {
    serde_json::from_str::<Option<Reported>>(raw.get()).ok().flatten().map(Usage::from)
}

/// What one stream event is, as far as the plane acts on it.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A piece of the answer, or anything that we do not act on.
    Piece,
    /// Usage that arrived beside content.
    PieceWithUsage(Usage),
    /// The extra event that `include_usage` adds: usage and no choices.
    UsageOnly(Usage),
    /// The provider reports a failure inside the stream.
    Failure,
    /// `[DONE]`.
    Done,
    /// A comment or an event without data: nothing of the answer in it.
    Nothing,
}

/// Reads the data of one server-sent event.
pub fn read_event(data: &[u8]) -> Event {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow, default)]
        usage: Option<&'a RawValue>,
        #[serde(borrow, default)]
        choices: Option<&'a RawValue>,
        #[serde(borrow, default)]
        error: Option<&'a RawValue>,
    }
    if data.is_empty() {
        return Event::Nothing;
    }
    if data == b"[DONE]" {
        return Event::Done;
    }
    // Most events carry neither key; inside a JSON string the quotes would be escaped, so a hit is a real token.
    let may_have_usage = mentions(data, b"\"usage\"");
    if !may_have_usage && !mentions(data, b"\"error\"") {
        return Event::Piece;
    }
    let Ok(event) = serde_json::from_slice::<Data<'_>>(data) else { return Event::Piece };
    let has_choices = event.choices.is_some_and(|raw| {
        raw.get().strip_prefix('[').is_some_and(|rest| !rest.trim_start().starts_with(']'))
    });
    if event.error.is_some() && !has_choices {
        return Event::Failure;
    }
    match event.usage.and_then(usage) {
        Some(usage) if has_choices => Event::PieceWithUsage(usage),
        Some(usage) => Event::UsageOnly(usage),
        None => Event::Piece,
    }
}

/// Whether `key` stands in the data with a value that is not null, as in `"usage":null` of most chunks.
fn mentions(data: &[u8], key: &[u8]) -> bool {
    memchr::memmem::find_iter(data, key).any(|at| {
        let rest = data[at + key.len()..].trim_ascii_start();
        rest.strip_prefix(b":").is_some_and(|rest| !rest.trim_ascii_start().starts_with(b"null"))
    })
}

/// An error as OpenAI's clients expect it; `code`, `param` and `request_id` are what our users act on.
#[derive(Serialize)]
pub struct ErrorBody<'a> {
    pub message: &'a str,
    pub r#type: &'a str,
    pub param: Option<&'a str>,
    pub code: &'a str,
    pub request_id: &'a str,
}

impl ErrorBody<'_> {
    /// The JSON document `{"error": {…}}`.
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a ErrorBody<'a>,
        }
        serde_json::to_vec(&Body { error: self }).unwrap_or_default()
    }

    /// The same document as one server-sent event, for a stream that has begun.
    pub fn to_event(&self) -> Vec<u8> {
        let mut event = b"data: ".to_vec();
        event.extend(self.to_json());
        event.extend_from_slice(b"\n\n");
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_usage_by_class() {
        let answer = read_answer(
            br#"{"id":"x","usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,
                "prompt_tokens_details":{"cached_tokens":5},"completion_tokens_details":{"reasoning_tokens":2}}}"#,
        )
        .unwrap();
        assert_eq!(answer.usage, Some(Usage { input: 9, cached: 5, output: 4, reasoning: 2 }));
    }

    #[test]
    fn odd_usage_is_absent_not_zero_and_never_an_error() {
        assert_eq!(read_answer(br#"{"usage":null}"#).unwrap().usage, None);
        assert_eq!(read_answer(br#"{"usage":"many"}"#).unwrap().usage, None);
        assert_eq!(read_answer(b"{}").unwrap().usage, None);
        let partial = read_answer(
            br#"{"usage":{"prompt_tokens":3,"completion_tokens":null,"prompt_tokens_details":null}}"#,
        );
        assert_eq!(partial.unwrap().usage, Some(Usage { input: 3, ..Usage::default() }));
        assert!(read_answer(b"<html>").is_err());
        assert!(read_answer(b"[1").is_err());
    }

    #[test]
    fn tells_events_apart() {
        assert_eq!(read_event(br#"{"choices":[{"delta":{"content":"\"usage\":1"}}]}"#), Event::Piece);
        assert_eq!(read_event(br#"{"choices":[{}],"usage":null}"#), Event::Piece);
        assert_eq!(
            read_event(br#"{"choices": [ ],"usage": {"prompt_tokens":1,"completion_tokens":2}}"#),
            Event::UsageOnly(Usage { input: 1, output: 2, ..Usage::default() })
        );
        assert_eq!(
            read_event(br#"{"choices":[{}],"usage":{"prompt_tokens":1}}"#),
            Event::PieceWithUsage(Usage { input: 1, ..Usage::default() })
        );
        assert_eq!(read_event(br#"{"error":{"message":"no"}}"#), Event::Failure);
        assert_eq!(read_event(b"[DONE]"), Event::Done);
        assert_eq!(read_event(b""), Event::Nothing);
        assert_eq!(read_event(b"garbage \"usage\":"), Event::Piece);
    }

    #[test]
    fn an_error_is_one_event() {
        let body = ErrorBody { message: "a\nb", r#type: "t", param: None, code: "x.y", request_id: "req_1" };
        let event = String::from_utf8(body.to_event()).unwrap();
        assert!(event.starts_with("data: {\"error\":{\"message\":\"a\\nb\""));
        assert_eq!(event.matches('\n').count(), 2);
    }
}
