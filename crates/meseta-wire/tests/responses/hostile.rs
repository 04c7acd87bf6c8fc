use std::cell::RefCell;

use meseta_wire::conversation::{Block, Citation, Delta, Event, Failure, Finish, TokenLogprob};
use meseta_wire::dialect::{Destination, Dialect, Quirks};
use meseta_wire::feature::Losses;
use meseta_wire::json::Json;
use meseta_wire::responses;
use meseta_wire::signature::{Family, Signature};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::answers::provider_answer;
use super::context;
use super::streams::provider_stream;

const KEYS: &[&str] = &[
    "type",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "text",
    "format",
    "schema",
    "reasoning",
    "effort",
    "summary",
    "include",
    "top_logprobs",
    "metadata",
    "role",
    "content",
    "image_url",
    "file_data",
    "file_id",
    "input_audio",
    "data",
    "call_id",
    "id",
    "name",
    "arguments",
    "output",
    "encrypted_content",
    "parameters",
    "filters",
    "allowed_domains",
    "mode",
    "max_tool_calls",
    "response",
    "item",
    "part",
    "delta",
    "output_index",
    "content_index",
    "summary_index",
    "annotation",
    "annotations",
    "logprobs",
    "error",
    "code",
    "message",
    "usage",
    "input_tokens",
    "input_tokens_details",
    "cached_tokens",
    "output_tokens",
    "status",
    "incomplete_details",
    "reason",
    "created_at",
    "token",
    "logprob",
    "refusal",
    "url",
    "start_index",
    "previous_response_id",
    "service_tier",
    "prompt_cache_breakpoint",
    "ttl",
];

const WORDS: &[&str] = &[
    "message",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    "reasoning",
    "item_reference",
    "input_text",
    "output_text",
    "input_image",
    "input_file",
    "input_audio",
    "refusal",
    "user",
    "assistant",
    "system",
    "developer",
    "function",
    "custom",
    "web_search",
    "allowed_tools",
    "json_schema",
    "auto",
    "required",
    "none",
    "high",
    "data:image/png;base64,AA==",
    "data:,",
    "data:é;base64,",
    "meseta.gemini.x",
    "meseta.anthropic.y",
    "url_citation",
    "file_citation",
    "summary_text",
    "completed",
    "incomplete",
    "failed",
    "max_output_tokens",
    "response.created",
    "response.output_item.added",
    "response.output_item.done",
    "response.content_part.added",
    "response.content_part.done",
    "response.output_text.delta",
    "response.output_text.annotation.added",
    "response.refusal.delta",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.custom_tool_call_input.done",
    "response.reasoning_summary_text.delta",
    "response.reasoning_text.delta",
    "response.completed",
    "response.failed",
    "error",
    "",
];

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => prop::sample::select(WORDS).prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        1 => prop_oneof![any::<i64>().prop_map(Value::from), any::<u64>().prop_map(Value::from), any::<f64>().prop_map(Value::from)],
        1 => (0_u64..4).prop_map(Value::from),
        1 => prop::sample::select(vec![Value::Null, json!(true), json!(false)]),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            1 => vec(inner.clone(), 0..5).prop_map(Value::from),
            3 => object(inner),
        ]
    })
}

fn object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    vec((prop::sample::select(KEYS), inner), 0..8).prop_map(|fields| {
        Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())
    })
}

/// An item or part with the fields that its kind needs, so that random documents get past the first complaint.
fn item() -> impl Strategy<Value = Value> {
    let text = || prop::sample::select(vec!["", "a", "call_1", "meseta.gemini.x", "é"]);
    let content = (0_usize..6, text(), tree()).prop_map(|(kind, text, tree)| match kind {
        0 => json!({"type": "input_text", "text": text}),
        1 => json!({"type": "output_text", "text": text, "annotations": [tree]}),
        2 => json!({"type": "input_image", "file_id": text, "detail": text}),
        3 => json!({"type": "input_file", "file_data": "AA==", "filename": text}),
        4 => json!({"type": "refusal", "refusal": text}),
        _ => json!({"type": text}),
    });
    (0_usize..6, text(), vec(content, 0..3)).prop_map(|(kind, text, content)| match kind {
        0 => json!({"role": "user", "content": content}),
        1 => json!({"role": "assistant", "content": content}),
        2 => json!({"type": "reasoning", "id": text, "encrypted_content": text, "summary": [{"text": text}]}),
        3 => json!({"type": "reasoning", "summary": [], "encrypted_content": text}),
        4 => json!({"type": "function_call", "call_id": text, "name": text, "arguments": text}),
        _ => json!({"type": "custom_tool_call_output", "call_id": text, "output": content}),
    })
}

