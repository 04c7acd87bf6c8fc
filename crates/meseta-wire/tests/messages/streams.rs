//! Streams, read and written.

use std::borrow::Cow;

use meseta_wire::conversation::{Block, Citation, Delta, Event, Finish, TokenLogprob};
use meseta_wire::messages::{StreamDecoder, StreamEncoder};
use meseta_wire::signature::{Family, Signature};
use meseta_wire::sse;
use serde_json::{Value, json};

use super::context;

pub const STREAM: &[&str] = &[
    r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-4-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":0,"cache_read_input_tokens":5,"output_tokens":1}}}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
    r#"{"type": "ping"}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Let me\nsee \"it\"."}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB"}}"#,
    r#"{"type":"content_block_stop","index":0}"#,
    r#"{"type":"content_block_start","index":1,"content_block":{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}}"#,
    r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"query\":\"x\"}"}}"#,
    r#"{"type":"content_block_stop","index":1}"#,
    r#"{"type":"content_block_start","index":2,"content_block":{"type":"redacted_thinking","data":"Emw"}}"#,
    r#"{"type":"content_block_stop","index":2}"#,
    r#"{"type":"content_block_start","index":3,"content_block":{"type":"text","text":"","citations":[]}}"#,
    r#"{"type":"content_block_delta","index":3,"delta":{"type":"text_delta","text":"Grüße, 🌍"}}"#,
    r#"{"type":"content_block_delta","index":3,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location","url":"https://a.example","title":"A","cited_text":"a","encrypted_index":"E"}}}"#,
    r#"{"type":"content_block_stop","index":3}"#,
    r#"{"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"toolu_1","name":"book","input":{}}}"#,
    r#"{"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":""}}"#,
    r#"{"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"{\"day\":"}}"#,
    r#"{"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"1}"}}"#,
    r#"{"type":"content_block_stop","index":4}"#,
    r#"{"type":"content_block_start","index":5,"content_block":{"type":"tool_use","id":"toolu_2","name":"now","input":{}}}"#,
    r#"{"type":"content_block_stop","index":5}"#,
    r#"{"type":"event_of_tomorrow","index":"x"}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":89,"output_tokens_details":{"thinking_tokens":12}}}"#,
    r#"{"type":"message_stop"}"#,
];

/// Runs a stream through both ends; what the decoder says, what the client sees, and whether it ended well.
pub fn relay(events: &[&[u8]]) -> (Vec<String>, Vec<u8>, bool) {
    let mut decoder = StreamDecoder::default();
    let mut encoder = StreamEncoder::new(context());
    let mut said = Vec::new();
    let mut out = Vec::new();
    for data in events {
        let goes_on = decoder.event(data, &mut |event| {
            said.push(format!("{event:?}"));
            encoder.event(&event, &mut out);
        });
        if !goes_on {
            break;
        }
    }
    let ended = decoder.end(&mut |event| {
        said.push(format!("{event:?}"));
        encoder.event(&event, &mut out);
    });
    if ended {
        encoder.end(&mut out);
    }
    (said, out, ended)
}

pub fn bytes<'a>(events: &'a [&'a str]) -> Vec<&'a [u8]> {
    events.iter().map(|event| event.as_bytes()).collect()
}

/// Names and data of the events in a stream.
pub fn split(mut stream: &[u8]) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    while let Some(end) = sse::event_end(stream) {
        let (event, rest) = stream.split_at(end);
        let data = sse::event_data(event);
        let name =
            std::str::from_utf8(event).unwrap().lines().next().unwrap().strip_prefix("event: ").unwrap();
        events.push((name.to_owned(), serde_json::from_slice(&data).unwrap()));
        stream = rest;
    }
    assert!(stream.is_empty());
    events
}

