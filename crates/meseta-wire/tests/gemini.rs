//! The dialect of Gemini: requests, answers and streams, whole and broken.

use std::borrow::Cow;

use meseta_wire::conversation::{
    Answer, Block, Citation, Delta, Effort, Event, Failure, FailureKind, File, Finish, Format, Function,
    Image, Message, Part, Request, Role, Source, Text, Thinking, Thought, TokenLogprob, Tool, ToolCall,
    ToolChoice, ToolResult, WebSearch,
};
use meseta_wire::dialect::{Context, Destination, Dialect, Quirks};
use meseta_wire::feature::{Feature, Losses};
use meseta_wire::gemini::{self, StreamDecoder, StreamEncoder};
use meseta_wire::json::Json;
use meseta_wire::object;
use meseta_wire::signature::{Family, Signature};
use meseta_wire::sse;
use meseta_wire::usage::Usage;
use proptest::prelude::*;
use serde_json::{Value, json};

const GEMINI: Dialect = Dialect::GeminiGenerateContent;

fn losses() -> Losses {
    Losses::new(Dialect::AnthropicMessages, GEMINI)
}

fn encode_for(model: &str, request: &Request<'_>, losses: &mut Losses) -> Value {
    let quirks = Quirks::default();
    let destination = Destination { model, max_output_tokens: 4096, quirks: &quirks };
    serde_json::from_slice(&gemini::encode_request(request, &destination, losses).unwrap()).unwrap()
}

fn encode(request: &Request<'_>) -> Value {
    encode_for("gemini-2.5-flash", request, &mut losses())
}

fn decode(text: &str, check: impl FnOnce(Request<'_>, Losses)) {
    let json = Json::parse(text).unwrap();
    let mut losses = losses();
    let request = gemini::decode_request(&json, &mut losses).unwrap();
    check(request, losses);
}

fn text(text: &str) -> Part<'_> {
    Part::Text(Text { text: Cow::Borrowed(text), ..Text::default() })
}

