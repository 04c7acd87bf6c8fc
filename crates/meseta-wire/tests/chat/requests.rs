//! Requests, read and written again.

use meseta_wire::chat;
use meseta_wire::conversation::{
    CacheMark, CacheTtl, Effort, Image, Part, Request, Role, Source, Thinking, Thought, Tool, ToolChoice,
};
use meseta_wire::dialect::{Destination, Dialect, MaxTokensField, Quirks};
use meseta_wire::feature::Losses;
use meseta_wire::json::Json;
use meseta_wire::signature::{Family, Signature};
use serde_json::{Value, json};

use super::{call, losses, message, text};

pub fn decoded<T>(document: &Value, check: impl FnOnce(&Request<'_>, &Losses) -> T) -> T {
    let text = document.to_string();
    let json = Json::parse(&text).unwrap();
    let mut losses = losses();
    let request = chat::decode_request(&json, &mut losses).unwrap();
    check(&request, &losses)
}

fn complaint(document: &Value) -> String {
    let text = document.to_string();
    let json = Json::parse(&text).unwrap();
    chat::decode_request(&json, &mut losses()).unwrap_err().to_string()
}

pub fn encoded_with(request: &Request<'_>, quirks: &Quirks) -> (Value, Vec<String>) {
    let mut losses = Losses::new(Dialect::AnthropicMessages, Dialect::OpenaiChat);
    let destination = Destination { model: "gpt-5-mini", max_output_tokens: 4096, quirks };
    let bytes = chat::encode_request(request, &destination, &mut losses).unwrap();
    let noted = losses.noted().iter().map(ToString::to_string).collect();
    (serde_json::from_slice(&bytes).unwrap(), noted)
}

pub fn encoded(request: &Request<'_>) -> (Value, Vec<String>) {
    encoded_with(request, &Quirks::default())
}

pub fn schema() -> Value {
    json!({"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "integer"}}, "required": ["z"]})
}

pub fn whole_request() -> Value {
    json!({
        "model": "gpt-5-mini",
        "messages": [
            {"role": "system", "content": "Answer in Dutch."},
            {"role": "user", "name": "mira", "content": [
                {"type": "text", "text": "What is on these?"},
                {"type": "image_url", "image_url": {"url": "https://img.example/a.png", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0K"}},
                {"type": "file", "file": {"filename": "r.pdf", "file_data": "data:application/pdf;base64,JVBERi0"}},
                {"type": "input_audio", "input_audio": {"data": "UklGRg", "format": "wav"}},
            ]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"}},
                {"id": "call_2", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
            ]},
            {"role": "tool", "tool_call_id": "call_1", "content": "4 degrees"},
            {"role": "tool", "tool_call_id": "call_2", "content": [
                {"type": "text", "text": "a"}, {"type": "text", "text": "b"},
            ]},
            {"role": "user", "content": "Thanks"},
        ],
        "tools": [
            {"type": "function", "function": {
                "name": "weather", "description": "Of a city", "parameters": schema(), "strict": true,
            }},
            {"type": "custom", "custom": {"name": "shell", "format": {"type": "text"}}},
        ],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": false,
        "response_format": {"type": "json_schema", "json_schema": {"name": "out", "schema": schema(), "strict": true}},
        "reasoning_effort": "high",
        "verbosity": "low",
        "max_completion_tokens": 300,
        "temperature": 0.50,
        "top_p": 1,
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": -0.2,
        "logprobs": true,
        "top_logprobs": 2,
        "logit_bias": {"50256": -100},
        "stop": ["END", "STOP"],
        "n": 2,
        "user": "u-1",
        "prompt_cache_key": "k",
        "service_tier": "flex",
        "stream": true,
        "stream_options": {"include_usage": true},
    })
}

#[test]
fn a_request_comes_back_as_it_was() {
    let document = whole_request();
    decoded(&document, |request, losses| {
        assert_eq!(losses.noted(), [] as [&str; 0]);
        let (encoded, noted) = encoded(request);
        assert_eq!(encoded, document);
        assert!(noted.is_empty(), "{noted:?}");
    });
}

#[test]
fn keys_are_written_in_order_and_schemas_keep_theirs() {
    let text = r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":5,
        "tools":[{"type":"function","function":{"name":"f","parameters":{"z":1,"a":2}}}],"model":"m"}"#;
    let json = Json::parse(text).unwrap();
    let request = chat::decode_request(&json, &mut losses()).unwrap();
    let quirks = Quirks { max_tokens_field: MaxTokensField::MaxTokens, ..Quirks::default() };
    let destination = Destination { model: "m", max_output_tokens: 1, quirks: &quirks };
    let bytes = chat::encode_request(&request, &destination, &mut losses()).unwrap();
    assert_eq!(
        String::from_utf8(bytes).unwrap(),
        r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"z":1,"a":2}}}],"max_tokens":5}"#
    );
}

