//! OpenAI chat completions: what is read, what is written, and that nothing at all makes it panic.

use meseta_wire::chat::{self, StreamDecoder, StreamEncoder};
use meseta_wire::conversation::{
    Answer, Block, CacheMark, CacheTtl, Citation, Delta, Effort, Event, Failure, FailureKind, File, Finish,
    Format, Image, Message, Part, Request, Role, Source, Text, Thinking, Thought, TokenLogprob, Tool,
    ToolCall, ToolChoice, ToolResult,
};
use meseta_wire::dialect::{Context, Destination, Dialect, MaxTokensField, Quirks, ReasoningField};
use meseta_wire::feature::{Feature, Losses};
use meseta_wire::json::Json;
use meseta_wire::signature::{Family, Signature};
use meseta_wire::usage::Usage;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

fn losses() -> Losses {
    Losses::new(Dialect::OpenaiChat, Dialect::OpenaiChat)
}

fn decoded<T>(document: &Value, check: impl FnOnce(&Request<'_>, &Losses) -> T) -> T {
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

fn encoded_with(request: &Request<'_>, quirks: &Quirks) -> (Value, Vec<String>) {
    let mut losses = Losses::new(Dialect::AnthropicMessages, Dialect::OpenaiChat);
    let destination = Destination { model: "gpt-5-mini", max_output_tokens: 4096, quirks };
    let bytes = chat::encode_request(request, &destination, &mut losses).unwrap();
    let noted = losses.noted().iter().map(ToString::to_string).collect();
    (serde_json::from_slice(&bytes).unwrap(), noted)
}

fn encoded(request: &Request<'_>) -> (Value, Vec<String>) {
    encoded_with(request, &Quirks::default())
}

fn text(text: &str) -> Part<'_> {
    Part::Text(Text { text: text.into(), ..Text::default() })
}

fn message(role: Role, parts: Vec<Part<'_>>) -> Message<'_> {
    Message { role, name: None, parts }
}

fn request(messages: Vec<Message<'_>>) -> Request<'_> {
    Request { messages, ..Request::default() }
}

fn call<'a>(id: &'a str, name: &'a str, arguments: &'a str) -> ToolCall<'a> {
    ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
        custom: false,
        signature: None,
        cache: None,
    }
}

fn result<'a>(id: &'a str, parts: Vec<Part<'a>>) -> ToolResult<'a> {
    ToolResult { id: id.into(), name: None, parts, error: false, custom: false, cache: None }
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "integer"}}, "required": ["z"]})
}

fn whole_request() -> Value {
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

#[test]
fn images_of_tools_follow_all_results_in_the_users_message() {
    let image = || {
        Part::Image(Image {
            source: Source::Base64 { media_type: "image/png".into(), data: "AA".into() },
            detail: None,
            cache: None,
        })
    };
    let mut failed = result("b", vec![text("no")]);
    failed.error = true;
    let calls = || vec![Part::ToolCall(call("a", "f", "{}")), Part::ToolCall(call("b", "f", ""))];
    let results = vec![Part::ToolResult(result("a", vec![image()])), Part::ToolResult(failed)];
    let (document, noted) = encoded(&request(vec![
        message(Role::Assistant, calls()),
        message(Role::Tool, results),
        message(Role::User, vec![text("and?")]),
    ]));
    assert_eq!(
        document["messages"],
        json!([
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            ]},
            {"role": "tool", "tool_call_id": "a", "content": "See the next message."},
            {"role": "tool", "tool_call_id": "b", "content": [
                {"type": "text", "text": "Error:"}, {"type": "text", "text": "no"},
            ]},
            {"role": "user", "content": [
                {"type": "text", "text": "What the tool returned for the call a:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
                {"type": "text", "text": "and?"},
            ]},
        ])
    );
    assert_eq!(noted, ["messages[].content[].content", "messages[].content[].is_error"]);

    let results = vec![Part::ToolResult(result("a", vec![text("t"), image()]))];
    let (document, _) =
        encoded(&request(vec![message(Role::Assistant, calls()), message(Role::Tool, results)]));
    assert_eq!(document["messages"][1]["content"], "t");
    assert_eq!(document["messages"][2]["role"], "user");
}

