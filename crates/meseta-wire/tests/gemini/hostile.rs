//! Whatever comes, nothing panics, and what is written is what the API takes.

use meseta_wire::conversation::{
    Answer, Block, Citation, Delta, Event, Failure, Finish, Image, Message, Part, Request, Role, Source,
    Text, Thought, TokenLogprob, ToolCall, ToolResult,
};
use meseta_wire::dialect::{Context, Destination, Quirks};
use meseta_wire::gemini::{self, StreamEncoder};
use meseta_wire::json::Json;
use meseta_wire::signature::{Family, Signature};
use meseta_wire::sse;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::answers::USAGE;
use super::streams::{STREAM, Seen, read_stream, relay};
use super::{conversation, encode, losses, message, text};

#[test]
fn every_broken_byte_of_a_stream_is_survived() {
    let mut replacements = vec![0, b'"', b'{', b'}', b'[', b'9', b'-', 0xff];
    replacements.extend(b"\\,");
    for (index, piece) in STREAM.iter().enumerate() {
        for place in 0..piece.len() {
            for replacement in &replacements {
                let mut broken = piece.as_bytes().to_vec();
                broken[place] = *replacement;
                let mut pieces: Vec<&[u8]> = STREAM.iter().map(|piece| piece.as_bytes()).collect();
                pieces[index] = &broken;
                relay(&pieces);
            }
        }
    }
}

fn keys() -> impl Strategy<Value = String> {
    proptest::sample::select(vec![
        "contents",
        "parts",
        "role",
        "text",
        "thought",
        "thoughtSignature",
        "functionCall",
        "functionResponse",
        "id",
        "name",
        "args",
        "response",
        "output",
        "error",
        "inlineData",
        "mimeType",
        "data",
        "fileData",
        "fileUri",
        "systemInstruction",
        "tools",
        "functionDeclarations",
        "parameters",
        "parametersJsonSchema",
        "googleSearch",
        "toolConfig",
        "functionCallingConfig",
        "mode",
        "allowedFunctionNames",
        "generationConfig",
        "thinkingConfig",
        "thinkingBudget",
        "thinkingLevel",
        "stopSequences",
        "seed",
        "responseSchema",
        "responseMimeType",
        "candidates",
        "content",
        "finishReason",
        "groundingMetadata",
        "groundingChunks",
        "groundingSupports",
        "segment",
        "startIndex",
        "endIndex",
        "partIndex",
        "groundingChunkIndices",
        "web",
        "uri",
        "title",
        "logprobsResult",
        "chosenCandidates",
        "topCandidates",
        "token",
        "logProbability",
        "usageMetadata",
        "promptTokenCount",
        "candidatesTokenCount",
        "thoughtsTokenCount",
        "cachedContentTokenCount",
        "toolUsePromptTokenCount",
        "modelVersion",
        "responseId",
        "promptFeedback",
        "blockReason",
        "code",
        "message",
        "status",
        "details",
        "reason",
        "type",
        "nullable",
        "items",
        "properties",
        "inline_data",
        "mediaResolution",
        "level",
    ])
    .prop_map(str::to_owned)
}

