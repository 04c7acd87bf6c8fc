//! Agents that die, hang or are too many, and clients that leave: each has an outcome that is written down.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::choosing::rule;
use crate::street::{Street, chat, orchestration};
use crate::support::provider::{Provider, json as replies, says};
use crate::support::until;

pub fn target<'a>(document: &'a mut Json, name: &str) -> &'a mut Json {
    let targets = document["targets"].as_array_mut().expect("targets");
    targets.iter_mut().find(|target| target["name"] == name).expect("it is there")
}

/// An agent that begins a stream and is killed in the middle of it; its base URL.
pub fn dies_in_the_middle() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 8 * 1024];
            let _ = stream.read(&mut request);
            let begun = concat!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
                "a2\r\n",
                r#"data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"It "},"finish_reason":null}]}"#,
            );
            let _ = stream.write_all(begun.as_bytes());
            let _ = stream.write_all(b"\n\n\r\n");
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    format!("http://{address}/v1")
}

#[test]
fn a_stream_of_an_agent_that_dies_ends_with_an_error_that_clients_can_read() {
    let url = dies_in_the_middle();
    let street = Street::of("chain", &["weather", "flights"], |document| {
        target(document, "agent/weather/1")["base_url"] = json!(url);
        orchestration(document)["rules"] = json!([rule("trip", &["weather", "flights"])]);
    });
    let mut asked = chat("Will it rain?");
    asked["stream"] = json!(true);
    let text = street.post("/v1/chat/completions", "", &asked).text();
    assert!(text.contains("\"error\"") && text.contains("upstream."), "{text}");
    let rows = street.rows("SELECT code IS NOT NULL FROM requests");
    assert_eq!(rows, ["1", "1"]);
}

#[test]
fn half_an_answer_of_an_agent_whose_words_are_needed_is_an_error() {
    // Not the last one in line, one of several at once, one that somebody judges: nothing has gone to the client.
    for strategy in ["chain", "parallel", "supervise"] {
        let url = dies_in_the_middle();
        let street = Street::of(strategy, &["weather", "flights"], |document| {
            target(document, "agent/weather/1")["base_url"] = json!(url);
            orchestration(document)["rules"] = json!([rule("trip", &["weather", "flights"])]);
            orchestration(document)["parallel"]["quorum"] = json!(2);
        });
        for stream in [false, true] {
            let mut asked = chat("A trip.");
            asked["stream"] = json!(stream);
            let reply = street.post("/v1/chat/completions", "", &asked);
            // Who supervises goes on with the others.
            let status = if strategy == "supervise" { 200 } else { 502 };
            assert_eq!(reply.status, status, "{strategy}: {}", reply.text());
            if strategy != "supervise" {
                assert!(reply.text().contains("weather"), "{}", reply.text());
            }
        }
        assert_eq!(street.agent("flights").asked().is_empty(), strategy == "chain");
    }
}

#[test]
fn an_agent_that_hangs_is_left_after_its_time() {
    let street = Street::of("chain", &["weather"], |document| {
        target(document, "agent/weather/1")["timeouts"]["first_token_ms"] = json!(200);
    });
    street.agent("weather").answer(|_| {
        std::thread::sleep(Duration::from_secs(5));
        says("too late")
    });
    let reply = street.ask("", "Will it rain?");
    assert_eq!((reply.status, reply.code().as_str()), (504, "upstream.first_token_timeout"));
    // It may have acted: it was asked once.
    assert_eq!(street.rows("SELECT count(*) FROM attempts"), ["1"]);
}

#[test]
fn a_client_that_leaves_cancels_the_agent_and_whom_the_agent_asks() {
    let street = Street::of("chain", &["weather", "flights"], |document| {
        orchestration(document)["rules"] = json!([rule("trip", &["weather", "flights"])]);
    });
    street.agent("weather").answer(|_| {
        std::thread::sleep(Duration::from_secs(5));
        says("I go on.")
    });
    let mut client = street.client();
    client.post("/v1/chat/completions", "", chat("A trip.").to_string());
    until("the first agent is at work", || street.plane.agents().iter().any(|agent| agent.in_flight == 1));
    drop(client);
    until("nobody is at work", || street.plane.agents().iter().all(|agent| agent.in_flight == 0));
    let rows = street.rows("SELECT status FROM requests ORDER BY id");
    assert_eq!(rows, ["499", "499"]);
    assert!(street.agent("flights").asked().is_empty());
}

#[test]
fn an_agent_is_asked_no_more_at_once_than_it_takes() {
    let street = Street::of("chain", &["weather"], |document| {
        target(document, "agent/weather/1")["limits"] =
            json!({"concurrency": 1, "queue": 8, "queue_ms": 20_000});
    });
    street.agent("weather").answer(|_| {
        std::thread::sleep(Duration::from_millis(20));
        says("One by one.")
    });
    let address = street.address("agents");
    let clients: Vec<_> = (0..6)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = crate::support::http1::Client::connect(address);
                client.chat(&chat("Will it rain?")).status
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().expect("it was answered"), 200);
    }
    assert_eq!(street.agent("weather").connections().0, 1);
}