#[test]
fn what_chat_cannot_say_is_noted_or_refused() {
    let signed = |family| {
        Part::Thought(Thought {
            text: "t".into(),
            signature: Some(Signature::new(family, "s")),
            ..Thought::default()
        })
    };
    let document = |source| {
        Part::File(File {
            source,
            name: Some("n".into()),
            context: Some("c".into()),
            citations: true,
            cache: None,
        })
    };
    let marked =
        Part::Text(Text { text: "x".into(), cache: Some(CacheMark { ttl: None }), citations: vec![] });
    let mut asked = request(vec![
        message(Role::User, vec![marked, document(Source::Text("body".into()))]),
        message(Role::Assistant, vec![signed(Family::Anthropic), signed(Family::OpenAi)]),
        message(Role::Assistant, vec![text("one, "), text("two"), Part::Refusal("no".into())]),
    ]);
    asked.sampling.top_k = Some(5.into());
    asked.metadata = vec![("a".into(), "b".into())];
    asked.stop = ["a", "b", "c", "d", "e"].map(Into::into).to_vec();
    asked.thinking = Some(Thinking { enabled: Some(true), budget: Some(5000), ..Thinking::default() });
    asked.tool_choice = Some(ToolChoice::Auto);
    asked.parallel_tool_calls = Some(true);
    asked.user = Some("x".repeat(200).into());
    asked.service_tier = Some("standard_only".into());
    asked.store = Some(false);
    let (sent, noted) = encoded(&asked);
    assert_eq!(
        sent["messages"],
        json!([
            {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "n\n\nbody"}]},
            {"role": "assistant", "content": "one, two", "refusal": "no"},
        ])
    );
    assert_eq!(sent["reasoning_effort"], "medium");
    assert_eq!(sent["stop"], json!(["a", "b", "c", "d"]));
    assert_eq!(sent["user"].as_str().unwrap().len(), 21);
    assert_eq!(sent["service_tier"], "default");
    for absent in
        ["tool_choice", "parallel_tool_calls", "metadata", "top_k", "store", "max_completion_tokens"]
    {
        assert!(sent.get(absent).is_none(), "{absent}");
    }
    for path in [
        "cache_control",
        "messages[].content[].context",
        "messages[].content[].citations",
        "messages[].content[].source",
        "messages[].content[].thinking",
        "thinking.budget_tokens",
        "stop_sequences",
        "top_k",
        "metadata",
    ] {
        assert!(noted.iter().any(|noted| noted == path), "{path} in {noted:?}");
    }

    let url =
        request(vec![message(Role::User, vec![document(Source::Url("https://x.example/a.pdf".into()))])]);
    let image = Part::Image(Image { source: Source::FileId("f".into()), detail: None, cache: None });
    for (refused, feature) in
        [(url, Feature::FileUrl), (request(vec![message(Role::User, vec![image])]), Feature::ImageFileId)]
    {
        let destination = Destination { model: "m", max_output_tokens: 1, quirks: &Quirks::default() };
        let error = chat::encode_request(&refused, &destination, &mut losses()).unwrap_err();
        assert_eq!(error.feature, feature);
    }
}

#[test]
fn long_ids_are_shortened_alike_at_call_and_result() {
    let long = "toolu_".repeat(20);
    let (sent, _) = encoded(&request(vec![
        message(Role::Assistant, vec![Part::ToolCall(call(&long, "f", "{}"))]),
        message(Role::Tool, vec![Part::ToolResult(result(&long, vec![]))]),
    ]));
    let id = sent["messages"][0]["tool_calls"][0]["id"].as_str().unwrap();
    assert!(id.len() <= 40);
    assert_eq!(sent["messages"][1], json!({"role": "tool", "tool_call_id": id, "content": ""}));
}

#[test]
fn quirks_of_servers_are_kept() {
    let schema_text = schema().to_string();
    let schema_json = Json::parse(&schema_text).unwrap();
    let marked =
        Text { text: "x".into(), cache: Some(CacheMark { ttl: Some(CacheTtl::OneHour) }), citations: vec![] };
    let mut asked = request(vec![
        message(Role::Developer, vec![text("be kind")]),
        message(Role::User, vec![Part::Text(marked)]),
    ]);
    asked.format = Some(Format::Schema {
        name: Some("a name!".into()),
        description: None,
        schema: std::borrow::Cow::Owned(schema_json),
        strict: None,
    });
    asked.max_tokens = Some(7);
    asked.stream = true;
    asked.sampling.seed = Some(1.into());
    asked.thinking = Some(Thinking { effort: Some(Effort::Highest), ..Thinking::default() });
    let quirks = Quirks {
        max_tokens_field: MaxTokensField::MaxTokens,
        developer_role: false,
        cache_control: true,
        reasoning: ReasoningField::Openrouter,
        json_schema: false,
        drop: vec!["seed".into(), "stream_options".into()],
    };
    let (sent, noted) = encoded_with(&asked, &quirks);
    assert_eq!(
        sent,
        json!({
            "model": "gpt-5-mini",
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "system", "content": format!("Answer with one JSON object and nothing else. It must follow this JSON Schema:\n{schema_text}")},
                {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
            ],
            "response_format": {"type": "json_object"},
            "reasoning": {"effort": "xhigh"},
            "max_tokens": 7,
            "stream": true,
        })
    );
    assert_eq!(noted, ["output_config.format", "seed"]);

    let (sent, _) = encoded(&asked);
    assert_eq!(sent["response_format"]["json_schema"]["name"], "a_name_");
    assert_eq!(sent["messages"][0]["role"], "developer");

    let thinking = |thinking, reasoning| {
        let asked =
            Request { thinking: Some(thinking), ..request(vec![message(Role::User, vec![text("x")])]) };
        let (sent, noted) = encoded_with(&asked, &Quirks { reasoning, ..Quirks::default() });
        let said = ["reasoning_effort", "reasoning", "thinking"].map(|key| sent[key].clone());
        (said.into_iter().find(|value| !value.is_null()), noted)
    };
    let off = Thinking { enabled: Some(false), ..Thinking::default() };
    let budget = Thinking { budget: Some(100), shown: Some(false), ..Thinking::default() };
    let none: Vec<String> = vec![];
    assert_eq!(thinking(off, ReasoningField::ReasoningEffort), (Some(json!("none")), none.clone()));
    assert_eq!(thinking(off, ReasoningField::Openrouter), (Some(json!({"enabled": false})), none.clone()));
    assert_eq!(thinking(off, ReasoningField::Thinking), (Some(json!({"type": "disabled"})), none.clone()));
    assert_eq!(thinking(off, ReasoningField::None), (None, vec!["thinking.type".into()]));
    let lost = vec!["thinking.budget_tokens".to_owned()];
    assert_eq!(
        thinking(budget, ReasoningField::Openrouter),
        (Some(json!({"max_tokens": 100, "exclude": true})), none)
    );
    assert_eq!(thinking(budget, ReasoningField::Thinking), (Some(json!({"type": "enabled"})), lost.clone()));
    assert_eq!(thinking(budget, ReasoningField::None), (None, lost));
}