#[test]
fn a_stream_is_the_same_behind_the_relay_but_for_what_is_the_providers() {
    let (said, out, ended) = relay(&bytes(STREAM));
    assert!(ended);
    assert!(said.last().unwrap().starts_with("Finish"), "{said:?}");
    let events = split(&out);
    for (name, data) in &events {
        assert_eq!(data["type"], **name);
    }
    let seen: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(seen[..3], ["message_start", "content_block_start", "ping"]);
    assert_eq!(seen[seen.len() - 2..], ["message_delta", "message_stop"]);
    let starts: Vec<_> = events
        .iter()
        .filter(|(name, _)| name == "content_block_start")
        .map(|(_, data)| (data["index"].as_u64().unwrap(), data["content_block"]["type"].as_str().unwrap()))
        .collect();
    assert_eq!(
        starts,
        [(0, "thinking"), (1, "redacted_thinking"), (2, "text"), (3, "tool_use"), (4, "tool_use")]
    );
    let mut pieces: Vec<Value> = STREAM
        .iter()
        .map(|event| serde_json::from_str::<Value>(event).unwrap())
        .filter(|event| event["type"] == "content_block_delta" && event["index"] != 1)
        .map(|event| event["delta"].clone())
        .filter(|delta| delta["partial_json"] != "")
        .collect();
    // The index belongs to the provider's search; the last call has no pieces of its own.
    pieces[3]["citation"]["encrypted_index"] = json!("meseta.none");
    pieces.push(json!({"type": "input_json_delta", "partial_json": "{}"}));
    let written: Vec<_> = events
        .iter()
        .filter(|(name, _)| name == "content_block_delta")
        .map(|(_, data)| data["delta"].clone())
        .collect();
    assert_eq!(written, pieces);
    let (_, end) = &events[events.len() - 2];
    assert_eq!(end["delta"]["stop_reason"], "tool_use");
    assert_eq!(
        end["usage"],
        json!({"input_tokens": 25, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 5, "output_tokens": 89,
               "output_tokens_details": {"thinking_tokens": 12}})
    );
    let again: Vec<String> = events.iter().map(|(_, data)| data.to_string()).collect();
    let (_, twice, _) = relay(&again.iter().map(String::as_bytes).collect::<Vec<_>>());
    assert_eq!(String::from_utf8(twice).unwrap(), String::from_utf8(out).unwrap());
}

#[test]
fn a_stream_that_is_cut_off_says_so_wherever_it_is_cut() {
    for length in 0..STREAM.len() {
        let (said, _, ended) = relay(&bytes(&STREAM[..length]));
        // Behind `message_delta` nothing is missing but the last word.
        assert_eq!(ended, length == STREAM.len() - 1, "{length}");
        assert_eq!(said.iter().any(|event| event.starts_with("Finish")), ended);
    }
}

#[test]
fn a_failure_in_the_stream_ends_it() {
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let (said, out, ended) = relay(&bytes(&[STREAM[0], STREAM[1], error, STREAM[3]]));
    assert!(!ended);
    assert!(said.last().unwrap().starts_with("Failed"));
    let events = split(&out);
    let (name, data) = events.last().unwrap();
    assert_eq!(name, "error");
    assert_eq!(data["error"], json!({"type": "overloaded_error", "message": "Overloaded"}));
    let (said, _, _) = relay(&[error.as_bytes()]);
    assert_eq!(said.len(), 1, "nothing begins: {said:?}");
    for garbage in
        ["nonsense", "[]", "{}", r#"{"type":"content_block_start"}"#, r#"{"type":"message_delta","delta":7}"#]
    {
        let (said, _, ended) = relay(&bytes(&[STREAM[0], garbage]));
        assert!(!ended);
        assert_eq!(
            said.last().unwrap().starts_with("Failed"),
            garbage != r#"{"type":"message_delta","delta":7}"#
        );
    }
}

pub fn show(events: &[Event<'_>]) -> (Vec<(String, Value)>, Vec<&'static str>) {
    let mut encoder = StreamEncoder::new(context());
    let mut out = Vec::new();
    for event in events {
        encoder.event(event, &mut out);
    }
    encoder.end(&mut out);
    (split(&out), encoder.losses().to_vec())
}

fn tool_block(id: &'static str, signature: Option<Signature<'static>>) -> Block<'static> {
    Block::ToolCall { id: id.into(), name: "look".into(), custom: false, signature }
}

fn begin() -> Event<'static> {
    Event::Begin { id: None, model: None, created: None, usage: None }
}

