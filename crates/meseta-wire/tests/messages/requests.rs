//! Requests, read and written.

use std::borrow::Cow;

use meseta_wire::conversation::{
    Audio, CacheMark, CacheTtl, Effort, File, Format, Function, Part, Request, Role, Sampling, Source, Text,
    Thinking, Tool, ToolChoice,
};
use meseta_wire::dialect::{Destination, Quirks};
use meseta_wire::feature::Feature;
use meseta_wire::json::Json;
use meseta_wire::messages;
use meseta_wire::signature::{Family, Signature};
use serde_json::{Value, json};

use super::{asks, encode, from_chat, hello, losses, message, text};

pub const REQUEST: &str = r#"{
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
