use meseta_wire::conversation::{Block, Citation, Delta, Event, Failure, FailureKind, Finish, TokenLogprob};
use meseta_wire::json::Json;
use meseta_wire::responses;
use meseta_wire::signature::{Family, Signature};
use meseta_wire::usage::Usage;
use serde_json::{Value, json};

use super::answers::provider_answer;
use super::{context, events_of, read, written};

/// A stream as OpenAI tells it: a hidden thought, a told thought, a text with a source, a call.
pub fn provider_stream() -> Vec<Value> {
    let started = json!({"id": "resp_1", "object": "response", "created_at": 1_750_000_000, "status": "in_progress",
        "model": "gpt-5-mini", "output": [], "usage": null});
    let mut finished = provider_answer();
    finished["output"] = json!([]);
    let mut events = vec![
        json!({"type": "response.created", "response": started}),
        json!({"type": "response.in_progress", "response": started}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"id": "rs_0", "type": "reasoning", "summary": []}}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": {"id": "rs_0", "type": "reasoning", "summary": [], "encrypted_content": "hidden"}}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": {"id": "rs_1", "type": "reasoning", "summary": []}}),
    ];
    for (part, text) in [(0, "First."), (1, "Second.")] {
        let place =
            |kind: &str| json!({"type": kind, "item_id": "rs_1", "output_index": 1, "summary_index": part});
        let with = |kind: &str, key: &str, value: Value| {
            let mut event = place(kind);
            event[key] = value;
            event
        };
        let whole = json!({"type": "summary_text", "text": text});
        events.extend([
            with(
                "response.reasoning_summary_part.added",
                "part",
                json!({"type": "summary_text", "text": ""}),
            ),
            with("response.reasoning_summary_text.delta", "delta", json!(text)),
            with("response.reasoning_summary_text.done", "text", json!(text)),
            with("response.reasoning_summary_part.done", "part", whole),
        ]);
    }
    let text = |kind: &str, key: &str, value: Value| {
        let mut event =
            json!({"type": kind, "item_id": "msg_1", "output_index": 2, "content_index": 0, "logprobs": []});
        event[key] = value;
        event
    };
    events.extend([
        json!({"type": "response.output_item.done", "output_index": 1, "item": {"id": "rs_1", "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "First."}, {"type": "summary_text", "text": "Second."}], "encrypted_content": "told"}}),
        json!({"type": "response.output_item.added", "output_index": 2, "item": {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}}),
        text("response.content_part.added", "part", json!({"type": "output_text", "annotations": [], "text": ""})),
        text("response.output_text.delta", "delta", json!("It ")),
        text("response.output_text.delta", "delta", json!("rains.")),
        text("response.output_text.annotation.added", "annotation", json!({"type": "url_citation", "url": "https://met.example", "title": "Met", "start_index": 0, "end_index": 9})),
        text("response.output_text.done", "text", json!("It rains.")),
        text("response.content_part.done", "part", json!({"type": "output_text", "annotations": [], "text": "It rains."})),
        json!({"type": "response.output_item.done", "output_index": 2, "item": {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [{"type": "output_text", "text": "It rains."}]}}),
        json!({"type": "response.output_item.added", "output_index": 3, "item": {"id": "fc_1", "type": "function_call", "status": "in_progress", "arguments": "", "call_id": "call_1", "name": "umbrella"}}),
        json!({"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 3, "delta": "{\"size\""}),
        json!({"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 3, "delta": ":2}"}),
        json!({"type": "response.function_call_arguments.done", "item_id": "fc_1", "output_index": 3, "arguments": "{\"size\":2}"}),
        json!({"type": "response.output_item.done", "output_index": 3, "item": {"id": "fc_1", "type": "function_call", "status": "completed", "arguments": "{\"size\":2}", "call_id": "call_1", "name": "umbrella"}}),
        json!({"type": "response.completed", "response": finished}),
    ]);
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = json!(number);
    }
    events
}

#[test]
fn a_providers_stream_is_read() {
    let (events, whole) = read(&provider_stream());
    assert!(whole);
    assert_eq!(
        events,
        [
            r#"Begin { id: Some("resp_1"), model: Some("gpt-5-mini"), created: Some(1750000000), usage: None }"#,
            r#"BlockBegin { index: 0, block: RedactedThought(Signature { family: OpenAi, value: "hidden" }) }"#,
            "BlockEnd { index: 0 }",
            r#"BlockBegin { index: 1, block: Thought { id: Some("rs_1") } }"#,
            r#"Delta { index: 1, delta: Thought("First.") }"#,
            r#"Delta { index: 1, delta: Thought("\n\n") }"#,
            r#"Delta { index: 1, delta: Thought("Second.") }"#,
            r#"Delta { index: 1, delta: Signature(Signature { family: OpenAi, value: "told" }) }"#,
            "BlockEnd { index: 1 }",
            "BlockBegin { index: 2, block: Text }",
            r#"Delta { index: 2, delta: Text("It ") }"#,
            r#"Delta { index: 2, delta: Text("rains.") }"#,
            r#"Delta { index: 2, delta: Citation(Citation { url: Some("https://met.example"), title: Some("Met"), cited: None, start: Some(0), end: Some(9) }) }"#,
            "BlockEnd { index: 2 }",
            r#"BlockBegin { index: 3, block: ToolCall { id: "call_1", name: "umbrella", custom: false, signature: None } }"#,
            r#"Delta { index: 3, delta: Arguments("{\"size\"") }"#,
            r#"Delta { index: 3, delta: Arguments(":2}") }"#,
            "BlockEnd { index: 3 }",
            "Finish { finish: ToolCalls, usage: Some(Usage { input: 30, cached: 10, cache_write: 4, output: 20, reasoning: 8 }) }",
        ]
    );
}

/// Only the provider's sign of life is one: clients count pings, and what says something else is not to become one.
#[test]
fn only_a_sign_of_life_is_a_ping() {
    let (events, _) = read(&[
        json!({"type": "response.created", "response": {"id": "resp_1"}}),
        json!({"type": "response.in_progress", "response": {"id": "resp_1"}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "web_search_call", "id": "ws_1"}}),
        json!({"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws_1"}),
        json!({"type": "keepalive", "sequence_number": 4}),
    ]);
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[1], "Ping");
}

#[test]
fn a_server_that_leaves_deltas_out_is_read_too() {
    let (events, whole) = read(&[
        json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": "reasoning", "id": "rs_0", "summary": [{"text": "T"}]}}),
        json!({"type": "response.output_item.done", "output_index": 1, "item": {"type": "message", "content": [{"type": "output_text", "text": "A"}, {"type": "refusal", "refusal": "B"}]}}),
        json!({"type": "response.output_item.done", "output_index": 2, "item": {"type": "custom_tool_call", "call_id": "c", "name": "sh", "input": "ls"}}),
        json!({"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}}),
    ]);
    assert!(whole);
    assert_eq!(
        events,
        [
            "Begin { id: None, model: None, created: None, usage: None }",
            r#"BlockBegin { index: 0, block: Thought { id: Some("rs_0") } }"#,
            r#"Delta { index: 0, delta: Thought("T") }"#,
            "BlockEnd { index: 0 }",
            "BlockBegin { index: 1, block: Text }",
            r#"Delta { index: 1, delta: Text("A") }"#,
            "BlockEnd { index: 1 }",
            "BlockBegin { index: 2, block: Refusal }",
            r#"Delta { index: 2, delta: Refusal("B") }"#,
            "BlockEnd { index: 2 }",
            r#"BlockBegin { index: 3, block: ToolCall { id: "c", name: "sh", custom: true, signature: None } }"#,
            r#"Delta { index: 3, delta: Arguments("ls") }"#,
            "BlockEnd { index: 3 }",
            "Finish { finish: Length, usage: None }",
        ]
    );
}

#[test]
fn failures_end_the_stream() {
    for (event, kind, message) in [
        (
            json!({"type": "error", "code": "rate_limit_exceeded", "message": "Slow", "param": null}),
            FailureKind::RateLimit,
            "Slow",
        ),
        (
            json!({"type": "error", "error": {"type": "invalid_request_error", "code": "context_length_exceeded", "message": "Long"}}),
            FailureKind::InvalidRequest,
            "Long",
        ),
        (json!({"error": {"message": "Down", "type": "server_error"}}), FailureKind::Server, "Down"),
        (
            json!({"type": "response.failed", "response": {"error": {"code": "server_is_overloaded", "message": "Busy"}}}),
            FailureKind::Overloaded,
            "Busy",
        ),
        (json!({"type": "response.failed"}), FailureKind::Server, "did not say"),
        (json!({"type": 5}), FailureKind::Server, "without a type"),
        (json!([]), FailureKind::Server, "no JSON object"),
    ] {
        let mut decoder = responses::StreamDecoder::default();
        let mut told = Vec::new();
        let text = event.to_string();
        let more = decoder.event(text.as_bytes(), &mut |event| {
            let Event::Failed(failure) = event else { panic!("{event:?}") };
            told.push((failure.kind, failure.message.into_owned()));
        });
        assert!(!more && !decoder.end(&mut |_| ()), "{event}");
        assert_eq!(told.len(), 1);
        assert!(told[0].0 == kind && told[0].1.contains(message), "{told:?}");
        assert!(!decoder.event(b"{}", &mut |event| panic!("{event:?}")));
    }
}

#[test]
fn a_stream_without_its_last_word_was_cut_off() {
    let stream = provider_stream();
    assert!(!read(&stream[..stream.len() - 1]).1);
    assert!(!read(&[json!({"type": "response.created", "response": {}})]).1);
}

fn begin() -> Event<'static> {
    Event::Begin { id: None, model: Some("claude".into()), created: None, usage: None }
}

fn delta(index: u32, delta: Delta<'static>) -> Event<'static> {
    Event::Delta { index, delta }
}

fn call(id: &'static str, custom: bool, signature: Option<Signature<'static>>) -> Block<'static> {
    Block::ToolCall { id: id.into(), name: "f".into(), custom, signature }
}

pub fn told() -> Vec<Event<'static>> {
    let anthropic = |value: &'static str| Signature::new(Family::Anthropic, value);
    vec![
        begin(),
        Event::Ping,
        Event::BlockBegin { index: 0, block: Block::Thought { id: None } },
        delta(0, Delta::Thought("Hm".into())),
        delta(0, Delta::Signature(anthropic("s"))),
        Event::BlockEnd { index: 0 },
        Event::BlockBegin { index: 1, block: Block::RedactedThought(anthropic("r")) },
        Event::BlockEnd { index: 1 },
        Event::BlockBegin { index: 2, block: Block::Text },
        delta(2, Delta::Text("Grü".into())),
        delta(
            2,
            Delta::Logprobs(vec![TokenLogprob {
                token: "G".into(),
                logprob: -0.5,
                top: vec![("H".into(), -1.0)],
            }]),
        ),
        delta(2, Delta::Text("ße \"x\"".into())),
        delta(2, Delta::Citation(Citation { url: Some("https://a.example".into()), ..Citation::default() })),
        Event::BlockEnd { index: 2 },
        Event::BlockBegin { index: 3, block: Block::Text },
        delta(3, Delta::Text("more".into())),
        Event::BlockEnd { index: 3 },
        Event::BlockBegin { index: 4, block: call("c1", false, Some(Signature::new(Family::Gemini, "g"))) },
        Event::BlockBegin { index: 5, block: call("c2", true, None) },
        delta(5, Delta::Arguments("ls".into())),
        delta(4, Delta::Arguments("{\"a\":".into())),
        delta(4, Delta::Arguments("1}".into())),
        Event::BlockEnd { index: 4 },
        Event::BlockEnd { index: 5 },
        Event::BlockBegin { index: 6, block: Block::Refusal },
        delta(6, Delta::Refusal("No".into())),
        Event::BlockEnd { index: 6 },
        Event::Finish {
            finish: Finish::ToolCalls,
            usage: Some(Usage { input: 9, cached: 1, cache_write: 0, output: 4, reasoning: 2 }),
        },
    ]
}

#[test]
fn a_clients_stream_is_written_as_openai_writes_it() {
    let (events, encoder) = written(&told());
    let kinds: Vec<&str> =
        events.iter().filter_map(|event| event["type"].as_str()?.strip_prefix("response.")).collect();
    assert_eq!(
        kinds,
        [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.delta",
            "output_text.annotation.added",
            "output_text.done",
            "content_part.done",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "output_item.done",
            "output_item.added",
            "output_item.added",
            "custom_tool_call_input.delta",
            "function_call_arguments.delta",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "custom_tool_call_input.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "refusal.delta",
            "refusal.done",
            "content_part.done",
            "output_item.done",
            "completed",
        ]
    );
    assert_eq!(
        events[12],
        json!({"type": "response.output_text.delta", "sequence_number": 12, "item_id": "msg_42_2", "output_index": 2,
               "content_index": 0, "delta": "Grü", "logprobs": []})
    );
    assert_eq!(
        events[15]["annotation"],
        json!({"type": "url_citation", "url": "https://a.example", "title": "", "start_index": 0, "end_index": 9})
    );
    let last = &events.last().unwrap()["response"];
    assert_eq!(last["output"][2]["content"][0]["text"], "Grüße \"x\"");
    assert_eq!(last["output"][2]["content"][1]["text"], "more");
    assert_eq!(last["usage"]["total_tokens"], 13);
    // Every item ends as the last event repeats it.
    let done: Vec<&Value> =
        events.iter().filter(|event| event["type"] == "response.output_item.done").collect();
    assert_eq!(done.len(), last["output"].as_array().unwrap().len());
    for event in done {
        let index = usize::try_from(event["output_index"].as_u64().unwrap()).unwrap();
        assert_eq!(event["item"], last["output"][index]);
    }
    let kept: Value = serde_json::from_slice(encoder.completed().unwrap()).unwrap();
    assert_eq!(&kept, last);
    assert!(encoder.losses().is_empty());
}

#[test]
fn a_stream_and_a_whole_answer_say_the_same() {
    let (events, _) = written(&told());
    let last = events.last().unwrap()["response"].to_string();
    let json = Json::parse(&last).unwrap();
    let answer = responses::decode_answer(&json).unwrap();
    let mut losses = super::between(meseta_wire::dialect::Dialect::OpenaiResponses);
    let bytes = responses::encode_answer(&answer, &context(), &mut losses);
    let again: Value = serde_json::from_slice(&bytes).unwrap();
    // A provider's own signatures are not ours to mark again, and ids of items are kept.
    assert_eq!(again["output"], events.last().unwrap()["response"]["output"]);
}

#[test]
fn what_was_written_is_read_as_what_was_told() {
    let (events, _) = written(&told());
    let (events, whole) = read(&events);
    assert!(whole);
    for word in [r#"Thought("Hm")"#, r#"Text("Grü")"#, r#"Arguments("ls")"#, r#"Refusal("No")"#, "ToolCalls"]
    {
        assert!(events.iter().any(|event| event.contains(word)), "{word}: {events:#?}");
    }
}

#[test]
fn failures_are_told_twice_and_nothing_follows() {
    let failure = Failure { message: "Busy".into(), kind: FailureKind::Overloaded, ..Failure::default() };
    let (events, encoder) = written(&[
        begin(),
        Event::BlockBegin { index: 0, block: Block::Text },
        delta(0, Delta::Text("A".into())),
        Event::Failed(failure),
        delta(0, Delta::Text("B".into())),
        Event::Finish { finish: Finish::Stop, usage: None },
    ]);
    let [.., error, failed] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(
        error,
        &json!({"type": "error", "sequence_number": 5, "code": "server_is_overloaded", "message": "Busy", "param": null})
    );
    assert_eq!(failed["response"]["status"], "failed");
    assert_eq!(failed["response"]["error"]["message"], "Busy");
    assert_eq!(failed["response"]["output"][0]["content"][0]["text"], "A");
    assert!(encoder.completed().is_none());
}

#[test]
fn a_cut_answer_is_incomplete() {
    let (events, encoder) = written(&[
        begin(),
        Event::BlockBegin { index: 0, block: Block::Text },
        delta(0, Delta::Text("A".into())),
        Event::Finish { finish: Finish::Length, usage: None },
    ]);
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.incomplete");
    assert_eq!(last["response"]["output"][0]["status"], "incomplete");
    assert!(encoder.completed().is_some());
}

#[test]
fn a_refusal_is_complete_only_in_its_own_words() {
    let refused = |block: Block<'static>, words: Delta<'static>| {
        let (events, _) = written(&[
            begin(),
            Event::BlockBegin { index: 0, block },
            delta(0, words),
            Event::Finish { finish: Finish::Refusal, usage: None },
        ]);
        events.last().unwrap().clone()
    };
    let last = refused(Block::Refusal, Delta::Refusal("No.".into()));
    assert_eq!(
        (&last["type"], &last["response"]["status"]),
        (&json!("response.completed"), &json!("completed"))
    );
    let last = refused(Block::Text, Delta::Text("No.".into()));
    assert_eq!(
        (&last["type"], &last["response"]["status"]),
        (&json!("response.incomplete"), &json!("incomplete"))
    );
    assert_eq!(last["response"]["incomplete_details"], json!({"reason": "content_filter"}));
}

#[test]
fn an_endless_answer_fails() {
    let mut encoder = responses::StreamEncoder::new(context());
    let mut out = Vec::new();
    let megabyte = "a".repeat(1 << 20);
    encoder.event(&Event::BlockBegin { index: 0, block: Block::Text }, &mut out);
    for _ in 0..40 {
        out.clear();
        encoder.event(&Event::Delta { index: 0, delta: Delta::Text(megabyte.as_str().into()) }, &mut out);
        if String::from_utf8_lossy(&out).contains("response.failed") {
            break;
        }
    }
    assert!(String::from_utf8_lossy(&out).contains("32 MiB"));
    out.clear();
    encoder.end(&mut out);
    assert!(out.is_empty() && encoder.completed().is_none());
}

#[test]
fn an_answer_of_endless_parts_fails() {
    let events: Vec<Event<'_>> =
        (0..3_000).map(|index| Event::BlockBegin { index, block: Block::Text }).collect();
    let (events, encoder) = written(&events);
    assert_eq!(events.last().unwrap()["type"], "response.failed");
    assert!(encoder.completed().is_none());
}

#[test]
fn a_call_without_arguments_has_empty_ones() {
    let (events, _) = written(&[begin(), Event::BlockBegin { index: 7, block: call("c", false, None) }]);
    assert_eq!(events.last().unwrap()["response"]["output"][0]["arguments"], "{}");
    assert_eq!(events_of(b"").len(), 0);
}
