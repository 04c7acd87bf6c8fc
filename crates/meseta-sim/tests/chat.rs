//! Chat completions as they should be: shapes, lengths, stops, tools, usage, reflections.

mod client;

use client::{End, ask, chat, chat_with, get, post, start, streamed};
use serde_json::{Value, json};

#[test]
fn a_whole_answer_has_every_field_in_its_place() {
    let simulator = start();
    let reply = chat(&simulator, &ask("echo", "Hello, wide world!"));
    assert_eq!((reply.status, reply.end), (200, End::Complete));
    assert!(reply.head.contains("content-type: application/json"));
    let id = reply.json()["id"].as_str().expect("an id").to_owned();
    let expected = format!(
        concat!(
            r#"{{"id":"{id}","object":"chat.completion","created":1735689600,"model":"echo","#,
            r#""system_fingerprint":"fp_meseta_sim","choices":[{{"index":0,"message":{{"role":"assistant","#,
            r#""content":"Hello, wide world!","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"#,
            r#""usage":{{"prompt_tokens":5,"completion_tokens":5,"total_tokens":10,"#,
            r#""prompt_tokens_details":{{"cached_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0}}}}}}"#
        ),
        id = id
    );
    assert_eq!(reply.text(), expected);
    assert!(id.starts_with("chatcmpl-"));
}

#[test]
fn the_same_request_gets_the_same_bytes() {
    let simulator = start();
    for request in [ask("any", "Why?"), streamed("echo", "Why?")] {
        let (one, other) = (chat(&simulator, &request), chat(&simulator, &request));
        assert!(!one.head.contains("date:"), "{}", one.head);
        assert_eq!((one.head, one.body), (other.head, other.body));
    }
    assert_ne!(
        chat(&simulator, &ask("any", "a")).json()["id"],
        chat(&simulator, &ask("any", "b")).json()["id"]
    );
}

#[test]
fn a_stream_has_a_role_its_tokens_a_finish_and_an_end() {
    let simulator = start();
    let reply = chat(&simulator, &streamed("echo", "Hello, \"wide\" world"));
    assert_eq!((reply.status, reply.end), (200, End::Complete));
    assert!(reply.head.contains("content-type: text/event-stream"));
    assert_eq!(reply.tokens(), ["Hello", ",", " \"", "wide", "\"", " world"]);
    assert_eq!(reply.events().last().map(String::as_str), Some("[DONE]"));
    let chunks = reply.chunks();
    assert_eq!(
        chunks[0]["choices"][0]["delta"],
        json!({"role": "assistant", "content": "", "refusal": null})
    );
    let last = &chunks[chunks.len() - 1];
    assert_eq!(
        last["choices"][0],
        json!({"index": 0, "delta": {}, "logprobs": null, "finish_reason": "stop"})
    );
    for chunk in &chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["id"], chunks[0]["id"]);
        assert!(chunk.get("usage").is_none(), "{chunk}");
    }
}

#[test]
fn a_stream_reports_usage_when_asked() {
    let simulator = start();
    let mut request = streamed("echo", "one two three");
    request["stream_options"] = json!({"include_usage": true});
    let chunks = chat(&simulator, &request).chunks();
    let (last, others) = chunks.split_last().expect("chunks");
    assert!(others.iter().all(|chunk| chunk.get("usage") == Some(&Value::Null)));
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 3);
    assert_eq!(last["usage"]["total_tokens"], 6);

    request["model"] = json!("echo;usage=none");
    assert!(!chat(&simulator, &request).text().contains("\"usage\""));
    assert!(!chat(&simulator, &ask("echo;usage=none", "x")).text().contains("\"usage\""));
}

#[test]
fn several_choices_come_in_step() {
    let simulator = start();
    let mut request = ask("echo", "one two");
    request["n"] = json!(3);
    let whole = chat(&simulator, &request).json();
    assert_eq!(whole["choices"].as_array().map(Vec::len), Some(3));
    assert_eq!(whole["choices"][2]["index"], 2);
    assert_eq!(whole["usage"]["completion_tokens"], 6);
    request["stream"] = json!(true);
    let chunks = chat(&simulator, &request).chunks();
    let indices: Vec<_> = chunks.iter().map(|chunk| chunk["choices"][0]["index"].as_u64()).collect();
    assert_eq!(indices, [0, 1, 2].map(Some).repeat(4));
}

