//! Agents that know only one form of an answer: the client gets the form that it asked for.

use serde_json::{Value as Json, json};

use crate::street::{Street, orchestration};
use crate::support::http1::Reply;
use crate::support::provider::json as document;

/// An API of clients: its path and its dialect.
const CLIENTS: [(&str, &str); 3] = [
    ("/v1/chat/completions", "openai_chat"),
    ("/v1/responses", "openai_responses"),
    ("/v1/messages", "anthropic_messages"),
];

fn request(path: &str, stream: bool) -> Json {
    let turns = json!([{"role": "user", "content": "Will it rain?"}]);
    match path {
        "/v1/responses" => json!({"model": "m", "input": turns, "stream": stream, "temperature": 0.5}),
        "/v1/messages" => json!({"model": "m", "max_tokens": 99, "messages": turns, "stream": stream}),
        _ => json!({"model": "m", "messages": turns, "stream": stream,
                    "stream_options": {"include_usage": true}}),
    }
}

/// Words and a call of a tool, whole.
fn whole(dialect: &str) -> Json {
    match dialect {
        "openai_chat" => {
            json!({"id": "chatcmpl-7", "object": "chat.completion", "created": 1, "model": "own", "choices": [{
            "index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": "Let me look.",
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{\"at\":\"Oslo\"}"}}]}}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}})
        }
        "openai_responses" => {
            json!({"id": "resp_7", "object": "response", "created_at": 1, "model": "own", "status": "completed",
            "output": [
                {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                 "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}]},
                {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "status": "completed",
                 "arguments": "{\"at\":\"Oslo\"}"}],
            "usage": {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}})
        }
        _ => {
            json!({"id": "msg_7", "type": "message", "role": "assistant", "model": "own", "stop_reason": "tool_use",
            "content": [{"type": "text", "text": "Let me look."},
                        {"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": "Oslo"}}],
            "usage": {"input_tokens": 7, "output_tokens": 5}})
        }
    }
}

/// The same, event by event.
fn events(dialect: &str) -> Vec<Json> {
    let chunk = |choices: Json| json!({"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1, "model": "own", "choices": choices});
    let piece =
        |delta: Json, reason: Json| chunk(json!([{"index": 0, "delta": delta, "finish_reason": reason}]));
    match dialect {
        "openai_chat" => {
            let mut usage = chunk(json!([]));
            usage["usage"] = whole(dialect)["usage"].clone();
            vec![
                piece(json!({"role": "assistant", "content": "Let me "}), Json::Null),
                piece(json!({"content": "look."}), Json::Null),
                piece(
                    json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
                    "function": {"name": "look", "arguments": "{\"at\":"}}]}),
                    Json::Null,
                ),
                piece(
                    json!({"tool_calls": [{"index": 0, "function": {"arguments": "\"Oslo\"}"}}]}),
                    Json::Null,
                ),
                piece(json!({}), json!("tool_calls")),
                usage,
            ]
        }
        "openai_responses" => {
            let response = whole(dialect);
            let mut begun = response.clone();
            (begun["output"], begun["status"], begun["usage"]) =
                (json!([]), json!("in_progress"), Json::Null);
            let (message, call) = (response["output"][0].clone(), response["output"][1].clone());
            let mut opened = message.clone();
            opened["content"] = json!([]);
            let mut called = call.clone();
            called["arguments"] = json!("");
            vec![
                json!({"type": "response.created", "response": begun}),
                json!({"type": "response.output_item.added", "output_index": 0, "item": opened}),
                json!({"type": "response.content_part.added", "output_index": 0, "content_index": 0, "item_id": "msg_1",
                       "part": {"type": "output_text", "text": "", "annotations": []}}),
                json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "item_id": "msg_1", "delta": "Let me look."}),
                json!({"type": "response.output_text.done", "output_index": 0, "content_index": 0, "item_id": "msg_1", "text": "Let me look."}),
                json!({"type": "response.output_item.done", "output_index": 0, "item": message}),
                json!({"type": "response.output_item.added", "output_index": 1, "item": called}),
                json!({"type": "response.function_call_arguments.delta", "output_index": 1, "item_id": "fc_1", "delta": "{\"at\":\"Oslo\"}"}),
                json!({"type": "response.function_call_arguments.done", "output_index": 1, "item_id": "fc_1", "arguments": "{\"at\":\"Oslo\"}"}),
                json!({"type": "response.output_item.done", "output_index": 1, "item": call}),
                json!({"type": "response.completed", "response": response}),
            ]
        }
        _ => {
            let mut begun = whole(dialect);
            (begun["content"], begun["stop_reason"]) = (json!([]), Json::Null);
            begun["usage"] = json!({"input_tokens": 7, "output_tokens": 1});
            vec![
                json!({"type": "message_start", "message": begun}),
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Let me look."}}),
                json!({"type": "content_block_stop", "index": 0}),
                json!({"type": "content_block_start", "index": 1,
                       "content_block": {"type": "tool_use", "id": "call_1", "name": "look", "input": {}}}),
                json!({"type": "content_block_delta", "index": 1,
                       "delta": {"type": "input_json_delta", "partial_json": "{\"at\":\"Oslo\"}"}}),
                json!({"type": "content_block_stop", "index": 1}),
                json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null},
                       "usage": {"output_tokens": 5}}),
                json!({"type": "message_stop"}),
            ]
        }
    }
}

