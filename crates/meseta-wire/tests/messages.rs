//! The Messages dialect: requests, answers, errors and streams, whole and broken.

use std::borrow::Cow;

use meseta_wire::conversation::*;
use meseta_wire::dialect::{Context, Destination, Dialect, Quirks};
use meseta_wire::feature::{Feature, Losses};
use meseta_wire::json::Json;
use meseta_wire::messages::{self, StreamDecoder, StreamEncoder};
use meseta_wire::signature::{Family, Signature};
use meseta_wire::sse;
use meseta_wire::usage::Usage;
use proptest::prelude::*;
use serde_json::{Value, json};

const REQUEST: &str = r#"{
  "model": "claude-opus-4-5", "max_tokens": 4096, "stream": true,
  "system": [{"type": "text", "text": "Be brief."},
             {"type": "text", "text": "You plan hikes.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
  "messages": [
    {"role": "user", "content": "Is the north path open?"},
    {"role": "user", "content": [
      {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
      {"type": "image", "source": {"type": "url", "url": "data:image/gif;base64,R0lGODlh"}},
      {"type": "document", "title": "Map", "context": "Of 2025", "citations": {"enabled": true},
       "source": {"type": "text", "media_type": "text/plain", "data": "A map."}},
      {"type": "document", "source": {"type": "content", "content": [
        {"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]}},
      {"type": "search_result", "title": "Paths", "source": "https://paths.example", "citations": {"enabled": true},
       "content": [{"type": "text", "text": "All open."}]},
      {"type": "container_upload", "file_id": "file_1"}]},
    {"role": "assistant", "content": [
      {"type": "thinking", "thinking": "Ask the warden.", "signature": "EqQBCkYIARgC"},
      {"type": "redacted_thinking", "data": "EmwKAhgBEgy"},
      {"type": "text", "text": "I will ask."},
      {"type": "tool_use", "id": "toolu_01", "name": "warden", "input": {"path": "north", "day": 1.50}},
      {"type": "tool_use", "id": "toolu_02", "name": "weather", "input": {}}]},
    {"role": "user", "content": [
      {"type": "tool_result", "tool_use_id": "toolu_02", "is_error": true, "content": "No data."},
      {"type": "tool_result", "tool_use_id": "toolu_01", "content": [
        {"type": "text", "text": "Open."},
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/"}}]},
      {"type": "text", "text": "And now?"}]}],
  "tools": [
    {"name": "warden", "description": "Asks the warden.", "strict": true, "input_schema": {
      "type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"], "additionalProperties": false}},
    {"type": "custom", "name": "weather", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}},
    {"type": "web_search_20250305", "name": "web_search", "max_uses": 3, "allowed_domains": ["paths.example"]}],
  "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
  "thinking": {"type": "enabled", "budget_tokens": 2048, "display": "summarized"},
  "output_config": {"effort": "medium", "format": {"type": "json_schema", "schema": {
     "type": "object", "properties": {"open": {"type": "boolean"}}, "required": ["open"], "additionalProperties": false}}},
  "top_p": 0.97, "stop_sequences": ["END"], "metadata": {"user_id": "u-17"},
  "service_tier": "auto", "inference_geo": "eu"
}"#;

fn losses() -> Losses {
    Losses::new(Dialect::AnthropicMessages, Dialect::AnthropicMessages)
}

fn from_chat() -> Losses {
    Losses::new(Dialect::OpenaiChat, Dialect::AnthropicMessages)
}

fn encode(request: &Request<'_>, model: &str, losses: &mut Losses) -> Value {
    let quirks = Quirks::default();
    let destination = Destination { model, max_output_tokens: 8192, quirks: &quirks };
    let body = messages::encode_request(request, &destination, losses).expect("nothing is refused");
    serde_json::from_slice(&body).expect("JSON")
}

fn text(text: &str) -> Part<'_> {
    Part::Text(Text { text: text.into(), ..Text::default() })
}

fn message(role: Role, parts: Vec<Part<'_>>) -> Message<'_> {
    Message { role, name: None, parts }
}

fn call<'a>(id: &'a str, arguments: &'a str) -> Part<'a> {
    Part::ToolCall(ToolCall {
        id: id.into(),
        name: "look".into(),
        arguments: arguments.into(),
        custom: false,
        signature: None,
        cache: None,
    })
}

fn result<'a>(id: &'a str, said: &'a str) -> Part<'a> {
    Part::ToolResult(ToolResult {
        id: id.into(),
        name: None,
        parts: vec![text(said)],
        error: false,
        custom: false,
        cache: None,
    })
}

fn asks(parts: Vec<Message<'_>>) -> Request<'_> {
    Request { messages: parts, ..Request::default() }
}

fn hello() -> Request<'static> {
    asks(vec![message(Role::User, vec![text("Hello")])])
}

#[test]
fn a_request_is_read_whole() {
    let json = Json::parse(REQUEST).unwrap();
    let mut losses = losses();
    let request = messages::decode_request(&json, &mut losses).unwrap();
    let roles: Vec<_> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::User]);
    let Part::Text(second) = &request.messages[0].parts[1] else { panic!("text") };
    assert_eq!(second.cache, Some(CacheMark { ttl: Some(CacheTtl::OneHour) }));
    let user = &request.messages[1].parts;
    assert_eq!(user[0], text("Is the north path open?"));
    let Part::Image(inline) = &user[2] else { panic!("an image") };
    assert_eq!(inline.source, Source::Base64 { media_type: "image/gif".into(), data: "R0lGODlh".into() });
    let Part::File(map) = &user[3] else { panic!("a file") };
    assert_eq!(
        (map.name.as_deref(), map.context.as_deref(), map.citations),
        (Some("Map"), Some("Of 2025"), true)
    );
    let Part::File(blocks) = &user[4] else { panic!("a file") };
    assert_eq!(blocks.source, Source::Text("One.\n\nTwo.".into()));
    assert_eq!(user[5], text("Paths\nhttps://paths.example\n\nAll open."));
    let assistant = &request.messages[2].parts;
    let Part::Thought(thought) = &assistant[0] else { panic!("a thought") };
    assert_eq!(thought.signature, Some(Signature::new(Family::Anthropic, "EqQBCkYIARgC")));
    let Part::ToolCall(warden) = &assistant[3] else { panic!("a call") };
    assert_eq!(warden.arguments, r#"{"path":"north","day":1.5}"#);
    let Part::ToolResult(weather) = &request.messages[3].parts[0] else { panic!("a result") };
    assert_eq!((weather.name.as_deref(), weather.error), (Some("weather"), true));
    assert_eq!(request.messages[4].parts, [text("And now?")]);
    let Tool::WebSearch(search) = &request.tools[2] else { panic!("a search") };
    assert_eq!((search.max_uses, search.allowed_domains.len()), (Some(3), 1));
    assert_eq!((request.parallel_tool_calls, &request.tool_choice), (Some(false), &Some(ToolChoice::Auto)));
    assert_eq!(
        request.thinking,
        Some(Thinking {
            enabled: Some(true),
            effort: Some(Effort::Medium),
            budget: Some(2048),
            shown: Some(true)
        })
    );
    assert_eq!((request.user.as_deref(), request.stop.len(), request.stream), (Some("u-17"), 1, true));
    assert_eq!(
        losses.noted(),
        ["inference_geo", "messages[].content[].citations", "messages[].content[].type"]
    );
}

#[test]
fn a_request_that_is_read_and_written_says_the_same() {
    let json = Json::parse(REQUEST).unwrap();
    let mut losses = losses();
    let request = messages::decode_request(&json, &mut losses).unwrap();
    let written = encode(&request, "claude-opus-4-5", &mut losses);
    let original: Value = serde_json::from_str(REQUEST).unwrap();
    for key in [
        "max_tokens",
        "system",
        "tool_choice",
        "thinking",
        "output_config",
        "top_p",
        "stop_sequences",
        "stream",
    ] {
        assert_eq!(written[key], original[key], "{key}");
    }
    assert_eq!(written["metadata"], json!({"user_id": "u-17"}));
    assert_eq!(written["tools"][0], original["tools"][0]);
    assert_eq!(written["tools"][2], original["tools"][2]);
    assert_eq!(written["messages"][1], original["messages"][2]);
    assert_eq!(written["messages"][2], original["messages"][3]);
    let quirks = Quirks::default();
    let destination = Destination { model: "claude-opus-4-5", max_output_tokens: 1, quirks: &quirks };
    let body = messages::encode_request(&request, &destination, &mut losses).unwrap();
    let again = Json::parse(std::str::from_utf8(&body).unwrap()).unwrap();
    let again = messages::decode_request(&again, &mut losses).unwrap();
    assert_eq!(again.messages, request.messages);
    assert_eq!(again.thinking, request.thinking);
}

#[test]
fn what_is_wrong_is_named_with_its_path() {
    for (body, path) in [
        (json!([]), ""),
        (json!({}), "messages"),
        (json!({"messages": {}}), "messages"),
        (json!({"messages": [{"role": "tool", "content": "x"}]}), "messages[0].role"),
        (json!({"messages": [{"role": "user"}]}), "messages[0].content"),
        (json!({"messages": [{"role": "user", "content": 5}]}), "messages[0].content"),
        (json!({"messages": [{"role": "user", "content": [{"text": "x"}]}]}), "messages[0].content[0].type"),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "text"}]}]}),
            "messages[0].content[0].text",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "data:image/png,x"}}]}]}),
            "messages[0].content[0].source.url",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "a", "name": "b", "input": {}}]}]}),
            "messages[0].content[0].type",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": 1}]}]}]}),
            "messages[0].content[0].content[0].text",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "2h"}}]}]}),
            "messages[0].content[0].cache_control.ttl",
        ),
        (json!({"messages": [], "system": [{"type": "image"}]}), "system[0].type"),
        (json!({"messages": [], "tools": [{"type": "bash_20250124", "name": "bash"}]}), "tools[0].type"),
        (json!({"messages": [], "tools": [{"name": "a"}]}), "tools[0].input_schema"),
        (json!({"messages": [], "tool_choice": {"type": "tool"}}), "tool_choice.name"),
        (json!({"messages": [], "thinking": {"type": "enabled"}}), "thinking.budget_tokens"),
        (json!({"messages": [], "output_config": {"effort": "huge"}}), "output_config.effort"),
        (
            json!({"messages": [], "output_config": {"format": {"type": "json_schema"}}}),
            "output_config.format.schema",
        ),
        (json!({"messages": [], "mcp_servers": [{"type": "url"}]}), "mcp_servers"),
        (json!({"messages": [], "thread": {"type": "create"}}), "thread"),
        (json!({"messages": [], "metadata": {"user_id": 5}}), "metadata.user_id"),
        (json!({"messages": [], "max_tokens": -1}), "max_tokens"),
    ] {
        let text = body.to_string();
        let json = Json::parse(&text).unwrap();
        let error = messages::decode_request(&json, &mut losses()).unwrap_err();
        assert_eq!(error.path, path, "{text}: {error}");
    }
}

