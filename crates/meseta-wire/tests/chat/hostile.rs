//! Whatever comes, nothing panics, and what is written is well formed.

use meseta_wire::chat::{self, StreamDecoder, StreamEncoder};
use meseta_wire::conversation::Event;
use meseta_wire::dialect::{Destination, Quirks, ReasoningField};
use meseta_wire::json::Json;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::requests::whole_request;
use super::streams::STREAM;
use super::{context, losses};

#[test]
fn no_changed_byte_of_a_stream_panics() {
    for (number, event) in STREAM.iter().enumerate() {
        for at in 0..event.len() {
            for byte in [b'"', b'{', b'0', b'\\', 0xff] {
                let mut changed = event.as_bytes().to_vec();
                changed[at] = byte;
                let mut decoder = StreamDecoder::default();
                let mut encoder = StreamEncoder::new(context());
                let mut out = Vec::new();
                let mut failed = false;
                for (other, data) in STREAM.iter().enumerate() {
                    let data = if other == number { changed.as_slice() } else { data.as_bytes() };
                    let mut write = |event: Event<'_>| {
                        assert!(!failed, "nothing follows a failure");
                        failed = matches!(event, Event::Failed(_));
                        encoder.event(&event, &mut out);
                    };
                    if !decoder.event(data, &mut write) {
                        break;
                    }
                }
                assert!(std::str::from_utf8(&out).is_ok());
            }
        }
    }
}

const VOCABULARY: &[&str] = &[
    "model",
    "messages",
    "role",
    "content",
    "name",
    "type",
    "text",
    "image_url",
    "url",
    "detail",
    "file",
    "file_data",
    "file_id",
    "filename",
    "input_audio",
    "data",
    "format",
    "refusal",
    "tool_calls",
    "tool_call_id",
    "id",
    "function",
    "custom",
    "input",
    "arguments",
    "function_call",
    "functions",
    "parameters",
    "strict",
    "tools",
    "tool_choice",
    "allowed_tools",
    "mode",
    "response_format",
    "json_schema",
    "schema",
    "reasoning_effort",
    "reasoning",
    "thinking",
    "reasoning_content",
    "reasoning_details",
    "signature",
    "cache_control",
    "ttl",
    "extra_content",
    "google",
    "thought_signature",
    "stop",
    "n",
    "metadata",
    "stream_options",
    "include_usage",
    "choices",
    "delta",
    "message",
    "index",
    "finish_reason",
    "logprobs",
    "token",
    "logprob",
    "top_logprobs",
    "annotations",
    "url_citation",
    "usage",
    "prompt_tokens",
    "completion_tokens",
    "error",
    "code",
    "param",
    "created",
    "modalities",
    "web_search_options",
];

const WORDS: &[&str] = &[
    "",
    "user",
    "assistant",
    "system",
    "tool",
    "function",
    "text",
    "image_url",
    "file",
    "input_audio",
    "custom",
    "auto",
    "data:image/png;base64,AA",
    "data:,",
    "https://a.example",
    "reasoning.text",
    "reasoning.encrypted",
    "json_schema",
    "allowed_tools",
    "ephemeral",
    "stop",
    "tool_calls",
    "error",
    "meseta.gemini.x",
    "none",
    "é\u{0}",
];

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..5).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::sample::select(WORDS).prop_map(Value::from),
    ];
    leaf.prop_recursive(7, 96, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((prop::sample::select(VOCABULARY), inner), 0..8).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

/// A document that is right but for what is put into it, so that the deep places are reached too.
fn grafted() -> impl Strategy<Value = (Value, Value)> {
    let paths = prop::sample::select(vec![
        "/messages/0",
        "/messages/1/content",
        "/messages/1/content/1/image_url",
        "/messages/2/tool_calls/0",
        "/messages/3/content",
        "/tools/0",
        "/tools/1/custom",
        "/tool_choice",
        "/response_format",
        "/stop",
        "/n",
    ]);
    let chunk = prop::sample::select(vec![
        "content",
        "tool_calls",
        "reasoning_details",
        "annotations",
        "function_call",
    ]);
    (paths, chunk, tree()).prop_map(|(path, key, graft)| {
        let mut request = whole_request();
        if let Some(place) = request.pointer_mut(path) {
            *place = graft.clone();
        }
        let piece = json!({"choices": [{"index": 0, "delta": {key: graft}, "message": {key: graft}}]});
        (request, piece)
    })
}

fn try_everything(document: &Value) {
    let text = document.to_string();
    let json = Json::parse(&text).unwrap();
    let mut losses = losses();
    if let Ok(request) = chat::decode_request(&json, &mut losses) {
        for quirks in [
            Quirks::default(),
            Quirks {
                cache_control: true,
                json_schema: false,
                reasoning: ReasoningField::Openrouter,
                ..Quirks::default()
            },
        ] {
            let destination = Destination { model: "m", max_output_tokens: 1, quirks: &quirks };
            if let Ok(sent) = chat::encode_request(&request, &destination, &mut losses) {
                assert!(serde_json::from_slice::<Value>(&sent).is_ok());
            }
        }
    }
    if let Ok(answer) = chat::decode_answer(&json) {
        let written = chat::encode_answer(&answer, &context(), &mut losses);
        assert!(serde_json::from_slice::<Value>(&written).is_ok());
    }
    assert!(!chat::decode_error(500, text.as_bytes()).message.is_empty());
}

proptest! {
    #[test]
    fn no_document_panics(document in tree()) {
        try_everything(&document);
    }

    #[test]
    fn no_grafted_document_panics((request, piece) in grafted()) {
        try_everything(&request);
        try_everything(&piece);
    }

    #[test]
    fn no_stream_panics(events in vec(prop_oneof![
        tree().prop_map(|event| event.to_string()),
        grafted().prop_map(|(_, piece)| piece.to_string()),
        prop::sample::select(STREAM).prop_map(str::to_owned),
    ], 0..12)) {
        let mut decoder = StreamDecoder::default();
        let mut encoder = StreamEncoder::new(context());
        let mut out = Vec::new();
        let mut open: Vec<u32> = Vec::new();
        let mut next = 0;
        let (mut finished, mut failed) = (false, false);
        let mut check = |event: Event<'_>| {
            assert!(!failed, "nothing follows a failure");
            match &event {
                Event::BlockBegin { index, .. } => {
                    assert_eq!(*index, next);
                    next += 1;
                    open.push(*index);
                }
                Event::Delta { index, .. } => assert!(open.contains(index)),
                Event::BlockEnd { index } => {
                    assert!(open.contains(index));
                    open.retain(|other| other != index);
                }
                Event::Finish { .. } => {
                    assert!(open.is_empty() && !finished);
                    finished = true;
                }
                Event::Failed(_) => failed = true,
                Event::Begin { .. } | Event::Ping => {}
            }
            encoder.event(&event, &mut out);
        };
        for event in &events {
            if !decoder.event(event.as_bytes(), &mut check) {
                break;
            }
        }
        decoder.end(&mut check);
        encoder.end(&mut out);
        for event in String::from_utf8(out).unwrap().split("\n\n").filter(|event| !event.is_empty()) {
            let data = event.strip_prefix("data: ").unwrap();
            assert!(data == "[DONE]" || serde_json::from_str::<Value>(data).is_ok(), "{data}");
        }
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..64)) {
        let mut decoder = StreamDecoder::default();
        decoder.event(&bytes, &mut |_| {});
        prop_assert!(!chat::decode_error(400, &bytes).message.is_empty());
    }
}
