//! Why a provider fails, said as each provider says it, and faults that come and go while the simulator runs.

mod client;

use client::dialects::{DIALECTS, ask, request};
use client::{
    End, chat, chat_with, connect, get, leave, play, post, receive, receive_until, send, send_json, start,
};
use client::{streamed, until};
use meseta_sim::End as Ended;
use serde_json::{Value, json};

#[test]
fn a_refusal_is_in_the_words_of_its_provider() {
    let simulator = start();
    let cases = [
        ("chat", "context", 400, "maximum context length"),
        ("responses", "policy", 400, "rejected as a result of our safety system"),
        ("azure", "quota", 429, "exceeded your current quota"),
        ("chat", "key", 401, "Incorrect API key"),
        ("chat", "overloaded", 503, "overloaded"),
        ("messages", "context", 400, "prompt is too long"),
        ("messages", "policy", 400, "Output blocked"),
        ("messages", "quota", 400, "credit balance is too low"),
        ("messages", "key", 401, "invalid x-api-key"),
        ("messages", "overloaded", 529, "Overloaded"),
        ("gemini", "context", 400, "exceeds the maximum number of tokens"),
        ("array", "quota", 429, "QuotaFailure"),
        ("gemini", "key", 400, "API_KEY_INVALID"),
        ("gemini", "overloaded", 503, "UNAVAILABLE"),
        ("bedrock", "context", 400, "Input is too long"),
        ("bedrock", "policy", 400, "Output blocked"),
        ("bedrock", "quota", 429, "Too many tokens"),
        ("bedrock", "key", 403, "API Key"),
        ("bedrock", "overloaded", 503, "unable to process"),
    ];
    for (dialect, cause, status, words) in cases {
        for stream in [false, true] {
            let reply = ask(&simulator, dialect, &format!("echo;refuse={cause}"), "one", stream);
            assert_eq!((reply.status, reply.end), (status, End::Complete), "{dialect} {cause}");
            assert!(reply.text().contains(words), "{dialect} {cause}: {}", reply.text());
            // In a stream that has begun, the same words are in the error's event.
            if stream {
                let broken =
                    ask(&simulator, dialect, &format!("echo;refuse={cause};error=sse@1"), "one two", stream);
                assert_eq!(broken.status, 200);
                let text = String::from_utf8_lossy(&broken.body);
                assert!(text.contains(words) && text.contains("one"), "{dialect} {cause}: {text}");
            }
        }
    }
}

#[test]
fn google_answers_a_prompt_that_it_does_not_allow() {
    let simulator = start();
    for (dialect, stream, open, close) in
        [("gemini", false, "{", "}"), ("gemini", true, "data: {", "\r\n\r\n"), ("array", true, "[{", "}]")]
    {
        let reply = ask(&simulator, dialect, "echo;refuse=policy", "one", stream);
        let text = reply.text();
        assert_eq!(reply.status, 200);
        assert!(text.starts_with(open) && text.ends_with(close), "{text}");
        assert!(text.contains("PROHIBITED_CONTENT") && !text.contains("candidates\":"), "{text}");
    }
}

#[test]
fn limits_are_in_the_headers_of_their_provider() {
    let simulator = start();
    let limit = "limit=requests:7/90s,tokens:0/1.5s";
    for directives in [limit.to_owned(), format!("{limit};status=429;retry-after=2")] {
        let model = format!("echo;{directives}");
        for stream in [false, true] {
            let reply = ask(&simulator, "chat", &model, "a", stream);
            for line in [
                "x-ratelimit-limit-requests: 1000",
                "x-ratelimit-remaining-requests: 7",
                "x-ratelimit-reset-requests: 1m30s",
                "x-ratelimit-remaining-tokens: 0",
                "x-ratelimit-reset-tokens: 1.5s",
            ] {
                assert!(reply.head.contains(line), "{line}: {}", reply.head);
            }
            let reply = ask(&simulator, "messages", &model, "a", stream);
            assert!(reply.head.contains("anthropic-ratelimit-requests-remaining: 7"), "{}", reply.head);
            assert!(reply.head.contains("anthropic-ratelimit-tokens-reset: 2"), "{}", reply.head);
            for dialect in ["gemini", "bedrock"] {
                assert!(!ask(&simulator, dialect, &model, "a", stream).head.contains("ratelimit"));
            }
        }
    }
    let refused = ask(&simulator, "gemini", "m;status=429;retry-after=34", "a", false);
    assert_eq!(refused.json()["error"]["details"][0]["retryDelay"], "34s");
}

