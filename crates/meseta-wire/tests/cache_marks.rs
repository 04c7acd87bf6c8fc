//! Marks for the prompt cache: where they are placed, and that they change nothing else.

use meseta_wire::cache_marks::{Placement, insert, mark, may_be_marked};
use meseta_wire::conversation::Request;
use meseta_wire::dialect::{Destination, Dialect, Quirks, decode_request, encode_request};
use meseta_wire::feature::Losses;
use meseta_wire::json::Json;
use proptest::prelude::*;
use serde_json::{Value, json};

fn marked(body: &str, placement: Placement, minimum: u64) -> Option<String> {
    insert(body.as_bytes(), placement, minimum).map(|bytes| String::from_utf8(bytes).unwrap())
}

const MARK: &str = r#","cache_control":{"type":"ephemeral"}"#;

#[test]
fn messages_are_marked_behind_the_prompt_and_the_last_block() {
    let body = r#"{ "system" : [{"type":"text","text":"a"} , {"type":"text","text":"b" }], "messages":[{"role":"user","content":[{"type":"text","text":"x"}]}], "z":1.50}"#;
    let expected = format!(
        r#"{{ "system" : [{{"type":"text","text":"a"}} , {{"type":"text","text":"b" {MARK}}}], "messages":[{{"role":"user","content":[{{"type":"text","text":"x"{MARK}}}]}}], "z":1.50}}"#
    );
    assert_eq!(marked(body, Placement::Messages, 0).unwrap(), expected);
    // Texts that stand alone become blocks; without a system prompt the last tool takes the mark.
    let body = r#"{"tools":[{"name":"f","input_schema":{}}],"messages":[{"role":"user","content":"x\n"}]}"#;
    let expected = format!(
        r#"{{"tools":[{{"name":"f","input_schema":{{}}{MARK}}}],"messages":[{{"role":"user","content":[{{"type":"text","text":"x\n"{MARK}}}]}}]}}"#
    );
    assert_eq!(marked(body, Placement::Messages, 0).unwrap(), expected);
}

#[test]
fn chat_is_marked_in_its_prompt_and_the_last_turn_of_the_user() {
    let body = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"u"},{"role":"assistant","tool_calls":[]},{"role":"tool","content":"t"}]}"#;
    let expected = format!(
        r#"{{"messages":[{{"role":"system","content":[{{"type":"text","text":"s"{MARK}}}]}},{{"role":"user","content":[{{"type":"text","text":"u"{MARK}}}]}},{{"role":"assistant","tool_calls":[]}},{{"role":"tool","content":"t"}}]}}"#
    );
    assert_eq!(marked(body, Placement::ChatParts, 0).unwrap(), expected);
}