fn answer_of(document: &Value, check: impl FnOnce(&Answer<'_>)) {
    let text = document.to_string();
    let json = Json::parse(&text).unwrap();
    check(&chat::decode_answer(&json).unwrap());
}

#[test]
fn reads_a_whole_answer() {
    let document = json!({
        "id": "chatcmpl-9", "object": "chat.completion", "created": 1_730_000_000, "model": "gpt-5-mini-2025-08-07",
        "choices": [{"index": 0, "finish_reason": "stop",
            "logprobs": {"content": [{"token": "Hé", "logprob": -0.25, "bytes": [72, 195, 169],
                "top_logprobs": [{"token": "Ho", "logprob": -2.0, "bytes": null}]}], "refusal": null},
            "message": {"role": "assistant", "content": "Hé", "refusal": null, "reasoning_content": "hm",
                "annotations": [{"type": "url_citation", "url_citation":
                    {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2}}],
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}},
                    {"type": "function", "function": {"name": "g", "arguments": {"a": 1}}},
                    {"id": "call_3", "type": "custom", "custom": {"name": "h", "input": "free"}},
                    {"id": "nameless", "function": {}},
                ]}}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 8, "total_tokens": 20,
            "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 3}},
        "service_tier": "default", "system_fingerprint": "fp_1", "unheard_of": {},
    });
    answer_of(&document, |answer| {
        assert_eq!(answer.id.as_deref(), Some("chatcmpl-9"));
        assert_eq!(answer.created, Some(1_730_000_000));
        assert_eq!(answer.finish, Finish::ToolCalls);
        assert_eq!(
            answer.usage,
            Some(Usage { input: 12, cached: 4, cache_write: 0, output: 8, reasoning: 3 })
        );
        assert_eq!(answer.logprobs.len(), 1);
        assert_eq!(answer.logprobs[0].top, [("Ho".into(), -2.0)]);
        let Part::Text(said) = &answer.parts[1] else { panic!("a text") };
        assert_eq!(said.citations[0].url.as_deref(), Some("https://a.example"));
        assert_eq!((said.citations[0].start, said.citations[0].end), (Some(0), Some(2)));
        let calls: Vec<(&str, &str, bool)> = answer
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::ToolCall(call) => Some((call.name.as_ref(), call.arguments.as_ref(), call.custom)),
                _ => None,
            })
            .collect();
        assert_eq!(calls, [("f", "{}", false), ("g", "{\"a\":1}", false), ("h", "free", true)]);
        let Part::ToolCall(second) = &answer.parts[3] else { panic!("a call") };
        assert!(second.id.starts_with("call_") && second.id.len() <= 40, "{}", second.id);
    });
}

#[test]
fn reads_odd_answers() {
    for (choice, finish) in [
        (json!({"message": {"content": "x"}}), Finish::Stop),
        (json!({"message": {"content": "x"}, "finish_reason": "length"}), Finish::Length),
        (
            json!({"message": {"content": [{"type": "text", "text": "x"}]}, "finish_reason": "stop"}),
            Finish::Stop,
        ),
        (json!({"message": {"content": "x"}, "finish_reason": "eos"}), Finish::Other("eos".into())),
        (json!({"message": {"content": "x", "refusal": "no"}, "finish_reason": "stop"}), Finish::Refusal),
        (json!({"message": {"content": "x"}, "finish_reason": "content_filter"}), Finish::ContentFilter),
    ] {
        answer_of(&json!({"choices": [choice]}), |answer| {
            assert_eq!(answer.finish, finish);
            assert_eq!(answer.parts[0], text("x"));
            assert_eq!(answer.usage, None);
        });
    }
    for (document, path) in [
        (json!({}), "choices"),
        (json!({"choices": []}), "choices"),
        (json!({"choices": [{}]}), "choices[0].message"),
        (json!([]), ""),
    ] {
        let text = document.to_string();
        let json = Json::parse(&text).unwrap();
        assert_eq!(chat::decode_answer(&json).unwrap_err().path, path);
    }
}

fn context() -> Context {
    Context {
        id: "req1".into(),
        request_id: "req1".into(),
        model: "smart".into(),
        created: 1_700_000_000,
        include_usage: true,
        echo: None,
    }
}

fn full_answer() -> Answer<'static> {
    let mut signed = call("call_1", "f", "{}");
    signed.signature = Some(Signature::new(Family::Gemini, "g"));
    Answer {
        parts: vec![
            Part::Thought(Thought {
                text: "deep".into(),
                signature: Some(Signature::new(Family::Anthropic, "s")),
                ..Thought::default()
            }),
            Part::Thought(Thought {
                signature: Some(Signature::new(Family::Anthropic, "r")),
                redacted: true,
                ..Thought::default()
            }),
            text("é "),
            Part::Text(Text {
                text: "said".into(),
                cache: None,
                citations: vec![
                    Citation { url: Some("https://a.example".into()), ..Citation::default() },
                    Citation { cited: Some("words".into()), ..Citation::default() },
                ],
            }),
            Part::ToolCall(signed),
        ],
        finish: Finish::ToolCalls,
        usage: Some(Usage { input: 10, cached: 3, cache_write: 2, output: 5, reasoning: 1 }),
        logprobs: vec![TokenLogprob {
            token: "é".into(),
            logprob: f64::NEG_INFINITY,
            top: vec![("e".into(), -1.5)],
        }],
        service_tier: Some("standard".into()),
        ..Answer::default()
    }
}