#[test]
fn a_limit_is_demanded_of_a_request_for_an_answer() {
    let check = |text: &str| messages::check_limit(&Json::parse(text).unwrap());
    assert!(check(r#"{"max_tokens":1}"#).is_ok());
    assert_eq!(check(r#"{"max_tokens":null}"#).unwrap_err().to_string(), "`max_tokens` is missing.");
    assert_eq!(check(r#"{"max_tokens":"5"}"#).unwrap_err().path, "max_tokens");
}

#[test]
fn a_mark_on_the_request_is_a_mark_on_its_last_block() {
    let text = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[
        {"type":"text","text":"b"},{"type":"thinking","thinking":"c","signature":"s"}]}],
        "cache_control":{"type":"ephemeral"}}"#;
    let json = Json::parse(text).unwrap();
    let request = messages::decode_request(&json, &mut losses()).unwrap();
    let Part::Text(marked) = &request.messages[1].parts[0] else { panic!("text") };
    assert_eq!(marked.cache, Some(CacheMark { ttl: None }));
}

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
fn thinking_is_asked_for_as_the_model_knows_it() {
    let ask = |model: &str,
               thinking: Thinking,
               max_tokens: Option<u64>,
               tool_choice: Option<ToolChoice<'static>>| {
        let request = Request { thinking: Some(thinking), max_tokens, tool_choice, ..hello() };
        let mut losses = from_chat();
        let written = encode(&request, model, &mut losses);
        let noted = losses.noted().join(",");
        (written["thinking"].clone(), written["output_config"].clone(), written["max_tokens"].clone(), noted)
    };
    let high = Thinking { effort: Some(Effort::High), ..Thinking::default() };
    let budget = Thinking { budget: Some(3000), ..Thinking::default() };
    let off = Thinking { enabled: Some(false), ..Thinking::default() };
    let none = Value::Null;
    let of = |budget: u64| json!({"type": "enabled", "budget_tokens": budget});
    assert_eq!(
        ask("claude-sonnet-4-5", high, None, None),
        (of(24576), none.clone(), json!(28672), String::new())
    );
    assert_eq!(
        ask("claude-sonnet-4-5", high, Some(4000), None),
        (of(2000), none.clone(), json!(4000), String::new())
    );
    let refused = ask("claude-sonnet-4-5", high, Some(1024), None);
    assert_eq!((refused.0, refused.2), (none.clone(), json!(1024)));
    assert!(!refused.3.is_empty());
    let forced = ask("claude-sonnet-4-5", high, None, Some(ToolChoice::Required));
    assert_eq!((forced.0, forced.3.as_str()), (none.clone(), "reasoning_effort"));
    assert_eq!(
        ask("claude-opus-4-5", high, Some(30000), None),
        (of(24576), json!({"effort": "high"}), json!(30000), String::new())
    );
    let adaptive = json!({"type": "adaptive"});
    assert_eq!(
        ask("claude-opus-4-7", high, Some(500), None),
        (adaptive.clone(), json!({"effort": "high"}), json!(500), String::new())
    );
    assert_eq!(ask("claude-sonnet-4-6", budget, None, None).0, of(3000));
    let (thinking, output, _, noted) = ask("claude-opus-5", budget, None, None);
    assert_eq!((thinking, output), (adaptive, json!({"effort": "medium"})));
    assert!(!noted.is_empty());
    assert_eq!(ask("claude-3-5-haiku-latest", high, None, None).0, none);
    assert_eq!(ask("claude-opus-4-7", off, None, None).0, json!({"type": "disabled"}));
    assert_eq!(ask("claude-sonnet-5-5", off, None, None).0, json!({"type": "between_tools"}));
    let (thinking, output, _, noted) = ask("claude-fable-5", off, None, None);
    assert_eq!((thinking, output, noted.as_str()), (none, json!({"effort": "low"}), "reasoning_effort"));
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

#[test]
fn sampling_is_sent_as_far_as_the_model_takes_it() {
    let number = |value: f64| serde_json::Number::from_f64(value);
    let ask = |model: &str, temperature: f64, top_p: Option<f64>, thinking: bool| {
        let request = Request {
            sampling: Sampling {
                temperature: number(temperature),
                top_p: top_p.and_then(number),
                top_k: Some(5.into()),
                seed: Some(1.into()),
                ..Sampling::default()
            },
            thinking: thinking.then_some(Thinking { enabled: Some(true), ..Thinking::default() }),
            ..hello()
        };
        let mut losses = from_chat();
        let written = encode(&request, model, &mut losses);
        assert!(losses.noted().iter().any(|note| note == "seed"));
        (written["temperature"].clone(), written["top_p"].clone(), written["top_k"].clone())
    };
    let none = Value::Null;
    assert_eq!(ask("claude-3-haiku-20240307", 1.7, Some(0.5), false), (json!(1), json!(0.5), json!(5)));
    assert_eq!(ask("claude-sonnet-4-5", 0.2, Some(0.5), false), (json!(0.2), none.clone(), json!(5)));
    assert_eq!(ask("claude-sonnet-4-5", 1.0, Some(0.5), false), (none.clone(), json!(0.5), json!(5)));
    assert_eq!(ask("claude-sonnet-4-5", 0.2, Some(0.96), true), (none.clone(), json!(0.96), none.clone()));
    assert_eq!(ask("claude-opus-4-7", 0.2, Some(0.5), false), (none.clone(), none.clone(), none));
}

#[test]
fn formats_tools_and_choices_get_there() {
    let schema =
        Json::parse(r#"{"type":"object","properties":{"n":{"type":"integer","minimum":1}}}"#).unwrap();
    let function = |name: &'static str| {
        Tool::Function(Function {
            name: name.into(),
            description: None,
            parameters: None,
            strict: None,
            cache: None,
        })
    };
    let request = Request {
        format: Some(Format::Schema {
            name: Some("n".into()),
            description: None,
            schema: Cow::Owned(schema),
            strict: None,
        }),
        tools: vec![
            function("a"),
            function("b"),
            Tool::Custom { name: "free".into(), description: Some("Says it.".into()), format: None },
        ],
        tool_choice: Some(ToolChoice::Allowed { names: vec!["b".into(), "free".into()], required: true }),
        parallel_tool_calls: Some(false),
        ..hello()
    };
    let written = encode(&request, "claude-sonnet-4-5", &mut from_chat());
    assert_eq!(
        written["output_config"]["format"],
        json!({"type": "json_schema", "schema": {"type": "object", "additionalProperties": false, "properties": {
            "n": {"type": "integer", "description": "minimum: 1"}}}})
    );
    assert_eq!(written["tools"][0]["name"], "b");
    assert_eq!(written["tools"][1]["input_schema"]["required"], json!(["input"]));
    assert_eq!(written["tool_choice"], json!({"type": "any", "disable_parallel_tool_use": true}));
    assert_eq!(encode(&request, "claude-opus-5-5", &mut from_chat())["tool_choice"]["type"], "auto");
    let old = encode(&request, "claude-3-haiku-20240307", &mut from_chat());
    assert_eq!(old["output_config"], Value::Null);
    assert!(old["system"][0]["text"].as_str().unwrap().contains("\"minimum\":1"));
    let mode = Request { format: Some(Format::Json), ..hello() };
    let mut losses = from_chat();
    let written = encode(&mode, "claude-sonnet-4-5", &mut losses);
    assert!(written["system"][0]["text"].as_str().unwrap().contains("JSON object"));
    assert_eq!(losses.noted(), ["response_format"]);
}

#[test]
fn files_are_sent_as_what_they_hold() {
    let ask = |media_type: &'static str, data: &'static str| {
        let file = File {
            source: Source::Base64 { media_type: media_type.into(), data: data.into() },
            name: Some("f".into()),
            context: None,
            citations: false,
            cache: None,
        };
        let request = asks(vec![message(Role::User, vec![Part::File(file)])]);
        let quirks = Quirks::default();
        let destination = Destination { model: "claude-sonnet-4-5", max_output_tokens: 9, quirks: &quirks };
        messages::encode_request(&request, &destination, &mut from_chat())
            .map(|body| serde_json::from_slice::<Value>(&body).unwrap()["messages"][0]["content"][0].clone())
    };
    assert_eq!(ask("", "JVBERi0xLjQ=").unwrap()["source"]["media_type"], "application/pdf");
    assert_eq!(
        ask("text/csv", "YSxi").unwrap(),
        json!({"type": "document", "title": "f", "source": {"type": "text", "media_type": "text/plain", "data": "a,b"}})
    );
    assert_eq!(ask("image/png", "aaaa").unwrap()["type"], "image");
    assert_eq!(ask("application/zip", "UEsDBP8=").unwrap_err().feature, Feature::FileBase64);
}

#[test]
fn no_more_marks_than_the_api_takes_and_the_last_ones_stay() {
    let marked = |words: &'static str| {
        Part::Text(Text { text: words.into(), cache: Some(CacheMark { ttl: None }), citations: Vec::new() })
    };
    let request = asks(vec![
        message(Role::System, vec![marked("s")]),
        message(Role::User, vec![marked("a"), marked("b"), marked("c"), marked("d")]),
    ]);
    let written = encode(&request, "claude-sonnet-4-5", &mut from_chat());
    assert_eq!(written["system"][0]["cache_control"], Value::Null);
    assert_eq!(written["messages"].to_string().matches("ephemeral").count(), 4);
}

#[test]
fn what_cannot_be_said_is_noted_or_refused() {
    let request = Request {
        metadata: vec![("k".into(), "v".into())],
        verbosity: Some("low".into()),
        prompt_cache_key: Some("k".into()),
        ..hello()
    };
    let mut losses = from_chat();
    encode(&request, "claude-sonnet-4-5", &mut losses);
    assert_eq!(losses.noted(), ["metadata", "prompt_cache_key", "verbosity"]);
    let quirks = Quirks::default();
    let destination = Destination { model: "claude-sonnet-4-5", max_output_tokens: 9, quirks: &quirks };
    let request = Request { choices: Some(2), ..hello() };
    let refused = messages::encode_request(&request, &destination, &mut from_chat()).unwrap_err();
    assert_eq!(refused.feature, Feature::Choices);
    let audio = Part::Audio(Audio { format: "wav".into(), data: "aaaa".into() });
    let request = asks(vec![message(Role::User, vec![audio])]);
    assert!(messages::encode_request(&request, &destination, &mut from_chat()).is_err());
}

#[test]
fn a_count_has_the_prompt_only() {
    let json = Json::parse(REQUEST).unwrap();
    let mut losses = losses();
    let request = messages::decode_request(&json, &mut losses).unwrap();
    let quirks = Quirks::default();
    let destination = Destination { model: "claude-opus-4-5", max_output_tokens: 9, quirks: &quirks };
    let body = messages::encode_count(&request, &destination, &mut losses).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let mut keys: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["messages", "model", "output_config", "system", "thinking", "tool_choice", "tools"]);
}

const ANSWER: &str = r#"{
  "id": "msg_01", "type": "message", "role": "assistant", "model": "claude-opus-4-5-20251101",
  "content": [
    {"type": "thinking", "thinking": "Look it up.", "signature": "Eq8"},
    {"type": "redacted_thinking", "data": "Emw"},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "path"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
    {"type": "text", "text": "It is open.", "citations": [
      {"type": "web_search_result_location", "url": "https://paths.example", "title": "Paths", "cited_text": "open",
       "encrypted_index": "Eo8"},
      {"type": "char_location", "cited_text": "yes", "document_index": 0, "document_title": "Map",
       "start_char_index": 1, "end_char_index": 4, "file_id": null}]},
    {"type": "tool_use", "id": "toolu_1", "name": "book", "input": {"b": 1, "a": [true]}},
    {"type": "of_tomorrow", "x": 1}],
  "stop_reason": "tool_use", "stop_sequence": null,
  "usage": {"input_tokens": 10, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 20, "output_tokens": 40,
            "service_tier": "standard", "output_tokens_details": {"thinking_tokens": 7}}}"#;