fn message(role: Role, parts: Vec<Part<'_>>) -> Message<'_> {
    Message { role, name: None, parts }
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

fn conversation(messages: Vec<Message<'_>>) -> Request<'_> {
    Request { messages, ..Request::default() }
}

const REQUEST: &str = r#"{
    "systemInstruction": {"parts": [{"text": "You plan trips."}]},
    "contents": [
        {"role": "user", "parts": [{"text": "Weather in Jaca and Ansó?"}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0K"}}]},
        {"role": "model", "parts": [
            {"text": "Two look-ups.", "thought": true, "thoughtSignature": "CtQB"},
            {"functionCall": {"name": "get_weather", "args": {"city": "Jaca"}}, "thoughtSignature": "CuAC"},
            {"functionCall": {"name": "get_weather", "args": {"city": "Ansó"}}}]},
        {"role": "user", "parts": [
            {"functionResponse": {"name": "get_weather", "response": {"output": "12 degrees"}}},
            {"functionResponse": {"name": "get_weather", "response": {"error": "no station"}}}]},
        {"role": "model", "parts": [{"text": "12 degrees in Jaca.", "thoughtSignature": "CvAD"}]},
        {"role": "user", "parts": [{"text": "Thanks."}]}
    ],
    "tools": [{"functionDeclarations": [{"name": "get_weather", "description": "Weather now.",
        "parametersJsonSchema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}]}],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["get_weather"]}},
    "generationConfig": {"temperature": 0.5, "topP": 0.9, "topK": 40, "maxOutputTokens": 800, "stopSequences": ["END"],
        "presencePenalty": 0.1, "frequencyPenalty": 0.2, "seed": 7, "responseLogprobs": true, "logprobs": 3,
        "thinkingConfig": {"includeThoughts": true, "thinkingBudget": 2048}}
}"#;

#[test]
fn a_request_is_read() {
    decode(REQUEST, |request, losses| {
        assert!(losses.is_empty(), "{:?}", losses.noted());
        let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
        let expected = [Role::System, Role::User, Role::Assistant, Role::Tool, Role::Assistant, Role::User];
        assert_eq!(roles, expected);
        let [Part::Thought(thought), Part::ToolCall(first), Part::ToolCall(second)] =
            &request.messages[2].parts[..]
        else {
            panic!("a thought and two calls")
        };
        assert_eq!(thought.signature, Some(Signature::new(Family::Gemini, "CtQB")));
        assert_eq!(first.arguments, r#"{"city":"Jaca"}"#);
        assert_eq!(first.signature, Some(Signature::new(Family::Gemini, "CuAC")));
        assert_ne!(first.id, second.id);
        let [Part::ToolResult(one), Part::ToolResult(other)] = &request.messages[3].parts[..] else {
            panic!("two results")
        };
        assert_eq!((&one.id, &other.id), (&first.id, &second.id));
        assert_eq!((one.error, other.error), (false, true));
        assert_eq!(other.parts, [text("no station")]);
        assert_eq!(request.tool_choice, Some(ToolChoice::Named("get_weather".into())));
        let thinking = Thinking { budget: Some(2048), shown: Some(true), ..Thinking::default() };
        assert_eq!(request.thinking, Some(thinking));
        assert_eq!((request.max_tokens, request.sampling.top_logprobs), (Some(800), Some(3)));
    });
}

#[test]
fn what_was_read_is_written_again() {
    let json = Json::parse(REQUEST).unwrap();
    let mut request = gemini::decode_request(&json, &mut losses()).unwrap();
    request.thinking = None;
    let mut notes = losses();
    let quirks = Quirks::default();
    let destination = Destination { model: "gemini-3-pro-preview", max_output_tokens: 1, quirks: &quirks };
    let written = gemini::encode_request(&request, &destination, &mut notes).unwrap();
    let mut expected: Value = serde_json::from_str(REQUEST).unwrap();
    expected["generationConfig"].as_object_mut().unwrap().remove("thinkingConfig");
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), expected);
    assert_eq!(notes.noted(), ["messages[].content[].is_error"]);
    let written = String::from_utf8(written).unwrap();
    let json = Json::parse(&written).unwrap();
    assert_eq!(gemini::decode_request(&json, &mut losses()).unwrap(), request);
}

#[test]
fn snake_case_is_understood() {
    decode(
        r#"{"system_instruction":{"parts":[{"text":"s"}]},
            "contents":[{"parts":[{"inline_data":{"mime_type":"audio/mpeg","data":"AAAA"}},{"file_data":{"file_uri":"gs://b/x.pdf"}}]}],
            "generation_config":{"max_output_tokens":5,"response_mime_type":"application/json"},
            "tools":[{"google_search":{}}]}"#,
        |request, losses| {
            assert!(losses.is_empty(), "{:?}", losses.noted());
            assert_eq!(request.max_tokens, Some(5));
            assert_eq!(request.format, Some(Format::Json));
            assert_eq!(request.tools, [Tool::WebSearch(WebSearch::default())]);
            let [Part::Audio(audio), Part::File(file)] = &request.messages[1].parts[..] else {
                panic!("audio and a file")
            };
            assert_eq!(audio.format, "mp3");
            assert_eq!(file.source, Source::Url("gs://b/x.pdf".into()));
        },
    );
}

#[test]
fn older_schemas_become_json_schema_and_unknown_fields_are_noted() {
    decode(
        r#"{"contents":[{"role":"user","parts":[{"text":"x"},{"executableCode":{"code":"1"}}]}],
            "tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":"OBJECT","properties":{"n":{"type":"INTEGER","nullable":true}}}}]}],
            "generationConfig":{"speechConfig":{},"responseSchema":{"type":"STRING"}},"safetySettings":[{"category":"x"}]}"#,
        |request, losses| {
            let Tool::Function(function) = &request.tools[0] else { panic!("a function") };
            assert_eq!(
                function.parameters.as_ref().unwrap().to_text(),
                r#"{"type":"object","properties":{"n":{"type":["integer","null"]}}}"#
            );
            assert!(
                matches!(&request.format, Some(Format::Schema { schema, .. }) if schema.to_text() == r#"{"type":"string"}"#)
            );
            assert_eq!(
                losses.noted(),
                ["safetySettings", "generationConfig.speechConfig", "messages[].content[].type"]
            );
        },
    );
}

#[test]
fn what_is_wrong_is_named() {
    for (document, path) in [
        ("[]", ""),
        ("{}", "contents"),
        (r#"{"contents":5}"#, "contents"),
        (r#"{"contents":[5]}"#, "contents[0]"),
        (r#"{"contents":[{"role":"system"}]}"#, "contents[0].role"),
        (r#"{"contents":[{"parts":[{"text":5}]}]}"#, "contents[0].parts[0].text"),
        (
            r#"{"contents":[{"parts":[{"inline_data":{"mime_type":5}}]}]}"#,
            "contents[0].parts[0].inline_data.mime_type",
        ),
        (
            r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png"}}]}]}"#,
            "contents[0].parts[0].inlineData.data",
        ),
        (r#"{"contents":[{"parts":[{"fileData":{}}]}]}"#, "contents[0].parts[0].fileData.fileUri"),
        (r#"{"contents":[{"parts":[{"functionCall":{"name":"f"}}]}]}"#, "contents[0].parts[0].functionCall"),
        (
            r#"{"contents":[{"role":"model","parts":[{"functionCall":{"args":{}}}]}]}"#,
            "contents[0].parts[0].functionCall.name",
        ),
        (
            r#"{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f","args":[]}}]}]}"#,
            "contents[0].parts[0].functionCall.args",
        ),
        (
            r#"{"contents":[{"parts":[{"functionResponse":{"name":"f","response":"x"}}]}]}"#,
            "contents[0].parts[0].functionResponse.response",
        ),
        (r#"{"contents":[],"systemInstruction":{"parts":[{}]}}"#, "systemInstruction.parts[0].text"),
        (r#"{"contents":[],"tools":[{"codeExecution":{}}]}"#, "tools[0].codeExecution"),
        (
            r#"{"contents":[],"tools":[{"functionDeclarations":[{"name":"f"},{}]}]}"#,
            "tools[0].functionDeclarations[1].name",
        ),
        (
            r#"{"contents":[],"toolConfig":{"functionCallingConfig":{"mode":"SOME"}}}"#,
            "toolConfig.functionCallingConfig.mode",
        ),
        (r#"{"contents":[],"generation_config":{"mediaResolution":5}}"#, "generation_config.mediaResolution"),
        (r#"{"contents":[],"generationConfig":{"topK":"x"}}"#, "generationConfig.topK"),
        (
            r#"{"contents":[],"generationConfig":{"responseModalities":["TEXT","AUDIO"]}}"#,
            "generationConfig.responseModalities[1]",
        ),
        (
            r#"{"contents":[],"generationConfig":{"thinkingConfig":{"thinkingLevel":"ALL"}}}"#,
            "generationConfig.thinkingConfig.thinkingLevel",
        ),
        (
            r#"{"contents":[],"generationConfig":{"thinkingConfig":{"thinkingBudget":-2}}}"#,
            "generationConfig.thinkingConfig.thinkingBudget",
        ),
    ] {
        let json = Json::parse(document).unwrap();
        assert_eq!(gemini::decode_request(&json, &mut losses()).unwrap_err().path, path, "{document}");
    }
}

#[test]
fn results_stand_before_the_words_of_their_turn() {
    decode(
        r#"{"contents":[
            {"role":"model","parts":[{"functionCall":{"id":"a1","name":"f"}},{"functionCall":{"name":"g"}}]},
            {"role":"user","parts":[{"text":"Hurry."},{"functionResponse":{"name":"g","response":{"result":{"n":1}}}}]},
            {"role":"user","parts":[{"functionResponse":{"id":"a1","name":"f","response":{"a":1,"b":2}}},{"text":"Please."}]}]}"#,
        |request, _| {
            let [calls, results, words] = &request.messages[..] else { panic!("three messages") };
            assert_eq!((calls.role, results.role, words.role), (Role::Assistant, Role::Tool, Role::User));
            assert_eq!(words.parts, [text("Hurry."), text("Please.")]);
            let [Part::ToolResult(g), Part::ToolResult(f)] = &results.parts[..] else {
                panic!("two results")
            };
            assert_eq!((g.name.as_deref(), f.id.as_ref()), (Some("g"), "a1"));
            assert_eq!(g.parts, [text(r#"{"n":1}"#)]);
            assert_eq!(f.parts, [text(r#"{"a":1,"b":2}"#)]);
        },
    );
}

#[test]
fn calls_and_results_are_paired_in_order() {
    let request = conversation(vec![
        message(Role::User, vec![text("Go.")]),
        message(
            Role::Assistant,
            vec![
                Part::ToolCall(call("call_1", "f", r#"{"a": 1}"#)),
                Part::ToolCall(call("q7", "g", "no object")),
                Part::ToolCall(call("call_3", "h", "")),
            ],
        ),
        message(
            Role::Tool,
            vec![
                Part::ToolResult(result("q7", vec![text(r#"{"ok":true}"#)])),
                Part::ToolResult(result("lost", vec![text("who?")])),
                Part::ToolResult(result("call_1", vec![text("one"), text("two")])),
            ],
        ),
        message(Role::User, vec![text("And?")]),
    ]);
    assert_eq!(
        encode(&request)["contents"],
        json!([
            {"role": "user", "parts": [{"text": "Go."}]},
            {"role": "model", "parts": [
                {"functionCall": {"name": "f", "args": {"a": 1}}},
                {"functionCall": {"id": "q7", "name": "g", "args": {"arguments": "no object"}}},
                {"functionCall": {"name": "h", "args": {}}},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "f", "response": {"output": "one\ntwo"}}},
                {"functionResponse": {"id": "q7", "name": "g", "response": {"ok": true}}},
                {"functionResponse": {"name": "h", "response": {"error": "No result was given for this call."}}},
                {"text": "Result of a tool:\nwho?"},
            ]},
            {"role": "user", "parts": [{"text": "And?"}]},
        ])
    );
}

#[test]
fn calls_of_one_id_are_paired_in_order() {
    let calls = ["f", "g"].map(|name| Part::ToolCall(call("same", name, "{}")));
    let results = ["one", "two"].map(|words| Part::ToolResult(result("same", vec![text(words)])));
    let request = conversation(vec![
        message(Role::User, vec![text("Go.")]),
        message(Role::Assistant, calls.to_vec()),
        message(Role::Tool, results.to_vec()),
    ]);
    assert_eq!(
        encode(&request)["contents"][2]["parts"],
        json!([
            {"functionResponse": {"id": "same", "name": "f", "response": {"output": "one"}}},
            {"functionResponse": {"id": "same", "name": "g", "response": {"output": "two"}}},
        ])
    );
}

#[test]
fn calls_without_any_result_are_answered_for_the_provider() {
    let request = conversation(vec![
        message(Role::User, vec![text("Go.")]),
        message(Role::Assistant, vec![Part::ToolCall(call("call_1", "f", "{}"))]),
        message(Role::User, vec![text("Never mind.")]),
    ]);
    let mut notes = losses();
    let contents = encode_for("gemini-2.5-flash", &request, &mut notes)["contents"].clone();
    assert_eq!(notes.noted(), ["tool_result"]);
    assert_eq!(contents.as_array().unwrap().len(), 4);
    assert!(contents[2]["parts"][0]["functionResponse"]["response"]["error"].is_string());
    // What the model is to go on with has none.
    let request = conversation(request.messages[..2].to_vec());
    assert_eq!(encode(&request)["contents"].as_array().unwrap().len(), 2);
}

#[test]
fn system_words_between_a_call_and_its_result_do_not_part_them() {
    let request = conversation(vec![
        message(Role::Assistant, vec![Part::ToolCall(call("call_1", "f", "{}"))]),
        message(Role::System, vec![text("Hurry.")]),
        message(Role::Tool, vec![Part::ToolResult(result("call_1", vec![text("done")]))]),
        message(Role::User, vec![text("a")]),
        message(Role::Developer, vec![text("Slowly.")]),
        message(Role::User, vec![text("b")]),
    ]);
    let mut notes = losses();
    let written = encode_for("gemini-2.5-flash", &request, &mut notes);
    assert_eq!(
        written,
        json!({
            "contents": [
                // A call must follow something of the user's.
                {"role": "user", "parts": [{"text": "(The beginning of the conversation is left out.)"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "done"}}}]},
                {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
            ],
            "systemInstruction": {"parts": [{"text": "Hurry."}, {"text": "Slowly."}]},
        })
    );
    assert_eq!(notes.noted(), [Feature::SystemInPlace.path(Dialect::AnthropicMessages), "messages[0]"]);
}

#[test]
fn signatures_go_where_they_came_from_and_nowhere_else() {
    let own = |value| Some(Signature::new(Family::Gemini, value));
    let hidden = |signature| Part::Thought(Thought { signature, redacted: true, ..Thought::default() });
    let shown = |signature| Part::Thought(Thought { text: "Hm.".into(), signature, ..Thought::default() });
    let signed = |value| Part::ToolCall(ToolCall { signature: own(value), ..call("call_1", "f", "{}") });
    let plain = || Part::ToolCall(call("call_2", "g", "{}"));
    let foreign = Some(Signature::new(Family::Anthropic, "EqoB"));
    let parts = |model: &str, parts: Vec<Part<'_>>, losses: &mut Losses| {
        let request =
            conversation(vec![message(Role::User, vec![text("?")]), message(Role::Assistant, parts)]);
        let written = encode_for(model, &request, losses);
        written["contents"][1]["parts"].clone()
    };
    let function = |name: &str| json!({"name": name, "args": {}});
    let mut notes = losses();
    assert_eq!(
        parts("gemini-3-pro", vec![shown(own("CgA=")), signed("CgB="), plain()], &mut notes),
        json!([
            {"text": "Hm.", "thought": true, "thoughtSignature": "CgA="},
            {"functionCall": function("f"), "thoughtSignature": "CgB="},
            {"functionCall": function("g")},
        ])
    );
    assert_eq!(
        parts("gemini-3-pro", vec![text("Hi."), hidden(own("CgC="))], &mut notes),
        json!([{"text": "Hi.", "thoughtSignature": "CgC="}])
    );
    assert_eq!(
        parts("gemini-3-pro", vec![text("Hi."), hidden(own("CgD=")), plain()], &mut notes),
        json!([{"text": "Hi."}, {"functionCall": function("g"), "thoughtSignature": "CgD="}])
    );
    assert_eq!(
        parts("gemini-3-pro", vec![plain(), hidden(own("CgE="))], &mut notes),
        json!([
            {"functionCall": function("g"), "thoughtSignature": "skip_thought_signature_validator"},
            {"text": "", "thoughtSignature": "CgE="},
        ])
    );
    assert!(notes.is_empty());
    assert_eq!(
        parts("gemini-2.5-pro", vec![shown(foreign), shown(None), text("Hi."), plain()], &mut notes),
        json!([{"text": "Hi."}, {"functionCall": function("g")}])
    );
    assert_eq!(notes.noted(), [Feature::ForeignThoughts.path(Dialect::AnthropicMessages)]);
}

#[test]
fn thinking_is_said_in_the_models_way() {
    let config = |model: &str, thinking: Thinking| {
        let request =
            Request { thinking: Some(thinking), ..conversation(vec![message(Role::User, vec![text("?")])]) };
        let mut losses = losses();
        let written = encode_for(model, &request, &mut losses);
        (written["generationConfig"]["thinkingConfig"].clone(), losses.is_empty())
    };
    let off = Thinking { enabled: Some(false), ..Thinking::default() };
    let on = Thinking { enabled: Some(true), shown: Some(true), ..Thinking::default() };
    let effort = |effort| Thinking { effort: Some(effort), ..Thinking::default() };
    let budget = |tokens| Thinking { budget: Some(tokens), ..Thinking::default() };
    for (model, thinking, expected, exact) in [
        ("gemini-2.5-flash", off, json!({"thinkingBudget": 0}), true),
        ("gemini-2.5-pro", off, json!({"thinkingBudget": 128}), false),
        ("gemini-3-pro-preview", off, json!({"thinkingLevel": "LOW"}), false),
        ("gemini-2.0-flash", off, Value::Null, true),
        ("gemini-2.0-flash", on, Value::Null, false),
        ("gemini-2.5-flash", on, json!({"thinkingBudget": -1, "includeThoughts": true}), true),
        ("gemini-3-flash", on, json!({"includeThoughts": true}), true),
        ("gemini-2.5-flash", effort(Effort::High), json!({"thinkingBudget": 24576}), false),
        ("gemini-3-flash", effort(Effort::Minimal), json!({"thinkingLevel": "MINIMAL"}), true),
        ("gemini-3-pro-preview", effort(Effort::Medium), json!({"thinkingLevel": "HIGH"}), false),
        ("gemini-3.1-pro", effort(Effort::Medium), json!({"thinkingLevel": "MEDIUM"}), true),
        ("gemini-2.5-flash", budget(4000), json!({"thinkingBudget": 4000, "includeThoughts": true}), true),
        (
            "gemini-2.5-flash",
            budget(99_999),
            json!({"thinkingBudget": 24576, "includeThoughts": true}),
            false,
        ),
        ("gemini-3-flash", budget(4000), json!({"thinkingLevel": "MEDIUM", "includeThoughts": true}), false),
    ] {
        assert_eq!(config(model, thinking), (expected, exact), "{model} {thinking:?}");
    }
}

#[test]
fn thinking_leaves_room_for_the_answer() {
    let effort = Thinking { effort: Some(Effort::High), ..Thinking::default() };
    let budget = |tokens| Thinking { budget: Some(tokens), ..Thinking::default() };
    let shown = |tokens: u64| json!({"thinkingBudget": tokens, "includeThoughts": true});
    for (model, thinking, limit, expected, noted) in [
        ("gemini-2.5-flash", budget(4000), 8000, shown(4000), None),
        ("gemini-2.5-flash", budget(4000), 4000, shown(2000), Some(Feature::ThinkingBudget)),
        ("gemini-2.5-flash", effort, 8000, json!({"thinkingBudget": 4000}), Some(Feature::ThinkingEffort)),
        // Half of it is less than the least that the model takes.
        ("gemini-2.5-pro", budget(4000), 100, shown(128), Some(Feature::ThinkingBudget)),
        (
            "gemini-2.5-flash-lite",
            budget(4000),
            1000,
            json!({"thinkingBudget": 0}),
            Some(Feature::ThinkingBudget),
        ),
    ] {
        let request = Request {
            thinking: Some(thinking),
            max_tokens: Some(limit),
            ..conversation(vec![message(Role::User, vec![text("?")])])
        };
        let mut notes = losses();
        let written = encode_for(model, &request, &mut notes);
        assert_eq!(written["generationConfig"]["thinkingConfig"], expected, "{model} {limit}");
        let expected = noted.map(|feature| feature.path(notes.client()));
        assert_eq!(notes.noted(), expected.as_slice(), "{model} {limit}");
    }
}

#[test]
fn the_name_of_a_file_is_noted_as_left_out() {
    let file = |name: Option<&'static str>| {
        let source = Source::Base64 { media_type: "application/pdf".into(), data: "JVBERi0=".into() };
        let name = name.map(Cow::Borrowed);
        let file = Part::File(File { source, name, context: None, citations: false, cache: None });
        let mut notes = losses();
        encode_for("gemini-2.5-flash", &conversation(vec![message(Role::User, vec![file])]), &mut notes);
        notes.noted().to_vec()
    };
    assert_eq!(file(Some("report.pdf")), [Feature::FileName.path(Dialect::AnthropicMessages)]);
    assert!(file(None).is_empty());
}

#[test]
fn tools_choices_and_forms_are_written() {
    let schema = object! { "type" => "object", "additionalProperties" => false };
    let function = Tool::Function(Function {
        name: "f".into(),
        description: Some("Does it.".into()),
        parameters: Some(Cow::Borrowed(&schema)),
        strict: Some(true),
        cache: None,
    });
    let custom = Tool::Custom { name: "shell".into(), description: None, format: None };
    let search = Tool::WebSearch(WebSearch { max_uses: Some(3), ..WebSearch::default() });
    let base = Request {
        tools: vec![function.clone(), custom, search.clone()],
        tool_choice: Some(ToolChoice::Allowed { names: vec!["f".into()], required: false }),
        format: Some(Format::Schema {
            name: None,
            description: None,
            schema: Cow::Borrowed(&schema),
            strict: None,
        }),
        ..conversation(vec![
            message(Role::System, vec![text("Be brief.")]),
            message(Role::User, vec![text("?")]),
        ])
    };
    let mut notes = losses();
    let written = encode_for("gemini-3-flash", &base, &mut notes);
    assert_eq!(
        written["tools"],
        json!([{"functionDeclarations": [
            {"name": "f", "description": "Does it.", "parametersJsonSchema": {"type": "object", "additionalProperties": false}},
            {"name": "shell", "description": "Takes one text.", "parametersJsonSchema":
                {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}},
        ]}])
    );
    assert_eq!(
        written["toolConfig"],
        json!({"functionCallingConfig": {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}})
    );
    assert_eq!(written["generationConfig"]["responseMimeType"], "application/json");
    assert_eq!(written["generationConfig"]["responseJsonSchema"]["additionalProperties"], false);
    assert!(notes.noted().iter().any(|note| note == "tools[]"), "{:?}", notes.noted());
    // Older models cannot have both.
    let mut notes = losses();
    let written = encode_for("gemini-2.5-flash", &base, &mut notes);
    assert!(written.get("generationConfig").is_none());
    let asked = written["systemInstruction"]["parts"][1]["text"].as_str().unwrap();
    assert!(asked.ends_with(r#"{"type":"object","additionalProperties":false}"#), "{asked}");
    assert!(notes.noted().iter().any(|note| note == "output_config.format"), "{:?}", notes.noted());
    // Search alone is a tool; a choice among no functions is none.
    let written = encode(&Request { tools: vec![search], ..base });
    assert_eq!(written["tools"], json!([{"googleSearch": {}}]));
    assert!(written.get("toolConfig").is_none());
}

#[test]
fn media_go_inline_or_by_their_address() {
    let image = |source, detail: Option<&'static str>| {
        Part::Image(Image { source, detail: detail.map(Cow::Borrowed), cache: None })
    };
    let base64 = || Source::Base64 { media_type: "image/webp".into(), data: "UklG".into() };
    let request = conversation(vec![
        message(
            Role::User,
            vec![
                image(base64(), Some("low")),
                image(Source::Url("https://a.example/x.png?w=1".into()), Some("high")),
                image(Source::Url("https://a.example/x".into()), None),
            ],
        ),
        message(Role::Assistant, vec![Part::ToolCall(call("call_1", "look", "{}"))]),
        message(
            Role::Tool,
            vec![Part::ToolResult(result("call_1", vec![text("see"), image(base64(), None)]))],
        ),
    ]);
    let inline = json!({"inlineData": {"mimeType": "image/webp", "data": "UklG"}});
    let written = encode(&request);
    assert_eq!(
        written["contents"][0]["parts"],
        json!([
            inline,
            {"fileData": {"mimeType": "image/png", "fileUri": "https://a.example/x.png?w=1"}},
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://a.example/x"}},
        ])
    );
    assert_eq!(written["generationConfig"], json!({"mediaResolution": "MEDIA_RESOLUTION_HIGH"}));
    assert_eq!(written["contents"][2]["parts"][1], inline);
    let written = encode_for("gemini-3-flash", &request, &mut losses());
    assert_eq!(written["contents"][2]["parts"][0]["functionResponse"]["parts"], json!([inline]));
    let file = conversation(vec![message(Role::User, vec![image(Source::FileId("file-1".into()), None)])]);
    let quirks = Quirks::default();
    let destination = Destination { model: "gemini-3-flash", max_output_tokens: 1, quirks: &quirks };
    let refused = gemini::encode_request(&file, &destination, &mut losses()).unwrap_err();
    assert_eq!(refused.feature, Feature::ImageFileId);
}

#[test]
fn limits_of_the_provider_are_kept() {
    let number = |text: &str| serde_json::from_str(text).ok();
    let mut request = conversation(vec![message(Role::System, vec![text("Only this.")])]);
    request.stop = ["a", "b", "c", "d", "e", "f"].map(Cow::Borrowed).to_vec();
    request.max_tokens = Some(u64::MAX);
    request.sampling.temperature = number("2.5");
    request.sampling.seed = number("9223372036854775807");
    request.sampling.top_logprobs = Some(50);
    let mut notes = losses();
    let written = encode_for("gemini-2.5-flash", &request, &mut notes);
    // A document without turns is refused.
    assert_eq!(written["contents"], json!([{"role": "user", "parts": [{"text": "Only this."}]}]));
    assert!(written.get("systemInstruction").is_none());
    assert_eq!(
        written["generationConfig"],
        json!({"temperature": 2, "maxOutputTokens": i32::MAX, "stopSequences": ["a", "b", "c", "d", "e"],
            "seed": i32::MAX, "responseLogprobs": true, "logprobs": 20})
    );
    assert_eq!(notes.noted(), ["messages[0]", Feature::TemperatureAboveOne.as_str(), "stop_sequences"]);
}

#[test]
fn a_count_asks_about_the_whole_request() {
    let request = conversation(vec![
        message(Role::System, vec![text("s")]),
        message(Role::User, vec![text("?")]),
        message(Role::System, vec![text("late")]),
    ]);
    let quirks = Quirks::default();
    let destination = Destination { model: "gemini-2.5-flash", max_output_tokens: 1, quirks: &quirks };
    let written = gemini::encode_count(&request, &destination, &mut losses()).unwrap();
    assert_eq!(
        String::from_utf8(written).unwrap(),
        concat!(
            r#"{"generateContentRequest":{"model":"models/gemini-2.5-flash","contents":[{"role":"user","parts":[{"text":"?"}]}],"#,
            r#""systemInstruction":{"parts":[{"text":"s"},{"text":"late"}]}}}"#
        )
    );
}

const ANSWER: &str = r#"{
    "candidates": [{"content": {"role": "model", "parts": [
        {"text": "I should search.", "thought": true},
        {"text": "Zürich wins. "},
        {"text": "Over München.", "thoughtSignature": "CsAB"},
        {"functionCall": {"name": "note", "args": {"n": 1}}},
        {"functionCall": {"id": "x9", "name": "note", "args": {"n": 2}}},
        {"executableCode": {"language": "PYTHON", "code": "1"}}]},
        "finishReason": "STOP", "index": 0,
        "groundingMetadata": {
            "groundingChunks": [{"web": {"uri": "https://a.example/1", "title": "a.example"}}, {"web": {"uri": "https://b.example/2"}}],
            "groundingSupports": [
                {"segment": {"partIndex": 1, "endIndex": 7, "text": "Zürich"}, "groundingChunkIndices": [0, 9]},
                {"segment": {"partIndex": 2, "startIndex": 5, "endIndex": 13, "text": "München"}, "groundingChunkIndices": [1]}]},
        "logprobsResult": {"chosenCandidates": [{"token": "Z", "logProbability": -0.25}],
            "topCandidates": [{"candidates": [{"token": "Z", "logProbability": -0.25}, {"token": "M"}]}]}}],
    "usageMetadata": {"promptTokenCount": 100, "cachedContentTokenCount": 40, "candidatesTokenCount": 20,
        "thoughtsTokenCount": 30, "toolUsePromptTokenCount": 5, "totalTokenCount": 155},
    "modelVersion": "gemini-2.5-flash", "responseId": "abC-1"
}"#;

const USAGE: Usage = Usage { input: 105, cached: 40, cache_write: 0, output: 50, reasoning: 30 };

#[test]
fn an_answer_is_read() {
    let json = Json::parse(ANSWER).unwrap();
    let answer = gemini::decode_answer(&json).unwrap();
    assert_eq!(answer.usage, Some(USAGE));
    assert_eq!((answer.id.as_deref(), answer.model.as_deref()), (Some("abC-1"), Some("gemini-2.5-flash")));
    assert_eq!(answer.finish, Finish::ToolCalls);
    let [
        Part::Thought(thought),
        Part::Text(words),
        Part::Thought(signed),
        Part::ToolCall(first),
        Part::ToolCall(second),
    ] = &answer.parts[..]
    else {
        panic!("{:?}", answer.parts)
    };
    assert_eq!((thought.text.as_ref(), &thought.signature), ("I should search.", &None));
    assert_eq!(words.text, "Zürich wins. Over München.");
    assert!(signed.redacted && signed.signature == Some(Signature::new(Family::Gemini, "CsAB")));
    assert_eq!((first.id.as_ref(), second.id.as_ref()), ("call_gemini_abC-1_0", "x9"));
    assert_eq!(first.arguments, r#"{"n":1}"#);
    let cited: Vec<String> = words
        .citations
        .iter()
        .map(|citation| {
            let (start, end) = (citation.start.unwrap(), citation.end.unwrap());
            words
                .text
                .chars()
                .skip(usize::try_from(start).unwrap())
                .take(usize::try_from(end - start).unwrap())
                .collect()
        })
        .collect();
    assert_eq!(cited, ["Zürich", "München"]);
    assert_eq!(words.citations[0].url.as_deref(), Some("https://a.example/1"));
    assert_eq!(answer.logprobs[0].top, [("Z".into(), -0.25), ("M".into(), 0.0)]);
}

#[test]
fn an_answer_is_written_and_read_again() {
    let json = Json::parse(ANSWER).unwrap();
    let answer = gemini::decode_answer(&json).unwrap();
    let context = Context { id: "abC-1".into(), model: "gemini-2.5-flash".into(), ..Context::default() };
    let mut losses = losses();
    let written = gemini::encode_answer(&answer, &context, &mut losses);
    let written = String::from_utf8(written).unwrap();
    let json = Json::parse(&written).unwrap();
    assert_eq!(gemini::decode_answer(&json).unwrap(), answer);
    assert!(losses.is_empty(), "{:?}", losses.noted());
    assert!(written.contains(r#""totalTokenCount":155"#), "{written}");
}

#[test]
fn why_an_answer_ended() {
    for (document, finish) in [
        (r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#, Finish::ContentFilter),
        (r#"{"candidates":[{"finishReason":"MAX_TOKENS"}]}"#, Finish::Length),
        (r#"{"candidates":[{"content":{},"finishReason":"RECITATION"}]}"#, Finish::ContentFilter),
        (
            r#"{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#,
            Finish::Other("MALFORMED_FUNCTION_CALL".into()),
        ),
        (r#"{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP"}]}"#, Finish::Stop),
        (
            r#"{"candidates":[{"content":{"parts":"odd"}}],"usageMetadata":{"promptTokenCount":-4}}"#,
            Finish::Stop,
        ),
    ] {
        let json = Json::parse(document).unwrap();
        let answer = gemini::decode_answer(&json).unwrap();
        assert_eq!((answer.finish, answer.usage), (finish, None), "{document}");
    }
    for document in ["[]", "{}", r#"{"candidates":[]}"#, r#"{"error":{"code":500}}"#] {
        let json = Json::parse(document).unwrap();
        assert!(gemini::decode_answer(&json).is_err(), "{document}");
    }
}

#[test]
fn errors_are_read_whatever_they_are() {
    let failure = |status, body: &str| {
        let failure = gemini::decode_error(status, body.as_bytes());
        (failure.kind, failure.code.map(Cow::into_owned), failure.message.into_owned())
    };
    assert_eq!(
        failure(429, r#"{"error":{"code":429,"message":"Quota.","status":"RESOURCE_EXHAUSTED"}}"#),
        (FailureKind::RateLimit, Some("RESOURCE_EXHAUSTED".into()), "Quota.".into())
    );
    assert_eq!(
        failure(503, r#"[{"error":{"code":503,"message":"Busy.","status":"UNAVAILABLE"}}]"#).0,
        FailureKind::Overloaded
    );
    assert_eq!(
        failure(400, r#"{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#).0,
        FailureKind::Authentication
    );
    assert_eq!(
        failure(404, "<html>"),
        (FailureKind::NotFound, None, "The provider answered with status 404 and no message.".into())
    );
    assert_eq!(failure(502, "bad gateway\r\n").2, "bad gateway");
    assert_eq!(failure(500, r#"{"error":{}}"#).0, FailureKind::Server);
    let failure =
        Failure { message: "Slow down.".into(), kind: FailureKind::RateLimit, ..Failure::default() };
    assert_eq!(
        String::from_utf8(gemini::encode_error(&failure)).unwrap(),
        r#"{"error":{"code":429,"message":"Slow down.","status":"RESOURCE_EXHAUSTED"}}"#
    );
}

/// Events with their own texts, and what `event` and `end` returned last.
fn read_stream<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Seen>, bool) {
    let mut decoder = StreamDecoder::default();
    let mut seen = Vec::new();
    let mut going = true;
    for piece in pieces {
        going = decoder.event(piece, &mut |event| seen.push(Seen::of(&event)));
    }
    let whole = going && decoder.end(&mut |event| seen.push(Seen::of(&event)));
    (seen, whole)
}

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Begin(Option<String>, Option<Usage>),
    Text(u32),
    Thought(u32),
    Redacted(u32, String),
    Call(u32, String, String, Option<String>),
    Said(u32, String),
    Signed(u32, String),
    Cited(u32, Option<String>, Option<u64>, Option<u64>),
    Logprobs(u32, usize),
    End(u32),
    Finish(Finish<'static>, Option<Usage>),
    Failed(FailureKind, String),
}

impl Seen {
    fn of(event: &Event<'_>) -> Seen {
        let owned = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
        match event {
            Event::Begin { id, usage, .. } => Seen::Begin(owned(id), *usage),
            Event::BlockBegin { index, block } => match block {
                Block::Text | Block::Refusal => Seen::Text(*index),
                Block::Thought { .. } => Seen::Thought(*index),
                Block::RedactedThought(signature) => Seen::Redacted(*index, signature.value.to_string()),
                Block::ToolCall { id, name, signature, .. } => Seen::Call(
                    *index,
                    id.to_string(),
                    name.to_string(),
                    signature.as_ref().map(|signature| signature.value.to_string()),
                ),
            },
            Event::Delta { index, delta } => match delta {
                Delta::Text(text) | Delta::Refusal(text) | Delta::Thought(text) | Delta::Arguments(text) => {
                    Seen::Said(*index, text.to_string())
                }
                Delta::Signature(signature) => Seen::Signed(*index, signature.value.to_string()),
                Delta::Citation(citation) => {
                    Seen::Cited(*index, owned(&citation.url), citation.start, citation.end)
                }
                Delta::Logprobs(tokens) => Seen::Logprobs(*index, tokens.len()),
            },
            Event::BlockEnd { index } => Seen::End(*index),
            Event::Finish { finish, usage } => {
                let finish = match finish {
                    Finish::Stop => Finish::Stop,
                    Finish::Length => Finish::Length,
                    Finish::ToolCalls => Finish::ToolCalls,
                    Finish::ContentFilter => Finish::ContentFilter,
                    Finish::Refusal => Finish::Refusal,
                    Finish::Pause => Finish::Pause,
                    Finish::StopSequence(text) => {
                        Finish::StopSequence(text.clone().map(|text| text.into_owned().into()))
                    }
                    Finish::Other(word) => Finish::Other(word.clone().into_owned().into()),
                };
                Seen::Finish(finish, *usage)
            }
            Event::Ping => panic!("Gemini has no pings"),
            Event::Failed(failure) => Seen::Failed(failure.kind, failure.message.to_string()),
        }
    }
}

const STREAM: [&str; 6] = [
    r#"{"candidates":[{"content":{"parts":[{"text":"Let me ","thought":true}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":9},"modelVersion":"gemini-3-pro","responseId":"r1"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"see.","thought":true}],"role":"model"}}],"responseId":"r1"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"Zürich "}]}}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2}}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"wins."}]},"logprobsResult":{"chosenCandidates":[{"token":"wins."}]}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"CsAB"}]},"groundingMetadata":{"groundingChunks":[{"web":{"uri":"https://a.example"}}],"groundingSupports":[{"segment":{"startIndex":8,"endIndex":13},"groundingChunkIndices":[0]},{"segment":{"startIndex":8,"endIndex":13},"groundingChunkIndices":[0]}]}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":[1]}},"thoughtSignature":"CtAC"},{"functionCall":{"name":"f"}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":7,"thoughtsTokenCount":3}}"#,
];

#[test]
fn a_stream_is_read() {
    let (seen, whole) = read_stream(STREAM.map(str::as_bytes));
    let some = |text: &str| Some(text.to_owned());
    assert!(whole);
    assert_eq!(
        seen,
        [
            Seen::Begin(some("r1"), Some(Usage { input: 9, ..Usage::default() })),
            Seen::Thought(0),
            Seen::Said(0, "Let me ".into()),
            Seen::Said(0, "see.".into()),
            Seen::End(0),
            Seen::Text(1),
            Seen::Said(1, "Zürich ".into()),
            Seen::Said(1, "wins.".into()),
            Seen::Logprobs(1, 1),
            Seen::Cited(1, some("https://a.example"), Some(7), Some(12)),
            Seen::End(1),
            Seen::Redacted(2, "CsAB".into()),
            Seen::End(2),
            Seen::Call(3, "call_gemini_r1_0".into(), "f".into(), some("CtAC")),
            Seen::Said(3, r#"{"a":[1]}"#.into()),
            Seen::End(3),
            Seen::Call(4, "call_gemini_r1_1".into(), "f".into(), None),
            Seen::Said(4, "{}".into()),
            Seen::End(4),
            Seen::Finish(
                Finish::ToolCalls,
                Some(Usage { input: 9, cached: 0, cache_write: 0, output: 10, reasoning: 3 })
            ),
        ]
    );
}

#[test]
fn an_open_thought_takes_the_signature() {
    let (seen, whole) = read_stream([
        br#"{"candidates":[{"content":{"parts":[{"text":"Hm.","thought":true}]}}]}"#.as_slice(),
        br#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"S"}]},"finishReason":"STOP"}]}"#,
    ]);
    assert!(whole);
    assert_eq!(seen[3..5], [Seen::Signed(0, "S".into()), Seen::End(0)]);
}

#[test]
fn a_stream_that_breaks_says_so() {
    let (seen, whole) = read_stream(STREAM[..3].iter().map(|piece| piece.as_bytes()));
    assert!(!whole);
    assert!(!seen.iter().any(|seen| matches!(seen, Seen::Finish(..))));
    let error = br#"{"error":{"code":503,"message":"Overloaded.","status":"UNAVAILABLE"}}"#.as_slice();
    let (seen, whole) = read_stream([STREAM[0].as_bytes(), error, STREAM[5].as_bytes()]);
    assert!(!whole);
    assert_eq!(seen.last(), Some(&Seen::Failed(FailureKind::Overloaded, "Overloaded.".into())));
    for garbage in [b"{".as_slice(), b"[DONE]", b"\xff", b"5", b"[]"] {
        let (seen, whole) = read_stream([garbage]);
        assert!(!whole && matches!(&seen[..], [Seen::Failed(FailureKind::Server, _)]), "{seen:?}");
    }
    let (seen, whole) = read_stream([
        br#"{"promptFeedback":{"blockReason":"OTHER"},"usageMetadata":{"promptTokenCount":3}}"#.as_slice(),
    ]);
    assert!(whole);
    assert_eq!(
        seen.last(),
        Some(&Seen::Finish(Finish::ContentFilter, Some(Usage { input: 3, ..Usage::default() })))
    );
}

/// Passes a stream through our events into the client's words; returns the data of each event.
fn relay(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let context = Context { id: "r1".into(), model: "m".into(), ..Context::default() };
    let mut encoder = StreamEncoder::new(context);
    let mut decoder = StreamDecoder::default();
    let mut out = Vec::new();
    for piece in pieces {
        decoder.event(piece, &mut |event| encoder.event(&event, &mut out));
    }
    if decoder.end(&mut |event| encoder.event(&event, &mut out)) {
        encoder.end(&mut out);
    }
    let mut events = Vec::new();
    let mut rest = out.as_slice();
    while let Some(end) = sse::event_end(rest) {
        let (event, behind) = rest.split_at(end);
        events.push(sse::event_data(event).into_owned());
        rest = behind;
    }
    assert!(rest.is_empty(), "half an event");
    events
}

#[test]
fn a_stream_is_written_and_read_again() {
    let pieces: Vec<&[u8]> = STREAM.iter().map(|piece| piece.as_bytes()).collect();
    let written = relay(&pieces);
    assert_eq!(
        String::from_utf8(written[0].clone()).unwrap(),
        r#"{"candidates":[{"content":{"parts":[{"thought":true,"text":"Let me "}],"role":"model"},"index":0}],"modelVersion":"m","responseId":"r1"}"#
    );
    let (first, _) = read_stream(pieces);
    let (again, whole) = read_stream(written.iter().map(Vec::as_slice));
    assert!(whole);
    // Citations come with the end, when their text is closed; the counts of the input, too.
    let rest = |seen: &[Seen]| -> Vec<Seen> {
        let kept = seen.iter().filter(|seen| !matches!(seen, Seen::Cited(..) | Seen::Begin(..)));
        kept.cloned().collect()
    };
    assert_eq!(rest(&again), rest(&first));
    let last: Value = serde_json::from_slice(written.last().unwrap()).unwrap();
    assert_eq!(
        last["candidates"][0]["groundingMetadata"]["groundingSupports"],
        json!([{"segment": {"partIndex": 1, "startIndex": 8, "endIndex": 13}, "groundingChunkIndices": [0]}])
    );
}

#[test]
fn the_encoder_takes_events_in_any_order() {
    let mut encoder = StreamEncoder::new(Context::default());
    let mut out = Vec::new();
    let call = |id: &'static str| Block::ToolCall {
        id: id.into(),
        name: "f".into(),
        custom: false,
        signature: None,
    };
    let arguments = |text: &'static str| Delta::Arguments(text.into());
    for event in [
        Event::Delta { index: 7, delta: Delta::Text("nowhere".into()) },
        Event::BlockEnd { index: 7 },
        Event::BlockBegin { index: 0, block: call("a") },
        Event::BlockBegin { index: 1, block: call("b") },
        Event::Delta { index: 1, delta: arguments("{\"n\":") },
        Event::Delta { index: 0, delta: arguments("{}") },
        Event::Delta { index: 1, delta: arguments("2}") },
        Event::BlockEnd { index: 1 },
        Event::Finish { finish: Finish::ToolCalls, usage: None },
        Event::Delta { index: 0, delta: Delta::Text("late".into()) },
    ] {
        encoder.event(&event, &mut out);
    }
    let written = String::from_utf8(out).unwrap();
    let b = written.find(r#""functionCall":{"id":"b","name":"f","args":{"n":2}}"#).unwrap();
    let a = written.find(r#""functionCall":{"id":"a","name":"f","args":{}}"#).unwrap();
    assert!(b < a && a < written.find("finishReason").unwrap());
    assert!(!written.contains("nowhere") && !written.contains("late"));
}

#[test]
fn arguments_without_end_are_an_error_and_not_a_heap() {
    let mut encoder = StreamEncoder::new(Context::default());
    let mut out = Vec::new();
    let block = Block::ToolCall { id: "a".into(), name: "f".into(), custom: false, signature: None };
    encoder.event(&Event::BlockBegin { index: 0, block }, &mut out);
    let piece = "x".repeat(1 << 20);
    for _ in 0..6 {
        let delta = Delta::Arguments(Cow::Borrowed(piece.as_str()));
        encoder.event(&Event::Delta { index: 0, delta }, &mut out);
    }
    assert!(out.len() < 500 && String::from_utf8(out).unwrap().contains("longer than 4 MiB"));
}

#[test]
fn every_broken_byte_of_a_stream_is_survived() {
    let mut replacements = vec![0, b'"', b'{', b'}', b'[', b'9', b'-', 0xff];
    replacements.extend(b"\\,");
    for (index, piece) in STREAM.iter().enumerate() {
        for place in 0..piece.len() {
            for replacement in &replacements {
                let mut broken = piece.as_bytes().to_vec();
                broken[place] = *replacement;
                let mut pieces: Vec<&[u8]> = STREAM.iter().map(|piece| piece.as_bytes()).collect();
                pieces[index] = &broken;
                relay(&pieces);
            }
        }
    }
}

fn keys() -> impl Strategy<Value = String> {
    proptest::sample::select(vec![
        "contents",
        "parts",
        "role",
        "text",
        "thought",
        "thoughtSignature",
        "functionCall",
        "functionResponse",
        "id",
        "name",
        "args",
        "response",
        "output",
        "error",
        "inlineData",
        "mimeType",
        "data",
        "fileData",
        "fileUri",
        "systemInstruction",
        "tools",
        "functionDeclarations",
        "parameters",
        "parametersJsonSchema",
        "googleSearch",
        "toolConfig",
        "functionCallingConfig",
        "mode",
        "allowedFunctionNames",
        "generationConfig",
        "thinkingConfig",
        "thinkingBudget",
        "thinkingLevel",
        "stopSequences",
        "seed",
        "responseSchema",
        "responseMimeType",
        "candidates",
        "content",
        "finishReason",
        "groundingMetadata",
        "groundingChunks",
        "groundingSupports",
        "segment",
        "startIndex",
        "endIndex",
        "partIndex",
        "groundingChunkIndices",
        "web",
        "uri",
        "title",
        "logprobsResult",
        "chosenCandidates",
        "topCandidates",
        "token",
        "logProbability",
        "usageMetadata",
        "promptTokenCount",
        "candidatesTokenCount",
        "thoughtsTokenCount",
        "cachedContentTokenCount",
        "toolUsePromptTokenCount",
        "modelVersion",
        "responseId",
        "promptFeedback",
        "blockReason",
        "code",
        "message",
        "status",
        "details",
        "reason",
        "type",
        "nullable",
        "items",
        "properties",
        "inline_data",
        "mediaResolution",
        "level",
    ])
    .prop_map(str::to_owned)
}

fn trees() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_u8..4).prop_map(Value::from),
        proptest::sample::select(vec![
            "user",
            "model",
            "STOP",
            "ANY",
            "image/png",
            "é",
            "",
            "{}",
            "application/json"
        ])
        .prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 96, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((keys(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Random trees hardly ever have the right outside; these do.
fn documents() -> impl Strategy<Value = Value> {
    prop_oneof![
        trees(),
        proptest::collection::vec(parts(), 0..4).prop_map(|turns| {
            let turns: Vec<Value> = turns
                .into_iter()
                .enumerate()
                .map(|(index, parts)| json!({"role": if index % 2 == 0 { "user" } else { "model" }, "parts": parts}))
                .collect();
            json!({"contents": turns})
        }),
        (parts(), trees(), trees()).prop_map(|(parts, metadata, usage)| json!({
            "candidates": [{"content": {"parts": parts}, "groundingMetadata": metadata, "finishReason": "STOP"}],
            "usageMetadata": usage,
        })),
    ]
}

fn parts() -> impl Strategy<Value = Value> {
    let part = prop_oneof![
        "\\PC{0,6}".prop_map(|text| json!({"text": text})),
        "\\PC{0,6}".prop_map(|text| json!({"text": text, "thought": true})),
        "[a-c]{0,2}".prop_map(|value| json!({"text": "", "thoughtSignature": value})),
        ("[a-c]", trees())
            .prop_map(|(name, args)| json!({"functionCall": {"name": name, "args": {"a": args}}})),
        ("[a-c]", trees()).prop_map(
            |(name, value)| json!({"functionResponse": {"name": name, "response": {"output": value}}})
        ),
        trees(),
    ];
    proptest::collection::vec(part, 0..5).prop_map(Value::from)
}

/// What Gemini's servers refuse whatever it says.
fn check_turns(document: &Value) {
    let turns = document["contents"].as_array().unwrap();
    for (index, turn) in turns.iter().enumerate() {
        let parts = turn["parts"].as_array().unwrap();
        assert!(!parts.is_empty(), "an empty turn");
        let count = |turn: Option<&Value>, key: &str| {
            let parts = turn.and_then(|turn| turn["parts"].as_array());
            parts.map_or(0, |parts| parts.iter().filter(|part| part.get(key).is_some()).count())
        };
        let calls = count(Some(turn), "functionCall");
        if calls > 0 {
            assert!(index > 0, "a call in answer to nothing: {document}");
            assert_ne!(turns[index - 1]["role"], "model", "{document}");
        }
        if calls > 0 && index + 1 < turns.len() {
            assert_eq!(calls, count(turns.get(index + 1), "functionResponse"), "{document}");
        }
        if count(Some(turn), "functionResponse") > 0 {
            let before = index.checked_sub(1).and_then(|before| turns.get(before));
            assert!(count(before, "functionCall") > 0, "results of no calls: {document}");
        }
    }
}

/// Any part, whether it may stand where it stands or not.
fn any_part() -> impl Strategy<Value = Part<'static>> {
    let signature = || {
        let families = vec![Family::Anthropic, Family::OpenAi, Family::Gemini];
        proptest::option::of((proptest::sample::select(families), "[a-d]{0,2}"))
            .prop_map(|signed| signed.map(|(family, value)| Signature::new(family, value)))
    };
    let thought = (".{0,3}", signature(), any::<bool>()).prop_map(|(text, signature, redacted)| {
        Part::Thought(Thought { id: None, text: text.into(), signature, redacted })
    });
    let arguments = proptest::sample::select(vec!["{}", "", "[1]", "{\"a\":1}", "{", "free text"]);
    let call = ("[a-d]", "[fg]", arguments, any::<bool>(), signature()).prop_map(
        |(id, name, arguments, custom, signature)| {
            Part::ToolCall(ToolCall {
                id: id.into(),
                name: name.into(),
                arguments: arguments.into(),
                custom,
                signature,
                cache: None,
            })
        },
    );
    let image = any::<bool>().prop_map(|url| {
        let source = if url {
            Source::Url("https://a.example/x.gif".into())
        } else {
            Source::Base64 { media_type: "image/png".into(), data: "iVBORw0K".into() }
        };
        Part::Image(Image { source, detail: Some("high".into()), cache: None })
    });
    let words = || ".{0,4}".prop_map(|words| Part::Text(Text { text: words.into(), ..Text::default() }));
    let inside = proptest::collection::vec(prop_oneof![words(), image.clone()], 0..3);
    let result = ("[a-d]", inside, any::<bool>()).prop_map(|(id, parts, error)| {
        Part::ToolResult(ToolResult { id: id.into(), name: None, parts, error, custom: false, cache: None })
    });
    let refusal = ".{0,3}".prop_map(|words| Part::Refusal(words.into()));
    prop_oneof![words(), thought, call.clone(), call, image, result.clone(), result, refusal]
}

fn any_request() -> impl Strategy<Value = Request<'static>> {
    let roles = vec![Role::System, Role::Developer, Role::User, Role::Assistant, Role::Assistant, Role::Tool];
    let message = (proptest::sample::select(roles), proptest::collection::vec(any_part(), 0..5))
        .prop_map(|(role, parts)| Message { role, name: None, parts });
    proptest::collection::vec(message, 0..7).prop_map(conversation)
}

fn any_event() -> impl Strategy<Value = Event<'static>> {
    let delta = prop_oneof![
        "\\PC{0,5}".prop_map(|text| Delta::Text(text.into())),
        "\\PC{0,5}".prop_map(|text| Delta::Thought(text.into())),
        "[{}\":a1]{0,5}".prop_map(|text| Delta::Arguments(text.into())),
        "[ab]{0,3}".prop_map(|value| Delta::Signature(Signature::new(Family::Anthropic, value))),
        (any::<Option<u64>>(), any::<Option<u64>>()).prop_map(|(start, end)| {
            let url = Some("https://a.example".into());
            Delta::Citation(Citation { url, start, end, ..Citation::default() })
        }),
        any::<f64>().prop_map(|logprob| {
            Delta::Logprobs(vec![TokenLogprob {
                token: "x".into(),
                logprob,
                top: vec![("y".into(), logprob)],
            }])
        }),
    ];
    let block = prop_oneof![
        Just(Block::Text),
        Just(Block::Refusal),
        Just(Block::Thought { id: None }),
        Just(Block::RedactedThought(Signature::new(Family::OpenAi, "s"))),
        any::<bool>().prop_map(|custom| Block::ToolCall {
            id: "a".into(),
            name: "f".into(),
            custom,
            signature: None
        }),
    ];
    let index = 0_u32..4;
    prop_oneof![
        8 => (index.clone(), delta).prop_map(|(index, delta)| Event::Delta { index, delta }),
        6 => (index.clone(), block).prop_map(|(index, block)| Event::BlockBegin { index, block }),
        3 => index.prop_map(|index| Event::BlockEnd { index }),
        1 => Just(Event::Ping),
        1 => Just(Event::Finish { finish: Finish::Stop, usage: Some(USAGE) }),
        1 => Just(Event::Failed(Failure::default())),
    ]
}

proptest! {
    #[test]
    fn every_request_is_written_as_the_provider_wants_it(request in any_request()) {
        for model in ["gemini-3-pro", "gemini-2.5-flash"] {
            let quirks = Quirks::default();
            let destination = Destination { model, max_output_tokens: 9, quirks: &quirks };
            let written = gemini::encode_request(&request, &destination, &mut losses()).unwrap();
            let document: Value = serde_json::from_slice(&written).unwrap();
            check_turns(&document);
            let text = document.to_string();
            let json = Json::parse(&text).unwrap();
            prop_assert!(gemini::decode_request(&json, &mut losses()).is_ok(), "{}", text);
        }
    }

    #[test]
    fn every_sequence_of_events_is_written(events in proptest::collection::vec(any_event(), 0..24)) {
        let mut encoder = StreamEncoder::new(Context::default());
        let mut out = Vec::new();
        for event in &events {
            encoder.event(event, &mut out);
        }
        encoder.end(&mut out);
        let mut rest = out.as_slice();
        let mut finished = 0;
        while let Some(end) = sse::event_end(rest) {
            let (event, behind) = rest.split_at(end);
            prop_assert_eq!(finished, 0, "something follows the end");
            let document: Value = serde_json::from_slice(&sse::event_data(event)).unwrap();
            finished += usize::from(document["candidates"][0].get("finishReason").is_some());
            finished += usize::from(document.get("error").is_some());
            rest = behind;
        }
        prop_assert!(rest.is_empty());
        let last = events.iter().any(|event| matches!(event, Event::Finish { .. } | Event::Failed(_)));
        prop_assert_eq!(finished, usize::from(last));
    }

    #[test]
    fn no_document_panics(document in documents(), status in any::<u16>()) {
        let text = document.to_string();
        let json = Json::parse(&text).unwrap();
        if let Ok(request) = gemini::decode_request(&json, &mut losses()) {
            for model in ["gemini-3-pro", "gemini-2.5-flash", "x"] {
                let quirks = Quirks::default();
                let destination = Destination { model, max_output_tokens: 9, quirks: &quirks };
                if let Ok(written) = gemini::encode_request(&request, &destination, &mut losses()) {
                    check_turns(&serde_json::from_slice(&written).unwrap());
                }
            }
        }
        if let Ok(answer) = gemini::decode_answer(&json) {
            let written = gemini::encode_answer(&answer, &Context::default(), &mut losses());
            let _: Value = serde_json::from_slice(&written).unwrap();
        }
        let failure = gemini::decode_error(status, text.as_bytes());
        let _: Value = serde_json::from_slice(&gemini::encode_error(&failure)).unwrap();
    }

    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..300), status in any::<u16>()) {
        gemini::decode_error(status, &body);
        relay(&[&body, &body]);
    }

    #[test]
    fn every_stream_has_well_formed_blocks(pieces in proptest::collection::vec(documents(), 0..5)) {
        let texts: Vec<String> = pieces.iter().map(Value::to_string).collect();
        let pieces: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        let (seen, whole) = read_stream(pieces.clone());
        let mut open = Vec::new();
        let mut begun = 0;
        for event in &seen {
            match event {
                Seen::Text(index) | Seen::Thought(index) | Seen::Redacted(index, _) | Seen::Call(index, ..) => {
                    prop_assert_eq!(*index, begun);
                    begun += 1;
                    open.push(*index);
                }
                Seen::Said(index, _) | Seen::Signed(index, _) | Seen::Cited(index, ..) | Seen::Logprobs(index, _) => {
                    prop_assert!(open.contains(index));
                }
                Seen::End(index) => {
                    prop_assert!(open.contains(index));
                    open.retain(|other| other != index);
                }
                Seen::Finish(..) => prop_assert!(whole && open.is_empty()),
                Seen::Begin(..) | Seen::Failed(..) => {}
            }
        }
        for data in relay(&pieces) {
            let _: Value = serde_json::from_slice(&data).unwrap();
        }
    }

    #[test]
    fn words_survive_the_round_trip(turns in proptest::collection::vec("\\PC{1,12}", 1..6)) {
        let messages = turns.iter().enumerate().map(|(index, words)| {
            message(if index % 2 == 0 { Role::User } else { Role::Assistant }, vec![text(words)])
        });
        let request = Request { include_usage: true, ..conversation(messages.collect()) };
        let written = encode(&request).to_string();
        let json = Json::parse(&written).unwrap();
        prop_assert_eq!(gemini::decode_request(&json, &mut losses()).unwrap(), request);
    }

    #[test]
    fn whole_and_streamed_answers_say_the_same(parts in parts()) {
        let document = json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "responseId": "r"});
        let written = document.to_string();
        let json = Json::parse(&written).unwrap();
        let answer: Answer<'_> = gemini::decode_answer(&json).unwrap();
        let (seen, _) = read_stream([written.as_bytes()]);
        let whole: Vec<String> = answer.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.text.to_string()),
            Part::ToolCall(call) => Some(format!("{}{}", call.id, call.arguments)),
            _ => None,
        }).collect();
        let mut streamed: Vec<String> = Vec::new();
        let mut text = false;
        for event in seen {
            match event {
                Seen::Text(_) => { text = true; streamed.push(String::new()); }
                Seen::Call(_, id, ..) => { text = true; streamed.push(id); }
                Seen::Thought(_) | Seen::Redacted(..) => text = false,
                Seen::Said(_, piece) if text => streamed.last_mut().unwrap().push_str(&piece),
                _ => {}
            }
        }
        // A signature between two texts parts them in a whole answer only.
        prop_assert_eq!(whole.concat(), streamed.concat());
    }
}