fn attempt(document: &Value) {
    let text = document.to_string();
    let Ok(json) = Json::parse(&text) else { return };
    let mut losses = Losses::new(Dialect::OpenaiResponses, Dialect::OpenaiResponses);
    if let Ok(request) = responses::decode_request(&json, &mut losses) {
        for pair in request.messages.windows(2) {
            assert_ne!(pair[0].role, pair[1].role, "neighbours of one role are one message");
        }
        let quirks = Quirks::default();
        let destination = Destination { model: "m", max_output_tokens: 1, quirks: &quirks };
        if let Ok(bytes) = responses::encode_request(&request, &destination, &mut losses) {
            // What we write, we take.
            let text = String::from_utf8(bytes).expect("text");
            let json = Json::parse(&text).expect("JSON");
            responses::decode_request(&json, &mut losses).expect("our own words");
        }
    }
    if let Ok(answer) = responses::decode_answer(&json) {
        let bytes = responses::encode_answer(&answer, &context(), &mut losses);
        serde_json::from_slice::<Value>(&bytes).expect("JSON");
    }
    let echo = responses::echo(&json);
    serde_json::from_str::<Value>(&echo).expect("JSON");
    let mut history = responses::output_items(&json);
    history.extend(responses::input_items(&json));
    responses::with_history(&json, history);
}

/// Reads the events and writes them again for a client; every event that is written is JSON.
fn stream_through(datas: &[Vec<u8>]) {
    let mut decoder = responses::StreamDecoder::default();
    let encoder = RefCell::new(responses::StreamEncoder::new(context()));
    let out = RefCell::new(Vec::new());
    let mut open = std::collections::BTreeSet::new();
    let mut next = 0;
    for data in datas {
        let more = decoder.event(data, &mut |event| {
            match &event {
                Event::BlockBegin { index, .. } => {
                    assert_eq!(*index, next, "blocks are counted");
                    next += 1;
                    open.insert(*index);
                }
                Event::Delta { index, .. } => assert!(open.contains(index), "deltas are of open blocks"),
                Event::BlockEnd { index } => assert!(open.remove(index), "open blocks end"),
                Event::Finish { .. } => assert!(open.is_empty(), "blocks end before the answer"),
                _ => {}
            }
            encoder.borrow_mut().event(&event, &mut out.borrow_mut());
        });
        if !more {
            break;
        }
    }
    decoder.end(&mut |event| encoder.borrow_mut().event(&event, &mut out.borrow_mut()));
    encoder.borrow_mut().end(&mut out.borrow_mut());
    super::events_of(&out.borrow());
}