#[test]
fn writes_a_whole_answer() {
    let mut losses = losses();
    let bytes = chat::encode_answer(&full_answer(), &context(), &mut losses);
    let written: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(
        written,
        json!({
            "id": "chatcmpl-req1", "object": "chat.completion", "created": 1_700_000_000, "model": "smart",
            "choices": [{
                "index": 0,
                "message": {
                    "role": "assistant", "content": "é said", "refusal": null, "reasoning_content": "deep",
                    "reasoning_details": [
                        {"type": "reasoning.text", "text": "deep", "signature": "meseta.anthropic.s", "index": 0},
                        {"type": "reasoning.encrypted", "data": "meseta.anthropic.r", "index": 1},
                    ],
                    "annotations": [{"type": "url_citation", "url_citation":
                        {"end_index": 6, "start_index": 2, "title": "", "url": "https://a.example"}}],
                    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"},
                        "extra_content": {"google": {"thought_signature": "g"}}}],
                },
                "logprobs": {"content": [{"token": "é", "logprob": -9999, "bytes": [195, 169], "top_logprobs":
                    [{"token": "e", "logprob": -1.5, "bytes": [101]}]}], "refusal": null},
                "finish_reason": "tool_calls",
            }],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
                "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 0, "cache_write_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 1, "audio_tokens": 0,
                    "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}},
            "service_tier": "default",
        })
    );
    assert_eq!(losses.noted(), ["citations"]);

    // The client sends the message back, and nothing of what was signed is lost.
    let history = json!({"messages": [written["choices"][0]["message"]]});
    decoded(&history, |request, _| {
        let parts = &request.messages[0].parts;
        assert_eq!(parts[..2], full_answer().parts[..2]);
        assert_eq!(parts[3], full_answer().parts[4]);
    });
}

#[test]
fn every_end_has_a_word() {
    for (finish, parts, word, lost) in [
        (Finish::Stop, vec![], "stop", None),
        (Finish::StopSequence(Some("x".into())), vec![], "stop", Some("stop-sequence")),
        (Finish::Length, vec![], "length", None),
        (Finish::Refusal, vec![], "content_filter", None),
        (Finish::Refusal, vec![Part::Refusal("no".into())], "stop", None),
        (Finish::Pause, vec![], "stop", Some("pause")),
        (Finish::Other("odd".into()), vec![], "stop", Some("finish-reason")),
    ] {
        let mut losses = losses();
        let answer = Answer { finish, parts, ..Answer::default() };
        let bytes = chat::encode_answer(&answer, &context(), &mut losses);
        let written: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(written["choices"][0]["finish_reason"], word);
        assert_eq!(losses.noted().first().map(AsRef::as_ref), lost);
        assert!(written.get("usage").is_none());
    }
}