#[test]
fn reads_parts_calls_and_results() {
    decoded(&whole_request(), |request, _| {
        let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::User]);
        let user = &request.messages[1];
        assert_eq!(user.name.as_deref(), Some("mira"));
        let base64 = Source::Base64 { media_type: "image/png".into(), data: "iVBORw0K".into() };
        assert_eq!(user.parts[2], Part::Image(Image { source: base64, detail: None, cache: None }));
        let Part::ToolResult(second) = &request.messages[3].parts[1] else { panic!("a result") };
        assert_eq!((second.name.as_deref(), second.custom), (Some("shell"), true));
        assert_eq!(second.parts, [text("a"), text("b")]);
        assert_eq!(request.tool_choice, Some(ToolChoice::Named("weather".into())));
        assert_eq!(request.thinking, Some(Thinking { effort: Some(Effort::High), ..Thinking::default() }));
        assert_eq!(request.choices, Some(2));
        assert!(request.stream && request.include_usage);
    });
}

#[test]
fn neighbours_of_one_role_are_one_turn() {
    let document = json!({"messages": [
        {"role": "system", "content": "a"}, {"role": "system", "content": "b"},
        {"role": "user", "name": "x", "content": "c"}, {"role": "user", "content": "d"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "e"},
    ]});
    decoded(&document, |request, losses| {
        assert_eq!(
            request.messages,
            [
                message(Role::System, vec![text("a"), text("b")]),
                message(Role::User, vec![text("c"), text("d"), text("e")]),
            ]
        );
        assert_eq!(losses.noted(), ["messages[].name"]);
    });
}

#[test]
fn older_functions_become_tools() {
    let document = json!({
        "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": ""}},
            {"role": "function", "name": "f", "content": "done"},
        ],
        "functions": [{"name": "f"}],
        "function_call": {"name": "f"},
        "max_tokens": 9,
        "stop": "\n",
    });
    decoded(&document, |request, losses| {
        assert_eq!(request.messages[1].parts, [Part::ToolCall(call("call_2", "f", "{}"))]);
        let Part::ToolResult(result) = &request.messages[2].parts[0] else { panic!("a result") };
        assert_eq!((result.id.as_ref(), result.name.as_deref()), ("call_2", Some("f")));
        assert!(matches!(&request.tools[..], [Tool::Function(function)] if function.name == "f"));
        assert_eq!(request.tool_choice, Some(ToolChoice::Named("f".into())));
        assert_eq!((request.max_tokens, request.stop.len()), (Some(9), 1));
        assert!(losses.is_empty());
    });
}

#[test]
fn reads_the_extensions_of_other_servers() {
    let document = json!({
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
                {"type": "video", "video": {}},
            ]},
            {"role": "assistant", "content": "b", "reasoning_content": "ignored beside details",
             "reasoning_details": [
                {"type": "reasoning.text", "text": "hm", "signature": "meseta.anthropic.sig", "index": 0},
                {"type": "reasoning.encrypted", "data": "blob", "index": 1},
                {"type": "reasoning.unheard_of"},
             ],
             "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"},
                "extra_content": {"google": {"thought_signature": "gs"}}}]},
            {"role": "tool", "tool_call_id": "c", "content": "r", "cache_control": {"type": "ephemeral"}},
            {"role": "assistant", "content": "d", "reasoning": "plain"},
        ],
        "web_search_options": {"search_context_size": "low"},
        "top_k": 40,
        "reasoning": {"max_tokens": 2000, "exclude": true},
        "prediction": {"type": "content", "content": "x"},
        "audio": null,
        "tools": [{"type": "function", "function": {"name": "f"}, "cache_control": {"type": "ephemeral"}}],
    });
    decoded(&document, |request, losses| {
        let Part::Text(marked) = &request.messages[0].parts[0] else { panic!("a text") };
        assert_eq!(marked.cache, Some(CacheMark { ttl: Some(CacheTtl::OneHour) }));
        assert_eq!(request.messages[0].parts.len(), 1);
        let thought = Thought {
            text: "hm".into(),
            signature: Some(Signature::new(Family::Anthropic, "sig")),
            ..Thought::default()
        };
        let redacted = Thought {
            signature: Some(Signature::new(Family::OpenAi, "blob")),
            redacted: true,
            ..Thought::default()
        };
        let mut signed = call("c", "f", "{}");
        signed.signature = Some(Signature::new(Family::Gemini, "gs"));
        assert_eq!(
            request.messages[1].parts,
            [Part::Thought(thought), Part::Thought(redacted), text("b"), Part::ToolCall(signed)]
        );
        let Part::ToolResult(result) = &request.messages[2].parts[0] else { panic!("a result") };
        assert_eq!(result.cache, Some(CacheMark { ttl: None }));
        assert_eq!(
            request.messages[3].parts[0],
            Part::Thought(Thought { text: "plain".into(), ..Thought::default() })
        );
        assert_eq!(
            request.thinking,
            Some(Thinking { budget: Some(2000), shown: Some(false), ..Thinking::default() })
        );
        assert!(matches!(&request.tools[..], [Tool::Function(_), Tool::WebSearch(_)]));
        assert_eq!(
            losses.noted(),
            ["messages[].content[].type", "web_search_options.search_context_size", "prediction"]
        );
    });
}