fn stream(dialect: &str, events: &[Json]) -> String {
    let mut body = String::new();
    for event in events {
        if let Some(name) = event["type"].as_str().filter(|_| dialect != "openai_chat") {
            body.push_str(&format!("event: {name}\n"));
        }
        body.push_str(&format!("data: {event}\n\n"));
    }
    if dialect == "openai_chat" && events.last().is_some_and(|last| last["usage"].is_object()) {
        body.push_str("data: [DONE]\n\n");
    }
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-own: 1\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// An agent that speaks this dialect and no other.
fn street(dialect: &str) -> Street {
    Street::of("chain", &["weather"], |document| {
        let targets = document["targets"].as_array_mut().expect("targets");
        let paths = targets[0]["paths"].clone();
        for target in targets {
            if target["name"] == "agent/weather/1" {
                (target["dialects"], target["paths"]) = (json!([dialect]), paths.clone());
            }
        }
        orchestration(document)["history"] = json!({"mode": "pass", "messages": 0, "tokens": 0});
    })
}

/// What a client reads of an answer: words, calls, why it ended, and the tokens.
#[derive(Debug, PartialEq)]
struct Read {
    words: String,
    calls: Vec<(String, String, Json)>,
    finish: String,
    tokens: (u64, u64),
}

fn expected(path: &str) -> Read {
    let finish = match path {
        "/v1/chat/completions" => "tool_calls",
        "/v1/responses" => "completed",
        _ => "tool_use",
    };
    Read {
        words: "Let me look.".to_owned(),
        calls: vec![("call_1".to_owned(), "look".to_owned(), json!({"at": "Oslo"}))],
        finish: finish.to_owned(),
        tokens: (7, 5),
    }
}

fn text(json: &Json) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

fn call(id: &Json, name: &Json, arguments: &str) -> (String, String, Json) {
    (text(id), text(name), serde_json::from_str(arguments).expect("JSON"))
}

fn read_whole(path: &str, answer: &Json) -> Read {
    let tokens = |input: &str, output: &str| {
        (
            answer["usage"][input].as_u64().expect("a count"),
            answer["usage"][output].as_u64().expect("a count"),
        )
    };
    match path {
        "/v1/chat/completions" => {
            let choice = &answer["choices"][0];
            let calls = choice["message"]["tool_calls"].as_array().expect("calls");
            Read {
                words: text(&choice["message"]["content"]),
                calls: calls
                    .iter()
                    .map(|one| {
                        call(&one["id"], &one["function"]["name"], &text(&one["function"]["arguments"]))
                    })
                    .collect(),
                finish: text(&choice["finish_reason"]),
                tokens: tokens("prompt_tokens", "completion_tokens"),
            }
        }
        "/v1/responses" => {
            let output = answer["output"].as_array().expect("output");
            let of = |kind: &str| output.iter().filter(|item| item["type"] == kind).collect::<Vec<_>>();
            Read {
                words: of("message").iter().map(|item| text(&item["content"][0]["text"])).collect(),
                calls: of("function_call")
                    .iter()
                    .map(|item| call(&item["call_id"], &item["name"], &text(&item["arguments"])))
                    .collect(),
                finish: text(&answer["status"]),
                tokens: tokens("input_tokens", "output_tokens"),
            }
        }
        _ => {
            let content = answer["content"].as_array().expect("content");
            let of = |kind: &str| content.iter().filter(|block| block["type"] == kind).collect::<Vec<_>>();
            Read {
                words: of("text").iter().map(|block| text(&block["text"])).collect(),
                calls: of("tool_use")
                    .iter()
                    .map(|block| call(&block["id"], &block["name"], &block["input"].to_string()))
                    .collect(),
                finish: text(&answer["stop_reason"]),
                tokens: tokens("input_tokens", "output_tokens"),
            }
        }
    }
}

/// What an SDK puts together from events.
fn read_stream(path: &str, body: &str) -> Read {
    let data: Vec<&str> = body.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let events: Vec<Json> = data.iter().filter_map(|data| serde_json::from_str(data).ok()).collect();
    match path {
        "/v1/chat/completions" => {
            assert_eq!(data.last(), Some(&"[DONE]"), "{body}");
            let mut message =
                json!({"content": "", "tool_calls": [{"id": "", "function": {"name": "", "arguments": ""}}]});
            let (mut finish, mut usage) = (Json::Null, Json::Null);
            let mut join = |place: &str, piece: &Json| {
                let slot = message.pointer_mut(place).expect("a place");
                *slot = json!(text(slot) + &text(piece));
            };
            for event in &events {
                let choice = &event["choices"][0];
                join("/content", &choice["delta"]["content"]);
                let called = &choice["delta"]["tool_calls"][0];
                join("/tool_calls/0/id", &called["id"]);
                join("/tool_calls/0/function/name", &called["function"]["name"]);
                join("/tool_calls/0/function/arguments", &called["function"]["arguments"]);
                if choice["finish_reason"].is_string() {
                    finish = choice["finish_reason"].clone();
                }
                if event["usage"].is_object() {
                    usage = event["usage"].clone();
                }
            }
            read_whole(
                path,
                &json!({"choices": [{"message": message, "finish_reason": finish}], "usage": usage}),
            )
        }
        "/v1/responses" => {
            let last = events.last().expect("events");
            assert_eq!(last["type"], "response.completed", "{body}");
            let words: String = events
                .iter()
                .filter(|event| event["type"] == "response.output_text.delta")
                .map(|event| text(&event["delta"]))
                .collect();
            let read = read_whole(path, &last["response"]);
            assert_eq!(words, read.words);
            read
        }
        _ => {
            assert_eq!(events.last().expect("events")["type"], "message_stop", "{body}");
            let (mut content, mut finish, mut usage) = (Vec::new(), Json::Null, json!({}));
            let mut inputs = String::new();
            for event in &events {
                match event["type"].as_str().expect("a type") {
                    "message_start" => usage = event["message"]["usage"].clone(),
                    "content_block_start" => content.push(event["content_block"].clone()),
                    "content_block_delta" => {
                        let block = content.last_mut().expect("a block");
                        inputs.push_str(&text(&event["delta"]["partial_json"]));
                        if block["type"] == "text" {
                            block["text"] = json!(text(&block["text"]) + &text(&event["delta"]["text"]));
                        } else {
                            block["input"] = serde_json::from_str(&inputs).unwrap_or_default();
                        }
                    }
                    "message_delta" => {
                        finish = event["delta"]["stop_reason"].clone();
                        for (key, count) in event["usage"].as_object().expect("counts") {
                            usage[key] = count.clone();
                        }
                    }
                    _ => {}
                }
            }
            read_whole(path, &json!({"content": content, "stop_reason": finish, "usage": usage}))
        }
    }
}

fn read(path: &str, streamed: bool, reply: &Reply) -> Read {
    let kind = reply.header("content-type").unwrap_or_default();
    assert_eq!((reply.status, kind.starts_with("text/event-stream")), (200, streamed), "{}", reply.text());
    if streamed { read_stream(path, &reply.text()) } else { read_whole(path, &reply.json()) }
}

#[test]
fn the_client_gets_the_form_that_it_asked_for_whatever_the_agent_knows() {
    for (_, dialect) in CLIENTS {
        let street = street(dialect);
        for streams in [false, true] {
            let said = if streams {
                stream(dialect, &events(dialect))
            } else {
                document("200 OK", "x-own: 1\r\n", &whole(dialect).to_string())
            };
            let sent = said.split_once("\r\n\r\n").expect("a body").1.to_owned();
            street.agent("weather").answer(move |_| said.clone());
            for (path, own) in CLIENTS {
                for asked in [false, true] {
                    let reply = street.post(path, "", &request(path, asked));
                    assert_eq!(
                        read(path, asked, &reply),
                        expected(path),
                        "{dialect} {streams} to {own} {asked}"
                    );
                    if own == dialect {
                        assert_eq!(reply.header("x-own"), Some("1"));
                        // The agent's own form passes as it is.
                        if asked == streams {
                            assert_eq!(reply.text(), sent);
                        } else {
                            assert!(
                                reply.text().contains("7\"") && reply.text().contains("\"own\""),
                                "{}",
                                reply.text()
                            );
                        }
                    }
                }
            }
        }
        let rows = street.rows(
            "SELECT r.stream, a.status, a.code, a.input_tokens, a.output_tokens, a.first_byte_us IS NOT NULL, a.response_bytes > 0, r.code, \
             r.status FROM attempts a JOIN requests r ON a.request_id = r.id",
        );
        assert_eq!(rows.len(), 12);
        for row in rows {
            assert_eq!(row[2..], *"200 - 7 5 1 1 - 200", "{dialect}: {row}");
        }
    }
}

/// What is sent in no form at all; a client that got it would go on with nothing.
#[test]
fn what_is_no_answer_is_the_agents_failure() {
    for (path, dialect) in CLIENTS {
        let street = street(dialect);
        for said in [r#"{"answer":"hello"}"#, r#"{"choices":[],"output":null,"content":"hello"}"#, "[]"] {
            street.agent("weather").answer(move |_| document("200 OK", "", said));
            for asked in [false, true] {
                let reply = street.post(path, "", &request(path, asked));
                assert_eq!(reply.status, 502, "{dialect} {asked} {said}: {}", reply.text());
                let text = reply.text();
                assert!(text.contains("agent/weather/1: the agent answered 200 OK"), "{text}");
            }
        }
        assert_eq!(street.rows("SELECT DISTINCT code FROM attempts"), ["upstream.invalid_answer"]);
    }
}

#[test]
fn a_stream_that_breaks_or_fails_is_no_whole_answer() {
    for (path, dialect) in CLIENTS {
        let street = street(dialect);
        // Neither the reason nor the last word.
        let cut = match dialect {
            "openai_chat" => 4,
            "openai_responses" => 10,
            _ => 7,
        };
        let mut begun = events(dialect);
        begun.truncate(cut);
        let mut failed = begun.clone();
        failed.push(match dialect {
            "openai_chat" => json!({"error": {"message": "I am ill.", "type": "server_error"}}),
            "openai_responses" => {
                json!({"type": "error", "code": "server_error", "message": "I am ill.", "param": null})
            }
            _ => json!({"type": "error", "error": {"type": "api_error", "message": "I am ill."}}),
        });
        for (events, code, words) in [
            (Vec::new(), "upstream.cut", ""),
            (begun, "upstream.cut", "without its last event"),
            (failed, "upstream.failed_mid_stream", "I am ill."),
        ] {
            let said = stream(dialect, &events);
            street.agent("weather").answer(move |_| said.clone());
            let reply = street.post(path, "", &request(path, false));
            assert_eq!(reply.status, 502, "{}", reply.text());
            assert!(reply.text().contains(words), "{}", reply.text());
            assert_eq!(street.rows("SELECT code FROM attempts ORDER BY request_id DESC LIMIT 1"), [code]);
        }
    }
}

/// The body ends as HTTP wants it, as that of an agent whose generator has caught its own error.
#[test]
fn a_stream_that_ends_without_a_reason_is_cut() {
    for (path, dialect) in CLIENTS {
        let street = street(dialect);
        let all = events(dialect);
        let mut begun = all.clone();
        begun.truncate(if dialect == "openai_chat" { 3 } else { 5 });
        let said = stream(dialect, &begun);
        street.agent("weather").answer(move |_| said.clone());
        let reply = street.post(path, "", &request(path, true));
        assert!(reply.text().contains("without its last event"), "{}", reply.text());
        assert_eq!(street.rows("SELECT DISTINCT code FROM requests"), ["upstream.cut"]);
        // Half an event at the end is not in the way of the error.
        let half = stream(dialect, &begun).trim_end().to_owned() + "\r\n";
        let half = half.replacen("content-length", "x-length", 1).replacen(
            "x-own: 1",
            "connection: close\r\ntransfer-encoding: chunked",
            1,
        );
        let (head, body) = half.split_once("\r\n\r\n").expect("a head");
        let half = format!("{head}\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        street.agent("weather").answer(move |_| half.clone());
        let reply = street.post(path, "", &request(path, true));
        assert!(reply.text().contains("without its last event"), "{}", reply.text());
        let text = reply.text();
        let mut data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        assert!(data.all(|data| serde_json::from_str::<Json>(data).is_ok()), "{text}");
    }
    // The reason is there, and the last word is forgotten.
    let street = street("openai_chat");
    let mut told = events("openai_chat");
    told.truncate(5);
    let said = stream("openai_chat", &told);
    street.agent("weather").answer(move |_| said.clone());
    let reply = street.post("/v1/chat/completions", "", &request("/v1/chat/completions", true));
    assert!(!reply.text().contains("error"), "{}", reply.text());
    assert_eq!(street.rows("SELECT count(code) FROM requests"), ["0"]);
}

#[test]
fn an_answer_that_is_put_into_another_form_is_bounded() {
    let street = street("openai_chat");
    let long = "a".repeat(9 << 20);
    let mut answer = whole("openai_chat");
    answer["choices"][0]["message"]["content"] = json!(long);
    let said = document("200 OK", "", &answer.to_string());
    street.agent("weather").answer(move |_| said.clone());
    let reply = street.post("/v1/chat/completions", "", &request("/v1/chat/completions", true));
    assert_eq!((reply.status, reply.code().as_str()), (502, "upstream.invalid_answer"));
    let mut told = events("openai_chat");
    told[0]["choices"][0]["delta"]["content"] = json!(long);
    let said = stream("openai_chat", &told);
    street.agent("weather").answer(move |_| said.clone());
    let reply = street.post("/v1/chat/completions", "", &request("/v1/chat/completions", false));
    assert_eq!((reply.status, reply.code().as_str()), (502, "upstream.invalid_answer"));
    assert!(reply.text().contains("longer than 8388608 bytes"), "{}", reply.text());
}
