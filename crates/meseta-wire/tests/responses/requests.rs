use std::borrow::Cow;

use meseta_wire::conversation::{
    Effort, Part, Request, Role, Source, Thinking, Thought, Tool, ToolCall, ToolChoice, ToolResult, WebSearch,
};
use meseta_wire::dialect::{Destination, Dialect, Quirks};
use meseta_wire::feature::Feature;
use meseta_wire::json::Json;
use meseta_wire::responses;
use meseta_wire::signature::{Family, Signature};
use serde_json::json;

use super::support::{message, text};
use super::{between, complaint, encoded};

const REQUEST: &str = r#"{
  "model": "smart",
  "instructions": "Answer briefly.",
  "input": [
    {"role": "user", "content": [
      {"type": "input_text", "text": "What is in this picture, and what is the weather there?"},
      {"type": "input_image", "detail": "low", "image_url": "data:image/png;base64,iVBORw0KGgo="},
      {"type": "input_file", "filename": "map.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}]},
    {"type": "reasoning", "id": "rs_68af", "summary": [{"type": "summary_text", "text": "A harbour."},
      {"type": "summary_text", "text": "Oslo?"}], "encrypted_content": "gAAAAB"},
    {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [
      {"type": "output_text", "text": "Oslo. ", "annotations": [{"type": "url_citation", "url": "https://oslo.example",
       "title": "Oslo", "start_index": 0, "end_index": 4}]}]},
    {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": "{\"city\":\"Oslo\"}", "status": "completed"},
    {"type": "custom_tool_call", "call_id": "call_2", "name": "shell", "input": "date"},
    {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "Rain"},
      {"type": "input_image", "detail": "auto", "image_url": "https://pictures.example/rain.png"}]},
    {"type": "custom_tool_call_output", "call_id": "call_2", "output": "Monday"},
    {"role": "developer", "content": "Use Celsius."},
    {"role": "user", "content": "Go on."}
  ],
  "tools": [
    {"type": "function", "name": "weather", "description": "Weather of a city", "strict": true,
     "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": false}},
    {"type": "custom", "name": "shell", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /a+/"}},
    {"type": "web_search", "filters": {"allowed_domains": ["met.example"]}, "search_context_size": "low"}
  ],
  "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "weather"}, {"type": "custom", "name": "shell"}]},
  "parallel_tool_calls": false,
  "text": {"format": {"type": "json_schema", "name": "report", "strict": true, "schema": {"type": "object"}}, "verbosity": "low"},
  "reasoning": {"effort": "high", "summary": "detailed"},
  "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
  "max_output_tokens": 300, "max_tool_calls": 3, "temperature": 0.5, "top_p": 0.9, "top_logprobs": 2,
  "stream": true, "stream_options": {"include_obfuscation": false},
  "store": true, "previous_response_id": null, "prompt_cache_key": "k", "safety_identifier": "u",
  "service_tier": "flex", "metadata": {"trip": "north"}, "truncation": "auto", "moderation": {"model": "m"}
}"#;

#[test]
fn a_request_says_everything_it_can() {
    let json = Json::parse(REQUEST).unwrap();
    let mut losses = between(Dialect::OpenaiResponses);
    let request = responses::decode_request(&json, &mut losses).unwrap();
    let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::Developer, Role::User]);
    let Part::Image(image) = &request.messages[1].parts[1] else { panic!("an image") };
    assert_eq!(image.source, Source::Base64 { media_type: "image/png".into(), data: "iVBORw0KGgo=".into() });
    let assistant = &request.messages[2].parts;
    let Part::Thought(thought) = &assistant[0] else { panic!("a thought") };
    assert_eq!(thought.text, "A harbour.\n\nOslo?");
    assert_eq!(thought.signature, Some(Signature::new(Family::OpenAi, "gAAAAB")));
    assert_eq!(thought.id.as_deref(), Some("rs_68af"));
    let Part::Text(text) = &assistant[1] else { panic!("a text") };
    assert_eq!(text.citations[0].url.as_deref(), Some("https://oslo.example"));
    let Part::ToolCall(call) = &assistant[3] else { panic!("a call") };
    assert!(call.custom && call.arguments == "date");
    let Part::ToolResult(result) = &request.messages[3].parts[0] else { panic!("a result") };
    assert_eq!((result.name.as_deref(), result.parts.len()), (Some("weather"), 2));
    let thinking = Thinking { effort: Some(Effort::High), shown: Some(true), ..Thinking::default() };
    assert_eq!(request.thinking, Some(thinking));
    assert_eq!(
        (request.sampling.logprobs, request.sampling.top_logprobs, request.max_tokens),
        (Some(true), Some(2), Some(300))
    );
    assert_eq!(losses.noted(), ["moderation", "truncation", "input[].type", "tools[].search_context_size"]);
}

