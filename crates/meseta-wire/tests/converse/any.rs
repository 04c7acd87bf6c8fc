//! What must hold for any document and any stream.

use crate::answer::answer;
use crate::stream::{Step, run, stream, through};
use crate::*;

const WORDS: &[&str] = &[
    "messages",
    "system",
    "role",
    "content",
    "text",
    "image",
    "document",
    "audio",
    "video",
    "toolUse",
    "toolResult",
    "toolUseId",
    "name",
    "input",
    "status",
    "json",
    "format",
    "source",
    "bytes",
    "s3Location",
    "uri",
    "context",
    "citations",
    "enabled",
    "cachePoint",
    "type",
    "ttl",
    "reasoningContent",
    "reasoningText",
    "redactedContent",
    "signature",
    "citationsContent",
    "searchResult",
    "title",
    "guardContent",
    "inferenceConfig",
    "maxTokens",
    "temperature",
    "topP",
    "stopSequences",
    "toolConfig",
    "tools",
    "toolSpec",
    "inputSchema",
    "strict",
    "toolChoice",
    "auto",
    "any",
    "tool",
    "additionalModelRequestFields",
    "thinking",
    "budget_tokens",
    "top_k",
    "reasoningConfig",
    "maxReasoningEffort",
    "reasoning_effort",
    "requestMetadata",
    "serviceTier",
    "outputConfig",
    "textFormat",
    "structure",
    "jsonSchema",
    "schema",
    "effort",
    "output",
    "message",
    "stopReason",
    "usage",
    "inputTokens",
    "outputTokens",
    "additionalModelResponseFields",
    "stop_sequence",
    "location",
    "web",
    "url",
    "sourceContent",
    "__type",
    "contentBlockIndex",
    "delta",
    "start",
    "citation",
];

fn anything() -> impl Strategy<Value = Value> {
    let word = || prop::sample::select(WORDS);
    let values = prop::sample::select(vec![
        "user",
        "assistant",
        "png",
        "pdf",
        "txt",
        "default",
        "1h",
        "enabled",
        "adaptive",
        "json_schema",
        "{}",
        "end_turn",
        "tool_use",
        "high",
        "AA==",
        "s3://b/a.png",
        "success",
        "",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        values.prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 5, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((word(), inner), 0..5).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

/// One value somewhere in a document, replaced by another.
fn replace(document: &mut Value, at: usize, by: Value) {
    fn nth<'v>(value: &'v mut Value, left: &mut usize) -> Option<&'v mut Value> {
        if *left == 0 {
            return Some(value);
        }
        *left -= 1;
        match value {
            Value::Array(items) => items.iter_mut().find_map(|item| nth(item, left)),
            Value::Object(fields) => fields.values_mut().find_map(|item| nth(item, left)),
            _ => None,
        }
    }
    let mut left = at;
    if let Some(value) = nth(document, &mut left) {
        *value = by;
    }
}

fn models() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        CLAUDE,
        NOVA,
        "anthropic.claude-opus-4-7",
        "us.amazon.nova-2-lite-v1:0",
        "meta.llama3-1-8b-instruct-v1:0",
        "openai.gpt-oss-120b-1:0",
        "",
    ])
}

fn read_everything(document: &str, model: &str) {
    let json = Json::parse(document).unwrap();
    if let Ok(request) = converse::decode_request(&json, &mut losses())
        && let Ok(body) = encode_with(&request, model, &mut losses())
    {
        check(&body);
    }
    if let Ok(answer) = converse::decode_answer(&json) {
        let body = converse::encode_answer(&answer, &Context::default(), &mut losses());
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert!(body["output"]["message"]["content"].is_array());
    }
    let _: Failure<'_> = converse::decode_error(400, document.as_bytes());
}

/// What Bedrock demands of every request.
fn check(body: &Value) {
    let turns = body["messages"].as_array().unwrap();
    for pair in turns.windows(2) {
        assert_ne!(pair[0]["role"], pair[1]["role"], "roles alternate");
    }
    for turn in turns {
        let content = turn["content"].as_array().unwrap();
        assert!(!content.is_empty(), "a turn holds something");
        for block in content {
            assert_eq!(block.as_object().unwrap().len(), 1, "a block is one thing");
            if let Some(text) = block.get("text") {
                assert!(!text.as_str().unwrap().trim().is_empty(), "a text is not empty");
            }
        }
        let has = |kind: &str| content.iter().any(|block| block.get(kind).is_some());
        assert!(
            !has("document") || turn["role"] == "assistant" || has("text"),
            "a text stands beside documents"
        );
        assert!(
            !(has("toolUse") || has("toolResult")) || body.get("toolConfig").is_some() || !has("toolUse")
        );
    }
    if let Some(tools) = body.pointer("/toolConfig/tools") {
        assert!(!tools.as_array().unwrap().is_empty(), "tools are some");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_document_is_survived(document in anything(), model in models()) {
        read_everything(&document.to_string(), model);
    }

    #[test]
    fn any_change_of_a_request_is_survived(at in 0..220_usize, by in anything(), model in models()) {
        let mut document = everything();
        replace(&mut document, at, by);
        read_everything(&document.to_string(), model);
    }

    #[test]
    fn any_change_of_an_answer_is_survived(at in 0..60_usize, by in anything()) {
        let mut document = answer();
        replace(&mut document, at, by);
        read_everything(&document.to_string(), CLAUDE);
    }

    #[test]
    fn any_order_of_events_is_survived(
        steps in vec((0..16_usize, 0..12_usize, prop::option::weighted(0.2, anything())), 0..24)
    ) {
        let known = stream();
        let steps: Vec<Step> = steps
            .into_iter()
            .map(|(step, at, change)| {
                let (name, mut data) = known[step].clone();
                if let Some(change) = change {
                    replace(&mut data, at, change);
                }
                (name, data)
            })
            .collect();
        let (events, _) = run(&steps);
        let count = |name: &str| events.iter().filter(|event| event.starts_with(name)).count();
        assert!(count("Finish") + count("Failed") <= 1);
        if count("Finish") == 1 {
            assert_eq!(count("BlockBegin"), count("BlockEnd"));
        }
        if let Some(first) = events.first() {
            assert!(first.starts_with("Begin") || first.starts_with("Failed"));
        }
        // All of it can be read by who reads frames.
        through(&steps);
    }

    #[test]
    fn any_byte_of_an_event_may_be_damaged(step in 0..16_usize, at in any::<prop::sample::Index>(), by in any::<u8>()) {
        let (name, data) = stream().swap_remove(step);
        let mut data = data.to_string().into_bytes();
        let at = at.index(data.len());
        data[at] = by;
        let mut decoder = StreamDecoder::default();
        decoder.event(name, &data, &mut |_| {});
        decoder.end(&mut |_| {});
    }
}
