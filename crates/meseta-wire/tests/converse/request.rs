//! Requests, read and written.

use crate::*;

#[test]
fn a_request_with_everything_comes_back_as_it_was() {
    let document = everything();
    let request = decode(&document).unwrap();
    assert_eq!(encode(&request, CLAUDE).0, document);
    let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::User]);
    let Part::ToolResult(result) = &request.messages[3].parts[1] else { panic!("a result") };
    assert_eq!((result.name.as_deref(), result.error), (Some("weather"), true));
    let Part::Thought(thought) = &request.messages[2].parts[1] else { panic!("a thought") };
    assert_eq!(thought.signature, Some(Signature::new(Family::Anthropic, "EmwKAh")));
    assert_eq!(
        request.thinking,
        Some(Thinking { enabled: Some(true), budget: Some(2_048), ..Thinking::default() })
    );
}

#[test]
fn complaints_name_the_place() {
    let at = |pointer: &str, value: Value| {
        let mut document = everything();
        *document.pointer_mut(pointer).unwrap() = value;
        decode(&document).unwrap_err().path
    };
    for (pointer, value, path) in [
        ("/messages", json!(5), "messages"),
        ("/messages", json!(null), "messages"),
        ("/messages/1/role", json!("robot"), "messages[1].role"),
        ("/messages/0/content/0/text", json!(1), "messages[0].content[0].text"),
        ("/messages/0/content/1/image/format", json!("bmp"), "messages[0].content[1].image.format"),
        ("/messages/0/content/1/image/source", json!({}), "messages[0].content[1].image.source"),
        ("/messages/0/content/3/document/name", json!(null), "messages[0].content[3].document.name"),
        ("/messages/0/content/4/cachePoint/ttl", json!("2d"), ""),
        ("/messages/1/content/3/toolUse/name", json!([]), "messages[1].content[3].toolUse.name"),
        ("/messages/2/content/1/toolResult/status", json!("?"), "messages[2].content[1].toolResult.status"),
        ("/system/0", json!("text"), "system[0]"),
        ("/inferenceConfig/maxTokens", json!(-1), "inferenceConfig.maxTokens"),
        ("/inferenceConfig/stopSequences", json!("END"), "inferenceConfig.stopSequences"),
        ("/toolConfig/tools/0/toolSpec/name", json!(null), "toolConfig.tools[0].toolSpec.name"),
        (
            "/toolConfig/tools/1",
            json!({"systemTool": {"name": "nova_grounding"}}),
            "toolConfig.tools[1].systemTool",
        ),
        ("/requestMetadata/team", json!(1), "requestMetadata.team"),
        (
            "/additionalModelRequestFields/thinking/type",
            json!("hard"),
            "additionalModelRequestFields.thinking.type",
        ),
        (
            "/outputConfig/textFormat/structure/jsonSchema/schema",
            json!("{"),
            "outputConfig.textFormat.structure.jsonSchema.schema",
        ),
    ] {
        if path.is_empty() {
            let mut document = everything();
            document["messages"][0]["content"][4]["cachePoint"]["ttl"] = value;
            assert_eq!(decode(&document).unwrap_err().path, "messages[0].content[4].cachePoint.ttl");
        } else {
            assert_eq!(at(pointer, value), path);
        }
    }
}

#[test]
fn what_nobody_else_has_is_left_out_and_named() {
    let document = json!({
        "messages": [{"role": "user", "content": [
            {"text": "Hi"}, {"video": {"format": "mp4", "source": {"bytes": "AA=="}}}, {"new": {}},
        ]}],
        "guardrailConfig": {"guardrailIdentifier": "g"},
        "promptVariables": null,
        "inferenceConfig": {"new": 1},
    });
    let json = Json::parse(document.to_string().leak()).unwrap();
    let mut losses = losses();
    let request = converse::decode_request(&json, &mut losses).unwrap();
    assert_eq!(request.messages, [user("Hi")]);
    assert_eq!(losses.noted(), ["messages[].content[].type", "inferenceConfig.new", "guardrailConfig"]);
}

#[test]
fn turns_alternate_and_results_come_first() {
    let request = Request {
        messages: vec![
            message(Role::System, vec![text("One."), text("  ")]),
            user("Hello"),
            message(Role::Developer, vec![text("Two.")]),
            user(""),
            message(Role::Assistant, vec![text(" "), call("a b", "{\"city\": 1.0}"), call("", "not JSON")]),
            message(Role::User, vec![text("Meanwhile")]),
            message(Role::Tool, vec![result("a b", vec![text("Rain")]), result("", vec![])]),
            message(Role::Assistant, vec![]),
            user("Go on"),
            message(Role::Assistant, vec![text("The weather is \n")]),
        ],
        tools: vec![weather()],
        ..Request::default()
    };
    let (body, lost) = encode(&request, NOVA);
    assert_eq!(body["system"], json!([{"text": "One."}, {"text": "Two."}]));
    let turns = body["messages"].as_array().unwrap();
    let roles: Vec<&str> = turns.iter().map(|turn| turn["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"]);
    let ids: Vec<&Value> = (0..2).map(|index| &turns[1]["content"][index]["toolUse"]["toolUseId"]).collect();
    assert_ne!(ids[0], ids[1]);
    assert_eq!(turns[1]["content"][1]["toolUse"]["input"], json!({"arguments": "not JSON"}));
    assert_eq!(
        turns[2]["content"],
        json!([
            {"toolResult": {"toolUseId": ids[0], "content": [{"text": "Rain"}]}},
            {"toolResult": {"toolUseId": ids[1], "content": [{"text": "(no output)"}]}},
            {"text": "Meanwhile"},
            {"text": "Go on"},
        ])
    );
    assert_eq!(turns[3]["content"], json!([{"text": "The weather is"}]));
    assert_eq!(lost, ["messages[].role", "messages[].tool_calls[].function.arguments"]);
}

