//! Streams as providers tell them, where they differ from how we would; and any bytes at all.

use meseta_wire::conversation::{Delta, Event, Finish};
use meseta_wire::dialect::{Context, Dialect, StreamDecoder};
use meseta_wire::resume::{Facts, MOST_BYTES, Partial, Resumed, Resumption, Unsound};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::client::{Heard, hear};
use crate::sample::{Whole, events, numbered};

fn named(events: &[Value]) -> Vec<Vec<u8>> {
    events
        .iter()
        .map(|event| {
            format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("")).into_bytes()
        })
        .collect()
}

fn chunks(chunks: &[Value]) -> Vec<u8> {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect::<Vec<_>>().concat().into_bytes()
}

fn context() -> Context {
    Context { id: "ours".to_owned(), include_usage: true, ..Context::default() }
}

/// Goes on with the whole answer, or with what is left of its text, and hears the client.
fn go_on(client: Dialect, raw: &[u8], facts: Facts, whole: &str) -> (Resumption, Heard) {
    let partial = Partial::read(client, raw);
    let plan = partial.plan(&facts);
    let left = match plan {
        Resumption::Fresh => whole.to_owned(),
        Resumption::Continue => whole.strip_prefix(partial.text().trim_end()).expect("a part").to_owned(),
        _ => String::new(),
    };
    let mut out = raw.to_vec();
    let mut resumed = Resumed::passed(client, context(), raw, partial, &plan, &mut out).expect("in order");
    if !left.is_empty() {
        for event in events(&Whole { text: left, ..Whole::default() }) {
            assert!(resumed.event(&event, &mut out));
        }
    }
    resumed.end(Some(&plan), &mut out);
    (plan, hear(client, &out))
}

/// OpenAI's own: a reasoning item that says nothing, another with a summary of two parts, then a message.
fn openai() -> Vec<Vec<u8>> {
    let response = json!({
        "id": "resp_theirs", "object": "response", "created_at": 1_700_000_000, "status": "in_progress",
        "background": false, "error": null, "incomplete_details": null, "model": "gpt-5-2025-08-07", "output": [],
        "service_tier": "auto", "usage": null, "store": true, "a_new_field": {"kept": [1, 2.50]},
    });
    let mut events = vec![
        json!({"type": "response.created", "response": response}),
        json!({"type": "response.in_progress", "response": response}),
        json!({"type": "response.output_item.added", "output_index": 0,
            "item": {"id": "rs_1", "type": "reasoning", "summary": []}}),
        json!({"type": "response.output_item.done", "output_index": 0,
            "item": {"id": "rs_1", "type": "reasoning", "summary": []}}),
        json!({"type": "response.output_item.added", "output_index": 1,
            "item": {"id": "rs_2", "type": "reasoning", "summary": []}}),
    ];
    for part in 0..2 {
        let place = |kind: &str, more: Value| {
            let mut event = json!({
                "type": format!("response.reasoning_summary_{kind}"), "item_id": "rs_2", "output_index": 1,
                "summary_index": part,
            });
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            event
        };
        events.extend([
            place("part.added", json!({"part": {"type": "summary_text", "text": ""}})),
            place("text.delta", json!({"delta": "Thinking "})),
            place("text.delta", json!({"delta": "hard."})),
            place("text.done", json!({"text": "Thinking hard."})),
            place("part.done", json!({"part": {"type": "summary_text", "text": "Thinking hard."}})),
        ]);
    }
    events.push(json!({"type": "response.output_item.done", "output_index": 1, "item": {
        "id": "rs_2", "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "Thinking hard."}, {"type": "summary_text", "text": "Thinking hard."}],
    }}));
    events.push(json!({"type": "response.output_item.added", "output_index": 2, "item": {
        "id": "msg_1", "type": "message", "status": "in_progress", "content": [], "role": "assistant"}}));
    let place = json!({"item_id": "msg_1", "output_index": 2, "content_index": 0});
    let mut part = |kind: &str, more: Value| {
        let mut event = json!({"type": format!("response.{kind}")});
        event.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        events.push(event);
    };
    part("content_part.added", json!({"part": {"type": "output_text", "annotations": [], "text": ""}}));
    for word in ["Once ", "upon ", "a ", "time."] {
        part("output_text.delta", json!({"delta": word, "logprobs": [], "obfuscation": "x"}));
    }
    part("output_text.done", json!({"text": "Once upon a time."}));
    let whole = json!({"type": "output_text", "annotations": [], "text": "Once upon a time."});
    part("content_part.done", json!({"part": whole}));
    events.push(json!({"type": "response.output_item.done", "output_index": 2, "item": {
        "id": "msg_1", "type": "message", "status": "completed", "content": [whole], "role": "assistant"}}));
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = json!(number);
    }
    named(&events)
}