fn trees() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_u8..4).prop_map(Value::from),
        proptest::sample::select(vec![
            "user",
            "model",
            "STOP",
            "ANY",
            "image/png",
            "é",
            "",
            "{}",
            "application/json"
        ])
        .prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 96, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((keys(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Random trees hardly ever have the right outside; these do.
fn documents() -> impl Strategy<Value = Value> {
    prop_oneof![
        trees(),
        proptest::collection::vec(parts(), 0..4).prop_map(|turns| {
            let turns: Vec<Value> = turns
                .into_iter()
                .enumerate()
                .map(|(index, parts)| json!({"role": if index % 2 == 0 { "user" } else { "model" }, "parts": parts}))
                .collect();
            json!({"contents": turns})
        }),
        (parts(), trees(), trees()).prop_map(|(parts, metadata, usage)| json!({
            "candidates": [{"content": {"parts": parts}, "groundingMetadata": metadata, "finishReason": "STOP"}],
            "usageMetadata": usage,
        })),
    ]
}

fn parts() -> impl Strategy<Value = Value> {
    let part = prop_oneof![
        "\\PC{0,6}".prop_map(|text| json!({"text": text})),
        "\\PC{0,6}".prop_map(|text| json!({"text": text, "thought": true})),
        "[a-c]{0,2}".prop_map(|value| json!({"text": "", "thoughtSignature": value})),
        ("[a-c]", trees())
            .prop_map(|(name, args)| json!({"functionCall": {"name": name, "args": {"a": args}}})),
        ("[a-c]", trees()).prop_map(
            |(name, value)| json!({"functionResponse": {"name": name, "response": {"output": value}}})
        ),
        trees(),
    ];
    proptest::collection::vec(part, 0..5).prop_map(Value::from)
}

/// What Gemini's servers refuse whatever it says.
fn check_turns(document: &Value) {
    let turns = document["contents"].as_array().unwrap();
    for (index, turn) in turns.iter().enumerate() {
        let parts = turn["parts"].as_array().unwrap();
        assert!(!parts.is_empty(), "an empty turn");
        let count = |turn: Option<&Value>, key: &str| {
            let parts = turn.and_then(|turn| turn["parts"].as_array());
            parts.map_or(0, |parts| parts.iter().filter(|part| part.get(key).is_some()).count())
        };
        let calls = count(Some(turn), "functionCall");
        if calls > 0 {
            assert!(index > 0, "a call in answer to nothing: {document}");
            assert_ne!(turns[index - 1]["role"], "model", "{document}");
        }
        if calls > 0 && index + 1 < turns.len() {
            assert_eq!(calls, count(turns.get(index + 1), "functionResponse"), "{document}");
        }
        if count(Some(turn), "functionResponse") > 0 {
            let before = index.checked_sub(1).and_then(|before| turns.get(before));
            assert!(count(before, "functionCall") > 0, "results of no calls: {document}");
        }
    }
}

/// Any part, whether it may stand where it stands or not.
fn any_part() -> impl Strategy<Value = Part<'static>> {
    let signature = || {
        let families = vec![Family::Anthropic, Family::OpenAi, Family::Gemini];
        proptest::option::of((proptest::sample::select(families), "[a-d]{0,2}"))
            .prop_map(|signed| signed.map(|(family, value)| Signature::new(family, value)))
    };
    let thought = (".{0,3}", signature(), any::<bool>()).prop_map(|(text, signature, redacted)| {
        Part::Thought(Thought { id: None, text: text.into(), signature, redacted })
    });
    let arguments = proptest::sample::select(vec!["{}", "", "[1]", "{\"a\":1}", "{", "free text"]);
    let call = ("[a-d]", "[fg]", arguments, any::<bool>(), signature()).prop_map(
        |(id, name, arguments, custom, signature)| {
            Part::ToolCall(ToolCall {
                id: id.into(),
                name: name.into(),
                arguments: arguments.into(),
                custom,
                signature,
                cache: None,
            })
        },
    );
    let image = any::<bool>().prop_map(|url| {
        let source = if url {
            Source::Url("https://a.example/x.gif".into())
        } else {
            Source::Base64 { media_type: "image/png".into(), data: "iVBORw0K".into() }
        };
        Part::Image(Image { source, detail: Some("high".into()), cache: None })
    });
    let words = || ".{0,4}".prop_map(|words| Part::Text(Text { text: words.into(), ..Text::default() }));
    let inside = proptest::collection::vec(prop_oneof![words(), image.clone()], 0..3);
    let result = ("[a-d]", inside, any::<bool>()).prop_map(|(id, parts, error)| {
        Part::ToolResult(ToolResult { id: id.into(), name: None, parts, error, custom: false, cache: None })
    });
    let refusal = ".{0,3}".prop_map(|words| Part::Refusal(words.into()));
    prop_oneof![words(), thought, call.clone(), call, image, result.clone(), result, refusal]
}

fn any_request() -> impl Strategy<Value = Request<'static>> {
    let roles = vec![Role::System, Role::Developer, Role::User, Role::Assistant, Role::Assistant, Role::Tool];
    let message = (proptest::sample::select(roles), proptest::collection::vec(any_part(), 0..5))
        .prop_map(|(role, parts)| Message { role, name: None, parts });
    proptest::collection::vec(message, 0..7).prop_map(conversation)
}

fn any_event() -> impl Strategy<Value = Event<'static>> {
    let delta = prop_oneof![
        "\\PC{0,5}".prop_map(|text| Delta::Text(text.into())),
        "\\PC{0,5}".prop_map(|text| Delta::Thought(text.into())),
        "[{}\":a1]{0,5}".prop_map(|text| Delta::Arguments(text.into())),
        "[ab]{0,3}".prop_map(|value| Delta::Signature(Signature::new(Family::Anthropic, value))),
        (any::<Option<u64>>(), any::<Option<u64>>()).prop_map(|(start, end)| {
            let url = Some("https://a.example".into());
            Delta::Citation(Citation { url, start, end, ..Citation::default() })
        }),
        any::<f64>().prop_map(|logprob| {
            Delta::Logprobs(vec![TokenLogprob {
                token: "x".into(),
                logprob,
                top: vec![("y".into(), logprob)],
            }])
        }),
    ];
    let block = prop_oneof![
        Just(Block::Text),
        Just(Block::Refusal),
        Just(Block::Thought { id: None }),
        Just(Block::RedactedThought(Signature::new(Family::OpenAi, "s"))),
        any::<bool>().prop_map(|custom| Block::ToolCall {
            id: "a".into(),
            name: "f".into(),
            custom,
            signature: None
        }),
    ];
    let index = 0_u32..4;
    prop_oneof![
        8 => (index.clone(), delta).prop_map(|(index, delta)| Event::Delta { index, delta }),
        6 => (index.clone(), block).prop_map(|(index, block)| Event::BlockBegin { index, block }),
        3 => index.prop_map(|index| Event::BlockEnd { index }),
        1 => Just(Event::Ping),
        1 => Just(Event::Finish { finish: Finish::Stop, usage: Some(USAGE) }),
        1 => Just(Event::Failed(Failure::default())),
    ]
}