#[test]
fn answers_end_at_limits_and_at_stops() {
    let simulator = start();
    for (field, value, text, finish, tokens) in [
        ("max_tokens", json!(2), "one two", "length", 2),
        ("max_completion_tokens", json!(1), "one", "length", 1),
        ("max_tokens", json!(4), "one two three four", "stop", 4),
        ("stop", json!(" three"), "one two", "stop", 2),
        ("stop", json!(["four", " two", ""]), "one", "stop", 1),
        ("stop", json!(null), "one two three four", "stop", 4),
    ] {
        let mut request = ask("echo", "one two three four");
        request[field] = value;
        let reply = chat(&simulator, &request);
        assert_eq!(reply.content(), text);
        assert_eq!(reply.json()["choices"][0]["finish_reason"], finish);
        assert_eq!(reply.json()["usage"]["completion_tokens"], tokens);
        request["stream"] = json!(true);
        let reply = chat(&simulator, &request);
        assert_eq!(reply.tokens().concat(), text);
        assert_eq!(reply.chunks().last().expect("a finish")["choices"][0]["finish_reason"], finish);
    }
}

#[test]
fn tokens_sets_the_length() {
    let simulator = start();
    for (model, text) in [("echo;tokens=7", "a b"), ("echo;tokens=7", ""), ("other;tokens=7", "?")] {
        let reply = chat(&simulator, &ask(model, text));
        assert_eq!(reply.json()["usage"]["completion_tokens"], 7);
        assert_eq!(chat(&simulator, &streamed(model, text)).tokens().concat(), reply.content());
        assert_eq!(chat(&simulator, &streamed(model, text)).tokens().len(), 7);
    }
    assert_eq!(chat(&simulator, &ask("echo;tokens=5", "a b")).content(), "a b a b a");
}

#[test]
fn usage_counts_messages_and_tools_and_what_was_ordered() {
    let simulator = start();
    let request = json!({"model": "echo;cached=2;reasoning=5", "messages": [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi there"}]}],
        "tools": [{"a": 1}]});
    let usage = &chat(&simulator, &request).json()["usage"];
    // Be, brief, the full stop; Hi, there; {" a ": 1 }
    assert_eq!(usage["prompt_tokens"], 3 + 2 + 5);
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 2);
    assert_eq!(usage["completion_tokens"], 2 + 5);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 5);
}

fn with_tools(model: &str, text: &str) -> Value {
    let parameters =
        json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}});
    let mut request = ask(model, text);
    request["tools"] = json!([
        {"type": "function", "function": {"name": "weather", "parameters": parameters}},
        {"type": "function", "function": {"name": "clock"}},
    ]);
    request
}

