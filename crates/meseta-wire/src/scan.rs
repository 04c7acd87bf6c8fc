//! What the plane reads of traffic that passes as it is: usage, failures, the end. Nothing else is decoded.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde::de::{IgnoredAny, Unexpected};
use serde_json::value::RawValue;

use crate::dialect::Dialect;
use crate::json::Json;
use crate::messages::Counts;
use crate::responses;
use crate::shape::Malformed;
use crate::usage::{Chat, Usage};

/// The usage that a whole answer reports; an error means that the body is not a JSON object.
pub fn answer(dialect: Dialect, body: &[u8]) -> Result<Option<Usage>, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(expecting = "an object")]
    struct Body<'a> {
        #[serde(borrow, default)]
        usage: Option<&'a RawValue>,
    }
    // A list of the fields would be taken for the object.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(serde::de::Error::invalid_type(Unexpected::Seq, &"an object"));
    }
    let body: Body<'_> = serde_json::from_slice(body)?;
    Ok(body.usage.and_then(|raw| usage(dialect, raw)))
}

/// Whether a body is JSON of any kind.
pub fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

/// Whether a JSON object is a whole answer at all: it has the list in which its dialect holds what is said.
pub fn check_answer(dialect: Dialect, body: &[u8]) -> Result<(), Malformed> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        choices: Option<&'a RawValue>,
        #[serde(borrow, default)]
        output: Option<&'a RawValue>,
        #[serde(borrow, default)]
        content: Option<&'a RawValue>,
    }
    let read: Body<'_> = serde_json::from_slice(body).map_err(|_| Malformed::here("is no JSON object"))?;
    let (key, list) = match dialect {
        Dialect::OpenaiResponses => ("output", read.output),
        Dialect::AnthropicMessages => ("content", read.content),
        _ => ("choices", read.choices),
    };
    let list = list.ok_or_else(|| Malformed::at(key, "is missing"))?;
    let list: Vec<IgnoredAny> =
        serde_json::from_str(list.get()).map_err(|_| Malformed::at(key, "must be an array"))?;
    // Of the others, an answer that says nothing has an empty list.
    if list.is_empty() && key == "choices" {
        return Err(Malformed::at(key, "must not be empty"));
    }
    Ok(())
}

/// The counts that a `usage` object holds, read by the dialect that it is in.
fn usage(dialect: Dialect, raw: &RawValue) -> Option<Usage> {
    match dialect {
        Dialect::OpenaiChat => {
            serde_json::from_str::<Option<Chat>>(raw.get()).ok().flatten().map(Usage::from)
        }
        Dialect::OpenaiResponses => responses::usage(&Json::parse(raw.get()).ok()?),
        Dialect::AnthropicMessages => {
            let mut counts = Counts::default();
            counts.merge(&Json::parse(raw.get()).ok()?);
            counts.usage()
        }
        // No client speaks them, so nothing of theirs passes as it is.
        Dialect::GeminiGenerateContent | Dialect::BedrockConverse => None,
    }
}

/// What one stream event is, as far as the plane acts on it.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// A piece of the answer, or anything that we do not act on.
    Piece,
    /// Usage that arrived beside content, or in an event of the dialect's own that everybody gets.
    PieceWithUsage(Usage),
    /// The extra event that chat's `include_usage` adds: usage and no choices.
    UsageOnly(Usage),
    /// The provider reports a failure inside the stream.
    Failure,
    /// The last word, with the usage if it is in there.
    Done(Option<Usage>),
    /// A comment, or an event with nothing of the answer in it.
    Nothing,
}

/// Reads the events of one stream in their order.
#[derive(Debug)]
pub struct Scanner {
    dialect: Dialect,
    /// What a Messages stream counted so far: `message_delta` may leave out what `message_start` said.
    counts: Counts,
    /// Why the answer ends has been said.
    reason: bool,
}

impl Scanner {
    pub fn new(dialect: Dialect) -> Scanner {
        Scanner { dialect, counts: Counts::default(), reason: false }
    }

    /// Whether nothing is missing but the last word, which some servers forget.
    pub fn is_told(&self) -> bool {
        self.reason
    }