#[test]
fn a_request_goes_through_and_comes_back() {
    let json = Json::parse(REQUEST).unwrap();
    let mut losses = between(Dialect::OpenaiResponses);
    let request = responses::decode_request(&json, &mut losses).unwrap();
    let document = encoded(&request, &mut losses);
    assert_eq!(document["instructions"], "Answer briefly.");
    assert_eq!(document["store"], true);
    assert_eq!(document["max_tool_calls"], 3);
    assert_eq!(document["include"], json!(["reasoning.encrypted_content", "message.output_text.logprobs"]));
    assert_eq!(document["tools"][1]["format"]["syntax"], "lark");
    assert_eq!(document["reasoning"], json!({"effort": "high", "summary": "auto"}));
    // The order of a schema's keys comes through as well.
    let quirks = Quirks::default();
    let destination = Destination { model: "gpt-5-mini", max_output_tokens: 4096, quirks: &quirks };
    let bytes = responses::encode_request(&request, &destination, &mut losses).unwrap();
    let json = Json::parse(std::str::from_utf8(&bytes).unwrap()).unwrap();
    let again = responses::decode_request(&json, &mut between(Dialect::OpenaiResponses)).unwrap();
    assert_eq!(again, request);
}

#[test]
fn a_string_is_what_the_user_says_and_only_unbroken_turns_are_joined() {
    let json = Json::parse(r#"{"model":"m","input":"Hello"}"#).unwrap();
    let request = responses::decode_request(&json, &mut between(Dialect::OpenaiResponses)).unwrap();
    assert_eq!(request.messages.len(), 1);
    assert_eq!(request.messages[0].role, Role::User);
    // A result that was written behind the user's words stands before them.
    let text = r#"{"input":[
      {"type":"function_call","call_id":"a","name":"f","arguments":""},
      {"role":"user","content":"And?"},
      {"type":"function_call_output","call_id":"a","output":"1"},
      {"role":"user","content":"Well?"}]}"#;
    let json = Json::parse(text).unwrap();
    let request = responses::decode_request(&json, &mut between(Dialect::OpenaiResponses)).unwrap();
    let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::Assistant, Role::Tool, Role::User]);
    assert_eq!(request.messages[2].parts.len(), 2);
    let Part::ToolCall(call) = &request.messages[0].parts[0] else { panic!("a call") };
    assert_eq!(call.arguments, "{}");
}