/// What a stream says before its first token.
#[test]
fn the_preamble_is_a_place_of_its_own() {
    let simulator = start();
    for (dialect, there) in [
        ("chat", "\"role\":\"assistant\""),
        ("responses", "response.content_part.added"),
        ("messages", "content_block_start"),
        ("bedrock", "messageStart"),
        ("gemini", ""),
    ] {
        let told = |directives: &str| {
            let reply = ask(&simulator, dialect, &format!("echo;{directives}"), "Halibut!", true);
            (reply.end, String::from_utf8_lossy(&reply.body).into_owned())
        };
        let (end, text) = told("cut=fin@preamble");
        assert_eq!(end, End::Fin, "{dialect}");
        assert!(text.contains(there) && !text.contains("Halibut"), "{dialect}: {text}");
        assert_eq!(text.is_empty(), there.is_empty(), "{dialect}: {text}");
        let (end, text) = told("error=sse@preamble;message=Out of luck");
        assert_eq!(end, End::Complete, "{dialect}");
        assert!(text.contains("Out of luck") && !text.contains("Halibut"), "{dialect}: {text}");
        let (first, text) = (told("error=sse;message=Out of luck").1, told("preamble_then=2ms").1);
        assert!(first.contains("Out of luck") && (there.is_empty() || !first.contains(there)), "{first}");
        for word in ["Halibut", "!"] {
            assert!(text.contains(word), "{dialect}: {text}");
        }
    }
    // The events are numbered as if nothing had been looked at ahead.
    let broken = ask(&simulator, "responses", "echo;error=sse@preamble", "a", true);
    let numbers = broken.named().into_iter().map(|(_, data)| data["sequence_number"].as_u64());
    assert!(numbers.zip(0..).all(|(number, expected)| number == Some(expected)), "{}", broken.text());
}

#[test]
fn a_stall_after_the_preamble_lasts() {
    let simulator = start();
    let mut socket = connect(&simulator);
    let request = streamed("echo;stall=preamble", "1 2 3").to_string();
    send(&mut socket, "/v1/chat/completions", "", request.as_bytes());
    let reply = receive_until(&mut socket, |body| body.ends_with(b"\n\n"));
    assert_eq!((reply.end, reply.tokens().len(), reply.chunks().len()), (End::Silence, 0, 1));
    leave(&socket);
    until(&simulator, |stats| stats.in_flight == 0);
}

#[test]
fn a_connection_is_dropped_before_the_head() {
    let simulator = start();
    for (kind, end) in [("fin", End::Fin), ("rst", End::Reset)] {
        for dialect in DIALECTS {
            for stream in [false, true] {
                let reply = ask(&simulator, dialect, &format!("echo;drop={kind}"), "a", stream);
                assert_eq!((reply.status, reply.end, reply.body.len()), (0, end, 0), "{dialect}");
            }
        }
    }
    assert_eq!(simulator.stats().aborted, 0);
}

