//! Whole answers and errors, read and written.

use meseta_wire::chat;
use meseta_wire::conversation::{
    Answer, Citation, Failure, FailureKind, Finish, Part, Text, Thought, TokenLogprob,
};
use meseta_wire::json::Json;
use meseta_wire::signature::{Family, Signature};
use meseta_wire::usage::Usage;
use serde_json::{Value, json};

use super::requests::decoded;
use super::{call, context, losses, text};

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
