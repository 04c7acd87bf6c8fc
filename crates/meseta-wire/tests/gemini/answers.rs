//! Whole answers and errors, read and written.

use std::borrow::Cow;

use meseta_wire::conversation::{Failure, FailureKind, Finish, Part};
use meseta_wire::dialect::Context;
use meseta_wire::gemini;
use meseta_wire::json::Json;
use meseta_wire::signature::{Family, Signature};
use meseta_wire::usage::Usage;

use super::losses;

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

pub const USAGE: Usage = Usage { input: 105, cached: 40, cache_write: 0, output: 50, reasoning: 30 };

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
