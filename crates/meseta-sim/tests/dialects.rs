//! What holds in every dialect: the same words, the same faults, the same prefixes; and what tests may ask.

mod client;

use client::dialects::{DIALECTS, ask, request};
use client::{End, connect, get, play, post, receive, send, send_json, start};
use serde_json::{Value, json};

#[test]
fn every_dialect_fails_as_ordered() {
    let simulator = start();
    for dialect in DIALECTS {
        let ask = |model: &str, stream| ask(&simulator, dialect, model, "one two three", stream);
        for stream in [false, true] {
            let (first, second) = (ask("echo", stream), ask("echo", stream));
            assert_eq!((first.status, first.end), (200, End::Complete), "{dialect} {}", first.text());
            assert_eq!((first.head, first.body), (second.head, second.body), "{dialect}");
            let refused = ask("echo;status=503;retry-after=1;message=Busy", stream);
            assert_eq!(refused.status, 503, "{dialect}");
            assert!(refused.text().contains("Busy") && refused.head.contains("retry-after: 1"), "{dialect}");
            assert_eq!(ask("echo;cut=rst@1", stream).end, End::Reset, "{dialect}");
            assert_eq!(ask("echo;cut=fin@1", stream).end, End::Fin, "{dialect}");
            assert_eq!(ask("echo;cut=frame@1", stream).end, End::Fin, "{dialect}");
            assert!(serde_json::from_slice::<Value>(&ask("m;garbage=json", stream).body).is_err());
            assert!(ask("m;garbage=sse", stream).text().contains("not even a field"));
            assert_eq!(ask("m;garbage=http", stream).status, 0);
            assert_eq!(ask("m;auth=required", stream).status / 100, 4, "{dialect}");
            assert_eq!(ask("m;pcae=1ms", stream).status, 400, "{dialect}");
            assert_eq!(ask("unknown", stream).status, 404, "{dialect}");
            let silent = ask("echo;usage=none", stream);
            let text = String::from_utf8_lossy(&silent.body).to_lowercase();
            assert!(!text.contains("\"usage\":{") && !text.contains("usagemetadata"), "{dialect} {text}");
            let reflected = ask("m;reflect=headers", stream);
            assert!(reflected.status == 200 && !reflected.body.is_empty());
        }
        let failed = ask("echo;error=sse@1;message=Out of luck", false);
        assert_eq!(failed.status, 500, "{dialect}");
        assert!(failed.text().contains("Out of luck"), "{dialect}");
        for bytes in [0, 3, 40_000] {
            let reply = ask(&format!("m;body={bytes}"), false);
            assert_eq!(reply.status, 200);
            let text = reply.json().to_string();
            assert!(text.len() >= bytes && text.contains(&"sim ".repeat(bytes / 4)), "{dialect}");
            assert!(!text.contains("filler-"), "{dialect}");
            assert_eq!(ask(&format!("m;body={bytes}"), true).end, End::Complete);
        }
    }
}

#[test]
fn every_dialect_is_below_every_prefix() {
    let simulator = start();
    for dialect in DIALECTS {
        let (path, body) = request(dialect, "echo", "prefixed words", false);
        let bare = path.strip_prefix("/v1beta").or_else(|| path.strip_prefix("/v1")).unwrap_or(&path);
        for prefix in ["", "/v1", "/v1beta", "/openai/v1", "/v1/v1"] {
            let target = format!("{prefix}{bare}");
            let reply = send_json(&simulator, "POST", &target, "anthropic-version: 1\r\n", &body);
            assert!(
                reply.status == 200 && reply.text().contains("prefixed words"),
                "{target}: {}",
                reply.text()
            );
        }
    }
    let (path, body) = request("azure", "echo", "x", false);
    let unversioned = send_json(&simulator, "POST", path.split('?').next().expect("a path"), "", &body);
    assert_eq!(unversioned.status, 404);
}

#[test]
fn no_body_stops_any_dialect() {
    let simulator = start();
    let deep = "[".repeat(100_000);
    for dialect in DIALECTS {
        let (path, body) = request(dialect, "echo", "x", true);
        let mut bodies: Vec<Vec<u8>> =
            ["", "{", "[]", "null", "5", "{}", &deep].iter().map(|text| text.as_bytes().to_vec()).collect();
        // Every value of a good request, replaced by one of another type.
        for wrong in [json!(null), json!(-1.5), json!("\u{0}"), json!([[]]), json!({"": {}})] {
            for key in body.as_object().expect("an object").keys() {
                let mut changed = body.clone();
                changed[key] = wrong.clone();
                bodies.push(changed.to_string().into_bytes());
            }
        }
        for body in bodies {
            let reply = post(&simulator, &path, "anthropic-version: 1\r\n", &body);
            assert!([200, 400].contains(&reply.status), "{dialect} {}", reply.text());
        }
    }
    assert_eq!(ask(&simulator, "chat", "echo", "alive", false).content(), "alive");
}