/// Arguments of a call are tokens as the words of a text are.
#[test]
fn a_stream_breaks_inside_a_tool_call() {
    let script =
        json!([{"reply": {"tool_calls": [{"name": "w", "arguments": {"city": "Oslo", "days": 3}}]}}]);
    let simulator = play(&script);
    for (dialect, part) in [
        ("chat", r#""arguments":"city"#),
        ("responses", r#""delta":"city"#),
        ("messages", r#""partial_json":"city"#),
        ("bedrock", r#""input":"city"#),
    ] {
        for directive in ["cut=fin@3", "error=sse@3"] {
            let reply = ask(&simulator, dialect, &format!("m;{directive}"), "a", true);
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            // One token for the name, one for the brace and the quotation mark, one for the key.
            assert!(text.contains(part) && !text.contains("Oslo"), "{dialect} {directive}: {text}");
        }
    }
}

fn continued(dialect: &str, model: &str, said: &str, ask_on: bool) -> Value {
    let turns = [("user", "one two three four five six seven"), ("assistant", said), ("user", "Go on.")];
    let turns = &turns[..if ask_on { 3 } else { 2 }];
    let plain: Vec<Value> = turns.iter().map(|(role, text)| json!({"role": role, "content": text})).collect();
    let parts = |assistant: &str| -> Vec<Value> {
        let role = |role: &str| if role == "assistant" { assistant.to_owned() } else { role.to_owned() };
        turns.iter().map(|(who, text)| json!({"role": role(who), "parts": [{"text": text}]})).collect()
    };
    match dialect {
        "chat" => json!({"model": model, "messages": plain}),
        "responses" => json!({"model": model, "input": plain}),
        "messages" => json!({"model": model, "max_tokens": 100, "messages": plain}),
        "gemini" => json!({"contents": parts("model")}),
        _ => {
            let messages: Vec<Value> =
                turns.iter().map(|(role, text)| json!({"role": role, "content": [{"text": text}]})).collect();
            json!({"messages": messages})
        }
    }
}

#[test]
fn an_answer_that_has_begun_is_gone_on_with() {
    let simulator = start();
    let begun = "one two three four five";
    for dialect in ["chat", "responses", "messages", "gemini", "bedrock"] {
        for (mode, expected) in [
            ("rest", " six seven"),
            ("overlap", " two three four five six seven"),
            ("restart", "one two three four five six seven"),
            (
                "fresh",
                "Something else: A meseta is a high plain. This is the simulated model echo, and it always says the same.",
            ),
        ] {
            for ask_on in [true, false] {
                let (path, _) = request(dialect, "echo", "", false);
                let headers = format!("anthropic-version: 2023-06-01\r\nx-sim: continue={mode}\r\n");
                let body = continued(dialect, "echo", begun, ask_on);
                let reply = send_json(&simulator, "POST", &path, &headers, &body);
                assert_eq!(reply.status, 200, "{}", reply.text());
                let said = format!("\"{expected}\"");
                assert!(reply.text().contains(&said), "{dialect} {mode} {ask_on}: {}", reply.text());
            }
        }
        // What is no beginning of the answer is a turn like any other, and so is one without the directive.
        let (path, _) = request(dialect, "echo", "", false);
        let version = "anthropic-version: 2023-06-01\r\n";
        let reply = send_json(&simulator, "POST", &path, version, &continued(dialect, "echo", begun, true));
        assert!(reply.text().contains("\"Go on.\""), "{}", reply.text());
        let refuse = format!("{version}x-sim: continue=refuse\r\n");
        let reply = send_json(&simulator, "POST", &path, &refuse, &continued(dialect, "echo", begun, false));
        assert_eq!(reply.status, 400, "{dialect}");
        let reply = send_json(&simulator, "POST", &path, &refuse, &continued(dialect, "echo", begun, true));
        assert_eq!(reply.status, 200, "{dialect}");
    }
    let reply = post(
        &simulator,
        "/v1/messages",
        "anthropic-version: 2023-06-01\r\n",
        continued("messages", "echo", "one two ", false).to_string().as_bytes(),
    );
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("trailing whitespace"), "{}", reply.text());
}

#[test]
fn a_rule_may_be_for_one_key() {
    let simulator = play(&json!([{"when": {"key": "worn"}, "reply": {"directives": "status=429"}}]));
    for (headers, status) in [
        ("authorization: Bearer worn\r\n", 429),
        ("api-key: worn\r\n", 429),
        ("authorization: Bearer fresh\r\n", 200),
        ("", 200),
    ] {
        assert_eq!(chat_with(&simulator, headers, &client::ask("echo", "a")).status, status, "{headers}");
    }
    let (path, body) = request("gemini", "echo", "a", false);
    assert_eq!(send_json(&simulator, "POST", &format!("{path}?key=worn"), "", &body).status, 429);
}

#[test]
fn faults_come_and_go_while_it_runs() {
    let simulator = start();
    let none = json!({"directives": "", "share": 0.0});
    assert_eq!(get(&simulator, "/sim/faults", "").json(), none);
    let half = json!({"directives": "status=503", "share": 0.5});
    assert_eq!(send_json(&simulator, "PUT", "/sim/faults", "", &half).json(), half);
    let mut socket = connect(&simulator);
    let mut statuses = Vec::new();
    for _ in 0..6 {
        send(&mut socket, "/v1/chat/completions", "", client::ask("echo", "a").to_string().as_bytes());
        statuses.push(receive(&mut socket).status);
    }
    assert_eq!(statuses, [200, 503, 200, 503, 200, 503]);
    // The header knows better than the faults.
    simulator.set_faults(r#"{"directives": "status=503"}"#).expect("valid");
    let reply = chat_with(&simulator, "x-sim: status=418\r\n", &client::ask("echo", "a"));
    assert_eq!(reply.status, 418);
    assert_eq!(get(&simulator, "/v1/models", "").status, 503);
    let refused = send_json(&simulator, "PUT", "/sim/faults", "", &json!({"directives": "sttaus=1"}));
    assert!(refused.status == 400 && refused.message().contains("sttaus"));
    assert_eq!(send_json(&simulator, "DELETE", "/sim/faults", "", &json!({})).json(), none);
    assert_eq!(chat(&simulator, &client::ask("echo", "a")).status, 200);
    assert_eq!(send_json(&simulator, "POST", "/sim/faults", "", &half).status, 405);
}

#[test]
fn what_came_of_each_request_is_recorded() {
    let simulator = start();
    simulator.clear_requests();
    chat_with(&simulator, "idempotency-key: abc\r\n", &client::ask("echo;cached=1", "1 2 3"));
    chat(&simulator, &streamed("echo", "1 2 3 4"));
    chat(&simulator, &streamed("echo;cut=fin@2", "1 2 3"));
    chat(&simulator, &streamed("echo;error=sse@1", "1 2 3"));
    chat(&simulator, &client::ask("m;status=503", ""));
    chat(&simulator, &client::ask("m;garbage=json", ""));
    chat(&simulator, &client::ask("m;drop=rst", ""));
    chat(&simulator, &client::ask("echo;cut=fin@9", "1 2 3"));
    let mut socket = connect(&simulator);
    send(&mut socket, "/v1/chat/completions", "", streamed("echo;stall=1", "1 2").to_string().as_bytes());
    receive_until(&mut socket, |body| body.ends_with(b"\n\n"));
    assert_eq!(simulator.requests().last().map(|last| last.end), Some(Ended::Open));
    leave(&socket);
    until(&simulator, |stats| stats.in_flight == 0);
    let seen = simulator.requests();
    let course: Vec<_> = seen
        .iter()
        .map(|request| (request.model.as_str(), request.status, request.end, request.tokens))
        .collect();
    assert_eq!(
        course,
        [
            ("echo", 200, Ended::Complete, 3),
            ("echo", 200, Ended::Complete, 4),
            ("echo", 200, Ended::Broken, 2),
            ("echo", 200, Ended::Broken, 1),
            ("m", 503, Ended::Complete, 0),
            ("m", 200, Ended::Broken, 0),
            ("m", 0, Ended::Broken, 0),
            ("echo", 200, Ended::Broken, 0),
            ("echo", 200, Ended::Cancelled, 1),
        ]
    );
    assert_eq!(seen[0].idempotency_key.as_deref(), Some("abc"));
    let shown = get(&simulator, "/sim/requests", "").json();
    assert_eq!((&shown[2]["end"], &shown[2]["tokens"]), (&json!("broken"), &json!(2)));
    assert_eq!(send_json(&simulator, "DELETE", "/sim/requests?keep=2", "", &json!({})).status, 200);
    for text in ["1", "2", "3"] {
        chat(&simulator, &client::ask("echo", text));
    }
    assert_eq!(simulator.requests().len(), 2);
    assert_eq!(send_json(&simulator, "DELETE", "/sim/requests?keep=many", "", &json!({})).status, 400);
}