#[test]
fn a_response_of_openai_goes_on_under_its_own_names() {
    let raw = openai();
    for tools in [false, true] {
        for length in 0..=raw.len() {
            let facts = Facts { tools, ..Facts::default() };
            let (plan, heard) =
                go_on(Dialect::OpenaiResponses, &raw[..length].concat(), facts, "Once upon a time.");
            assert_eq!(heard.text, "Once upon a time.", "{length} {plan:?}");
            let closed = length + 3 > raw.len();
            assert_eq!(
                matches!(plan, Resumption::Finish(Finish::Stop)),
                closed && !tools,
                "{length} {plan:?}"
            );
        }
    }
}

#[test]
fn the_providers_own_fields_of_a_response_stay() {
    let raw = openai().concat();
    let partial = Partial::read(Dialect::OpenaiResponses, &raw);
    let plan = partial.plan(&Facts::default());
    let mut out = Vec::new();
    let mut resumed =
        Resumed::passed(Dialect::OpenaiResponses, context(), &raw, partial, &plan, &mut out).unwrap();
    resumed.end(Some(&plan), &mut out);
    let text = String::from_utf8(out).unwrap();
    let last = text.trim_end().rsplit("data: ").next().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["response"]["id"], "resp_theirs");
    assert_eq!(last["response"]["a_new_field"], json!({"kept": [1, 2.5]}));
    assert_eq!(last["response"]["output"][1]["summary"].as_array().unwrap().len(), 2);
    assert_eq!(last["response"]["output"][2]["content"][0]["text"], "Once upon a time.");
}

fn chat_chunk(delta: &Value, finish: Option<&str>) -> Value {
    json!({"id": "theirs", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt",
        "system_fingerprint": "fp", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}

#[test]
fn a_chat_answer_that_has_said_why_it_ended_lacks_its_last_word_alone() {
    let raw = chunks(&[
        chat_chunk(&json!({"role": "assistant", "content": ""}), None),
        chat_chunk(&json!({"content": "All of it."}), None),
        chat_chunk(&json!({}), Some("stop")),
    ]);
    let (plan, heard) = go_on(Dialect::OpenaiChat, &raw, Facts::default(), "All of it.");
    assert_eq!(plan, Resumption::Finish(Finish::Stop));
    assert_eq!(heard.text, "All of it.");
}

#[test]
fn a_call_of_chat_is_whole_with_its_last_brace() {
    let call = |arguments: &str, index: usize, name: bool| {
        let mut call = json!({"index": index, "function": {"arguments": arguments}});
        if name {
            call["id"] = json!(format!("call_{index}"));
            call["type"] = json!("function");
            call["function"]["name"] = json!("look");
        }
        chat_chunk(&json!({"tool_calls": [call]}), None)
    };
    let facts = Facts { tools: true, ..Facts::default() };
    let role = chat_chunk(&json!({"role": "assistant", "content": null}), None);
    let plan = |events: &[Value]| {
        let raw = chunks(&[std::slice::from_ref(&role), events].concat());
        Partial::read(Dialect::OpenaiChat, &raw).plan(&facts)
    };
    let half = Resumption::Unsound(Unsound::HalfCall);
    let whole = Resumption::Finish(Finish::ToolCalls);
    assert_eq!(plan(&[call("", 0, true)]), half);
    assert_eq!(plan(&[call("{\"a\": ", 0, true)]), half);
    assert_eq!(plan(&[call("{\"a\": ", 0, true), call("{}}", 0, false)]), whole);
    assert_eq!(plan(&[call("{}", 0, true), call("{", 1, true)]), half);
    assert_eq!(plan(&[call("", 0, true), call("{}", 1, true)]), whole);
    assert_eq!(plan(&[call("{\"a\"", 0, true), call("{}", 1, true)]), half);
    let raw = chunks(&[role.clone(), call("{\"a\": {}}", 0, true)]);
    let (_, heard) = go_on(Dialect::OpenaiChat, &raw, facts, "");
    assert_eq!(heard.calls, [("look".to_owned(), json!({"a": {}}))]);
    assert_eq!(heard.finish, Some(Finish::ToolCalls));
}

#[test]
fn tools_of_the_providers_own_and_citations_are_not_gone_on_from() {
    let start = json!({"type": "message_start", "message": {"id": "msg", "model": "claude", "usage": {"input_tokens": 3, "output_tokens": 1}}});
    let search = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}});
    let text = |index: u64| json!({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}});
    let word = |index: u64| json!({"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": "Word"}});
    let cite = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": {"type": "web_search_result_location", "url": "https://a.example", "title": "A", "cited_text": "a", "encrypted_index": "x"}}});
    let plan = |events: &[Value]| {
        Partial::read(Dialect::AnthropicMessages, &named(events).concat()).plan(&Facts::default())
    };
    assert_eq!(plan(&[start.clone(), text(0), word(0)]), Resumption::Continue);
    assert_eq!(plan(&[start.clone(), search, text(1), word(1)]), Resumption::Unsound(Unsound::OwnTools));
    assert_eq!(plan(&[start, text(0), word(0), cite]), Resumption::Unsound(Unsound::Citations));
}