#[test]
fn complaints_name_the_place() {
    let user = |content: Value| json!({"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": content}]});
    let with = |key: &str, value: Value| {
        let mut document = user(json!("y"));
        document[key] = value;
        document
    };
    let calls = |calls: Value| json!({"messages": [{"role": "assistant", "tool_calls": calls}]});
    for (document, path) in [
        (json!({}), "messages"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": [{"role": "user", "content": []}]}), "messages"),
        (json!({"messages": [{"content": "x"}]}), "messages[0].role"),
        (json!({"messages": [{"role": "robot"}]}), "messages[0].role"),
        (json!({"messages": [{"role": "user"}]}), "messages[0].content"),
        (json!({"messages": [{"role": "tool", "content": "x"}]}), "messages[0].tool_call_id"),
        (user(json!(5)), "messages[1].content"),
        (user(json!([{"type": "text"}])), "messages[1].content[0].text"),
        (
            user(json!([{"type": "image_url", "image_url": {"url": 1}}])),
            "messages[1].content[0].image_url.url",
        ),
        (
            user(json!([{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}])),
            "messages[1].content[0].image_url.url",
        ),
        (
            user(json!([{"type": "image_url", "image_url": {"url": "data:image/png,abc"}}])),
            "messages[1].content[0].image_url.url",
        ),
        (
            user(json!([{"type": "image_url", "image_url": {"url": "data:;base64,abc"}}])),
            "messages[1].content[0].image_url.url",
        ),
        (user(json!([{"type": "file", "file": {}}])), "messages[1].content[0].file"),
        (
            user(json!([{"type": "input_audio", "input_audio": {"data": ""}}])),
            "messages[1].content[0].input_audio.format",
        ),
        (
            user(json!([{"type": "text", "text": "", "cache_control": {"type": "x"}}])),
            "messages[1].content[0].cache_control.type",
        ),
        (
            json!({"messages": [{"role": "system", "content": [{"type": "image_url"}]}]}),
            "messages[0].content[0].type",
        ),
        (
            calls(json!([{"id": "a", "type": "function", "function": {}}])),
            "messages[0].tool_calls[0].function.name",
        ),
        (calls(json!([{"type": "function", "function": {"name": "f"}}])), "messages[0].tool_calls[0].id"),
        (calls(json!([{"id": "a", "type": "x"}])), "messages[0].tool_calls[0].type"),
        (with("tools", json!([{"type": "function", "function": {"name": ""}}])), "tools[0].function.name"),
        (with("tools", json!([{"type": "code_interpreter"}])), "tools[0].type"),
        (with("tool_choice", json!("some")), "tool_choice"),
        (
            with(
                "tool_choice",
                json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "x"}]}}),
            ),
            "tool_choice.allowed_tools.tools[0].type",
        ),
        (
            with("response_format", json!({"type": "json_schema", "json_schema": {}})),
            "response_format.json_schema.name",
        ),
        (with("reasoning_effort", json!("hard")), "reasoning_effort"),
        (with("stop", json!(["a", 1])), "stop[1]"),
        (with("n", json!(0)), "n"),
        (with("stream", json!("yes")), "stream"),
        (with("stream_options", json!({"include_usage": 1})), "stream_options.include_usage"),
        (with("metadata", json!({"a": 1})), "metadata.a"),
        (with("modalities", json!(["text", "audio"])), "modalities"),
        (with("temperature", json!("hot")), "temperature"),
        (with("logit_bias", json!([])), "logit_bias"),
    ] {
        let complaint = complaint(&document);
        assert!(complaint.starts_with(&format!("`{path}` ")), "{path}: {complaint}");
    }
    assert_eq!(
        complaint(&with("tools", json!([{"type": "mcp"}]))),
        "`tools[0].type` is a tool that runs at one provider only and cannot be translated: They exist at one \
         provider only. Send the request to that provider, or define a function tool."
    );
}
