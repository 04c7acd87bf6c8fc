//! The conversation in a request: whose turn it is, which result is of which call, and which thoughts may stand.

use meseta_wire::conversation::{Image, Part, Request, Role, Source, Thinking, Thought, ToolResult};
use meseta_wire::dialect::Dialect;
use meseta_wire::feature::Feature;
use meseta_wire::signature::{Family, Signature};
use serde_json::{Value, json};

use super::{asks, call, encode, from_chat, message, result, text};

#[test]
fn turns_alternate_and_every_call_is_answered_next() {
    let request = asks(vec![
        message(Role::System, vec![text("First.")]),
        message(Role::Assistant, vec![text("Hm"), call("a.1", "{}"), call("a.1", "[1"), call("c", "")]),
        message(Role::Tool, vec![result("a.1", "one"), result("gone", "orphan"), result("a.1", "two")]),
        message(Role::User, vec![text("  \n"), text("Go")]),
        message(Role::Developer, vec![text("Later.")]),
        message(Role::User, vec![text("on")]),
        message(Role::Assistant, vec![call("a.1", "{}")]),
    ]);
    let mut losses = from_chat();
    let written = encode(&request, "claude-haiku-4-5", &mut losses);
    assert_eq!(
        written["system"],
        json!([{"type": "text", "text": "First."}, {"type": "text", "text": "Later."}])
    );
    assert_eq!(
        written["messages"],
        json!([
            {"role": "user", "content": "Continue."},
            {"role": "assistant", "content": [
                {"type": "text", "text": "Hm"},
                {"type": "tool_use", "id": "a_1", "name": "look", "input": {}},
                {"type": "tool_use", "id": "a_1_2", "name": "look", "input": {"arguments": "[1"}},
                {"type": "tool_use", "id": "c", "name": "look", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a_1", "content": "one"},
                {"type": "tool_result", "tool_use_id": "a_1_2", "content": "two"},
                {"type": "tool_result", "tool_use_id": "c", "is_error": true, "content": "There is no result of this call."},
                {"type": "text", "text": "Result of an earlier call of a tool:"},
                {"type": "text", "text": "orphan"},
                {"type": "text", "text": "Go"},
                {"type": "text", "text": "on"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a_1_3", "name": "look", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a_1_3", "is_error": true, "content": "There is no result of this call."}]},
        ])
    );
    assert_eq!(
        written["tools"],
        json!([{"name": "look", "input_schema": {"type": "object", "properties": {}}}])
    );
    assert_eq!(written["tool_choice"], json!({"type": "none"}));
    assert!(losses.noted().iter().any(|note| note == "messages[0]"));
    assert!(losses.noted().iter().any(|note| note == "tool_result"));
    assert!(losses.noted().iter().any(|note| note == Feature::SystemInPlace.path(Dialect::OpenaiChat)));
}

#[test]
fn an_error_holds_text_only_and_the_rest_follows_it() {
    let image = Part::Image(Image {
        source: Source::Base64 { media_type: "image/png".into(), data: "aaaa".into() },
        detail: None,
        cache: None,
    });
    let failed = Part::ToolResult(ToolResult {
        id: "a".into(),
        name: None,
        parts: vec![text("broke"), image],
        error: true,
        custom: false,
        cache: None,
    });
    let request = asks(vec![
        message(Role::User, vec![text("Hi")]),
        message(Role::Assistant, vec![call("a", "{}")]),
        message(Role::Tool, vec![failed]),
    ]);
    let written = encode(&request, "claude-haiku-4-5", &mut from_chat());
    let content = &written["messages"][2]["content"];
    assert_eq!(content[0]["content"], json!([{"type": "text", "text": "broke"}]));
    assert_eq!(content[1]["type"], "image");
}

#[test]
fn the_answers_beginning_is_trimmed_or_followed_where_models_take_none() {
    let request =
        asks(vec![message(Role::User, vec![text("Hi")]), message(Role::Assistant, vec![text("So ")])]);
    let old = encode(&request, "claude-sonnet-4-5", &mut from_chat());
    assert_eq!(old["messages"][1]["content"][0]["text"], "So");
    assert_eq!(old["messages"].as_array().unwrap().len(), 2);
    let new = encode(&request, "claude-opus-4-7", &mut from_chat());
    assert_eq!(new["messages"][2], json!({"role": "user", "content": "Continue."}));
}

#[test]
fn thinking_stops_where_the_thoughts_before_a_call_are_anothers() {
    let thought = |family| {
        Part::Thought(Thought {
            text: "Hm.".into(),
            signature: Some(Signature::new(family, "sig")),
            ..Thought::default()
        })
    };
    let ask = |family, model: &str| {
        let request = Request {
            thinking: Some(Thinking { enabled: Some(true), ..Thinking::default() }),
            ..asks(vec![
                message(Role::User, vec![text("Hi")]),
                message(Role::Assistant, vec![thought(family), call("a", "{}")]),
                message(Role::Tool, vec![result("a", "x")]),
            ])
        };
        encode(&request, model, &mut from_chat())
    };
    let own = ask(Family::Anthropic, "claude-sonnet-4-5");
    assert_eq!(own["thinking"]["type"], "enabled");
    assert_eq!(
        own["messages"][1]["content"][0],
        json!({"type": "thinking", "thinking": "Hm.", "signature": "sig"})
    );
    let foreign = ask(Family::OpenAi, "claude-sonnet-4-5");
    assert_eq!(foreign["thinking"], Value::Null);
    assert_eq!(foreign["messages"][1]["content"][0]["type"], "tool_use");
    assert_eq!(ask(Family::OpenAi, "claude-opus-4-7")["thinking"]["type"], "adaptive");
}

#[test]
fn no_turn_ends_in_a_thought() {
    let thought = || {
        Part::Thought(Thought {
            text: "Hm.".into(),
            signature: Some(Signature::new(Family::Anthropic, "sig")),
            ..Thought::default()
        })
    };
    let request = asks(vec![
        message(Role::User, vec![text("Hi")]),
        message(Role::Assistant, vec![thought()]),
        message(Role::User, vec![text("there")]),
        message(Role::Assistant, vec![thought(), text("Yes?"), thought()]),
        message(Role::User, vec![text("Go")]),
    ]);
    let mut losses = from_chat();
    let written = encode(&request, "claude-sonnet-4-5", &mut losses);
    let types: Vec<Vec<&str>> = written["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| {
            let blocks = message["content"].as_array().unwrap().iter();
            blocks.map(|block| block["type"].as_str().unwrap()).collect()
        })
        .collect();
    assert_eq!(types, [vec!["text", "text"], vec!["thinking", "text"], vec!["text"]]);
    assert_eq!(losses.noted(), ["messages[].reasoning_details"]);
}