#[test]
fn what_cannot_or_must_not_be_marked_is_not() {
    for body in [
        r#"{"messages":[{"role":"user","content":" "}]}"#,
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":""}]}]}"#,
        r#"{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"}]}]}"#,
        r#"{"messages":[{"role":"user","content":[]}]}"#,
        r#"{"messages":[]}"#,
        r#"{"tools":[{"name":"f","defer_loading":true}],"messages":[]}"#,
        r#"{"tools":[{"type":"web_search_20250305","name":"web_search"}],"messages":[]}"#,
        r#"{"system":"s","messages":[{"role":"user","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}]}]}"#,
        r#"{"system":"s","system":"t","messages":[]}"#,
        "garbage",
        "",
    ] {
        assert_eq!(marked(body, Placement::Messages, 0), None, "{body}");
    }
    let short = r#"{"system":"s","messages":[{"role":"user","content":"x"}]}"#;
    assert_eq!(marked(short, Placement::Messages, 1024), None);
    // A short prompt before a long talk: only the talk is marked.
    let long =
        format!(r#"{{"system":"s","messages":[{{"role":"user","content":"{}"}}]}}"#, "word ".repeat(2_000));
    assert_eq!(marked(&long, Placement::Messages, 1024).unwrap().matches(MARK).count(), 1);
    assert_eq!(marked(&long, Placement::Converse, 1024), None);
}

#[test]
fn marks_of_clients_are_not_overlooked() {
    for (text, expected) in [
        (r#"{"cache_control":{"type":"ephemeral"}}"#, true),
        (r#"{"c\u0061che_control":{}}"#, true),
        (r#"{"cachePoint":{}}"#, true),
        (r#"{"prompt_cache_breakpoint":{}}"#, true),
        (r#"{"x":"the cache, \u00e9 and \u003c"}"#, false),
        (r#"{"prompt_cache_key":"k"}"#, false),
    ] {
        assert_eq!(may_be_marked(text.as_bytes()), expected, "{text}");
    }
}

fn translated(dialect: Dialect, model: &str, quirks: &Quirks, minimum: u64) -> (usize, String) {
    let text = json!({
        "messages": [
            {"role": "system", "content": "rules ".repeat(40)},
            {"role": "user", "content": "hello"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    })
    .to_string();
    let json = Json::parse(&text).unwrap();
    let mut losses = Losses::new(Dialect::OpenaiChat, dialect);
    let mut request = decode_request(Dialect::OpenaiChat, &json, &mut losses).unwrap();
    let placed = mark(&mut request, 100, minimum);
    let destination = Destination { model, max_output_tokens: 100, quirks };
    let body = encode_request(dialect, &request, &destination, &mut losses).unwrap();
    (placed, String::from_utf8(body).unwrap())
}

#[test]
fn translated_requests_are_marked_in_the_targets_words() {
    let quirks = Quirks { cache_control: true, ..Quirks::default() };
    let (placed, body) = translated(Dialect::AnthropicMessages, "claude-sonnet-4-5", &quirks, 10);
    assert_eq!((placed, body.matches("\"cache_control\"").count()), (2, 2), "{body}");
    let claude = "anthropic.claude-sonnet-4-5-20250929-v1:0";
    let (placed, body) = translated(Dialect::BedrockConverse, claude, &quirks, 10);
    assert_eq!((placed, body.matches("\"cachePoint\"").count()), (2, 2), "{body}");
    let (placed, body) = translated(Dialect::OpenaiChat, "anthropic/claude", &quirks, 10);
    assert_eq!((placed, body.matches("\"cache_control\"").count()), (2, 2), "{body}");
    assert_eq!(translated(Dialect::AnthropicMessages, "claude-sonnet-4-5", &quirks, 1_000).0, 0);
    // The prompt alone is shorter than 80 tokens, the whole is not.
    assert_eq!(translated(Dialect::AnthropicMessages, "claude-sonnet-4-5", &quirks, 80).0, 1);
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![" {0,2}", "[a-z\"\\\\é ]{1,12}"];
    let block = (prop::sample::select(vec!["text", "image", "thinking", "tool_result"]), text.clone())
        .prop_map(|(kind, text)| json!({"type": kind, "text": text}));
    let content = prop_oneof![
        text.prop_map(Value::from),
        prop::collection::vec(block, 0..4).prop_map(Value::from),
        Just(Value::Null),
    ];
    let role = prop::sample::select(vec!["system", "user", "assistant", "tool"]);
    let turn = (role, content.clone()).prop_map(|(role, content)| json!({"role": role, "content": content}));
    let tools = prop::collection::vec("[a-z]{1,5}".prop_map(|name| json!({"name": name})), 0..3);
    (content, prop::collection::vec(turn, 0..6), tools)
        .prop_map(|(system, messages, tools)| json!({"system": system, "messages": messages, "tools": tools}))
}

/// A request with its marks taken out and its texts all written as parts.
fn plain(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, _)| *key != "cache_control")
            .map(|(key, value)| match value {
                Value::String(text) if key == "content" || key == "system" => {
                    (key.clone(), json!([{"type": "text", "text": text}]))
                }
                value => (key.clone(), plain(value)),
            })
            .collect(),
        other => other.clone(),
    }
}

fn without_marks(text: &str) -> Option<String> {
    fn clear(request: &mut Request<'_>) {
        for message in &mut request.messages {
            for part in &mut message.parts {
                if let meseta_wire::conversation::Part::Text(text) = part {
                    text.cache = None;
                }
            }
        }
    }
    let json = Json::parse(text).ok()?;
    let mut losses = Losses::new(Dialect::OpenaiChat, Dialect::AnthropicMessages);
    let mut request = decode_request(Dialect::OpenaiChat, &json, &mut losses).ok()?;
    clear(&mut request);
    Some(format!("{request:?}"))
}

proptest! {
    #[test]
    fn marks_change_nothing_else(value in any_json()) {
        let text = value.to_string();
        for placement in [Placement::Messages, Placement::ChatParts] {
            if let Some(bytes) = insert(text.as_bytes(), placement, 0) {
                let marked: Value = serde_json::from_slice(&bytes).unwrap();
                prop_assert_eq!(plain(&marked), plain(&value));
                let marks = String::from_utf8(bytes).unwrap().matches(MARK).count();
                prop_assert!((1..=2).contains(&marks), "{}", marks);
            }
        }
    }

    #[test]
    fn a_marked_chat_is_the_same_conversation(turns in prop::collection::vec("[a-z ]{1,9}", 1..5)) {
        let messages: Vec<Value> = turns.iter().map(|text| json!({"role": "user", "content": text})).collect();
        let text = json!({"messages": messages}).to_string();
        if let Some(marked) = insert(text.as_bytes(), Placement::ChatParts, 0) {
            prop_assert_eq!(without_marks(std::str::from_utf8(&marked).unwrap()), without_marks(&text));
        }
    }

    #[test]
    fn any_bytes_are_survived(body: Vec<u8>) {
        prop_assert_eq!(insert(&body, Placement::Messages, 0), None);
    }
}