#[test]
fn tools_are_called() {
    let simulator = start();
    let call = |request: &Value| chat(&simulator, request).json()["choices"][0].clone();
    for (model, text, expected) in [
        ("m;tool=auto", "Oslo?", vec![("weather", r#"{"city":"text","days":1}"#)]),
        ("m;tool=weather", r#"{"city": "Oslo"}"#, vec![("weather", r#"{"city": "Oslo"}"#)]),
        ("m;tool=weather,clock", "?", vec![("weather", r#"{"city":"text","days":1}"#), ("clock", "{}")]),
        ("m;tool=not_offered", "?", vec![("not_offered", "{}")]),
    ] {
        let choice = call(&with_tools(model, text));
        assert_eq!(choice["finish_reason"], "tool_calls");
        assert_eq!(choice["message"]["content"], Value::Null);
        let calls = choice["message"]["tool_calls"].as_array().expect("calls").clone();
        let seen: Vec<_> = calls
            .iter()
            .map(|call| {
                assert_eq!(call["type"], "function");
                assert!(call["id"].as_str().is_some_and(|id| id.starts_with("call_")));
                (
                    call["function"]["name"].as_str().expect("a name"),
                    call["function"]["arguments"].as_str().expect("text"),
                )
            })
            .collect();
        assert_eq!(seen, expected);

        // The stream says the same, put together.
        let mut request = with_tools(model, text);
        request["stream"] = json!(true);
        let mut assembled: Vec<(String, String)> = Vec::new();
        for chunk in chat(&simulator, &request).chunks() {
            for part in chunk["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
                if part.get("id").is_some() {
                    assert_eq!(part["index"], assembled.len());
                    assembled
                        .push((part["function"]["name"].as_str().expect("a name").to_owned(), String::new()));
                }
                let arguments = part["function"]["arguments"].as_str().expect("text");
                assembled.last_mut().expect("a call").1.push_str(arguments);
            }
        }
        let assembled: Vec<_> =
            assembled.iter().map(|(name, arguments)| (name.as_str(), arguments.as_str())).collect();
        assert_eq!(assembled, expected);
    }
}

#[test]
fn tool_choice_is_honoured_and_results_are_answered() {
    let simulator = start();
    let mut request = with_tools("echo", "?");
    assert_eq!(chat(&simulator, &request).content(), "?");
    for (choice, name) in [
        (json!("required"), "weather"),
        (json!({"type": "function", "function": {"name": "clock"}}), "clock"),
    ] {
        request["tool_choice"] = choice;
        let reply = chat(&simulator, &request).json();
        assert_eq!(reply["choices"][0]["message"]["tool_calls"][0]["function"]["name"], name);
    }
    let mut parallel = with_tools("m;tool=weather,clock", "?");
    parallel["parallel_tool_calls"] = json!(false);
    let reply = chat(&simulator, &parallel).json();
    assert_eq!(reply["choices"][0]["message"]["tool_calls"].as_array().map(Vec::len), Some(1));

    let mut second = with_tools("m;tool=auto", "?");
    second["messages"]
        .as_array_mut()
        .expect("messages")
        .push(json!({"role": "tool", "tool_call_id": "x", "content": "12 degrees"}));
    assert_eq!(chat(&simulator, &second).content(), "The tool answered: 12 degrees");
    assert_eq!(chat(&simulator, &ask("m;tool=auto", "?")).status, 400);
}

#[test]
fn requests_are_reflected() {
    let simulator = start();
    let request = ask("m;reflect=body", "é \"quoted\"");
    assert_eq!(chat(&simulator, &request).content(), request.to_string());
    let mut limited = streamed("m;reflect=body", "x");
    limited["max_tokens"] = json!(1);
    assert_eq!(chat(&simulator, &limited).tokens().concat(), limited.to_string());
    let reply = chat_with(
        &simulator,
        "authorization: Bearer secret\r\nX-Twice: a\r\nx-twice: b\r\n",
        &ask("m;reflect=headers", ""),
    );
    let seen: Value = serde_json::from_str(&reply.content()).expect("JSON");
    assert_eq!((&seen["method"], &seen["target"]), (&json!("POST"), &json!("/v1/chat/completions")));
    let headers = seen["headers"].as_array().expect("headers");
    for expected in [["authorization", "Bearer secret"], ["x-twice", "a"], ["x-twice", "b"]] {
        assert!(headers.contains(&json!(expected)), "{headers:?}");
    }
}

#[test]
fn the_header_wins_over_the_model() {
    let simulator = start();
    let reply =
        chat_with(&simulator, "x-sim: tokens=2\r\nx-sim: usage=none\r\n", &ask("echo;tokens=9", "a b c"));
    assert_eq!(reply.content(), "a b");
    assert!(reply.json().get("usage").is_none());
}

#[test]
fn mistakes_are_errors_in_the_shape_of_openai() {
    let simulator = start();
    let error = |reply: client::Reply| (reply.status, reply.json()["error"].clone());
    for (status, code, param, reply) in [
        (400, Value::Null, Value::Null, post(&simulator, "/v1/chat/completions", "", b"{")),
        (
            400,
            Value::Null,
            json!("model"),
            post(&simulator, "/v1/chat/completions", "", br#"{"messages":[{}]}"#),
        ),
        (
            400,
            Value::Null,
            json!("messages"),
            post(&simulator, "/v1/chat/completions", "", br#"{"model":"m"}"#),
        ),
        (404, json!("model_not_found"), json!("model"), chat(&simulator, &ask("unknown", ""))),
        (400, json!("invalid_directive"), json!("model"), chat(&simulator, &ask("m;pcae=1ms", ""))),
        (
            400,
            json!("invalid_directive"),
            json!("x-sim"),
            chat_with(&simulator, "x-sim: pace\r\n", &ask("m", "")),
        ),
        (
            400,
            json!("invalid_directive"),
            json!("x-sim"),
            get(&simulator, "/v1/models", "x-sim: \u{e9}=1\r\n"),
        ),
        (404, json!("unknown_url"), Value::Null, get(&simulator, "/v1/nothing", "")),
        (405, json!("method_not_supported"), Value::Null, get(&simulator, "/v1/embeddings", "")),
    ] {
        let (seen, error) = error(reply);
        assert_eq!((seen, &error["code"], &error["param"]), (status, &code, &param), "{error}");
        assert_eq!(error["type"], "invalid_request_error");
    }
    assert!(get(&simulator, "/v1/embeddings", "").head.contains("allow: post"));
}

#[test]
fn models_are_listed() {
    let simulator = start();
    let listed = get(&simulator, "/v1/models", "").json();
    assert_eq!(listed["object"], "list");
    assert_eq!(
        listed["data"][0],
        json!({"id": "echo", "object": "model", "created": 1_735_689_600, "owned_by": "meseta-sim"})
    );
    assert_eq!(get(&simulator, "/v1/models/any", "").json()["id"], "any");
    assert_eq!(get(&simulator, "/v1/models/unknown", "").status, 404);
}
