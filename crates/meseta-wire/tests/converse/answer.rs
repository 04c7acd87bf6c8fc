//! Whole answers and errors.

use crate::*;

pub fn answer() -> Value {
    json!({
        "output": {"message": {"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "sig"}}},
            {"reasoningContent": {"redactedContent": "RW13"}},
            {"text": "Oslo:"},
            {"citationsContent": {
                "content": [{"text": "It rains."}],
                "citations": [{
                    "title": "Report",
                    "sourceContent": [{"text": "Rain all day."}],
                    "location": {"web": {"url": "https://example.com/r"}},
                }],
            }},
            {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Oslo"}}},
        ]}},
        "stopReason": "tool_use",
        "usage": {
            "inputTokens": 10, "outputTokens": 20, "totalTokens": 37,
            "cacheReadInputTokens": 4, "cacheWriteInputTokens": 3,
        },
        "metrics": {"latencyMs": 0},
        "serviceTier": {"type": "default"},
    })
}

#[test]
fn a_whole_answer_is_read_and_written() {
    let document = answer().to_string();
    let json = Json::parse(&document).unwrap();
    let read = converse::decode_answer(&json).unwrap();
    assert_eq!(read.finish, Finish::ToolCalls);
    assert_eq!(read.usage, Some(Usage { input: 17, cached: 4, cache_write: 3, output: 20, reasoning: 0 }));
    let Part::Text(cited) = &read.parts[3] else { panic!("a text") };
    assert_eq!(
        cited.citations,
        [Citation {
            url: Some("https://example.com/r".into()),
            title: Some("Report".into()),
            cited: Some("Rain all day.".into()),
            ..Citation::default()
        }]
    );
    let mut losses = Losses::new(Dialect::BedrockConverse, Dialect::BedrockConverse);
    let written = converse::encode_answer(&read, &Context::default(), &mut losses);
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), answer());
    assert!(losses.is_empty());
}

#[test]
fn a_poor_answer_is_an_answer_and_another_document_is_none() {
    let read = |document: Value| {
        let text: &'static str = document.to_string().leak();
        converse::decode_answer(Box::leak(Box::new(Json::parse(text).unwrap())))
    };
    let poor = read(
        json!({"output": {"message": {"content": [5, {"new": 1}, {"toolUse": {"name": "f"}}]}}, "stopReason": "new"}),
    );
    let poor: Answer<'_> = poor.unwrap();
    assert_eq!((poor.parts.len(), poor.usage, poor.finish), (1, None, Finish::Other("new".into())));
    assert_eq!(read(json!({"message": "no"})).unwrap_err().path, "output");
    assert_eq!(read(json!({"output": {"message": 1}})).unwrap_err().path, "output.message");
    let met = json!({
        "output": {"message": {"content": []}}, "stopReason": "stop_sequence",
        "additionalModelResponseFields": {"stop_sequence": "END"},
        "usage": {"inputTokens": 1e15, "outputTokens": -5, "cacheReadInputTokens": "x"},
    });
    let met = read(met).unwrap();
    assert_eq!(met.finish, Finish::StopSequence(Some("END".into())));
    assert_eq!(met.usage, Some(Usage::default()));
}

#[test]
fn errors_are_read_whatever_they_are() {
    let read = |status, body: &str| {
        let failure = converse::decode_error(status, body.as_bytes());
        (failure.kind, failure.message.into_owned(), failure.code.map(Cow::into_owned))
    };
    assert_eq!(
        read(400, r#"{"__type":"com.amazon.coral#ThrottlingException","message":"Slow down."}"#),
        (FailureKind::RateLimit, "Slow down.".into(), Some("ThrottlingException".into()))
    );
    assert_eq!(read(403, r#"{"Message":"No."}"#), (FailureKind::Permission, "No.".into(), None));
    assert_eq!(read(503, "<html>busy</html>"), (FailureKind::Overloaded, "<html>busy</html>".into(), None));
    let (kind, message, _) = read(500, "");
    assert_eq!(kind, FailureKind::Server);
    assert!(message.contains("500"));
    let failure =
        Failure { message: "Slow down.".into(), kind: FailureKind::RateLimit, ..Failure::default() };
    let written = converse::encode_error(&failure);
    assert_eq!(converse::decode_error(429, &written).kind, FailureKind::RateLimit);
}