proptest! {
    #[test]
    fn every_request_is_written_as_the_provider_wants_it(request in any_request()) {
        for model in ["gemini-3-pro", "gemini-2.5-flash"] {
            let quirks = Quirks::default();
            let destination = Destination { model, max_output_tokens: 9, quirks: &quirks };
            let written = gemini::encode_request(&request, &destination, &mut losses()).unwrap();
            let document: Value = serde_json::from_slice(&written).unwrap();
            check_turns(&document);
            let text = document.to_string();
            let json = Json::parse(&text).unwrap();
            prop_assert!(gemini::decode_request(&json, &mut losses()).is_ok(), "{}", text);
        }
    }

    #[test]
    fn every_sequence_of_events_is_written(events in proptest::collection::vec(any_event(), 0..24)) {
        let mut encoder = StreamEncoder::new(Context::default());
        let mut out = Vec::new();
        for event in &events {
            encoder.event(event, &mut out);
        }
        encoder.end(&mut out);
        let mut rest = out.as_slice();
        let mut finished = 0;
        while let Some(end) = sse::event_end(rest) {
            let (event, behind) = rest.split_at(end);
            prop_assert_eq!(finished, 0, "something follows the end");
            let document: Value = serde_json::from_slice(&sse::event_data(event)).unwrap();
            finished += usize::from(document["candidates"][0].get("finishReason").is_some());
            finished += usize::from(document.get("error").is_some());
            rest = behind;
        }
        prop_assert!(rest.is_empty());
        let last = events.iter().any(|event| matches!(event, Event::Finish { .. } | Event::Failed(_)));
        prop_assert_eq!(finished, usize::from(last));
    }

    #[test]
    fn no_document_panics(document in documents(), status in any::<u16>()) {
        let text = document.to_string();
        let json = Json::parse(&text).unwrap();
        if let Ok(request) = gemini::decode_request(&json, &mut losses()) {
            for model in ["gemini-3-pro", "gemini-2.5-flash", "x"] {
                let quirks = Quirks::default();
                let destination = Destination { model, max_output_tokens: 9, quirks: &quirks };
                if let Ok(written) = gemini::encode_request(&request, &destination, &mut losses()) {
                    check_turns(&serde_json::from_slice(&written).unwrap());
                }
            }
        }
        if let Ok(answer) = gemini::decode_answer(&json) {
            let written = gemini::encode_answer(&answer, &Context::default(), &mut losses());
            let _: Value = serde_json::from_slice(&written).unwrap();
        }
        let failure = gemini::decode_error(status, text.as_bytes());
        let _: Value = serde_json::from_slice(&gemini::encode_error(&failure)).unwrap();
    }

    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..300), status in any::<u16>()) {
        gemini::decode_error(status, &body);
        relay(&[&body, &body]);
    }

    #[test]
    fn every_stream_has_well_formed_blocks(pieces in proptest::collection::vec(documents(), 0..5)) {
        let texts: Vec<String> = pieces.iter().map(Value::to_string).collect();
        let pieces: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        let (seen, whole) = read_stream(pieces.clone());
        let mut open = Vec::new();
        let mut begun = 0;
        for event in &seen {
            match event {
                Seen::Text(index) | Seen::Thought(index) | Seen::Redacted(index, _) | Seen::Call(index, ..) => {
                    prop_assert_eq!(*index, begun);
                    begun += 1;
                    open.push(*index);
                }
                Seen::Said(index, _) | Seen::Signed(index, _) | Seen::Cited(index, ..) | Seen::Logprobs(index, _) => {
                    prop_assert!(open.contains(index));
                }
                Seen::End(index) => {
                    prop_assert!(open.contains(index));
                    open.retain(|other| other != index);
                }
                Seen::Finish(..) => prop_assert!(whole && open.is_empty()),
                Seen::Begin(..) | Seen::Failed(..) => {}
            }
        }
        for data in relay(&pieces) {
            let _: Value = serde_json::from_slice(&data).unwrap();
        }
    }

    #[test]
    fn words_survive_the_round_trip(turns in proptest::collection::vec("\\PC{1,12}", 1..6)) {
        let messages = turns.iter().enumerate().map(|(index, words)| {
            message(if index % 2 == 0 { Role::User } else { Role::Assistant }, vec![text(words)])
        });
        let request = Request { include_usage: true, ..conversation(messages.collect()) };
        let written = encode(&request).to_string();
        let json = Json::parse(&written).unwrap();
        prop_assert_eq!(gemini::decode_request(&json, &mut losses()).unwrap(), request);
    }

    #[test]
    fn whole_and_streamed_answers_say_the_same(parts in parts()) {
        let document = json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "responseId": "r"});
        let written = document.to_string();
        let json = Json::parse(&written).unwrap();
        let answer: Answer<'_> = gemini::decode_answer(&json).unwrap();
        let (seen, _) = read_stream([written.as_bytes()]);
        let whole: Vec<String> = answer.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.text.to_string()),
            Part::ToolCall(call) => Some(format!("{}{}", call.id, call.arguments)),
            _ => None,
        }).collect();
        let mut streamed: Vec<String> = Vec::new();
        let mut text = false;
        for event in seen {
            match event {
                Seen::Text(_) => { text = true; streamed.push(String::new()); }
                Seen::Call(_, id, ..) => { text = true; streamed.push(id); }
                Seen::Thought(_) | Seen::Redacted(..) => text = false,
                Seen::Said(_, piece) if text => streamed.last_mut().unwrap().push_str(&piece),
                _ => {}
            }
        }
        // A signature between two texts parts them in a whole answer only.
        prop_assert_eq!(whole.concat(), streamed.concat());
    }
}
