//! `OpenAI`'s Responses: shapes, streams, what is kept, and what is refused.

mod client;

use client::{Reply, everything, get, play, send_json, start};
use meseta_sim::Simulator;
use serde_json::{Value, json};

fn respond(simulator: &Simulator, request: &Value) -> Reply {
    send_json(simulator, "POST", "/v1/responses", "", request)
}

#[test]
fn a_whole_response_repeats_its_request() {
    let simulator = start();
    let request = json!({"model": "echo;cached=2;reasoning=4", "input": "a b c", "temperature": 0.5, "metadata": {"k": "v"}});
    let reply = respond(&simulator, &request);
    let answer = reply.json();
    assert_eq!(
        (reply.status, &answer["object"], &answer["status"]),
        (200, &json!("response"), &json!("completed"))
    );
    assert_eq!((&answer["temperature"], &answer["metadata"]), (&json!(0.5), &json!({"k": "v"})));
    let part = json!({"type": "output_text", "text": "a b c", "annotations": [], "logprobs": []});
    assert_eq!(answer["output"][0]["content"], json!([part]));
    assert_eq!(
        answer["usage"],
        json!({
            "input_tokens": 3, "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
            "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 4}, "total_tokens": 10
        })
    );
    assert_eq!(respond(&simulator, &request).body, reply.body);
}

#[test]
fn a_stream_numbers_its_events_and_ends_with_the_whole() {
    let simulator = play(&everything());
    let request = json!({"model": "m", "input": "x", "include": ["reasoning.encrypted_content", "message.output_text.logprobs"]});
    let whole = respond(&simulator, &request).json();
    let mut streamed = request;
    streamed["stream"] = json!(true);
    let events = respond(&simulator, &streamed).named();
    for (number, (name, data)) in events.iter().enumerate() {
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(name), &json!(number)));
    }
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    let told = |name: &str| -> String {
        let deltas = events.iter().filter(|(own, _)| own == name);
        deltas.map(|(_, data)| data["delta"].as_str().expect("text")).collect()
    };
    assert_eq!(told("response.reasoning_summary_text.delta"), "Hm, well.");
    assert_eq!(told("response.output_text.delta"), "I look.");
    assert_eq!(told("response.function_call_arguments.delta"), "{\"city\":\"Oslo\"}{");
    let items: Vec<&Value> = events
        .iter()
        .filter(|(name, _)| name == "response.output_item.done")
        .map(|(_, data)| &data["item"])
        .collect();
    let finished = &events.last().expect("an end").1["response"];
    assert_eq!(json!(items), finished["output"]);
    let added: Vec<u64> = events
        .iter()
        .filter(|(name, _)| name == "response.output_item.added")
        .map(|(_, data)| data["output_index"].as_u64().expect("a number"))
        .collect();
    assert_eq!(added, [0, 1, 2, 3, 4]);
    let (last, data) = events.last().expect("an end");
    assert_eq!(
        (last.as_str(), names[0], names[1]),
        ("response.completed", "response.created", "response.in_progress")
    );
    assert_eq!(
        data["response"]["usage"]["input_tokens_details"],
        json!({"cached_tokens": 40, "cache_write_tokens": 10})
    );
    assert_eq!(whole["output"][0]["encrypted_content"], "c2ln");
    assert_eq!(
        (&whole["output"][1]["summary"], &whole["output"][1]["encrypted_content"]),
        (&json!([]), &json!("c2VjcmV0"))
    );
    assert_eq!(whole["output"][2]["content"][0]["logprobs"].as_array().map(Vec::len), Some(3));
    assert_eq!(whole["output"][3]["call_id"], "one");
}

#[test]
fn texts_and_refusals_that_stand_together_are_one_message() {
    let simulator = play(
        &json!([{"reply": {"content": [{"text": "a"}, {"text": "b"}, {"refusal": "no"}], "finish": "content_filter"}}]),
    );
    let request = json!({"model": "m", "input": "x", "stream": true});
    let events = respond(&simulator, &request).named();
    let (name, data) = events.last().expect("an end");
    assert_eq!(name, "response.incomplete");
    assert_eq!(data["response"]["incomplete_details"], json!({"reason": "content_filter"}));
    let output = data["response"]["output"].as_array().expect("output");
    assert_eq!(output.len(), 1);
    assert_eq!(output[0]["content"][2], json!({"type": "refusal", "refusal": "no"}));
    let places: Vec<u64> = events
        .iter()
        .filter(|(name, _)| name == "response.content_part.added")
        .map(|(_, data)| data["content_index"].as_u64().expect("a number"))
        .collect();
    assert_eq!(places, [0, 1, 2]);
    assert!(events.iter().any(|(name, data)| name == "response.refusal.done" && data["refusal"] == "no"));
}