#[test]
fn a_conversation_without_a_user_gets_one() {
    let system =
        Request { messages: vec![message(Role::System, vec![text("Write a poem.")])], ..Request::default() };
    let (body, lost) = encode(&system, NOVA);
    assert_eq!(body, json!({"messages": [{"role": "user", "content": [{"text": "Write a poem."}]}]}));
    assert_eq!(lost, ["messages[].role"]);
    let assistant = Request {
        messages: vec![message(Role::Assistant, vec![text("I am.")]), user("Who?")],
        ..Request::default()
    };
    assert_eq!(encode(&assistant, NOVA).0["messages"][0]["role"], "user");
    let (body, lost) = encode(&assistant, CLAUDE);
    assert_eq!(body["messages"][0]["role"], "user");
    assert_eq!(lost, ["messages[0]"]);
}

#[test]
fn files_get_formats_names_and_a_text_beside_them() {
    let file = |name: Option<&'static str>, media_type: &'static str| {
        Part::File(File {
            source: Source::Base64 { media_type: media_type.into(), data: "QQ==".into() },
            name: name.map(Cow::from),
            context: None,
            citations: false,
            cache: Some(CacheMark { ttl: None }),
        })
    };
    let plain = Part::File(File {
        source: Source::Text("Words".into()),
        name: Some("notes.txt".into()),
        context: None,
        citations: false,
        cache: Some(CacheMark { ttl: Some(CacheTtl::FiveMinutes) }),
    });
    let request = Request {
        messages: vec![message(
            Role::User,
            vec![file(Some("Q3_report.pdf"), "application/pdf"), file(None, "application/pdf"), plain],
        )],
        ..Request::default()
    };
    let pdf = |name: &str| json!({"document": {"format": "pdf", "name": name, "source": {"bytes": "QQ=="}}});
    let point = json!({"cachePoint": {"type": "default"}});
    assert_eq!(
        encode(&request, CLAUDE).0["messages"][0]["content"],
        json!([
            pdf("Q3 report"),
            point,
            pdf("document"),
            point,
            // No mark may stand behind a document that becomes text.
            point,
            {"document": {"format": "txt", "name": "notes", "source": {"text": "Words"}}},
            {"text": "See the attached document."},
        ])
    );
    let other = Request {
        messages: vec![message(Role::User, vec![file(Some("a.zip"), "application/zip")])],
        ..Request::default()
    };
    assert_eq!(encode_with(&other, CLAUDE, &mut losses()).unwrap_err().feature, Feature::MediaFormats);
}

#[test]
fn what_cannot_be_said_is_refused() {
    let image = |source: Source<'static>| {
        let part = Part::Image(Image { source, detail: None, cache: None });
        Request { messages: vec![message(Role::User, vec![part])], ..Request::default() }
    };
    let refused = |request: &Request<'_>| encode_with(request, CLAUDE, &mut losses()).unwrap_err().feature;
    assert_eq!(refused(&image(Source::Url("https://example.com/cat.png".into()))), Feature::ImageUrl);
    assert_eq!(refused(&image(Source::FileId("file-1".into()))), Feature::ImageFileId);
    assert_eq!(
        refused(&image(Source::Base64 { media_type: "image/tiff".into(), data: "AA==".into() })),
        Feature::MediaFormats
    );
    let search = Request {
        tools: vec![Tool::WebSearch(meseta_wire::conversation::WebSearch::default())],
        ..Request::default()
    };
    assert_eq!(refused(&search), Feature::WebSearch);
    assert_eq!(refused(&Request { choices: Some(2), ..Request::default() }), Feature::Choices);
}

#[test]
fn marks_go_to_models_that_know_them_and_only_four() {
    let marked =
        |ttl| Part::Text(Text { text: "Long.".into(), cache: Some(CacheMark { ttl }), ..Text::default() });
    let parts: Vec<Part<'_>> = (0..6).map(|_| marked(Some(CacheTtl::OneHour))).collect();
    let request = Request { messages: vec![message(Role::User, parts)], ..Request::default() };
    let count = |body: &Value| body.to_string().matches("cachePoint").count();
    let (body, lost) = encode(&request, CLAUDE);
    assert_eq!(body["messages"][0]["content"][1], json!({"cachePoint": {"type": "default", "ttl": "1h"}}));
    assert_eq!((count(&body), lost.len()), (4, 1));
    let (body, _) = encode(&request, NOVA);
    assert_eq!(body["messages"][0]["content"][1], json!({"cachePoint": {"type": "default"}}));
    let (body, lost) = encode(&request, "meta.llama3-1-8b-instruct-v1:0");
    assert_eq!((count(&body), lost.len()), (0, 1));
}
#[test]
fn the_question_for_a_count_holds_the_conversation() {
    let request = decode(&everything()).unwrap();
    let quirks = Quirks::default();
    let destination = Destination { model: CLAUDE, max_output_tokens: 1, quirks: &quirks };
    let body = converse::encode_count(&request, &destination, &mut losses()).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let everything = everything();
    assert_eq!(
        body,
        json!({"input": {"converse": {
            "messages": everything["messages"], "system": everything["system"], "toolConfig": everything["toolConfig"],
        }}})
    );
}