#[test]
fn errors_are_read_whatever_they_are() {
    for (status, body, message, kind, code) in [
        (
            429,
            r#"{"error":{"message":"Slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#,
            "Slow down",
            FailureKind::RateLimit,
            Some("rate_limit_exceeded"),
        ),
        (
            400,
            r#"{"error":{"message":"m","type":"invalid_request_error","code":null}}"#,
            "m",
            FailureKind::InvalidRequest,
            Some("invalid_request_error"),
        ),
        (400, r#"[{"error":{"message":"m","code":403}}]"#, "m", FailureKind::Permission, Some("403")),
        (500, r#"{"error":"broken"}"#, "broken", FailureKind::Server, None),
        (422, r#"{"detail":[{"loc":["body"]}]}"#, r#"[{"loc":["body"]}]"#, FailureKind::InvalidRequest, None),
        (
            404,
            r#"{"object":"error","message":"no model","type":"NotFoundError","code":404}"#,
            "no model",
            FailureKind::NotFound,
            Some("404"),
        ),
        (
            502,
            "<html>bad</html>",
            "The provider answered with status 502 and without a message.",
            FailureKind::Server,
            None,
        ),
        (503, "busy\n", "busy", FailureKind::Overloaded, None),
        (
            529,
            "",
            "The provider answered with status 529 and without a message.",
            FailureKind::Overloaded,
            None,
        ),
    ] {
        let failure = chat::decode_error(status, body.as_bytes());
        assert_eq!(failure.message, message, "{body}");
        assert_eq!(failure.kind, kind, "{body}");
        assert_eq!(failure.code.as_deref(), code, "{body}");
    }
}

#[test]
fn errors_are_written_with_the_id_of_the_request() {
    let failure =
        Failure { message: "m".into(), kind: FailureKind::RateLimit, code: None, param: Some("p".into()) };
    assert_eq!(
        String::from_utf8(chat::encode_error(&failure, "req_1")).unwrap(),
        r#"{"error":{"message":"m","type":"rate_limit_error","param":"p","code":null,"request_id":"req_1"}}"#
    );
}

/// What a stream says, one line an event, and what `end` returned.
fn heard(events: &[&str]) -> (Vec<String>, bool) {
    let mut decoder = StreamDecoder::default();
    let mut lines = Vec::new();
    for data in events {
        decoder.event(data.as_bytes(), &mut |event| lines.push(line(&event)));
    }
    let ended = decoder.end(&mut |event| lines.push(line(&event)));
    (lines, ended)
}

fn line(event: &Event<'_>) -> String {
    match event {
        Event::Begin { id, model, created, usage } => {
            assert_eq!(*usage, None);
            format!("begin {id:?} {model:?} {created:?}")
        }
        Event::BlockBegin { index, block } => match block {
            Block::Text => format!("{index} text"),
            Block::Refusal => format!("{index} refusal"),
            Block::Thought { .. } => format!("{index} thought"),
            Block::RedactedThought(signature) => format!("{index} redacted {}", signature.value),
            Block::ToolCall { id, name, custom, signature } => {
                let signature = signature.as_ref().map_or("-", |signature| signature.value.as_ref());
                format!("{index} call {id} {name} {custom} {signature}")
            }
        },
        Event::Delta { index, delta } => match delta {
            Delta::Text(text) => format!("{index} +{text}"),
            Delta::Refusal(text) => format!("{index} +refusal {text}"),
            Delta::Thought(text) => format!("{index} +thought {text}"),
            Delta::Signature(signature) => {
                format!("{index} +signature {:?} {}", signature.family, signature.value)
            }
            Delta::Arguments(text) => format!("{index} +arguments {text}"),
            Delta::Citation(citation) => format!("{index} +citation {}", citation.url.as_deref().unwrap()),
            Delta::Logprobs(tokens) => format!("{index} +logprobs {}", tokens.len()),
        },
        Event::BlockEnd { index } => format!("{index} end"),
        Event::Finish { finish, usage } => {
            format!("finish {finish:?} {:?}", usage.map(|usage| (usage.input, usage.output)))
        }
        Event::Ping => "ping".to_owned(),
        Event::Failed(failure) => format!("failed {:?} {}", failure.kind, failure.message),
    }
}

const STREAM: &[&str] = &[
    r#"{"id":"chatcmpl-7","object":"chat.completion.chunk","created":1730000000,"model":"gpt-5","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}"#,
    r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{"reasoning_content":"hm"},"finish_reason":null}]}"#,
    r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{"reasoning_details":[{"type":"reasoning.text","text":"deep","index":1},{"type":"reasoning.text","signature":"meseta.anthropic.sig","index":1},{"type":"reasoning.encrypted","data":"blob","index":2}]}}]}"#,
    r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{"content":"Hel\"lo"},"logprobs":{"content":[{"token":"Hel","logprob":-0.5,"bytes":[72],"top_logprobs":[]}]},"finish_reason":null}]}"#,
    r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{"annotations":[{"type":"url_citation","url_citation":{"url":"https://a.example","start_index":0,"end_index":3}}]}}]}"#,
    r#"{"id":"chatcmpl-7","choices":[{"index":1,"delta":{"content":"another choice"}}]}"#,
    r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"f","arguments":""},"extra_content":{"google":{"thought_signature":"gs"}}}]}}]}"#,
    r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_b","type":"custom","custom":{"name":"g","input":"l"}}]}}]}"#,
    r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}},{"index":1,"custom":{"input":"s"}},{"index":0,"function":{"arguments":":1}"}}]}}]}"#,
    r#"{"id":"chatcmpl-7","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"tool_calls"}],"usage":null}"#,
    r#"{"id":"chatcmpl-7","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}"#,
    "[DONE]",
];

#[test]
fn reads_a_stream() {
    let (lines, ended) = heard(STREAM);
    assert!(ended);
    assert_eq!(
        lines,
        [
            r#"begin Some("chatcmpl-7") Some("gpt-5") Some(1730000000)"#,
            "0 thought",
            "0 +thought hm",
            "0 end",
            "1 thought",
            "1 +thought deep",
            "1 +signature Anthropic sig",
            "1 end",
            "2 redacted blob",
            "2 end",
            "3 text",
            "3 +Hel\"lo",
            "3 +logprobs 1",
            "3 +citation https://a.example",
            "3 end",
            "4 call call_a f false gs",
            "5 call call_b g true -",
            "5 +arguments l",
            "4 +arguments {\"a\"",
            "5 +arguments s",
            "4 +arguments :1}",
            "4 end",
            "5 end",
            "finish ToolCalls Some((9, 4))",
        ]
    );
}

#[test]
fn reads_the_streams_of_other_servers() {
    // Azure begins with an event that has no choices; usage stands beside the reason; no `[DONE]`.
    let (lines, ended) = heard(&[
        r#"{"id":"","model":"","choices":[],"prompt_filter_results":[]}"#,
        r#"{"id":"x","choices":[{"delta":{"content":"a"}}]}"#,
        r#"{"id":"x","choices":[{"delta":{"content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
    ]);
    assert_eq!(
        lines,
        [r#"begin Some("x") None None"#, "0 text", "0 +a", "0 end", "finish Stop Some((1, 1))"]
    );
    assert!(ended);

    // The reason, and the end of the connection.
    let (lines, ended) = heard(&[r#"{"choices":[{"delta":{"refusal":"no"},"finish_reason":"stop"}]}"#]);
    assert_eq!(lines, ["begin None None None", "0 refusal", "0 +refusal no", "0 end", "finish Refusal None"]);
    assert!(ended);

    // Every call has the number 0, or none; whole calls say `stop`; the name comes late.
    let (lines, _) = heard(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}},{"index":0,"id":"b","function":{"name":"f","arguments":{"k":1}}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"id":"c","function":{"arguments":"{\"q"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"id":"c","function":{"name":"g","arguments":"\":1}"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"id":"never named"}]}}]}"#,
        r#"{"choices":[{"finish_reason":"stop"}]}"#,
        "[DONE]",
    ]);
    assert_eq!(
        lines[1..],
        [
            "0 call a f false -",
            "0 +arguments {}",
            "0 end",
            "1 call b f false -",
            "1 +arguments {\"k\":1}",
            "1 end",
            "2 call c g false -",
            "2 +arguments {\"q\":1}",
            "2 end",
            "finish ToolCalls None",
        ]
    );

    // The older way to call.
    let (lines, _) = heard(&[
        r#"{"choices":[{"delta":{"function_call":{"name":"f","arguments":""}}}]}"#,
        r#"{"choices":[{"delta":{"function_call":{"arguments":"{}"}},"finish_reason":"function_call"}]}"#,
        "[DONE]",
    ]);
    assert!(lines[1].starts_with("0 call call_") && lines[1].ends_with(" f false -"), "{lines:?}");
    assert_eq!(lines[2..], ["0 +arguments {}", "0 end", "finish ToolCalls None"]);
}