#[test]
fn complaints_name_the_place() {
    for (document, path) in [
        (r"{}", "input"),
        (r#"{"input":5}"#, "input"),
        (r#"{"input":[{"role":"user"}]}"#, "input[0].content"),
        (r#"{"input":[{"role":"robot","content":""}]}"#, "input[0].role"),
        (r#"{"input":[{"content":""}]}"#, "input[0].type"),
        (
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_text","text":5}]}]}"#,
            "input[0].content[1].text",
        ),
        (
            r#"{"input":[{"role":"user","content":[{"type":"input_image"}]}]}"#,
            "input[0].content[0].image_url",
        ),
        (
            r#"{"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png,x"}]}]}"#,
            "input[0].content[0].image_url",
        ),
        (
            r#"{"input":[{"role":"user","content":[{"type":"input_file","file_data":"data:;base64,é"}]}]}"#,
            "input[0].content[0].file_data",
        ),
        (
            r#"{"input":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"x"}}]}]}"#,
            "input[0].content[0].input_audio.format",
        ),
        (r#"{"input":[{"type":"function_call","name":"f","arguments":"{}"}]}"#, "input[0].call_id"),
        (r#"{"input":[{"type":"reasoning","summary":[{"text":1}]}]}"#, "input[0].summary[0].text"),
        (r#"{"input":"a","tools":[{"type":"function"}]}"#, "tools[0].name"),
        (r#"{"input":"a","tools":[{"type":"code_interpreter"}]}"#, "tools[0].type"),
        (r#"{"input":"a","tools":[{"type":"function","name":"f","parameters":[]}]}"#, "tools[0].parameters"),
        (r#"{"input":"a","tool_choice":"maybe"}"#, "tool_choice"),
        (r#"{"input":"a","tool_choice":{"type":"mcp"}}"#, "tool_choice.type"),
        (r#"{"input":"a","tool_choice":{"type":"allowed_tools","tools":[{}]}}"#, "tool_choice.tools[0].type"),
        (r#"{"input":"a","text":{"format":{"type":"json_schema","name":"n"}}}"#, "text.format.schema"),
        (r#"{"input":"a","text":{"verbosity":"huge"}}"#, "text.verbosity"),
        (r#"{"input":"a","reasoning":{"effort":"some"}}"#, "reasoning.effort"),
        (r#"{"input":"a","include":[1]}"#, "include[0]"),
        (r#"{"input":"a","metadata":{"a":1}}"#, "metadata.a"),
        (r#"{"input":"a","max_output_tokens":-1}"#, "max_output_tokens"),
        (r#"{"input":"a","background":true}"#, "background"),
        (r#"{"input":"a","conversation":"conv_1"}"#, "conversation"),
        (r#"{"input":"a","prompt":{"id":"p"}}"#, "prompt"),
    ] {
        let complaint = complaint(document);
        assert!(complaint.starts_with(&format!("`{path}` ")), "{document}: {complaint}");
    }
}

#[test]
fn a_request_of_another_dialect_is_neither_kept_nor_strict() {
    let thought = |signature: Option<Signature<'static>>, words: &'static str| {
        Part::Thought(Thought { id: None, text: words.into(), redacted: words.is_empty(), signature })
    };
    let call = |id: &'static str| {
        Part::ToolCall(ToolCall {
            id: id.into(),
            name: "f".into(),
            arguments: "{}".into(),
            custom: false,
            signature: None,
            cache: None,
        })
    };
    let long = "toolu_0123456789012345678901234567890123456789012345678901234567890123456789";
    let request = Request {
        messages: vec![
            message(Role::System, vec![text("Be kind."), text("Be brief.")]),
            message(Role::User, vec![text("Hello"), text("")]),
            message(
                Role::Assistant,
                vec![
                    thought(Some(Signature::new(Family::Anthropic, "x")), "Foreign"),
                    thought(Some(Signature::new(Family::OpenAi, "own")), ""),
                    text("Hm."),
                    call(long),
                    thought(Some(Signature::new(Family::OpenAi, "last")), "Alone"),
                ],
            ),
            message(
                Role::Tool,
                vec![Part::ToolResult(ToolResult {
                    id: long.into(),
                    name: None,
                    parts: vec![text("No such file")],
                    error: true,
                    custom: false,
                    cache: None,
                })],
            ),
            message(Role::System, vec![text("Late.")]),
        ],
        tools: vec![
            Tool::Function(meseta_wire::conversation::Function {
                name: "f".into(),
                description: None,
                parameters: None,
                strict: None,
                cache: None,
            }),
            Tool::WebSearch(WebSearch { max_uses: Some(2), ..WebSearch::default() }),
        ],
        tool_choice: Some(ToolChoice::Named("web_search".into())),
        thinking: Some(Thinking { budget: Some(9_000), ..Thinking::default() }),
        max_tokens: Some(5),
        store: Some(true),
        stop: vec!["END".into()],
        user: Some(Cow::Owned("u".repeat(200))),
        ..Request::default()
    };
    let mut losses = between(Dialect::AnthropicMessages);
    let document = encoded(&request, &mut losses);
    assert_eq!(document["store"], false);
    assert_eq!(document["instructions"], "Be kind.\n\nBe brief.");
    assert_eq!(document["max_output_tokens"], 16);
    assert_eq!(document["reasoning"], json!({"effort": "high", "summary": "auto"}));
    assert_eq!(document["tools"][0]["strict"], false);
    assert_eq!(document["tools"][0]["parameters"]["type"], "object");
    assert_eq!(document["max_tool_calls"], 2);
    assert_eq!(
        document["tool_choice"],
        json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]})
    );
    assert!(document.get("safety_identifier").is_none());
    let items = document["input"].as_array().unwrap();
    let id = items[3]["call_id"].as_str().unwrap();
    assert!(id.len() <= 64 && id.starts_with("call_"));
    assert_eq!(
        document["input"],
        json!([
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
            {"type": "reasoning", "summary": [], "encrypted_content": "own"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hm.", "annotations": []}]},
            {"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": id, "output": "Error: No such file"},
            {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Late."}]},
        ])
    );
    for lost in ["stop_sequences", "messages[].content[].is_error", "messages[].content[].thinking"] {
        assert!(losses.noted().iter().any(|noted| noted == lost), "{lost}: {:?}", losses.noted());
    }
}

#[test]
fn words_of_the_system_alone_are_input() {
    let request = Request { messages: vec![message(Role::System, vec![text("Hi")])], ..Request::default() };
    let document = encoded(&request, &mut between(Dialect::OpenaiChat));
    assert!(document.get("instructions").is_none());
    assert_eq!(document["input"][0]["role"], "system");
}

#[test]
fn several_answers_and_audio_are_refused() {
    let quirks = Quirks::default();
    let destination = Destination { model: "gpt-5", max_output_tokens: 1, quirks: &quirks };
    let request = Request { choices: Some(2), ..Request::default() };
    let mut losses = between(Dialect::OpenaiChat);
    let refused = responses::encode_request(&request, &destination, &mut losses).unwrap_err();
    assert_eq!(refused.feature, Feature::Choices);
    let audio = meseta_wire::conversation::Audio { format: "wav".into(), data: "AA==".into() };
    let request =
        Request { messages: vec![message(Role::User, vec![Part::Audio(audio)])], ..Request::default() };
    let refused = responses::encode_request(&request, &destination, &mut losses).unwrap_err();
    assert_eq!(refused.feature, Feature::AudioInput);
}

#[test]
fn early_models_are_asked_for_no_reasoning() {
    let quirks = Quirks { drop: vec!["temperature".to_owned()], ..Quirks::default() };
    let destination = Destination { model: "gpt-4.1-mini", max_output_tokens: 1, quirks: &quirks };
    let json =
        Json::parse(r#"{"input":"a","reasoning":{"effort":"low"},"temperature":1,"max_output_tokens":20}"#)
            .unwrap();
    let mut losses = between(Dialect::OpenaiResponses);
    let request = responses::decode_request(&json, &mut losses).unwrap();
    let bytes = responses::encode_request(&request, &destination, &mut losses).unwrap();
    assert_eq!(
        String::from_utf8(bytes).unwrap(),
        concat!(
            r#"{"model":"gpt-4.1-mini","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"a"}]}],"#,
            r#""max_output_tokens":20,"stream":false,"store":false}"#
        )
    );
    assert_eq!(losses.noted(), ["reasoning.effort"]);
}

#[test]
fn a_count_asks_only_what_counts() {
    let json = Json::parse(REQUEST).unwrap();
    let mut losses = between(Dialect::OpenaiResponses);
    let request = responses::decode_request(&json, &mut losses).unwrap();
    let quirks = Quirks::default();
    let destination = Destination { model: "gpt-5", max_output_tokens: 1, quirks: &quirks };
    let bytes = responses::encode_count(&request, &destination, &mut losses).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    for absent in ["stream", "store", "include", "max_output_tokens", "temperature", "metadata"] {
        assert!(document.get(absent).is_none(), "{absent}");
    }
    assert_eq!(document["tools"].as_array().unwrap().len(), 3);
}