fn told(text: &str) -> Partial {
    let raw = chunks(&[
        chat_chunk(&json!({"role": "assistant", "content": ""}), None),
        chat_chunk(&json!({"content": text}), None),
    ]);
    Partial::read(Dialect::OpenaiChat, &raw)
}

#[test]
fn only_plain_text_is_gone_on_with() {
    let plain = Facts::default();
    let text = told("A word");
    assert_eq!(text.plan(&plain), Resumption::Continue);
    for (facts, why) in [
        (Facts { structured: true, ..plain }, Unsound::Structured),
        (Facts { several: true, ..plain }, Unsound::SeveralAnswers),
        (Facts { logprobs: true, ..plain }, Unsound::Logprobs),
        (Facts { audio: true, ..plain }, Unsound::Audio),
    ] {
        assert_eq!(text.plan(&facts), Resumption::Unsound(why));
    }
    let structured = Facts { structured: true, ..plain };
    assert_eq!(told("{\"a\": 1}").plan(&structured), Resumption::Finish(Finish::Stop));
    assert_eq!(told("{\"a\": 1").plan(&structured), Resumption::Unsound(Unsound::Structured));
    assert_eq!(told("\n").plan(&plain), Resumption::Fresh);
    assert_eq!(Partial::default().plan(&Facts { several: true, ..plain }), Resumption::Fresh);
    let refusal = chunks(&[chat_chunk(&json!({"refusal": "I cannot"}), None)]);
    let refusal = Partial::read(Dialect::OpenaiChat, &refusal);
    assert_eq!(refusal.plan(&plain), Resumption::Unsound(Unsound::Refusal));
}

#[test]
fn a_failure_in_the_stream_is_no_part_of_the_answer() {
    let raw = chunks(&[
        chat_chunk(&json!({"role": "assistant", "content": "Half"}), None),
        json!({"error": {"message": "overloaded"}}),
        chat_chunk(&json!({"content": "never"}), Some("stop")),
    ]);
    let partial = Partial::read(Dialect::OpenaiChat, &raw);
    assert_eq!((partial.text().as_str(), partial.pieces), ("Half", 1));
    assert_eq!(partial.plan(&Facts::default()), Resumption::Continue);
    let cut = Partial::read(Dialect::OpenaiChat, &raw[..raw.len() / 5]);
    assert_eq!(cut.plan(&Facts::default()), Resumption::Fresh);
}

#[test]
fn an_answer_that_is_too_long_is_not_sent_again() {
    let mut partial = told("A word");
    let text = "x".repeat(MOST_BYTES);
    partial.take(&Event::Delta { index: 0, delta: Delta::Text(text.into()) });
    assert_eq!(partial.plan(&Facts::default()), Resumption::Unsound(Unsound::TooLong));
    assert!(partial.text().len() < MOST_BYTES);
}

#[test]
fn a_target_that_begins_anew_with_other_words_fails_the_stream() {
    let text = numbered(80, |number| format!("number {number} "));
    let mut out = Vec::new();
    let partial = told(&text);
    let plan = partial.plan(&Facts::default());
    let mut resumed = Resumed::passed(Dialect::OpenaiChat, context(), b"", partial, &plan, &mut out).unwrap();
    let other = Whole { text: format!("{}but then another", &text[..500]), ..Whole::default() };
    let all = events(&other);
    assert!(!all.iter().all(|event| resumed.event(event, &mut out)));
    let said = String::from_utf8(out).unwrap();
    assert!(said.contains("\"error\"") && said.contains("began anew"), "{said}");
}

/// Events of any kind, in any order, with numbers that fit nothing.
fn any_events() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let piece = (0..openai().len(), 0_u64..4).prop_map(|(which, shift)| {
        let mut event = openai().swap_remove(which);
        if shift == 3 {
            let text = String::from_utf8(event).unwrap();
            event = text.replace("\"output_index\":", "\"output_index\":1").into_bytes();
        }
        event
    });
    prop::collection::vec(prop_oneof![piece, prop::collection::vec(any::<u8>(), 0..30)], 0..20)
}

proptest! {
    #[test]
    fn no_bytes_harm(events in any_events(), which in 0_usize..5, raw in any::<bool>()) {
        let dialect = Dialect::ALL[which];
        let bytes = events.concat();
        let partial = Partial::read(dialect, &bytes);
        let plan = partial.plan(&Facts::default());
        let mut out = Vec::new();
        let client = if raw { dialect } else { Dialect::OpenaiResponses };
        if let Ok(mut resumed) = Resumed::passed(client, context(), &bytes, partial, &plan, &mut out) {
            let mut decoder = StreamDecoder::new(Dialect::OpenaiResponses);
            for event in &events {
                decoder.event("", &meseta_wire::sse::event_data(event), &mut |event| {
                    resumed.event(&event, &mut out);
                });
            }
            resumed.end(Some(&plan), &mut out);
        }
    }
}