/// Clients who see one block after the other need not wait for the end of the stream.
#[test]
fn a_call_that_is_whole_ends_when_something_else_begins() {
    let piece = |index: u32, function: &str| {
        format!(
            r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":{index},"id":"call_{index}","function":{function}}}]}}}}]}}"#
        )
    };
    let events = [
        piece(0, r#"{"name":"f","arguments":"{\"a\":"}"#),
        piece(1, r#"{"name":"g","arguments":""}"#),
        // The pieces of two calls alternate, and neither ends before it is whole.
        piece(0, r#"{"arguments":"\"}\""}"#),
        piece(1, r#"{"arguments":"{}"}"#),
        piece(2, r#"{"name":"h","arguments":"{}"}"#),
        piece(0, r#"{"arguments":"}"}"#),
        // Nothing more can belong to a call that has ended.
        piece(1, r#"{"arguments":"{}"}"#),
        r#"{"choices":[{"delta":{"content":"Now."}}]}"#.to_owned(),
        r#"{"choices":[{"finish_reason":"stop"}]}"#.to_owned(),
        "[DONE]".to_owned(),
    ];
    let (lines, ended) = heard(&events.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(ended);
    assert_eq!(
        lines[1..],
        [
            "0 call call_0 f false -",
            "0 +arguments {\"a\":",
            "1 call call_1 g false -",
            "0 +arguments \"}\"",
            "1 +arguments {}",
            "1 end",
            "2 call call_2 h false -",
            "2 +arguments {}",
            "0 +arguments }",
            "0 end",
            "2 end",
            "3 text",
            "3 +Now.",
            "3 end",
            "finish ToolCalls None",
        ]
    );
}

#[test]
fn a_stream_that_is_cut_off_or_fails_says_so() {
    let begun = r#"{"choices":[{"delta":{"content":"a"}}]}"#;
    assert!(!heard(&[begun]).1);
    assert!(!heard(&[]).1);
    for (event, line) in [
        (r#"{"error":{"message":"Busy","code":503}}"#, "failed Overloaded Busy"),
        (
            r#"{"error":{"message":"Slow","type":"rate_limit_error"},"choices":[{"delta":{},"finish_reason":"error"}]}"#,
            "failed RateLimit Slow",
        ),
        (r#"{"error":"x"}"#, "failed Server x"),
        (r#"{"error":{}}"#, "failed Server The provider failed in the middle of its answer."),
        (
            r#"{"choices":[{"finish_reason":"error"}]}"#,
            "failed Server The provider failed in the middle of its answer.",
        ),
        ("<html>", "failed Server The provider sent an event that is not a chunk of an answer."),
        (r#"{"choices":5}"#, "failed Server The provider sent an event that is not a chunk of an answer."),
    ] {
        let (lines, _) = heard(&[begun, event, begun, "[DONE]"]);
        assert_eq!(lines[3..], [line], "{event}");
        let mut decoder = StreamDecoder::default();
        assert!(!decoder.event(event.as_bytes(), &mut |_| {}));
    }
    assert_eq!(heard(&["[DONE]"]).0, ["failed Server The provider's stream ended before it began."]);
}

fn written(events: &[Event<'_>], context: Context) -> (String, Vec<&'static str>) {
    let mut encoder = StreamEncoder::new(context);
    let mut out = Vec::new();
    for event in events {
        encoder.event(event, &mut out);
    }
    encoder.end(&mut out);
    (String::from_utf8(out).unwrap(), encoder.losses().to_vec())
}

fn begin() -> Event<'static> {
    Event::Begin { id: Some("other".into()), model: Some("other".into()), created: Some(1), usage: None }
}

#[test]
fn writes_chunks_byte_for_byte() {
    let events = [
        begin(),
        Event::BlockBegin { index: 0, block: Block::Text },
        Event::Ping,
        Event::Delta { index: 0, delta: Delta::Text("a\n\"b\"".into()) },
        Event::BlockEnd { index: 0 },
        Event::Finish {
            finish: Finish::Stop,
            usage: Some(Usage { input: 2, output: 1, ..Usage::default() }),
        },
    ];
    let head = r#"data: {"id":"chatcmpl-req1","object":"chat.completion.chunk","created":1700000000,"model":"smart","choices":["#;
    let (stream, losses) = written(&events, context());
    let expected = [
        format!(
            r#"{head}{{"index":0,"delta":{{"role":"assistant","content":"","refusal":null}},"logprobs":null,"finish_reason":null}}],"usage":null}}"#
        ),
        ": ping".to_owned(),
        format!(
            r#"{head}{{"index":0,"delta":{{"content":"a\n\"b\""}},"logprobs":null,"finish_reason":null}}],"usage":null}}"#
        ),
        format!(r#"{head}{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"stop"}}],"usage":null}}"#),
        format!(
            r#"{head}],"usage":{{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3,"prompt_tokens_details":{{"cached_tokens":0,"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}}}}"#
        ),
        "data: [DONE]".to_owned(),
    ];
    assert_eq!(stream, expected.map(|event| event + "\n\n").concat());
    assert!(losses.is_empty());

    let (stream, _) = written(&events, Context { include_usage: false, ..context() });
    assert!(!stream.contains("usage"));
}

#[test]
fn a_failure_is_the_last_word() {
    let failure = Failure { message: "m".into(), ..Failure::default() };
    let text = Event::Delta { index: 0, delta: Delta::Text("late".into()) };
    let (stream, _) = written(&[begin(), Event::Failed(failure), text], context());
    assert!(stream.ends_with(
        "data: {\"error\":{\"message\":\"m\",\"type\":\"server_error\",\"param\":null,\"code\":null,\"request_id\":\"req1\"}}\n\n"
    ));
}

/// Reads events as a client does, puts them through the decoder again, and compares what was said.
fn through(events: &[&str]) -> (Vec<String>, Vec<String>) {
    let mut decoder = StreamDecoder::default();
    let mut encoder = StreamEncoder::new(context());
    let mut stream = Vec::new();
    for data in events {
        decoder.event(data.as_bytes(), &mut |event| encoder.event(&event, &mut stream));
    }
    decoder.end(&mut |event| encoder.event(&event, &mut stream));
    encoder.end(&mut stream);
    let stream = String::from_utf8(stream).unwrap();
    let again: Vec<&str> = stream.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    (heard(events).0, heard(&again).0)
}

#[test]
fn a_stream_says_the_same_when_written_and_read_again() {
    let (first, second) = through(STREAM);
    assert_eq!(first[1..], second[1..]);
    assert_eq!(second[0], r#"begin Some("chatcmpl-req1") Some("smart") Some(1700000000)"#);
}

#[test]
fn calls_without_arguments_get_an_empty_object() {
    let block = |custom| Block::ToolCall { id: "c".into(), name: "f".into(), custom, signature: None };
    let finish = Event::Finish { finish: Finish::ToolCalls, usage: None };
    let events = [
        begin(),
        Event::BlockBegin { index: 0, block: block(false) },
        Event::BlockEnd { index: 0 },
        Event::BlockBegin { index: 1, block: block(true) },
        Event::BlockBegin { index: 2, block: block(false) },
        finish,
    ];
    let (stream, _) = written(&events, context());
    assert_eq!(stream.matches(r#""function":{"arguments":"{}"}"#).count(), 2);
    assert!(stream.contains(r#"[{"index":2,"function":{"arguments":"{}"}}]"#));
}

#[test]
fn what_a_stream_cannot_say_is_noted() {
    let events = [
        begin(),
        Event::BlockBegin { index: 0, block: Block::Text },
        Event::Delta { index: 0, delta: Delta::Text("añ".into()) },
        Event::Delta { index: 0, delta: Delta::Citation(Citation::default()) },
        Event::Delta {
            index: 0,
            delta: Delta::Citation(Citation { url: Some("https://a.example".into()), ..Citation::default() }),
        },
        Event::Delta { index: 7, delta: Delta::Text("of no block".into()) },
        Event::Finish { finish: Finish::Pause, usage: None },
    ];
    let (stream, losses) = written(&events, context());
    assert!(stream.contains(r#""annotations":[{"type":"url_citation","url_citation":{"end_index":2,"start_index":0,"title":"","url":"https://a.example"},"index":0}]"#));
    assert!(!stream.contains("of no block"));
    assert_eq!(losses, ["citations", "pause"]);
}

#[test]
fn no_changed_byte_of_a_stream_panics() {
    for (number, event) in STREAM.iter().enumerate() {
        for at in 0..event.len() {
            for byte in [b'"', b'{', b'0', b'\\', 0xff] {
                let mut changed = event.as_bytes().to_vec();
                changed[at] = byte;
                let mut decoder = StreamDecoder::default();
                let mut encoder = StreamEncoder::new(context());
                let mut out = Vec::new();
                let mut failed = false;
                for (other, data) in STREAM.iter().enumerate() {
                    let data = if other == number { changed.as_slice() } else { data.as_bytes() };
                    let mut write = |event: Event<'_>| {
                        assert!(!failed, "nothing follows a failure");
                        failed = matches!(event, Event::Failed(_));
                        encoder.event(&event, &mut out);
                    };
                    if !decoder.event(data, &mut write) {
                        break;
                    }
                }
                assert!(std::str::from_utf8(&out).is_ok());
            }
        }
    }
}

const VOCABULARY: &[&str] = &[
    "model",
    "messages",
    "role",
    "content",
    "name",
    "type",
    "text",
    "image_url",
    "url",
    "detail",
    "file",
    "file_data",
    "file_id",
    "filename",
    "input_audio",
    "data",
    "format",
    "refusal",
    "tool_calls",
    "tool_call_id",
    "id",
    "function",
    "custom",
    "input",
    "arguments",
    "function_call",
    "functions",
    "parameters",
    "strict",
    "tools",
    "tool_choice",
    "allowed_tools",
    "mode",
    "response_format",
    "json_schema",
    "schema",
    "reasoning_effort",
    "reasoning",
    "thinking",
    "reasoning_content",
    "reasoning_details",
    "signature",
    "cache_control",
    "ttl",
    "extra_content",
    "google",
    "thought_signature",
    "stop",
    "n",
    "metadata",
    "stream_options",
    "include_usage",
    "choices",
    "delta",
    "message",
    "index",
    "finish_reason",
    "logprobs",
    "token",
    "logprob",
    "top_logprobs",
    "annotations",
    "url_citation",
    "usage",
    "prompt_tokens",
    "completion_tokens",
    "error",
    "code",
    "param",
    "created",
    "modalities",
    "web_search_options",
];

const WORDS: &[&str] = &[
    "",
    "user",
    "assistant",
    "system",
    "tool",
    "function",
    "text",
    "image_url",
    "file",
    "input_audio",
    "custom",
    "auto",
    "data:image/png;base64,AA",
    "data:,",
    "https://a.example",
    "reasoning.text",
    "reasoning.encrypted",
    "json_schema",
    "allowed_tools",
    "ephemeral",
    "stop",
    "tool_calls",
    "error",
    "meseta.gemini.x",
    "none",
    "é\u{0}",
];

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..5).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::sample::select(WORDS).prop_map(Value::from),
    ];
    leaf.prop_recursive(7, 96, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((prop::sample::select(VOCABULARY), inner), 0..8).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

/// A document that is right but for what is put into it, so that the deep places are reached too.
fn grafted() -> impl Strategy<Value = (Value, Value)> {
    let paths = prop::sample::select(vec![
        "/messages/0",
        "/messages/1/content",
        "/messages/1/content/1/image_url",
        "/messages/2/tool_calls/0",
        "/messages/3/content",
        "/tools/0",
        "/tools/1/custom",
        "/tool_choice",
        "/response_format",
        "/stop",
        "/n",
    ]);
    let chunk = prop::sample::select(vec![
        "content",
        "tool_calls",
        "reasoning_details",
        "annotations",
        "function_call",
    ]);
    (paths, chunk, tree()).prop_map(|(path, key, graft)| {
        let mut request = whole_request();
        if let Some(place) = request.pointer_mut(path) {
            *place = graft.clone();
        }
        let piece = json!({"choices": [{"index": 0, "delta": {key: graft}, "message": {key: graft}}]});
        (request, piece)
    })
}

fn try_everything(document: &Value) {
    let text = document.to_string();
    let json = Json::parse(&text).unwrap();
    let mut losses = losses();
    if let Ok(request) = chat::decode_request(&json, &mut losses) {
        for quirks in [
            Quirks::default(),
            Quirks {
                cache_control: true,
                json_schema: false,
                reasoning: ReasoningField::Openrouter,
                ..Quirks::default()
            },
        ] {
            let destination = Destination { model: "m", max_output_tokens: 1, quirks: &quirks };
            if let Ok(sent) = chat::encode_request(&request, &destination, &mut losses) {
                assert!(serde_json::from_slice::<Value>(&sent).is_ok());
            }
        }
    }
    if let Ok(answer) = chat::decode_answer(&json) {
        let written = chat::encode_answer(&answer, &context(), &mut losses);
        assert!(serde_json::from_slice::<Value>(&written).is_ok());
    }
    assert!(!chat::decode_error(500, text.as_bytes()).message.is_empty());
}

proptest! {
    #[test]
    fn no_document_panics(document in tree()) {
        try_everything(&document);
    }

    #[test]
    fn no_grafted_document_panics((request, piece) in grafted()) {
        try_everything(&request);
        try_everything(&piece);
    }

    #[test]
    fn no_stream_panics(events in vec(prop_oneof![
        tree().prop_map(|event| event.to_string()),
        grafted().prop_map(|(_, piece)| piece.to_string()),
        prop::sample::select(STREAM).prop_map(str::to_owned),
    ], 0..12)) {
        let mut decoder = StreamDecoder::default();
        let mut encoder = StreamEncoder::new(context());
        let mut out = Vec::new();
        let mut open: Vec<u32> = Vec::new();
        let mut next = 0;
        let (mut finished, mut failed) = (false, false);
        let mut check = |event: Event<'_>| {
            assert!(!failed, "nothing follows a failure");
            match &event {
                Event::BlockBegin { index, .. } => {
                    assert_eq!(*index, next);
                    next += 1;
                    open.push(*index);
                }
                Event::Delta { index, .. } => assert!(open.contains(index)),
                Event::BlockEnd { index } => {
                    assert!(open.contains(index));
                    open.retain(|other| other != index);
                }
                Event::Finish { .. } => {
                    assert!(open.is_empty() && !finished);
                    finished = true;
                }
                Event::Failed(_) => failed = true,
                Event::Begin { .. } | Event::Ping => {}
            }
            encoder.event(&event, &mut out);
        };
        for event in &events {
            if !decoder.event(event.as_bytes(), &mut check) {
                break;
            }
        }
        decoder.end(&mut check);
        encoder.end(&mut out);
        for event in String::from_utf8(out).unwrap().split("\n\n").filter(|event| !event.is_empty()) {
            let data = event.strip_prefix("data: ").unwrap();
            assert!(data == "[DONE]" || serde_json::from_str::<Value>(data).is_ok(), "{data}");
        }
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..64)) {
        let mut decoder = StreamDecoder::default();
        decoder.event(&bytes, &mut |_| {});
        prop_assert!(!chat::decode_error(400, &bytes).message.is_empty());
    }
}