#[test]
fn one_instance_that_is_gone_leaves_the_other() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let street = Street::of("chain", &["weather"], |document| {
        let mut second = target(document, "agent/weather/1").clone();
        second["name"] = json!("agent/weather/2");
        target(document, "agent/weather/1")["base_url"] = json!(format!("http://{gone}/v1"));
        document["targets"].as_array_mut().expect("targets").push(second);
        let member = json!({"target": "agent/weather/2", "model": null, "weight": 1.0, "priority": 0});
        document["agents"][0]["pool"]["members"].as_array_mut().expect("members").push(member);
    });
    for _ in 0..8 {
        assert_eq!(street.ask("", "Will it rain?").content(), "I am weather.");
    }
}

/// An agent that refuses whoever says that it is Ann.
fn refuses_ann(status: &'static str, headers: &'static str) -> impl Fn(&str) -> String + Send + Sync {
    move |request| {
        if request.contains("I am Ann") {
            replies(status, headers, r#"{"error":{"message":"Not for Ann.","type":"t","code":"c"}}"#)
        } else {
            says("Gladly.")
        }
    }
}

#[test]
fn what_an_agent_refuses_to_one_user_it_is_still_asked_for_others() {
    for (status, headers) in [
        ("429 Too Many Requests", "retry-after: 86400\r\n"),
        ("429 Too Many Requests", "retry-after: 60\r\nx-ratelimit-remaining-requests: 0\r\n"),
        ("401 Unauthorized", ""),
        ("403 Forbidden", ""),
    ] {
        let street = Street::of("chain", &["weather"], |_| {});
        street.agent("weather").answer(refuses_ann(status, headers));
        for _ in 0..3 {
            let refused = street.ask("", "I am Ann");
            assert_eq!(refused.status.to_string(), status[..3]);
            assert!(refused.text().contains("Not for Ann."), "{status}: {}", refused.text());
            assert_eq!(refused.header("retry-after").is_some(), headers.contains("retry-after"), "{status}");
            let answered = street.ask("", "I am Ben");
            assert_eq!((answered.status, answered.content().as_str()), (200, "Gladly."), "after {status}");
        }
        assert_eq!(street.agent("weather").asked_with("I am Ann"), 3, "{status}");
    }
}

#[test]
fn another_instance_is_asked_once_before_a_429_is_handed_on() {
    let second = Provider::start(refuses_ann("429 Too Many Requests", "retry-after: 7\r\n"));
    let url = second.url();
    let street = Street::of("chain", &["weather"], |document| {
        let mut instance = target(document, "agent/weather/1").clone();
        instance["name"] = json!("agent/weather/2");
        instance["base_url"] = json!(url);
        document["targets"].as_array_mut().expect("targets").push(instance);
        let member = json!({"target": "agent/weather/2", "model": null, "weight": 1.0, "priority": 0});
        document["agents"][0]["pool"]["members"].as_array_mut().expect("members").push(member);
    });
    street.agent("weather").answer(refuses_ann("429 Too Many Requests", "retry-after: 7\r\n"));
    let reply = street.ask("", "I am Ann");
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("7")));
    assert_eq!((street.agent("weather").asked().len(), second.asked().len()), (1, 1));
    // One that can answer does.
    second.answer(|_| says("Gladly."));
    for _ in 0..4 {
        assert_eq!(street.ask("", "I am Ann").content(), "Gladly.");
    }
}

#[test]
fn what_is_no_answer_is_told_of_the_agent_in_words_of_its_own() {
    let street = Street::of("chain", &["weather"], |_| {});
    for (status, headers, body, told) in [
        ("204 No Content", "", "", "the agent answered 204 No Content and nothing else."),
        ("200 OK", "", "[]", "its body is not a JSON object (invalid type: sequence, expected an object)."),
        ("200 OK", "", "<html>", "the agent answered 200 OK but its body is not a JSON object"),
        (
            "302 Found",
            "location: /login\r\n",
            "",
            "redirects (302 Found) to /login. Set `url` to the final address.",
        ),
        (
            "503 Service Unavailable",
            "",
            "no",
            "the agent answered 503 Service Unavailable without a JSON body: no",
        ),
    ] {
        street.agent("weather").answer(move |_| replies(status, headers, body));
        for path in ["/v1/chat/completions", "/v1/responses", "/v1/messages"] {
            let asked = if path == "/v1/responses" {
                json!({"model": "m", "input": "Hello."})
            } else {
                json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello."}]})
            };
            let reply = street.post(path, "", &asked);
            assert!(reply.status >= 500, "{path} {status} {body}: {}", reply.status);
            let text = reply.json()["error"]["message"].as_str().expect("a message").to_owned();
            // A refusal that has to be translated is told in the words of the client's API.
            if path == "/v1/chat/completions" || !body.contains("no") {
                assert!(
                    text.starts_with("agent/weather/1: ") && !text.contains("provider"),
                    "{path}: {text}"
                );
            }
            if path == "/v1/chat/completions" || body.is_empty() {
                assert!(text.contains(told), "{path}: {text}");
            }
            assert!(!text.contains("struct ") && !text.contains("base_url"), "{path}: {text}");
        }
    }
    // An error is the agent's own, whatever its form.
    street.agent("weather").answer(|_| replies("422 Unprocessable Entity", "", r#"["No such city."]"#));
    let reply = street.ask("", "Will it rain?");
    assert_eq!((reply.status, reply.text().as_str()), (422, r#"["No such city."]"#));
}