#[test]
fn streams_fail_in_two_ways() {
    let simulator = start();
    for (kind, name) in [("sse", "error"), ("failed", "response.failed")] {
        let request =
            json!({"model": format!("echo;error={kind}@1;message=Oh"), "input": "a b", "stream": true});
        let events = respond(&simulator, &request).named();
        let (last, data) = events.last().expect("an error");
        assert_eq!((last.as_str(), &data["sequence_number"]), (name, &json!(events.len() - 1)));
        let error = if kind == "sse" { data } else { &data["response"]["error"] };
        assert_eq!((&error["code"], &error["message"]), (&json!("server_error"), &json!("Oh")));
    }
}

#[test]
fn responses_are_kept_for_the_next_turn() {
    let simulator = start();
    let first = respond(&simulator, &json!({"model": "m;tool=weather", "input": "a b c"}));
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    let call = first.json()["output"][0]["call_id"].clone();
    let path = format!("/v1/responses/{id}");
    assert_eq!(get(&simulator, &path, "").json(), first.json());
    let follow =
        |input: Value| json!({"model": "m;tool=weather", "input": input, "previous_response_id": id});
    let unanswered = respond(&simulator, &follow(json!("more")));
    assert!(unanswered.message().contains("No tool output found"), "{}", unanswered.text());
    let answered = respond(
        &simulator,
        &follow(json!([{"type": "function_call_output", "call_id": call, "output": "12"}])),
    );
    assert_eq!(answered.json()["output"][0]["content"][0]["text"], "The tool answered: 12");
    // The weather, {}, a b c of the turn before, and the result.
    assert_eq!(answered.json()["usage"]["input_tokens"], 3 + 2 + 1);
    assert_eq!(send_json(&simulator, "DELETE", &path, "", &json!({})).json()["deleted"], true);
    assert_eq!(get(&simulator, &path, "").status, 404);
    let lost = respond(&simulator, &follow(json!("more")));
    assert_eq!((lost.status, &lost.json()["error"]["code"]), (400, &json!("previous_response_not_found")));
    let unkept = respond(&simulator, &json!({"model": "m", "input": "a", "store": false})).json();
    assert_eq!(
        get(&simulator, &format!("/v1/responses/{}", unkept["id"].as_str().expect("an id")), "").status,
        404
    );
    let count = send_json(
        &simulator,
        "POST",
        "/v1/responses/input_tokens",
        "",
        &json!({"model": "m", "input": "a b"}),
    );
    assert_eq!(count.json(), json!({"object": "response.input_tokens", "input_tokens": 2}));
}

#[test]
fn what_openai_refuses_is_refused() {
    let simulator = start();
    let with = |key: &str, value: Value| {
        let mut request = json!({"model": "echo", "input": "a"});
        request[key] = value;
        request
    };
    let item = |item: Value| with("input", json!([item]));
    for (request, code, param) in [
        (with("nonsense", json!(1)), "unknown_parameter", "nonsense"),
        (with("messages", json!([])), "unknown_parameter", "messages"),
        (with("model", Value::Null), "missing_required_parameter", "model"),
        (with("input", Value::Null), "missing_required_parameter", "input"),
        (with("input", json!(5)), "invalid_type", "input"),
        (with("max_output_tokens", json!(15)), "invalid_value", "max_output_tokens"),
        (with("temperature", json!("hot")), "invalid_type", "temperature"),
        (
            with("tools", json!([{"type": "function", "function": {"name": "x"}}])),
            "unknown_parameter",
            "tools[0].function",
        ),
        (with("tools", json!([{"type": "function"}])), "missing_required_parameter", "tools[0].name"),
        (with("tool_choice", json!("any")), "invalid_value", "tool_choice"),
        (
            with("text", json!({"format": {"type": "json_schema"}})),
            "missing_required_parameter",
            "text.format.name",
        ),
        (item(json!({"role": "tool", "content": "a"})), "invalid_value", "input[0].role"),
        (
            item(json!({"role": "user", "content": [{"type": "text", "text": "a"}]})),
            "invalid_value",
            "input[0].content[0].type",
        ),
        (
            item(json!({"role": "assistant", "content": [{"type": "input_text", "text": "a"}]})),
            "invalid_value",
            "input[0].content[0].type",
        ),
        (item(json!({"type": "tool_result"})), "invalid_value", "input[0].type"),
        (
            item(json!({"type": "function_call_output", "call_id": "x", "output": "1"})),
            "invalid_value",
            "input[0]",
        ),
        (
            item(json!({"type": "function_call", "call_id": "x", "name": "n", "arguments": "{}"})),
            "invalid_value",
            "input",
        ),
        (
            item(json!({"type": "function_call", "call_id": "x", "name": "n", "arguments": {}})),
            "invalid_type",
            "input[0].arguments",
        ),
    ] {
        let reply = respond(&simulator, &request);
        let error = &reply.json()["error"];
        assert_eq!(
            (reply.status, &error["code"], &error["param"]),
            (400, &json!(code), &json!(param)),
            "{error}"
        );
    }
    let call = json!({"type": "function_call", "call_id": "x", "name": "n", "arguments": "{}"});
    let result = json!({"type": "function_call_output", "call_id": "x", "output": [{"type": "input_text", "text": "1"}]});
    assert_eq!(respond(&simulator, &with("input", json!([call, result]))).status, 200);
}