fn context() -> Context {
    Context {
        id: "req1".into(),
        request_id: "req1".into(),
        model: "smart".into(),
        created: 1,
        include_usage: true,
        echo: None,
    }
}

#[test]
fn an_answer_is_read_and_written() {
    let json = Json::parse(ANSWER).unwrap();
    let answer = messages::decode_answer(&json).unwrap();
    assert_eq!(answer.usage, Some(Usage { input: 33, cached: 20, cache_write: 3, output: 40, reasoning: 7 }));
    assert_eq!(answer.finish, Finish::ToolCalls);
    assert_eq!(answer.parts.len(), 4);
    let Part::Text(said) = &answer.parts[2] else { panic!("text") };
    assert_eq!(said.citations[0].url.as_deref(), Some("https://paths.example"));
    assert_eq!((said.citations[1].title.as_deref(), said.citations[1].start), (Some("Map"), None));
    let mut losses = losses();
    let written: Value =
        serde_json::from_slice(&messages::encode_answer(&answer, &context(), &mut losses)).unwrap();
    assert_eq!((&written["id"], &written["model"]), (&json!("msg_req1"), &json!("smart")));
    assert_eq!(
        written["content"][0],
        json!({"type": "thinking", "thinking": "Look it up.", "signature": "Eq8"})
    );
    assert_eq!(written["content"][1], json!({"type": "redacted_thinking", "data": "Emw"}));
    assert_eq!(written["content"][3]["input"], json!({"b": 1, "a": [true]}));
    assert_eq!(written["content"][2]["citations"][0]["url"], "https://paths.example");
    assert_eq!(
        (written["usage"]["input_tokens"].clone(), written["usage"]["cache_read_input_tokens"].clone()),
        (json!(10), json!(20))
    );
    assert_eq!(losses.noted(), ["citations"]);
}

