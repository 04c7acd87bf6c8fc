//! Whole answers and errors, read and written.

use meseta_wire::conversation::{
    Answer, Block, Citation, Delta, Event, Failure, FailureKind, Finish, Part, Text, Thought, ToolCall,
};
use meseta_wire::json::Json;
use meseta_wire::messages;
use meseta_wire::signature::{Family, Signature, is_marked_in};
use meseta_wire::usage::Usage;
use serde_json::{Value, json};

use super::requests::REQUEST;
use super::streams::show;
use super::{call, context, encode, losses, text};

const ANSWER: &str = r#"{
  "id": "msg_01", "type": "message", "role": "assistant", "model": "claude-opus-4-5-20251101",
  "content": [
    {"type": "thinking", "thinking": "Look it up.", "signature": "Eq8"},
    {"type": "redacted_thinking", "data": "Emw"},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "path"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
    {"type": "text", "text": "It is open.", "citations": [
      {"type": "web_search_result_location", "url": "https://paths.example", "title": "Paths", "cited_text": "open",
       "encrypted_index": "Eo8"},
      {"type": "char_location", "cited_text": "yes", "document_index": 0, "document_title": "Map",
       "start_char_index": 1, "end_char_index": 4, "file_id": null}]},
    {"type": "tool_use", "id": "toolu_1", "name": "book", "input": {"b": 1, "a": [true]}},
    {"type": "of_tomorrow", "x": 1}],
  "stop_reason": "tool_use", "stop_sequence": null,
  "usage": {"input_tokens": 10, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 20, "output_tokens": 40,
            "service_tier": "standard", "output_tokens_details": {"thinking_tokens": 7}}}"#;

#[test]
fn an_answer_is_read_and_written() {
    let json = Json::parse(ANSWER).unwrap();
    let answer = messages::decode_answer(&json).unwrap();
    assert_eq!(answer.usage, Some(Usage { input: 33, cached: 20, cache_write: 3, output: 40, reasoning: 7 }));
    assert_eq!(answer.finish, Finish::ToolCalls);
    assert_eq!(answer.parts.len(), 4);
    let Part::Text(said) = &answer.parts[2] else { panic!("text") };
    assert_eq!(said.citations[0].url.as_deref(), Some("https://paths.example"));
    assert_eq!((said.citations[1].title.as_deref(), said.citations[1].start), (Some("Map"), None));
    let mut losses = losses();
    let written: Value =
        serde_json::from_slice(&messages::encode_answer(&answer, &context(), &mut losses)).unwrap();
    assert_eq!((&written["id"], &written["model"]), (&json!("msg_req1"), &json!("smart")));
    assert_eq!(
        written["content"][0],
        json!({"type": "thinking", "thinking": "Look it up.", "signature": "Eq8"})
    );
    assert_eq!(written["content"][1], json!({"type": "redacted_thinking", "data": "Emw"}));
    assert_eq!(written["content"][3]["input"], json!({"b": 1, "a": [true]}));
    assert_eq!(written["content"][2]["citations"][0]["url"], "https://paths.example");
    assert_eq!(
        (written["usage"]["input_tokens"].clone(), written["usage"]["cache_read_input_tokens"].clone()),
        (json!(10), json!(20))
    );
    assert_eq!(losses.noted(), ["citations"]);
}

