//! Streams, read and written.

use std::borrow::Cow;

use meseta_wire::conversation::{Block, Delta, Event, FailureKind, Finish};
use meseta_wire::dialect::Context;
use meseta_wire::gemini::{StreamDecoder, StreamEncoder};
use meseta_wire::sse;
use meseta_wire::usage::Usage;
use serde_json::{Value, json};

/// Events with their own texts, and what `event` and `end` returned last.
pub fn read_stream<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Seen>, bool) {
    let mut decoder = StreamDecoder::default();
    let mut seen = Vec::new();
    let mut going = true;
    for piece in pieces {
        going = decoder.event(piece, &mut |event| seen.push(Seen::of(&event)));
    }
    let whole = going && decoder.end(&mut |event| seen.push(Seen::of(&event)));
    (seen, whole)
}

#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Begin(Option<String>, Option<Usage>),
    Text(u32),
    Thought(u32),
    Redacted(u32, String),
    Call(u32, String, String, Option<String>),
    Said(u32, String),
    Signed(u32, String),
    Cited(u32, Option<String>, Option<u64>, Option<u64>),
    Logprobs(u32, usize),
    End(u32),
    Finish(Finish<'static>, Option<Usage>),
    Failed(FailureKind, String),
}

impl Seen {
    fn of(event: &Event<'_>) -> Seen {
        let owned = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
        match event {
            Event::Begin { id, usage, .. } => Seen::Begin(owned(id), *usage),
            Event::BlockBegin { index, block } => match block {
                Block::Text | Block::Refusal => Seen::Text(*index),
                Block::Thought { .. } => Seen::Thought(*index),
                Block::RedactedThought(signature) => Seen::Redacted(*index, signature.value.to_string()),
                Block::ToolCall { id, name, signature, .. } => Seen::Call(
                    *index,
                    id.to_string(),
                    name.to_string(),
                    signature.as_ref().map(|signature| signature.value.to_string()),
                ),
            },
            Event::Delta { index, delta } => match delta {
                Delta::Text(text) | Delta::Refusal(text) | Delta::Thought(text) | Delta::Arguments(text) => {
                    Seen::Said(*index, text.to_string())
                }
                Delta::Signature(signature) => Seen::Signed(*index, signature.value.to_string()),
                Delta::Citation(citation) => {
                    Seen::Cited(*index, owned(&citation.url), citation.start, citation.end)
                }
                Delta::Logprobs(tokens) => Seen::Logprobs(*index, tokens.len()),
            },
            Event::BlockEnd { index } => Seen::End(*index),
            Event::Finish { finish, usage } => {
                let finish = match finish {
                    Finish::Stop => Finish::Stop,
                    Finish::Length => Finish::Length,
                    Finish::ToolCalls => Finish::ToolCalls,
                    Finish::ContentFilter => Finish::ContentFilter,
                    Finish::Refusal => Finish::Refusal,
                    Finish::Pause => Finish::Pause,
                    Finish::StopSequence(text) => {
                        Finish::StopSequence(text.clone().map(|text| text.into_owned().into()))
                    }
                    Finish::Other(word) => Finish::Other(word.clone().into_owned().into()),
                };
                Seen::Finish(finish, *usage)
            }
            Event::Ping => panic!("Gemini has no pings"),
            Event::Failed(failure) => Seen::Failed(failure.kind, failure.message.to_string()),
        }
    }
}

pub const STREAM: [&str; 6] = [
    r#"{"candidates":[{"content":{"parts":[{"text":"Let me ","thought":true}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":9},"modelVersion":"gemini-3-pro","responseId":"r1"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"see.","thought":true}],"role":"model"}}],"responseId":"r1"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"Zürich "}]}}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2}}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"wins."}]},"logprobsResult":{"chosenCandidates":[{"token":"wins."}]}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"CsAB"}]},"groundingMetadata":{"groundingChunks":[{"web":{"uri":"https://a.example"}}],"groundingSupports":[{"segment":{"startIndex":8,"endIndex":13},"groundingChunkIndices":[0]},{"segment":{"startIndex":8,"endIndex":13},"groundingChunkIndices":[0]}]}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":[1]}},"thoughtSignature":"CtAC"},{"functionCall":{"name":"f"}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":7,"thoughtsTokenCount":3}}"#,
];

