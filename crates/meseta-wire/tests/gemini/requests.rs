//! Requests, read and written.

use std::borrow::Cow;

use meseta_wire::conversation::{
    Effort, File, Format, Function, Image, Part, Request, Role, Source, Thinking, Tool, ToolChoice, WebSearch,
};
use meseta_wire::dialect::{Destination, Dialect, Quirks};
use meseta_wire::feature::Feature;
use meseta_wire::json::Json;
use meseta_wire::signature::{Family, Signature};
use meseta_wire::{gemini, object};
use serde_json::{Value, json};

use super::{call, conversation, decode, encode, encode_for, losses, message, result, text};

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