#[test]
fn what_is_no_answer_is_not_read_and_what_is_odd_is() {
    for text in ["[]", "{}", r#"{"content":"x"}"#, r#"{"type":"error","error":{}}"#] {
        assert!(messages::decode_answer(&Json::parse(text).unwrap()).is_err(), "{text}");
    }
    let odd = Json::parse(r#"{"content":[5,{"type":7},{"type":"text"}],"stop_reason":"weary","usage":[]}"#)
        .unwrap();
    let answer = messages::decode_answer(&odd).unwrap();
    assert_eq!((answer.parts.len(), answer.usage), (0, None));
    assert_eq!(answer.finish, Finish::Other("weary".into()));
}

#[test]
fn the_end_has_a_word_for_every_reason() {
    for (reason, finish, back) in [
        ("end_turn", Finish::Stop, "end_turn"),
        ("max_tokens", Finish::Length, "max_tokens"),
        ("model_context_window_exceeded", Finish::Length, "max_tokens"),
        ("refusal", Finish::Refusal, "refusal"),
        ("pause_turn", Finish::Pause, "pause_turn"),
        ("stop_sequence", Finish::StopSequence(Some("END".into())), "stop_sequence"),
    ] {
        let text = json!({"content": [], "stop_reason": reason, "stop_sequence": "END"}).to_string();
        let json = Json::parse(&text).unwrap();
        let answer = messages::decode_answer(&json).unwrap();
        assert_eq!(answer.finish, finish);
        let written: Value =
            serde_json::from_slice(&messages::encode_answer(&answer, &context(), &mut losses())).unwrap();
        assert_eq!(written["stop_reason"], back);
        assert_eq!(
            written["stop_sequence"],
            if reason == "stop_sequence" { json!("END") } else { Value::Null }
        );
    }
    let called = Answer { parts: vec![call("a", "{}")], ..Answer::default() };
    let written: Value =
        serde_json::from_slice(&messages::encode_answer(&called, &context(), &mut losses())).unwrap();
    assert_eq!(written["stop_reason"], "tool_use");
}

#[test]
fn a_signature_of_geminis_travels_in_a_thought_and_comes_back_on_its_call() {
    let gemini = || Some(Signature::new(Family::Gemini, "Cg=="));
    let Part::ToolCall(plain) = call("a", "{}") else { panic!("a call") };
    let signed = Part::ToolCall(ToolCall { signature: gemini(), ..plain });
    let thought = Part::Thought(Thought { text: "Hm.".into(), signature: gemini(), ..Thought::default() });
    for (parts, blocks) in [(vec![signed.clone()], 2), (vec![thought, signed], 2)] {
        let answer = Answer { parts: parts.clone(), ..Answer::default() };
        let body = messages::encode_answer(&answer, &context(), &mut losses());
        assert!(is_marked_in(&body));
        let written: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(written["content"].as_array().unwrap().len(), blocks);
        assert_eq!(written["content"][0]["signature"], "meseta.gemini.Cg==");
        let request = json!({"messages": [{"role": "assistant", "content": written["content"]}]}).to_string();
        let json = Json::parse(&request).unwrap();
        let back = messages::decode_request(&json, &mut losses()).unwrap();
        assert_eq!(back.messages[0].parts, parts);
        let mut losses = losses();
        let sent = encode(&back, "claude-sonnet-4-5", &mut losses);
        assert!(!sent.to_string().contains("Cg=="));
        assert!(!losses.is_empty());
    }
    assert!(!is_marked_in(REQUEST.as_bytes()));
}

#[test]
fn what_nobody_signed_never_goes_to_anthropic() {
    let thought = || Part::Thought(Thought { text: "Hm.".into(), ..Thought::default() });
    let cited = Text {
        text: "So.".into(),
        cache: None,
        citations: vec![Citation { url: Some("https://a.example".into()), ..Citation::default() }],
    };
    for part in [thought(), Part::Text(cited)] {
        let answer = Answer { parts: vec![part.clone(), text("Yes.")], ..Answer::default() };
        let body = messages::encode_answer(&answer, &context(), &mut losses());
        assert!(is_marked_in(&body));
        let written: Value = serde_json::from_slice(&body).unwrap();
        let request = json!({"messages": [{"role": "assistant", "content": written["content"]}]}).to_string();
        let json = Json::parse(&request).unwrap();
        let back = messages::decode_request(&json, &mut losses()).unwrap();
        assert_eq!(back.messages[0].parts, [part, text("Yes.")]);
        let sent = encode(&back, "claude-sonnet-4-5", &mut losses()).to_string();
        assert!(!sent.contains("meseta.") && !sent.contains("thinking"), "{sent}");
    }
    let (events, _) = show(&[
        Event::BlockBegin { index: 0, block: Block::Thought { id: None } },
        Event::Delta { index: 0, delta: Delta::Thought("Hm.".into()) },
    ]);
    let signatures: Vec<_> =
        events.iter().filter_map(|(_, data)| data["delta"]["signature"].as_str()).collect();
    assert_eq!(signatures, ["meseta.none"]);
}

#[test]
fn errors_are_read_whatever_they_are_and_written_as_the_api_does() {
    let body = br#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#;
    let failure = messages::decode_error(529, body);
    assert_eq!((failure.kind, &*failure.message), (FailureKind::Overloaded, "Overloaded"));
    let written = messages::encode_error(&failure, "req_2");
    assert_eq!(
        String::from_utf8(written).unwrap(),
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_2"}"#
    );
    for (status, body, kind, message) in [
        (502, "<html>\u{7}bad</html>", FailureKind::Server, "<html>bad</html>"),
        (401, r#"{"message":"no key"}"#, FailureKind::Authentication, "no key"),
        (413, r#"{"error":"too big"}"#, FailureKind::TooLarge, "too big"),
        (429, r#"{"error":{"type":"novel_error","message":"slow"}}"#, FailureKind::RateLimit, "slow"),
    ] {
        let failure = messages::decode_error(status, body.as_bytes());
        assert_eq!((failure.kind, &*failure.message), (kind, message));
    }
    let silent = messages::decode_error(500, b"");
    assert_eq!(silent.message, "The provider answered with status 500 and no explanation.");
    assert!(messages::decode_error(500, &vec![b'a'; 100_000]).message.len() <= 2_000);
}

#[test]
fn a_refused_thread_is_told_in_the_word_that_sdks_act_on() {
    let text =
        json!({"messages": [], "thread": {"type": "continue", "previous_message_id": "msg_1"}}).to_string();
    let json = Json::parse(&text).unwrap();
    let error = messages::decode_request(&json, &mut losses()).unwrap_err();
    let failure = Failure {
        message: error.to_string().into(),
        kind: FailureKind::InvalidRequest,
        code: Some("request.invalid_field".into()),
        param: Some(error.path.into()),
    };
    let written: Value = serde_json::from_slice(&messages::encode_error(&failure, "req_2")).unwrap();
    assert_eq!(written["error"]["details"], json!({"error_code": "thread_unsupported_request"}));
    let other = Failure { param: Some("messages".into()), ..failure };
    let written: Value = serde_json::from_slice(&messages::encode_error(&other, "req_2")).unwrap();
    assert_eq!(written["error"].get("details"), None);
}