#[test]
fn one_rule_has_the_same_end_in_the_words_of_each() {
    let ends = [
        ("stop", ["stop", "completed", "end_turn", "STOP", "end_turn"]),
        ("length", ["length", "incomplete", "max_tokens", "MAX_TOKENS", "max_tokens"]),
        ("content_filter", ["content_filter", "incomplete", "refusal", "SAFETY", "content_filtered"]),
        ("stop_sequence", ["stop", "completed", "stop_sequence", "STOP", "stop_sequence"]),
        ("tool_calls", ["tool_calls", "completed", "tool_use", "STOP", "tool_use"]),
        ("refusal", ["stop", "completed", "refusal", "SAFETY", "content_filtered"]),
    ];
    let simulator = start();
    for (finish, expected) in ends {
        simulator
            .set_script(&json!([{"reply": {"text": "x", "finish": finish}}]).to_string())
            .expect("valid");
        let seen = ["chat", "responses", "messages", "gemini", "bedrock"].map(|dialect| {
            let answer = ask(&simulator, dialect, "m", "a", false).json();
            let places = [
                "/choices/0/finish_reason",
                "/status",
                "/stop_reason",
                "/candidates/0/finishReason",
                "/stopReason",
            ];
            let found = places.iter().find_map(|place| answer.pointer(place)).and_then(Value::as_str);
            found.expect("an end").to_owned()
        });
        assert_eq!(seen, expected.map(str::to_owned), "{finish}");
    }
}

#[test]
fn chat_says_blocks_and_logprobs() {
    let simulator = play(&json!([{"reply": {"logprobs": true, "content": [
        {"thinking": "Hm."}, {"text": "a b"}, {"tool": "t", "arguments": {"x": 1}, "id": "call_x"}]}}]));
    let choice = ask(&simulator, "chat", "m", "?", false).json()["choices"][0].clone();
    assert_eq!(choice["message"]["reasoning_content"], "Hm.");
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!("a b"), &json!("tool_calls"))
    );
    assert_eq!(choice["message"]["tool_calls"][0]["id"], "call_x");
    let entry = json!({"token": " b", "logprob": -0.25, "bytes": [32, 98], "top_logprobs": []});
    assert_eq!(choice["logprobs"]["content"][1], entry);
    let reply = ask(&simulator, "chat", "m", "?", true);
    let told = |key: &str| -> String {
        let chunks = reply.chunks();
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"][key].as_str()).collect()
    };
    assert_eq!((told("reasoning_content").as_str(), told("content").as_str()), ("Hm.", "a b"));
    let probable = reply.chunks().into_iter().filter(|chunk| !chunk["choices"][0]["logprobs"].is_null());
    assert_eq!(probable.count(), 2);
}

#[test]
fn requests_are_recorded_once_somebody_asked() {
    let simulator = start();
    ask(&simulator, "chat", "echo", "early", false);
    assert_eq!(get(&simulator, "/sim/requests", "").json(), json!([]));
    let secret =
        "authorization: Bearer secret\r\nx-api-key: secret\r\nx-goog-api-key: secret\r\napi-key: secret\r\n";
    let (path, body) = request("gemini", "echo", "late", true);
    send_json(&simulator, "POST", &format!("{path}&key=secret"), secret, &body);
    get(&simulator, "/v1/nothing", "");
    let seen = get(&simulator, "/sim/requests", "").json();
    assert_eq!(seen.as_array().map(Vec::len), Some(2));
    assert_eq!(seen[0]["path"], format!("{path}&key=***"));
    assert_eq!((&seen[0]["method"], &seen[0]["body"]), (&json!("POST"), &json!(body.to_string())));
    assert!(!seen.to_string().contains("secret"), "{seen}");
    assert_eq!(seen[1]["path"], "/v1/nothing");
    assert_eq!(simulator.requests().len(), 2);
    assert_eq!(send_json(&simulator, "DELETE", "/sim/requests", "", &json!({})).status, 200);
    assert_eq!(simulator.requests(), []);
    simulator.clear_requests();
    assert_eq!(simulator.stats().requests, 3);
}

#[test]
fn a_script_is_replaced_while_it_plays() {
    let simulator = play(&json!([{"reply": {"text": "one"}}]));
    assert_eq!(ask(&simulator, "chat", "m", "a", false).content(), "one");
    let script = json!([{"reply": {"text": "two"}}, {"reply": {"text": "three"}}]);
    assert_eq!(send_json(&simulator, "PUT", "/sim/script", "", &script).json(), json!({"rules": 2}));
    assert_eq!(get(&simulator, "/sim/script", "").json(), script);
    let mut socket = connect(&simulator);
    let (path, body) = request("chat", "m", "a", false);
    send(&mut socket, &path, "", body.to_string().as_bytes());
    assert_eq!(receive(&mut socket).content(), "two");
    let refused = send_json(&simulator, "PUT", "/sim/script", "", &json!([{}]));
    assert!(refused.status == 400 && refused.message().contains("`reply`"));
    assert_eq!(ask(&simulator, "chat", "m", "a", false).content(), "two");
    assert_eq!(send_json(&simulator, "POST", "/sim/script", "", &script).status, 405);
    assert_eq!(get(&simulator, "/sim/nothing", "").status, 404);
}
