//! The conversation in a request: whose turn it is, which result is of which call, and who signed what.

use meseta_wire::conversation::{Part, Role, Thought, ToolCall};
use meseta_wire::dialect::Dialect;
use meseta_wire::feature::{Feature, Losses};
use meseta_wire::signature::{Family, Signature};
use serde_json::json;

use super::{call, conversation, decode, encode, encode_for, losses, message, result, text};

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
