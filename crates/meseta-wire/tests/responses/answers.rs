use meseta_wire::conversation::{Answer, Citation, Finish, Part, Text, Thought, TokenLogprob, ToolCall};
use meseta_wire::dialect::Dialect;
use meseta_wire::feature::Losses;
use meseta_wire::json::Json;
use meseta_wire::responses;
use meseta_wire::signature::{Family, Signature};
use meseta_wire::usage::Usage;
use serde_json::{Value, json};

use super::{between, context};

pub fn provider_answer() -> Value {
    json!({
        "id": "resp_1", "object": "response", "created_at": 1_750_000_000.5, "status": "completed", "error": null,
        "incomplete_details": null, "model": "gpt-5-mini-2025-08-07", "service_tier": "default", "output": [
            {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
            {"id": "ws_1", "type": "web_search_call", "status": "completed"},
            {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [
                {"type": "output_text", "text": "It rains.", "annotations": [{"type": "url_citation",
                 "start_index": 0, "end_index": 9, "title": "Met", "url": "https://met.example"}],
                 "logprobs": [{"token": "It", "bytes": [73, 116], "logprob": -0.1, "top_logprobs": []}]}]},
            {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "call_1", "name": "umbrella",
             "arguments": "{\"size\":2}"}],
        "usage": {"input_tokens": 30, "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 4},
                  "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 8}, "total_tokens": 50}
    })
}

#[test]
fn an_answer_is_read() {
    let text = provider_answer().to_string();
    let json = Json::parse(&text).unwrap();
    let answer = responses::decode_answer(&json).unwrap();
    assert_eq!((answer.id.as_deref(), answer.created), (Some("resp_1"), Some(1_750_000_000)));
    assert_eq!(answer.finish, Finish::ToolCalls);
    assert_eq!(answer.usage, Some(Usage { input: 30, cached: 10, cache_write: 4, output: 20, reasoning: 8 }));
    assert_eq!(answer.logprobs[0].token, "It");
    let [Part::Thought(thought), Part::Text(text), Part::ToolCall(call)] = answer.parts.as_slice() else {
        panic!("{:?}", answer.parts)
    };
    assert!(thought.redacted && thought.text.is_empty());
    assert_eq!(text.citations[0].title.as_deref(), Some("Met"));
    assert_eq!((call.id.as_ref(), call.arguments.as_ref()), ("call_1", r#"{"size":2}"#));
}

#[test]
fn why_an_answer_ended() {
    let finish = |document: Value| {
        let text = document.to_string();
        format!("{:?}", responses::decode_answer(&Json::parse(&text).unwrap()).unwrap().finish)
    };
    let incomplete = |reason: &str| json!({"output": [], "status": "incomplete", "incomplete_details": {"reason": reason}});
    assert_eq!(finish(incomplete("max_output_tokens")), "Length");
    assert_eq!(finish(incomplete("content_filter")), "ContentFilter");
    assert_eq!(finish(incomplete("steered")), r#"Other("steered")"#);
    assert_eq!(finish(json!({"output": [], "status": "cancelled"})), r#"Other("cancelled")"#);
    assert_eq!(finish(json!({"output": []})), "Stop");
    let refusal = json!({"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "No"}]}]});
    assert_eq!(finish(refusal), "Refusal");
}

#[test]
fn what_is_no_answer_is_malformed_and_odd_counts_are_absent() {
    let failed = r#"{"output":[],"status":"failed","error":{"code":"server_error","message":"Out of luck"}}"#;
    for (document, words) in
        [("[]", "object"), ("{}", "output"), (r#"{"output":{}}"#, "output"), (failed, "Out of luck")]
    {
        let error = responses::decode_answer(&Json::parse(document).unwrap()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let json = Json::parse(
        r#"{"output":[],"usage":{"input_tokens":-1,"output_tokens":2e15,"input_tokens_details":[],"output_tokens_details":null}}"#,
    )
    .unwrap();
    assert_eq!(responses::decode_answer(&json).unwrap().usage, Some(Usage::default()));
    let json = Json::parse(r#"{"output":[5,{"type":"message","content":7},{"type":"reasoning"}],"usage":5}"#);
    let json = json.unwrap();
    let answer = responses::decode_answer(&json).unwrap();
    assert_eq!((answer.usage, answer.parts.len()), (None, 0));
}

fn answer() -> Answer<'static> {
    Answer {
        parts: vec![
            Part::Thought(Thought {
                text: "Think.".into(),
                signature: Some(Signature::new(Family::Anthropic, "sig")),
                ..Thought::default()
            }),
            Part::Thought(Thought {
                signature: Some(Signature::new(Family::Anthropic, "hidden")),
                redacted: true,
                ..Thought::default()
            }),
            Part::Text(Text {
                text: "Grüße".into(),
                cache: None,
                citations: vec![
                    Citation { url: Some("https://a.example".into()), ..Citation::default() },
                    Citation { cited: Some("a page".into()), ..Citation::default() },
                ],
            }),
            Part::Refusal("But no.".into()),
            Part::ToolCall(ToolCall {
                id: "toolu_1".into(),
                name: "f".into(),
                arguments: r#"{"a":1}"#.into(),
                custom: false,
                signature: Some(Signature::new(Family::Gemini, "g")),
                cache: None,
            }),
        ],
        finish: Finish::Length,
        usage: Some(Usage { input: 5, cached: 1, cache_write: 2, output: 7, reasoning: 3 }),
        logprobs: vec![TokenLogprob { token: "G".into(), logprob: f64::NEG_INFINITY, top: vec![] }],
        service_tier: Some("priority".into()),
        ..Answer::default()
    }
}

#[test]
fn an_answer_is_written_and_comes_back_as_input() {
    let mut losses = Losses::new(Dialect::OpenaiResponses, Dialect::AnthropicMessages);
    let request =
        Json::parse(r#"{"input":"a","temperature":0.2,"service_tier":"auto","text":{"verbosity":"low"}}"#);
    let echo = responses::echo(&request.unwrap());
    let context = meseta_wire::dialect::Context { echo: Some(echo), ..context() };
    let bytes = responses::encode_answer(&answer(), &context, &mut losses);
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(
        document["output"],
        json!([
            {"id": "rs_meseta_42_0", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Think."}],
             "encrypted_content": "meseta.anthropic.sig"},
            {"id": "rs_meseta_42_1", "type": "reasoning", "summary": [], "encrypted_content": "meseta.anthropic.hidden"},
            {"id": "msg_42_2", "type": "message", "status": "completed", "role": "assistant", "content": [
                {"type": "output_text", "text": "Grüße", "annotations": [{"type": "url_citation", "title": "",
                 "url": "https://a.example", "start_index": 0, "end_index": 5}],
                 "logprobs": [{"token": "G", "bytes": [71], "logprob": -9999, "top_logprobs": []}]},
                {"type": "refusal", "refusal": "But no."}]},
            {"id": "rs_meseta_42_3", "type": "reasoning", "summary": [], "encrypted_content": "meseta.gemini.g"},
            {"id": "fc_42_4", "type": "function_call", "status": "incomplete", "call_id": "toolu_1", "name": "f",
             "arguments": "{\"a\":1}"},
        ])
    );
    assert_eq!(
        (&document["status"], &document["incomplete_details"]["reason"], &document["model"]),
        (&json!("incomplete"), &json!("max_output_tokens"), &json!("smart"))
    );
    assert_eq!(document["usage"]["total_tokens"], 12);
    assert_eq!(
        (&document["temperature"], &document["top_p"], &document["service_tier"], &document["text"]),
        (
            &json!(0.2),
            &json!(1.0),
            &json!("priority"),
            &json!({"verbosity": "low", "format": {"type": "text"}})
        )
    );
    assert_eq!(losses.noted(), ["citations"]);

    // What the client sends back is what the other provider said.
    let stored = Json::parse(std::str::from_utf8(&bytes).unwrap()).unwrap();
    let next = Json::parse(r#"{"model":"m","input":"Next","previous_response_id":"resp_42"}"#).unwrap();
    let whole = responses::with_history(&next, responses::output_items(&stored));
    assert!(whole.get("previous_response_id").is_none());
    let request = responses::decode_request(&whole, &mut between(Dialect::OpenaiResponses)).unwrap();
    let [assistant, user] = request.messages.as_slice() else { panic!("{:?}", request.messages) };
    assert_eq!(user.parts.len(), 1);
    let expected = answer();
    assert_eq!(assistant.parts[0], expected.parts[0]);
    assert_eq!(assistant.parts[1], expected.parts[1]);
    assert_eq!(assistant.parts[3..], expected.parts[3..]);
}

#[test]
fn a_refusal_is_complete_only_in_its_own_words() {
    let refused = |part: Part<'static>| {
        let answer = Answer { parts: vec![part], finish: Finish::Refusal, ..Answer::default() };
        let mut losses = Losses::new(Dialect::OpenaiResponses, Dialect::AnthropicMessages);
        let bytes = responses::encode_answer(&answer, &context(), &mut losses);
        serde_json::from_slice::<Value>(&bytes).unwrap()
    };
    assert_eq!(refused(Part::Refusal("No.".into()))["status"], "completed");
    let told = refused(Part::Text(Text { text: "No.".into(), ..Text::default() }));
    assert_eq!(told["status"], "incomplete");
    assert_eq!(told["incomplete_details"]["reason"], "content_filter");
    assert_eq!(told["output"][0]["status"], "incomplete");
}

#[test]
fn a_whole_answer_comes_back_whole() {
    let text = provider_answer().to_string();
    let json = Json::parse(&text).unwrap();
    let answer = responses::decode_answer(&json).unwrap();
    let mut losses = Losses::new(Dialect::OpenaiResponses, Dialect::OpenaiResponses);
    let bytes = responses::encode_answer(&answer, &context(), &mut losses);
    let again = Json::parse(std::str::from_utf8(&bytes).unwrap()).unwrap();
    let again = responses::decode_answer(&again).unwrap();
    assert_eq!(
        (&again.parts, &again.finish, &again.usage, &again.logprobs),
        (&answer.parts, &answer.finish, &answer.usage, &answer.logprobs)
    );
    assert!(losses.is_empty());
}

#[test]
fn history_is_input() {
    let request = Json::parse(r#"{"input":"Hello"}"#).unwrap();
    let items = responses::input_items(&request);
    assert_eq!(
        Json::Array(items.clone()).to_text(),
        r#"[{"type":"message","role":"user","content":[{"type":"input_text","text":"Hello"}]}]"#
    );
    let stored = Json::parse(
        r#"{"output":[{"type":"reasoning","id":"rs_1","status":null,"summary":[]},{"type":"function_call","id":"fc_1","status":"completed"},7]}"#,
    )
    .unwrap();
    let mut history = items;
    history.extend(responses::output_items(&stored));
    let next = Json::parse(r#"{"model":"m","previous_response_id":"r","input":[1],"store":true}"#).unwrap();
    assert_eq!(
        responses::with_history(&next, history).to_text(),
        concat!(
            r#"{"model":"m","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"Hello"}]},"#,
            r#"{"type":"reasoning","id":"rs_1","summary":[]},{"type":"function_call","id":"fc_1","status":"completed"},1],"store":true}"#
        )
    );
    let silent = Json::parse(r#"{"previous_response_id":"r"}"#).unwrap();
    assert_eq!(responses::with_history(&silent, Vec::new()).to_text(), r#"{"input":[]}"#);
}
