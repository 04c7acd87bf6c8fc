//! Whatever comes, nothing panics, and what is written is what the API takes.

use meseta_wire::dialect::{Destination, Quirks};
use meseta_wire::json::Json;
use meseta_wire::messages;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::streams::{STREAM, bytes, relay, split};
use super::{context, losses};

const WORDS: &[&str] = &[
    "model",
    "messages",
    "role",
    "user",
    "assistant",
    "system",
    "content",
    "type",
    "text",
    "image",
    "source",
    "base64",
    "media_type",
    "data",
    "url",
    "data:image/png;base64,AAAA",
    "file",
    "file_id",
    "document",
    "title",
    "context",
    "citations",
    "enabled",
    "search_result",
    "tool_use",
    "id",
    "name",
    "input",
    "tool_result",
    "tool_use_id",
    "is_error",
    "thinking",
    "signature",
    "meseta.gemini.x",
    "redacted_thinking",
    "cache_control",
    "ephemeral",
    "ttl",
    "1h",
    "tools",
    "input_schema",
    "strict",
    "custom",
    "web_search_20250305",
    "max_uses",
    "tool_choice",
    "auto",
    "any",
    "none",
    "tool",
    "disable_parallel_tool_use",
    "budget_tokens",
    "adaptive",
    "disabled",
    "display",
    "output_config",
    "effort",
    "format",
    "json_schema",
    "schema",
    "metadata",
    "user_id",
    "stop_sequences",
    "max_tokens",
    "temperature",
    "top_p",
    "stream",
    "usage",
    "input_tokens",
    "output_tokens",
    "stop_reason",
    "end_turn",
    "stop_sequence",
    "message",
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "ping",
    "error",
    "index",
    "delta",
    "content_block",
    "text_delta",
    "thinking_delta",
    "input_json_delta",
    "partial_json",
    "signature_delta",
    "citations_delta",
    "citation",
    "",
    "properties",
    "minimum",
    "anyOf",
];

fn tree() -> impl Strategy<Value = Value> {
    let word = || prop::sample::select(WORDS);
    let leaf = prop_oneof![
        4 => word().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => (0..6_u64).prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((word(), inner), 0..8).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

/// A request whose outside is right, so that the inside is reached.
fn request() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec![
        "text",
        "image",
        "document",
        "tool_use",
        "tool_result",
        "thinking",
        "redacted_thinking",
        "search_result",
    ]);
    let block = (kind, tree(), "[a-c.]{0,2}", tree()).prop_map(|(kind, any, id, input)| {
        json!({"type": kind, "text": id, "thinking": id, "signature": "meseta.gemini.x", "data": id, "id": id, "name": id,
               "tool_use_id": id, "content": any, "source": any, "input": if input.is_object() { input } else { json!({}) }})
    });
    let role = prop::sample::select(vec!["user", "assistant", "system"]);
    let content =
        prop_oneof![Just(json!("words ")), prop::collection::vec(block, 0..5).prop_map(Value::from)];
    let message = (role, content).prop_map(|(role, content)| json!({"role": role, "content": content}));
    (prop::collection::vec(message, 0..6), tree(), tree()).prop_map(|(messages, extra, schema)| {
        let mut request =
            json!({"messages": messages, "tools": [{"name": "t", "input_schema": schema, "strict": true}]});
        if let (Some(request), Some(extra)) = (request.as_object_mut(), extra.as_object()) {
            request.extend(extra.clone().into_iter().filter(|(key, _)| key != "messages"));
        }
        request
    })
}

/// What the API checks of every conversation.
fn check_conversation(request: &Value) {
    let messages = request["messages"].as_array().unwrap();
    let mut open: Vec<&str> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        assert_eq!(message["role"], if index % 2 == 0 { "user" } else { "assistant" });
        let Some(blocks) = message["content"].as_array() else { continue };
        assert!(!blocks.is_empty());
        assert!(!blocks.last().unwrap()["type"].as_str().unwrap().contains("thinking"));
        for block in blocks {
            if block["type"] == "text" {
                assert!(!block["text"].as_str().unwrap().trim().is_empty());
            }
        }
        let results: Vec<&str> = blocks.iter().filter_map(|block| block["tool_use_id"].as_str()).collect();
        let mut expected = std::mem::take(&mut open);
        let mut found = results.clone();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(expected, found);
        assert!(blocks.iter().take(results.len()).all(|block| block["type"] == "tool_result"));
        for call in blocks.iter().filter(|block| block["type"] == "tool_use") {
            let id = call["id"].as_str().unwrap();
            assert!(
                !id.is_empty() && id.chars().all(|one| one.is_ascii_alphanumeric() || "_-".contains(one))
            );
            assert!(call["input"].is_object());
            open.push(id);
        }
    }
    assert!(open.is_empty());
    assert!(!messages.is_empty());
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused(value in tree()) {
        let text = value.to_string();
        let json = Json::parse(&text).unwrap();
        let _ = messages::decode_request(&json, &mut losses());
        let _ = messages::check_limit(&json);
        if let Ok(answer) = messages::decode_answer(&json) {
            let body = messages::encode_answer(&answer, &context(), &mut losses());
            prop_assert!(serde_json::from_slice::<Value>(&body).is_ok());
        }
        let failure = messages::decode_error(500, text.as_bytes());
        let _ = messages::encode_error(&failure, "r");
    }

    #[test]
    fn what_is_read_is_written_as_the_api_wants_it(value in request(), model in prop::sample::select(
        vec!["claude-3-haiku-20240307", "claude-sonnet-4-5", "claude-opus-4-6", "claude-opus-5-5", "other"])) {
        let text = value.to_string();
        let json = Json::parse(&text).unwrap();
        let mut losses = losses();
        if let Ok(request) = messages::decode_request(&json, &mut losses) {
            let quirks = Quirks::default();
            let destination = Destination { model, max_output_tokens: 100, quirks: &quirks };
            if let Ok(body) = messages::encode_request(&request, &destination, &mut losses) {
                check_conversation(&serde_json::from_slice(&body).unwrap());
            }
            let _ = messages::encode_count(&request, &destination, &mut losses);
        }
    }

    #[test]
    fn any_events_make_a_stream(values in prop::collection::vec(tree(), 0..8), picks in prop::collection::vec(0..STREAM.len(), 0..24)) {
        let texts: Vec<String> = values.iter().map(Value::to_string).collect();
        let mut events: Vec<&[u8]> = picks.iter().map(|pick| STREAM[*pick].as_bytes()).collect();
        events.extend(texts.iter().map(String::as_bytes));
        let (_, out, _) = relay(&events);
        split(&out);
    }
}

#[test]
fn no_byte_of_a_stream_breaks_it() {
    let events = bytes(STREAM);
    for (place, event) in events.iter().enumerate() {
        for at in 0..event.len() {
            for byte in [b'"', b'9', b'}', 0xff] {
                let mut changed = event.to_vec();
                changed[at] = byte;
                // From the start of the block on, so that the piece finds it.
                let mut events = vec![events[0], events[1], events[11], events[15], &changed];
                events.extend(bytes(&STREAM[place + 1..]).into_iter().take(2));
                let (_, out, _) = relay(&events);
                split(&out);
            }
        }
    }
}