    /// Reads the data of one server-sent event.
    pub fn event(&mut self, data: &[u8]) -> Seen {
        if data.is_empty() {
            return Seen::Nothing;
        }
        match self.dialect {
            Dialect::AnthropicMessages => self.messages(data),
            Dialect::OpenaiResponses => responses_event(data),
            _ => {
                self.reason = self.reason || mentions(data, &REASON);
                chat(data)
            }
        }
    }

    fn messages(&mut self, data: &[u8]) -> Seen {
        #[derive(Deserialize)]
        struct Data<'a> {
            #[serde(borrow, default)]
            r#type: Cow<'a, str>,
            #[serde(borrow, default)]
            message: Option<Message<'a>>,
            #[serde(borrow, default)]
            usage: Option<&'a RawValue>,
            #[serde(borrow, default)]
            delta: Option<Ended<'a>>,
        }
        #[derive(Deserialize)]
        struct Ended<'a> {
            #[serde(borrow, default)]
            stop_reason: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Message<'a> {
            #[serde(borrow, default)]
            usage: Option<&'a RawValue>,
        }
        // Nearly all events are deltas, and one look at their beginning tells.
        if data.starts_with(br#"{"type":"content_block_delta""#) {
            return Seen::Piece;
        }
        let Ok(event) = serde_json::from_slice::<Data<'_>>(data) else { return Seen::Piece };
        let reported = match event.r#type.as_ref() {
            "message_start" => event.message.and_then(|message| message.usage),
            "message_delta" => {
                self.reason |= event.delta.is_some_and(|delta| delta.stop_reason.is_some());
                event.usage
            }
            "content_block_delta" => return Seen::Piece,
            "message_stop" => return Seen::Done(None),
            "error" => return Seen::Failure,
            _ => return Seen::Nothing,
        };
        let Some(usage) = reported.and_then(|raw| Json::parse(raw.get()).ok()) else { return Seen::Nothing };
        self.counts.merge(&usage);
        self.counts.usage().map_or(Seen::Nothing, Seen::PieceWithUsage)
    }
}

fn chat(data: &[u8]) -> Seen {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow, default)]
        usage: Option<&'a RawValue>,
        #[serde(borrow, default)]
        choices: Option<&'a RawValue>,
        #[serde(borrow, default)]
        error: Option<&'a RawValue>,
    }
    if data == b"[DONE]" {
        return Seen::Done(None);
    }
    // Most events are pieces of text and mention neither word, so they are not parsed at all.
    if !mentions(data, &USAGE) && !mentions(data, &ERROR) {
        return Seen::Piece;
    }
    let Ok(event) = serde_json::from_slice::<Data<'_>>(data) else { return Seen::Piece };
    let has_choices = event.choices.is_some_and(|raw| {
        raw.get().strip_prefix('[').is_some_and(|rest| !rest.trim_start().starts_with(']'))
    });
    if event.error.is_some() && !has_choices {
        return Seen::Failure;
    }
    match event.usage.and_then(|raw| usage(Dialect::OpenaiChat, raw)) {
        Some(usage) if has_choices => Seen::PieceWithUsage(usage),
        Some(usage) => Seen::UsageOnly(usage),
        None => Seen::Piece,
    }
}

fn responses_event(data: &[u8]) -> Seen {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow, default)]
        r#type: Cow<'a, str>,
        #[serde(borrow, default)]
        response: Option<Response<'a>>,
    }
    #[derive(Deserialize)]
    struct Response<'a> {
        #[serde(borrow, default)]
        usage: Option<&'a RawValue>,
    }
    let Ok(event) = serde_json::from_slice::<Data<'_>>(data) else { return Seen::Piece };
    let reported = || {
        let raw = event.response.as_ref().and_then(|response| response.usage)?;
        usage(Dialect::OpenaiResponses, raw)
    };
    match event.r#type.as_ref() {
        "response.completed" | "response.incomplete" => Seen::Done(reported()),
        "response.failed" | "error" => Seen::Failure,
        // `response.output_text.delta` and its like.
        kind if kind.rsplit('.').next() == Some("delta") => Seen::Piece,
        _ => Seen::Nothing,
    }
}

