//! Anthropic's Messages: shapes, streams, and what is refused.

mod client;

use client::{Reply, everything, play, send_json, start};
use meseta_sim::Simulator;
use serde_json::{Value, json};

const VERSION: &str = "anthropic-version: 2023-06-01\r\n";

fn ask(model: &str, messages: &Value) -> Value {
    json!({"model": model, "max_tokens": 100, "messages": messages})
}

fn message(simulator: &Simulator, request: &Value) -> Reply {
    send_json(simulator, "POST", "/v1/messages", VERSION, request)
}

fn streamed(mut request: Value) -> Value {
    request["stream"] = json!(true);
    request
}

#[test]
fn a_whole_message_has_every_field() {
    let simulator = start();
    let request = ask("echo;cached=1;cache_write=1", &json!([{"role": "user", "content": "a b c"}]));
    let reply = message(&simulator, &request);
    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("request-id: req_"), "{}", reply.head);
    let answer = reply.json();
    assert!(answer["id"].as_str().is_some_and(|id| id.starts_with("msg_")));
    assert_eq!(answer["content"], json!([{"type": "text", "text": "a b c"}]));
    assert_eq!((&answer["role"], &answer["model"]), (&json!("assistant"), &json!("echo")));
    assert_eq!((&answer["stop_reason"], &answer["stop_sequence"]), (&json!("end_turn"), &Value::Null));
    assert_eq!(answer["usage"]["input_tokens"], 1);
    assert_eq!(answer["usage"]["cache_read_input_tokens"], 1);
    assert_eq!(answer["usage"]["cache_creation_input_tokens"], 1);
    assert_eq!(answer["usage"]["output_tokens"], 3);
    assert_eq!(message(&simulator, &request).body, reply.body);
    assert_eq!(
        message(
            &simulator,
            &ask(
                "echo",
                &json!([{"role": "user", "content": [
        {"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}])
            )
        )
        .json()["content"][0]["text"],
        "one\ntwo"
    );
}

#[test]
fn a_thread_is_refused_in_the_word_that_sdks_act_on() {
    let simulator = start();
    let mut request = ask("echo", &json!([{"role": "user", "content": "a"}]));
    request["thread"] = json!({"type": "create"});
    let reply = message(&simulator, &request);
    assert_eq!(reply.status, 400);
    assert_eq!(reply.json()["error"]["details"], json!({"error_code": "thread_unsupported_request"}));
    request["thread"] = Value::Null;
    assert_eq!(message(&simulator, &request).status, 200);
}

#[test]
fn a_stream_tells_every_block() {
    let simulator = play(&everything());
    let request = ask("m", &json!([{"role": "user", "content": "x"}]));
    let whole = message(&simulator, &request).json();
    let reply = message(&simulator, &streamed(request));
    let events = reply.named();
    assert!(events.iter().all(|(name, data)| data["type"] == name.as_str()));
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..2], ["message_start", "ping"]);
    assert_eq!(names[names.len() - 2..], ["message_delta", "message_stop"]);
    assert_eq!(events[0].1["message"]["usage"]["input_tokens"], 50);

    // Put together, it is the whole message.
    let mut blocks: Vec<Value> = Vec::new();
    let mut open = None;
    let mut json_parts = String::new();
    for (name, data) in &events {
        match name.as_str() {
            "content_block_start" => {
                assert_eq!((open, &data["index"]), (None, &json!(blocks.len())));
                open = Some(blocks.len());
                json_parts.clear();
                blocks.push(data["content_block"].clone());
            }
            "content_block_delta" => {
                assert_eq!(data["index"], json!(open.expect("a block is open")));
                let block = blocks.last_mut().expect("a block");
                let delta = &data["delta"];
                for key in ["text", "thinking", "signature"] {
                    if let Some(part) = delta[key].as_str() {
                        block[key] = json!(block[key].as_str().expect("text").to_owned() + part);
                    }
                }
                json_parts += delta["partial_json"].as_str().unwrap_or_default();
            }
            "content_block_stop" => {
                let block = blocks.last_mut().expect("a block");
                if block["type"] == "tool_use" {
                    block["input"] = serde_json::from_str(&json_parts)
                        .unwrap_or_else(|_| json!({"INVALID_JSON": json_parts}));
                }
                open = None;
            }
            _ => {}
        }
    }
    assert_eq!(Value::Array(blocks), whole["content"]);
    assert_eq!(whole["content"][1], json!({"type": "redacted_thinking", "data": "c2VjcmV0"}));
    assert_eq!(whole["content"][3]["id"], "one");
    let end = &events[names.len() - 2].1;
    assert_eq!(end["delta"]["stop_reason"], whole["stop_reason"]);
    assert_eq!(end["usage"]["output_tokens"], 30);
    assert_eq!(end["usage"]["output_tokens_details"]["thinking_tokens"], 12);
}

#[test]
fn ends_have_their_own_words() {
    let simulator = start();
    let mut request = ask("echo", &json!([{"role": "user", "content": "a b c"}]));
    request["stop_sequences"] = json!([" c", " b"]);
    let answer = message(&simulator, &request).json();
    assert_eq!((&answer["stop_reason"], &answer["stop_sequence"]), (&json!("stop_sequence"), &json!(" b")));
    request["max_tokens"] = json!(1);
    request["stop_sequences"] = json!([]);
    assert_eq!(message(&simulator, &request).json()["stop_reason"], "max_tokens");
    request["model"] = json!("echo;usage=none");
    assert!(!message(&simulator, &streamed(request)).text().contains("usage"));
}

#[test]
fn tools_are_called_and_their_results_are_answered() {
    let simulator = start();
    let tool = json!({"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}});
    let mut request = ask("echo", &json!([{"role": "user", "content": "?"}]));
    request["tools"] = json!([tool]);
    request["tool_choice"] = json!({"type": "any"});
    let answer = message(&simulator, &request).json();
    let call = &answer["content"][0];
    assert_eq!((&call["type"], &call["input"]), (&json!("tool_use"), &json!({"city": "text"})));
    let result = json!({"type": "tool_result", "tool_use_id": call["id"], "content": [{"type": "text", "text": "12"}]});
    request["messages"] = json!([
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": answer["content"]},
        {"role": "user", "content": [result]}
    ]);
    assert_eq!(message(&simulator, &request).json()["content"][0]["text"], "The tool answered: 12");
    let counted = json!({"model": "m", "messages": request["messages"], "tools": request["tools"]});
    let counted = send_json(&simulator, "POST", "/v1/messages/count_tokens", VERSION, &counted).json();
    assert!(counted["input_tokens"].as_u64().is_some_and(|tokens| tokens > 10), "{counted}");
}

#[test]
fn what_anthropic_refuses_is_refused() {
    let simulator = start();
    let good = ask("echo", &json!([{"role": "user", "content": "a"}]));
    let with = |key: &str, value: Value| {
        let mut request = good.clone();
        request[key] = value;
        request
    };
    let turns = |messages: Value| with("messages", messages);
    let call =
        json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]});
    let user = json!({"role": "user", "content": "a"});
    let result = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]});
    for (request, expected) in [
        (with("nonsense", json!(1)), "nonsense: Extra inputs are not permitted"),
        (with("max_tokens", Value::Null), "max_tokens: Field required"),
        (with("max_tokens", json!(0)), "max_tokens: must be greater than or equal to 1"),
        (with("model", json!(5)), "model: Input should be a string"),
        (with("temperature", json!(1.5)), "temperature: must be between 0 and 1"),
        (with("thinking", json!({"type": "enabled", "budget_tokens": 1023})), "thinking.budget_tokens"),
        (with("thinking", json!({"type": "enabled", "budget_tokens": 2000})), "`max_tokens` must be greater"),
        (with("stop_sequences", json!([" "])), "stop_sequences.0: each stop sequence"),
        (with("tools", json!([{"name": "a b", "input_schema": {"type": "object"}}])), "tools.0.name"),
        (with("tools", json!([{"name": "a"}])), "tools.0.input_schema: Field required"),
        (with("tools", json!([{"type": "function", "function": {}}])), "tools.0.type"),
        (with("tool_choice", json!({"type": "any"})), "while providing tools"),
        (turns(json!([])), "at least one message"),
        (turns(json!([{"role": "system", "content": "a"}])), "messages.0.role"),
        (turns(json!([{"role": "assistant", "content": "a"}])), "first message must use the \"user\" role"),
        (turns(json!([{"role": "user", "content": ""}])), "non-empty content"),
        (turns(json!([{"role": "user", "content": [{"type": "text", "text": ""}]}])), "must be non-empty"),
        (
            turns(json!([{"role": "user", "content": [{"type": "input_text", "text": "a"}]}])),
            "messages.0.content.0.type",
        ),
        (turns(json!([{"role": "user", "content": "a", "name": "b"}])), "messages.0.name: Extra inputs"),
        (turns(json!([user, call])), "`tool_use` ids were found without"),
        (turns(json!([user, call, user])), "`tool_use` ids were found without"),
        (
            turns(json!([user, call, user, {"role": "assistant", "content": "b"}])),
            "without `tool_result` blocks",
        ),
        (turns(json!([user, result])), "unexpected `tool_use_id`"),
        (
            turns(
                json!([user, {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": "{}"}]}, result]),
            ),
            "messages.1.content.0.input: Input should be an object",
        ),
    ] {
        let reply = message(&simulator, &request);
        let error = reply.json();
        assert_eq!((reply.status, &error["type"]), (400, &json!("error")), "{request}");
        assert_eq!(error["error"]["type"], "invalid_request_error");
        let text = error["error"]["message"].as_str().expect("text");
        assert!(text.contains(expected), "{text}");
        assert!(error["request_id"].as_str().is_some_and(|id| id.starts_with("req_")));
    }
    assert_eq!(message(&simulator, &turns(json!([user, call, result]))).status, 200);
    let unversioned = send_json(&simulator, "POST", "/v1/messages", "", &good);
    assert_eq!(unversioned.status, 400);
    assert!(unversioned.text().contains("anthropic-version"));
}

#[test]
fn errors_have_anthropics_types() {
    let simulator = start();
    for (status, kind) in [
        (401, "authentication_error"),
        (403, "permission_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ] {
        let request =
            ask(&format!("m;status={status};retry-after=3"), &json!([{"role": "user", "content": "a"}]));
        let reply = message(&simulator, &request);
        assert_eq!((reply.status, &reply.json()["error"]["type"]), (status, &json!(kind)));
        assert!(reply.head.contains("retry-after: 3"));
    }
    let request = ask("echo;error=sse@1;message=Out of luck", &json!([{"role": "user", "content": "a b"}]));
    let events = message(&simulator, &streamed(request)).named();
    let (name, data) = events.last().expect("an error");
    assert_eq!(
        (name.as_str(), &data["error"]),
        ("error", &json!({"type": "api_error", "message": "Out of luck"}))
    );
}
