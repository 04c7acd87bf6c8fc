//! What a client makes of a stream, and whether the stream is what its API promises.

use meseta_wire::conversation::{Block, Delta, Event, Finish};
use meseta_wire::dialect::{Dialect, StreamDecoder};
use meseta_wire::sse;
use meseta_wire::usage::Usage;
use serde_json::Value;

#[derive(Debug, Default)]
pub struct Heard {
    pub text: String,
    pub thoughts: String,
    pub calls: Vec<(String, Value)>,
    pub finish: Option<Finish<'static>>,
    pub usage: Option<Usage>,
}

/// Reads a whole stream; panics where it is not in order.
pub fn hear(client: Dialect, bytes: &[u8]) -> Heard {
    let data = events(bytes);
    let mut heard = Heard::default();
    let mut arguments: Vec<(u32, String, String)> = Vec::new();
    let mut open = Vec::new();
    let mut take = |event: Event<'_>| match event {
        Event::Begin { .. } | Event::Ping => {}
        Event::BlockBegin { index, block } => {
            open.push(index);
            if let Block::ToolCall { name, .. } = block {
                arguments.push((index, name.into_owned(), String::new()));
            }
        }
        Event::Delta { index, delta } => {
            assert!(open.contains(&index), "a delta of a block that is not open");
            match delta {
                Delta::Text(text) => heard.text.push_str(&text),
                Delta::Thought(text) => heard.thoughts.push_str(&text),
                Delta::Arguments(text) => {
                    let call = arguments.iter_mut().rfind(|(of, ..)| *of == index).expect("a call");
                    call.2.push_str(&text);
                }
                _ => {}
            }
        }
        Event::BlockEnd { index } => open.retain(|one| *one != index),
        Event::Finish { finish, usage } => {
            assert!(heard.finish.is_none(), "it ends twice");
            assert!(open.is_empty(), "blocks are open at the end");
            heard.usage = usage;
            heard.finish = Some(match finish {
                Finish::Stop => Finish::Stop,
                Finish::ToolCalls => Finish::ToolCalls,
                other => panic!("an end that nobody asked for: {other:?}"),
            });
        }
        Event::Failed(failure) => panic!("failed: {failure:?}"),
    };
    let mut decoder = StreamDecoder::new(client);
    for data in &data {
        decoder.event("", data.as_bytes(), &mut take);
    }
    assert!(decoder.end(&mut take), "the stream has no end");
    for (_, name, text) in arguments {
        let arguments = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        heard.calls.push((name, arguments));
    }
    let json: Vec<Value> = data
        .iter()
        .filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect();
    match client {
        Dialect::OpenaiChat => check_chat(&data, &json),
        Dialect::OpenaiResponses => check_responses(&json, &heard),
        _ => check_messages(&json),
    }
    heard
}

fn events(bytes: &[u8]) -> Vec<String> {
    let mut rest = bytes;
    let mut events = Vec::new();
    while !rest.is_empty() {
        let end = sse::event_end(rest).expect("whole events");
        let data = String::from_utf8(sse::event_data(&rest[..end]).into_owned()).expect("UTF-8");
        if !data.is_empty() {
            events.push(data);
        }
        rest = &rest[end..];
    }
    events
}

fn check_chat(data: &[String], chunks: &[Value]) {
    assert_eq!(data.iter().filter(|data| *data == "[DONE]").count(), 1, "[DONE] once");
    assert_eq!(data.last().map(String::as_str), Some("[DONE]"));
    for chunk in chunks {
        for key in ["id", "model", "created", "object"] {
            assert_eq!(chunk[key], chunks[0][key], "{key} of {chunk}");
        }
    }
    let of = |pointer: &str| {
        chunks.iter().filter(|chunk| chunk.pointer(pointer).is_some_and(|value| !value.is_null())).count()
    };
    assert_eq!(of("/choices/0/delta/role"), 1, "the role is said once");
    assert_eq!(of("/choices/0/finish_reason"), 1, "the end is said once");
}

fn check_responses(events: &[Value], heard: &Heard) {
    let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((count("response.created"), count("response.completed")), (1, 1));
    let mut items: Vec<&Value> = Vec::new();
    let mut done = 0;
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number, "{event}");
        let place = || usize::try_from(event["output_index"].as_u64().expect("a place")).expect("a place");
        match event["type"].as_str().expect("a type") {
            "response.output_item.added" => {
                assert_eq!(place(), items.len(), "{event}");
                items.push(&event["item"]);
            }
            "response.output_item.done" => {
                done += 1;
                assert_eq!(event["item"]["id"], items[place()]["id"], "{event}");
                assert_eq!(event["item"]["type"], items[place()]["type"], "{event}");
            }
            _ if event.get("item_id").is_some() => {
                assert_eq!(event["item_id"], items[place()]["id"], "{event}");
            }
            _ => {}
        }
    }
    assert_eq!(done, items.len(), "every item ends");
    let last = &events.last().expect("events")["response"];
    assert_eq!(last["id"], events[0]["response"]["id"]);
    for (key, value) in events[0]["response"].as_object().expect("a response") {
        if !["status", "output", "usage"].contains(&key.as_str()) {
            assert_eq!(&last[key], value, "{key}");
        }
    }
    let output = last["output"].as_array().expect("an output");
    let ids =
        |items: &mut dyn Iterator<Item = &Value>| items.map(|item| item["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&mut output.iter()), ids(&mut items.iter().copied()));
    let parts = output.iter().filter_map(|item| item["content"].as_array()).flatten();
    let text: String = parts.filter_map(|part| part["text"].as_str()).collect();
    assert_eq!(text, heard.text, "the last event repeats the text");
}

fn check_messages(events: &[Value]) {
    let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((count("message_start"), count("message_delta"), count("message_stop")), (1, 1, 1));
    let (mut next, mut open) = (0, None);
    for event in events {
        let index = event["index"].as_u64();
        match event["type"].as_str().expect("a type") {
            "content_block_start" => {
                assert!(open.is_none() && index == Some(next), "{event}");
                open = index;
                next += 1;
            }
            "content_block_delta" => assert!(open.is_some() && index == open, "{event}"),
            "content_block_stop" => assert_eq!(open.take(), index, "{event}"),
            "message_delta" | "message_stop" => assert_eq!(open, None, "{event}"),
            _ => {}
        }
    }
}