fn event() -> impl Strategy<Value = Event<'static>> {
    let text =
        || prop::sample::select(vec!["", "a", "é\n\"", "{\"a\":1}"]).prop_map(std::borrow::Cow::Borrowed);
    let signature = || {
        (prop::sample::select(vec![Family::Anthropic, Family::OpenAi, Family::Gemini]), text())
            .prop_map(|(family, value)| Signature { family, value })
    };
    let block = prop_oneof![
        Just(Block::Text),
        Just(Block::Refusal),
        prop::option::of(text()).prop_map(|id| Block::Thought { id }),
        signature().prop_map(Block::RedactedThought),
        (text(), text(), any::<bool>(), prop::option::of(signature()))
            .prop_map(|(id, name, custom, signature)| Block::ToolCall { id, name, custom, signature }),
    ];
    let delta =
        prop_oneof![
            text().prop_map(Delta::Text),
            text().prop_map(Delta::Refusal),
            text().prop_map(Delta::Thought),
            text().prop_map(Delta::Arguments),
            signature().prop_map(Delta::Signature),
            (prop::option::of(text()), any::<Option<u64>>())
                .prop_map(|(url, end)| Delta::Citation(Citation { url, end, ..Citation::default() })),
            (text(), any::<f64>()).prop_map(|(token, logprob)| Delta::Logprobs(vec![TokenLogprob {
                token,
                logprob,
                top: vec![]
            }])),
        ];
    let index = || 0_u32..4;
    prop_oneof![
        1 => Just(Event::Begin { id: None, model: None, created: None, usage: None }),
        6 => (index(), block).prop_map(|(index, block)| Event::BlockBegin { index, block }),
        8 => (index(), delta).prop_map(|(index, delta)| Event::Delta { index, delta }),
        4 => index().prop_map(|index| Event::BlockEnd { index }),
        1 => prop::sample::select(vec![Finish::Stop, Finish::Length])
            .prop_map(|finish| Event::Finish { finish, usage: None }),
        1 => Just(Event::Ping),
        1 => Just(Event::Failed(Failure::default())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_document_is_too_odd(document in object(tree())) {
        attempt(&document);
    }

    #[test]
    fn no_conversation_is_too_odd(items in vec(item(), 0..8), rest in object(tree())) {
        attempt(&json!({"input": items, "tools": rest["tools"], "metadata": rest["metadata"]}));
        attempt(&json!({"output": items, "usage": rest, "status": "completed"}));
    }

    #[test]
    fn no_stream_is_too_odd(events in vec(object(tree()), 0..12)) {
        let datas: Vec<Vec<u8>> = events.iter().map(|event| event.to_string().into_bytes()).collect();
        stream_through(&datas);
    }

    #[test]
    fn a_stream_in_any_order_is_read(order in vec(0_usize..28, 0..40)) {
        let stream = provider_stream();
        let datas: Vec<Vec<u8>> =
            order.iter().filter_map(|index| stream.get(*index)).map(|event| event.to_string().into_bytes()).collect();
        stream_through(&datas);
    }

    #[test]
    fn events_in_any_order_are_written(events in vec(event(), 0..40)) {
        let (written, encoder) = super::written(&events);
        // Every item that is done is done once, and all of them are before the last event.
        let count = |kind: &str| written.iter().filter(|event| event["type"] == kind).count();
        let failed = count("response.failed") > 0;
        prop_assert_eq!(encoder.completed().is_some(), !failed);
        if !failed {
            prop_assert_eq!(count("response.output_item.added"), count("response.output_item.done"));
            prop_assert_eq!(count("response.content_part.added"), count("response.content_part.done"));
            prop_assert_eq!(count("response.completed") + count("response.incomplete"), 1);
        }
    }
}

#[test]
fn no_damage_to_a_byte_of_a_stream_panics() {
    let stream: Vec<Vec<u8>> = provider_stream().iter().map(|event| event.to_string().into_bytes()).collect();
    for (place, event) in stream.iter().enumerate() {
        for at in 0..event.len() {
            for byte in [b'"', b'{', b'0', b'}', 0xff] {
                let mut damaged = event.clone();
                damaged[at] = byte;
                let mut decoder = responses::StreamDecoder::default();
                let undamaged = stream.iter().take(place).map(Vec::as_slice);
                let rest = stream.iter().skip(place + 1).map(Vec::as_slice);
                for data in undamaged.chain([damaged.as_slice()]).chain(rest) {
                    if !decoder.event(data, &mut |_| ()) {
                        break;
                    }
                }
                decoder.end(&mut |_| ());
            }
        }
    }
}

#[test]
fn no_damage_to_a_byte_of_an_answer_panics() {
    let text = provider_answer().to_string();
    for at in 0..text.len() {
        for byte in [b'"', b'{', b'0', b'}', b'-'] {
            let mut damaged = text.clone().into_bytes();
            damaged[at] = byte;
            if let Ok(document) = serde_json::from_slice(&damaged) {
                attempt(&document);
            }
        }
    }
}

#[test]
fn a_stream_that_begins_blocks_without_end_fails() {
    let mut decoder = responses::StreamDecoder::default();
    let mut failed = false;
    for index in 0..10_000 {
        let event = json!({"type": "response.output_text.delta", "output_index": index, "delta": "a"});
        let more = decoder
            .event(event.to_string().as_bytes(), &mut |event| failed |= matches!(event, Event::Failed(_)));
        assert_eq!(more, !failed);
        if failed {
            return;
        }
    }
    panic!("10,000 blocks were open at once");
}