#[test]
fn what_is_no_answer_is_not_read_and_what_is_odd_is() {
    for text in ["[]", "{}", r#"{"content":"x"}"#, r#"{"type":"error","error":{}}"#] {
        assert!(messages::decode_answer(&Json::parse(text).unwrap()).is_err(), "{text}");
    }
    let odd = Json::parse(r#"{"content":[5,{"type":7},{"type":"text"}],"stop_reason":"weary","usage":[]}"#)
        .unwrap();
    let answer = messages::decode_answer(&odd).unwrap();
    assert_eq!((answer.parts.len(), answer.usage), (0, None));
    assert_eq!(answer.finish, Finish::Other("weary".into()));
}

#[test]
fn the_end_has_a_word_for_every_reason() {
    for (reason, finish, back) in [
        ("end_turn", Finish::Stop, "end_turn"),
        ("max_tokens", Finish::Length, "max_tokens"),
        ("model_context_window_exceeded", Finish::Length, "max_tokens"),
        ("refusal", Finish::Refusal, "refusal"),
        ("pause_turn", Finish::Pause, "pause_turn"),
        ("stop_sequence", Finish::StopSequence(Some("END".into())), "stop_sequence"),
    ] {
        let text = json!({"content": [], "stop_reason": reason, "stop_sequence": "END"}).to_string();
        let json = Json::parse(&text).unwrap();
        let answer = messages::decode_answer(&json).unwrap();
        assert_eq!(answer.finish, finish);
        let written: Value =
            serde_json::from_slice(&messages::encode_answer(&answer, &context(), &mut losses())).unwrap();
        assert_eq!(written["stop_reason"], back);
        assert_eq!(
            written["stop_sequence"],
            if reason == "stop_sequence" { json!("END") } else { Value::Null }
        );
    }
    let called = Answer { parts: vec![call("a", "{}")], ..Answer::default() };
    let written: Value =
        serde_json::from_slice(&messages::encode_answer(&called, &context(), &mut losses())).unwrap();
    assert_eq!(written["stop_reason"], "tool_use");
}

#[test]
fn a_signature_of_geminis_travels_in_a_thought_and_comes_back_on_its_call() {
    let gemini = || Some(Signature::new(Family::Gemini, "Cg=="));
    let Part::ToolCall(plain) = call("a", "{}") else { panic!("a call") };
    let signed = Part::ToolCall(ToolCall { signature: gemini(), ..plain });
    let thought = Part::Thought(Thought { text: "Hm.".into(), signature: gemini(), ..Thought::default() });
    for (parts, blocks) in [(vec![signed.clone()], 2), (vec![thought, signed], 2)] {
        let answer = Answer { parts: parts.clone(), ..Answer::default() };
        let body = messages::encode_answer(&answer, &context(), &mut losses());
        assert!(messages::has_foreign_signature(&body));
        let written: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(written["content"].as_array().unwrap().len(), blocks);
        assert_eq!(written["content"][0]["signature"], "meseta.gemini.Cg==");
        let request = json!({"messages": [{"role": "assistant", "content": written["content"]}]}).to_string();
        let json = Json::parse(&request).unwrap();
        let back = messages::decode_request(&json, &mut losses()).unwrap();
        assert_eq!(back.messages[0].parts, parts);
        let mut losses = losses();
        let sent = encode(&back, "claude-sonnet-4-5", &mut losses);
        assert!(!sent.to_string().contains("Cg=="));
        assert!(!losses.is_empty());
    }
    assert!(!messages::has_foreign_signature(REQUEST.as_bytes()));
}

#[test]
fn what_nobody_signed_never_goes_to_anthropic() {
    let thought = || Part::Thought(Thought { text: "Hm.".into(), ..Thought::default() });
    let cited = Text {
        text: "So.".into(),
        cache: None,
        citations: vec![Citation { url: Some("https://a.example".into()), ..Citation::default() }],
    };
    for part in [thought(), Part::Text(cited)] {
        let answer = Answer { parts: vec![part.clone(), text("Yes.")], ..Answer::default() };
        let body = messages::encode_answer(&answer, &context(), &mut losses());
        assert!(messages::has_foreign_signature(&body));
        let written: Value = serde_json::from_slice(&body).unwrap();
        let request = json!({"messages": [{"role": "assistant", "content": written["content"]}]}).to_string();
        let json = Json::parse(&request).unwrap();
        let back = messages::decode_request(&json, &mut losses()).unwrap();
        assert_eq!(back.messages[0].parts, [part, text("Yes.")]);
        let sent = encode(&back, "claude-sonnet-4-5", &mut losses()).to_string();
        assert!(!sent.contains("meseta.") && !sent.contains("thinking"), "{sent}");
    }
    let (events, _) = show(&[
        Event::BlockBegin { index: 0, block: Block::Thought { id: None } },
        Event::Delta { index: 0, delta: Delta::Thought("Hm.".into()) },
    ]);
    let signatures: Vec<_> =
        events.iter().filter_map(|(_, data)| data["delta"]["signature"].as_str()).collect();
    assert_eq!(signatures, ["meseta.none"]);
}

#[test]
fn errors_are_read_whatever_they_are_and_written_as_the_api_does() {
    let body = br#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#;
    let failure = messages::decode_error(529, body);
    assert_eq!((failure.kind, &*failure.message), (FailureKind::Overloaded, "Overloaded"));
    let written = messages::encode_error(&failure, "req_2");
    assert_eq!(
        String::from_utf8(written).unwrap(),
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_2"}"#
    );
    for (status, body, kind, message) in [
        (502, "<html>\u{7}bad</html>", FailureKind::Server, "<html>bad</html>"),
        (401, r#"{"message":"no key"}"#, FailureKind::Authentication, "no key"),
        (413, r#"{"error":"too big"}"#, FailureKind::TooLarge, "too big"),
        (429, r#"{"error":{"type":"novel_error","message":"slow"}}"#, FailureKind::RateLimit, "slow"),
    ] {
        let failure = messages::decode_error(status, body.as_bytes());
        assert_eq!((failure.kind, &*failure.message), (kind, message));
    }
    let silent = messages::decode_error(500, b"");
    assert_eq!(silent.message, "The provider answered with status 500 and no explanation.");
    assert!(messages::decode_error(500, &vec![b'a'; 100_000]).message.len() <= 2_000);
}

#[test]
fn a_refused_thread_is_told_in_the_word_that_sdks_act_on() {
    let text =
        json!({"messages": [], "thread": {"type": "continue", "previous_message_id": "msg_1"}}).to_string();
    let json = Json::parse(&text).unwrap();
    let error = messages::decode_request(&json, &mut losses()).unwrap_err();
    let failure = Failure {
        message: error.to_string().into(),
        kind: FailureKind::InvalidRequest,
        code: Some("request.invalid_field".into()),
        param: Some(error.path.into()),
    };
    let written: Value = serde_json::from_slice(&messages::encode_error(&failure, "req_2")).unwrap();
    assert_eq!(written["error"]["details"], json!({"error_code": "thread_unsupported_request"}));
    let other = Failure { param: Some("messages".into()), ..failure };
    let written: Value = serde_json::from_slice(&messages::encode_error(&other, "req_2")).unwrap();
    assert_eq!(written["error"].get("details"), None);
}

const STREAM: &[&str] = &[
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
fn relay(events: &[&[u8]]) -> (Vec<String>, Vec<u8>, bool) {
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

fn bytes<'a>(events: &'a [&'a str]) -> Vec<&'a [u8]> {
    events.iter().map(|event| event.as_bytes()).collect()
}

/// Names and data of the events in a stream.
fn split(mut stream: &[u8]) -> Vec<(String, Value)> {
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

fn show(events: &[Event<'_>]) -> (Vec<(String, Value)>, Vec<&'static str>) {
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
