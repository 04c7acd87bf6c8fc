//! What the API cannot say of a request, and what servers of it want otherwise.

use meseta_wire::chat;
use meseta_wire::conversation::{
    CacheMark, CacheTtl, Effort, File, Format, Image, Part, Request, Role, Source, Text, Thinking, Thought,
    ToolChoice,
};
use meseta_wire::dialect::{Destination, MaxTokensField, Quirks, ReasoningField};
use meseta_wire::feature::Feature;
use meseta_wire::json::Json;
use meseta_wire::signature::{Family, Signature};
use serde_json::json;

use super::requests::{encoded, encoded_with, schema};
use super::{call, losses, message, request, result, text};

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