fn arguments(index: u32, text: &'static str) -> Event<'static> {
    Event::Delta { index, delta: Delta::Arguments(text.into()) }
}

#[test]
fn blocks_that_are_open_at_once_are_written_one_after_the_other() {
    let (events, _) = show(&[
        begin(),
        Event::BlockBegin { index: 0, block: tool_block("a", None) },
        Event::BlockBegin { index: 1, block: tool_block("b", None) },
        arguments(1, "{\"b\""),
        arguments(0, "{\"a\""),
        arguments(1, ":1}"),
        arguments(7, "nobody's"),
        Event::BlockEnd { index: 1 },
        arguments(0, ":0}"),
        Event::Finish { finish: Finish::Stop, usage: None },
    ]);
    let seen: Vec<String> = events
        .iter()
        .skip(1)
        .filter(|(name, _)| name != "ping")
        .map(|(_, data)| match data["type"].as_str().unwrap() {
            "content_block_start" => {
                format!("{} {}", data["index"], data["content_block"]["id"].as_str().unwrap())
            }
            "content_block_delta" => data["delta"]["partial_json"].as_str().unwrap().to_owned(),
            "content_block_stop" => "end".to_owned(),
            "message_delta" => data["delta"]["stop_reason"].as_str().unwrap().to_owned(),
            other => other.to_owned(),
        })
        .collect();
    assert_eq!(seen, ["0 a", "{\"a\"", ":0}", "end", "1 b", "{\"b\":1}", "end", "tool_use", "message_stop"]);
}

#[test]
fn more_waiting_than_is_held_fails_the_stream() {
    let big: Cow<'static, str> = "x".repeat(1 << 20).into();
    let mut events = vec![
        begin(),
        Event::BlockBegin { index: 0, block: Block::Text },
        Event::BlockBegin { index: 1, block: Block::Text },
    ];
    for _ in 0..5 {
        events.push(Event::Delta { index: 1, delta: Delta::Text(big.clone()) });
    }
    let (events, _) = show(&events);
    assert_eq!(events.last().unwrap().0, "error");
}

#[test]
fn signatures_custom_calls_and_losses_in_a_stream() {
    let gemini = Signature::new(Family::Gemini, "Cg==");
    let logprobs = Delta::Logprobs(vec![TokenLogprob::default()]);
    let (events, losses) = show(&[
        Event::BlockBegin { index: 0, block: tool_block("a", Some(gemini.clone())) },
        Event::BlockEnd { index: 0 },
        Event::BlockBegin { index: 1, block: Block::Thought { id: Some("rs_1".into()) } },
        Event::Delta { index: 1, delta: Delta::Thought("Hm".into()) },
        Event::Delta { index: 1, delta: Delta::Signature(gemini.clone()) },
        Event::BlockEnd { index: 1 },
        Event::BlockBegin { index: 2, block: tool_block("b", Some(gemini)) },
        Event::BlockEnd { index: 2 },
        Event::BlockBegin {
            index: 3,
            block: Block::ToolCall { id: "c".into(), name: "free".into(), custom: true, signature: None },
        },
        arguments(3, "say \"hi\""),
        Event::BlockEnd { index: 3 },
        Event::BlockBegin { index: 4, block: Block::Refusal },
        Event::Delta { index: 4, delta: Delta::Refusal("No.".into()) },
        Event::Delta { index: 4, delta: logprobs },
        Event::Delta { index: 4, delta: Delta::Citation(Citation::default()) },
    ]);
    let kinds: Vec<_> = events
        .iter()
        .filter(|(name, _)| name == "content_block_start")
        .map(|(_, data)| data["content_block"]["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["thinking", "tool_use", "thinking", "tool_use", "tool_use", "text"]);
    let custom: String = events
        .iter()
        .filter(|(_, data)| data["index"] == 4)
        .filter_map(|(_, data)| data["delta"]["partial_json"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(serde_json::from_str::<Value>(&custom).unwrap(), json!({"input": "say \"hi\""}));
    assert_eq!(losses, ["logprobs", "citations"]);
    assert_eq!(events.last().unwrap().0, "message_stop");
}