#[test]
fn a_stream_is_read() {
    let (seen, whole) = read_stream(STREAM.map(str::as_bytes));
    let some = |text: &str| Some(text.to_owned());
    assert!(whole);
    assert_eq!(
        seen,
        [
            Seen::Begin(some("r1"), Some(Usage { input: 9, ..Usage::default() })),
            Seen::Thought(0),
            Seen::Said(0, "Let me ".into()),
            Seen::Said(0, "see.".into()),
            Seen::End(0),
            Seen::Text(1),
            Seen::Said(1, "Zürich ".into()),
            Seen::Said(1, "wins.".into()),
            Seen::Logprobs(1, 1),
            Seen::Cited(1, some("https://a.example"), Some(7), Some(12)),
            Seen::End(1),
            Seen::Redacted(2, "CsAB".into()),
            Seen::End(2),
            Seen::Call(3, "call_gemini_r1_0".into(), "f".into(), some("CtAC")),
            Seen::Said(3, r#"{"a":[1]}"#.into()),
            Seen::End(3),
            Seen::Call(4, "call_gemini_r1_1".into(), "f".into(), None),
            Seen::Said(4, "{}".into()),
            Seen::End(4),
            Seen::Finish(
                Finish::ToolCalls,
                Some(Usage { input: 9, cached: 0, cache_write: 0, output: 10, reasoning: 3 })
            ),
        ]
    );
}

#[test]
fn an_open_thought_takes_the_signature() {
    let (seen, whole) = read_stream([
        br#"{"candidates":[{"content":{"parts":[{"text":"Hm.","thought":true}]}}]}"#.as_slice(),
        br#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"S"}]},"finishReason":"STOP"}]}"#,
    ]);
    assert!(whole);
    assert_eq!(seen[3..5], [Seen::Signed(0, "S".into()), Seen::End(0)]);
}

#[test]
fn a_stream_that_breaks_says_so() {
    let (seen, whole) = read_stream(STREAM[..3].iter().map(|piece| piece.as_bytes()));
    assert!(!whole);
    assert!(!seen.iter().any(|seen| matches!(seen, Seen::Finish(..))));
    let error = br#"{"error":{"code":503,"message":"Overloaded.","status":"UNAVAILABLE"}}"#.as_slice();
    let (seen, whole) = read_stream([STREAM[0].as_bytes(), error, STREAM[5].as_bytes()]);
    assert!(!whole);
    assert_eq!(seen.last(), Some(&Seen::Failed(FailureKind::Overloaded, "Overloaded.".into())));
    for garbage in [b"{".as_slice(), b"[DONE]", b"\xff", b"5", b"[]"] {
        let (seen, whole) = read_stream([garbage]);
        assert!(!whole && matches!(&seen[..], [Seen::Failed(FailureKind::Server, _)]), "{seen:?}");
    }
    let (seen, whole) = read_stream([
        br#"{"promptFeedback":{"blockReason":"OTHER"},"usageMetadata":{"promptTokenCount":3}}"#.as_slice(),
    ]);
    assert!(whole);
    assert_eq!(
        seen.last(),
        Some(&Seen::Finish(Finish::ContentFilter, Some(Usage { input: 3, ..Usage::default() })))
    );
}

/// Passes a stream through our events into the client's words; returns the data of each event.
pub fn relay(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let context = Context { id: "r1".into(), model: "m".into(), ..Context::default() };
    let mut encoder = StreamEncoder::new(context);
    let mut decoder = StreamDecoder::default();
    let mut out = Vec::new();
    for piece in pieces {
        decoder.event(piece, &mut |event| encoder.event(&event, &mut out));
    }
    if decoder.end(&mut |event| encoder.event(&event, &mut out)) {
        encoder.end(&mut out);
    }
    let mut events = Vec::new();
    let mut rest = out.as_slice();
    while let Some(end) = sse::event_end(rest) {
        let (event, behind) = rest.split_at(end);
        events.push(sse::event_data(event).into_owned());
        rest = behind;
    }
    assert!(rest.is_empty(), "half an event");
    events
}

#[test]
fn a_stream_is_written_and_read_again() {
    let pieces: Vec<&[u8]> = STREAM.iter().map(|piece| piece.as_bytes()).collect();
    let written = relay(&pieces);
    assert_eq!(
        String::from_utf8(written[0].clone()).unwrap(),
        r#"{"candidates":[{"content":{"parts":[{"thought":true,"text":"Let me "}],"role":"model"},"index":0}],"modelVersion":"m","responseId":"r1"}"#
    );
    let (first, _) = read_stream(pieces);
    let (again, whole) = read_stream(written.iter().map(Vec::as_slice));
    assert!(whole);
    // Citations come with the end, when their text is closed; the counts of the input, too.
    let rest = |seen: &[Seen]| -> Vec<Seen> {
        let kept = seen.iter().filter(|seen| !matches!(seen, Seen::Cited(..) | Seen::Begin(..)));
        kept.cloned().collect()
    };
    assert_eq!(rest(&again), rest(&first));
    let last: Value = serde_json::from_slice(written.last().unwrap()).unwrap();
    assert_eq!(
        last["candidates"][0]["groundingMetadata"]["groundingSupports"],
        json!([{"segment": {"partIndex": 1, "startIndex": 8, "endIndex": 13}, "groundingChunkIndices": [0]}])
    );
}

#[test]
fn the_encoder_takes_events_in_any_order() {
    let mut encoder = StreamEncoder::new(Context::default());
    let mut out = Vec::new();
    let call = |id: &'static str| Block::ToolCall {
        id: id.into(),
        name: "f".into(),
        custom: false,
        signature: None,
    };
    let arguments = |text: &'static str| Delta::Arguments(text.into());
    for event in [
        Event::Delta { index: 7, delta: Delta::Text("nowhere".into()) },
        Event::BlockEnd { index: 7 },
        Event::BlockBegin { index: 0, block: call("a") },
        Event::BlockBegin { index: 1, block: call("b") },
        Event::Delta { index: 1, delta: arguments("{\"n\":") },
        Event::Delta { index: 0, delta: arguments("{}") },
        Event::Delta { index: 1, delta: arguments("2}") },
        Event::BlockEnd { index: 1 },
        Event::Finish { finish: Finish::ToolCalls, usage: None },
        Event::Delta { index: 0, delta: Delta::Text("late".into()) },
    ] {
        encoder.event(&event, &mut out);
    }
    let written = String::from_utf8(out).unwrap();
    let b = written.find(r#""functionCall":{"id":"b","name":"f","args":{"n":2}}"#).unwrap();
    let a = written.find(r#""functionCall":{"id":"a","name":"f","args":{}}"#).unwrap();
    assert!(b < a && a < written.find("finishReason").unwrap());
    assert!(!written.contains("nowhere") && !written.contains("late"));
}

#[test]
fn arguments_without_end_are_an_error_and_not_a_heap() {
    let mut encoder = StreamEncoder::new(Context::default());
    let mut out = Vec::new();
    let block = Block::ToolCall { id: "a".into(), name: "f".into(), custom: false, signature: None };
    encoder.event(&Event::BlockBegin { index: 0, block }, &mut out);
    let piece = "x".repeat(1 << 20);
    for _ in 0..6 {
        let delta = Delta::Arguments(Cow::Borrowed(piece.as_str()));
        encoder.event(&Event::Delta { index: 0, delta }, &mut out);
    }
    assert!(out.len() < 500 && String::from_utf8(out).unwrap().contains("longer than 4 MiB"));
}