/// The response object of the event that ends a Responses stream, byte for byte.
pub fn completed_response(data: &[u8]) -> Option<&str> {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
        #[serde(borrow)]
        response: &'a RawValue,
    }
    let event: Data<'_> = serde_json::from_slice(data).ok()?;
    matches!(event.r#type.as_ref(), "response.completed" | "response.incomplete")
        .then(|| event.response.get())
}

/// Whether `key` stands in the data with a value that is not null, as in `"usage":null` of most chunks.
/// Made once: a searcher costs more to make than an event costs to search.
static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"usage\""));
static REASON: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"finish_reason\""));
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"error\""));

fn mentions(data: &[u8], key: &Finder<'_>) -> bool {
    key.find_iter(data).any(|at| {
        let rest = data[at + key.needle().len()..].trim_ascii_start();
        rest.strip_prefix(b":").is_some_and(|rest| !rest.trim_ascii_start().starts_with(b"null"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(data: &[u8]) -> Seen {
        Scanner::new(Dialect::OpenaiChat).event(data)
    }

    #[test]
    fn reads_usage_by_class() {
        let usage = answer(
            Dialect::OpenaiChat,
            br#"{"id":"x","usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,
                "prompt_tokens_details":{"cached_tokens":5},"completion_tokens_details":{"reasoning_tokens":2}}}"#,
        );
        let expected = Usage { input: 9, cached: 5, output: 4, reasoning: 2, cache_write: 0 };
        assert_eq!(usage.unwrap(), Some(expected));
        let usage = answer(
            Dialect::OpenaiResponses,
            br#"{"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":5},"output_tokens":4,
                "output_tokens_details":{"reasoning_tokens":2}}}"#,
        );
        assert_eq!(usage.unwrap(), Some(expected));
        let usage = answer(
            Dialect::AnthropicMessages,
            br#"{"usage":{"input_tokens":1,"cache_read_input_tokens":5,"cache_creation_input_tokens":3,"output_tokens":4}}"#,
        );
        assert_eq!(usage.unwrap(), Some(Usage { cache_write: 3, reasoning: 0, ..expected }));
        let usage = answer(
            Dialect::AnthropicMessages,
            br#"{"usage":{"input_tokens":4,"cache_read_input_tokens":5,"output_tokens":4,
                "output_tokens_details":{"thinking_tokens":2}}}"#,
        );
        assert_eq!(usage.unwrap(), Some(expected));
    }

    #[test]
    fn what_is_no_object_is_no_answer() {
        for (body, kind) in
            [("[]", "sequence"), (" [null]", "sequence"), ("3", "integer `3`"), ("null", "null")]
        {
            let error = answer(Dialect::OpenaiChat, body.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("invalid type: {kind}, expected an object")), "{error}");
            assert!(is_json(body.as_bytes()));
        }
        assert!(!is_json(b"") && !is_json(b"<html>") && !is_json(b"[1"));
    }

    #[test]
    fn an_end_is_told_by_its_reason() {
        let told = |dialect, events: &[&str]| {
            let mut scanner = Scanner::new(dialect);
            for event in events {
                scanner.event(event.as_bytes());
            }
            scanner.is_told()
        };
        let chat = Dialect::OpenaiChat;
        let piece =
            r#"{"choices":[{"delta":{"content":"\"finish_reason\":\"stop\""},"finish_reason":null}]}"#;
        assert!(!told(chat, &[piece]));
        assert!(told(
            chat,
            &[piece, r#"{"choices":[{"delta":{},"finish_reason": "stop"}]}"#, r#"{"choices":[],"usage":{}}"#]
        ));
        let messages = Dialect::AnthropicMessages;
        assert!(!told(
            messages,
            &[r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}"#]
        ));
        assert!(!told(
            messages,
            &[r#"{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":1}}"#]
        ));
        assert!(told(messages, &[r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#]));
    }

    #[test]
    fn a_whole_answer_has_the_list_of_its_dialect() {
        for (dialect, good) in [
            (Dialect::OpenaiChat, r#"{"choices":[{}]}"#),
            (Dialect::OpenaiResponses, r#"{"output":[],"error":{"message":"no"}}"#),
            (Dialect::AnthropicMessages, r#"{"content":[]}"#),
        ] {
            assert_eq!(check_answer(dialect, good.as_bytes()), Ok(()));
            for bad in
                ["{}", "[]", "7", "{", r#"{"choices":[],"output":{},"content":"a"}"#, r#"{"choices":null}"#]
            {
                assert!(check_answer(dialect, bad.as_bytes()).is_err(), "{dialect:?} {bad}");
            }
        }
    }

    #[test]
    fn odd_usage_is_absent_not_zero_and_never_an_error() {
        for dialect in [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::AnthropicMessages] {
            assert_eq!(answer(dialect, br#"{"usage":null}"#).unwrap(), None);
            assert_eq!(answer(dialect, br#"{"usage":"many"}"#).unwrap(), None);
            assert_eq!(answer(dialect, b"{}").unwrap(), None);
            assert!(answer(dialect, b"<html>").is_err());
            assert!(answer(dialect, b"[1").is_err());
        }
        let partial = answer(
            Dialect::OpenaiChat,
            br#"{"usage":{"prompt_tokens":3,"completion_tokens":null,"prompt_tokens_details":null}}"#,
        );
        assert_eq!(partial.unwrap(), Some(Usage { input: 3, ..Usage::default() }));
    }

    #[test]
    fn tells_events_of_chat_apart() {
        assert_eq!(chat(br#"{"choices":[{"delta":{"content":"\"usage\":1"}}]}"#), Seen::Piece);
        assert_eq!(chat(br#"{"choices":[{}],"usage":null}"#), Seen::Piece);
        assert_eq!(
            chat(br#"{"choices": [ ],"usage": {"prompt_tokens":1,"completion_tokens":2}}"#),
            Seen::UsageOnly(Usage { input: 1, output: 2, ..Usage::default() })
        );
        assert_eq!(
            chat(br#"{"choices":[{}],"usage":{"prompt_tokens":1}}"#),
            Seen::PieceWithUsage(Usage { input: 1, ..Usage::default() })
        );
        assert_eq!(chat(br#"{"error":{"message":"no"}}"#), Seen::Failure);
        assert_eq!(chat(b"[DONE]"), Seen::Done(None));
        assert_eq!(chat(b""), Seen::Nothing);
        assert_eq!(chat(b"garbage \"usage\":"), Seen::Piece);
    }

    #[test]
    fn the_input_of_message_start_stays_when_the_end_does_not_repeat_it() {
        let mut scanner = Scanner::new(Dialect::AnthropicMessages);
        let start = br#"{"type":"message_start","message":{"usage":{"input_tokens":7,"cache_read_input_tokens":2,"output_tokens":1}}}"#;
        assert!(matches!(scanner.event(start), Seen::PieceWithUsage(_)));
        assert_eq!(scanner.event(br#"{"type":"content_block_delta","index":0}"#), Seen::Piece);
        assert_eq!(scanner.event(br#"{"type":"ping"}"#), Seen::Nothing);
        assert_eq!(
            scanner.event(br#"{"type":"message_delta","usage":{"output_tokens":30}}"#),
            Seen::PieceWithUsage(Usage { input: 9, cached: 2, output: 30, ..Usage::default() })
        );
        assert_eq!(scanner.event(br#"{"type":"message_stop"}"#), Seen::Done(None));
        assert_eq!(scanner.event(br#"{"type":"error","error":{}}"#), Seen::Failure);
    }

    #[test]
    fn a_responses_stream_ends_with_its_response() {
        let mut scanner = Scanner::new(Dialect::OpenaiResponses);
        assert_eq!(scanner.event(br#"{"type":"response.output_text.delta","delta":"x"}"#), Seen::Piece);
        assert_eq!(scanner.event(br#"{"type":"response.created","response":{}}"#), Seen::Nothing);
        let last = br#"{"type":"response.completed","response":{"id":"r","usage":{"input_tokens":1,"output_tokens":2}}}"#;
        assert_eq!(scanner.event(last), Seen::Done(Some(Usage { input: 1, output: 2, ..Usage::default() })));
        assert!(completed_response(last).unwrap().starts_with(r#"{"id":"r","#));
        assert_eq!(scanner.event(br#"{"type":"response.failed","response":{}}"#), Seen::Failure);
    }
}
