//! Scripts, played over sockets, and what a start refuses.

mod client;

use client::{ask, chat, chat_with, get, post, streamed};
use meseta_sim::{Simulator, StartError};

fn play(script: &str) -> Simulator {
    Simulator::start("127.0.0.1", 0, Some(script)).expect("it starts")
}

#[test]
fn two_failures_and_then_an_answer() {
    let simulator = play(
        r#"[{"when": {"model": "m"}, "reply": {"directives": "status=503;retry-after=1"}, "times": 2},
            {"when": {"model": "m", "contains": "weather"},
             "reply": {"tool_calls": [{"name": "weather", "arguments": {"city": "Oslo"}}, {"name": "odd", "arguments": "{"}]}},
            {"when": {"model": "m"}, "reply": {"text": "All is well.", "directives": "usage=none"}}]"#,
    );
    let statuses: Vec<u16> = (0..3).map(|_| chat(&simulator, &ask("m", "hello")).status).collect();
    assert_eq!(statuses, [503, 503, 200]);
    let reply = chat(&simulator, &ask("m;tokens=2", "hello"));
    assert_eq!(reply.content(), "All is");
    assert!(reply.json().get("usage").is_none());
    assert_eq!(chat(&simulator, &streamed("m", "hello")).tokens().concat(), "All is well.");
    let calls =
        chat(&simulator, &ask("m", "the weather?")).json()["choices"][0]["message"]["tool_calls"].clone();
    assert_eq!(calls[0]["function"]["arguments"], r#"{"city":"Oslo"}"#);
    assert_eq!(calls[1]["function"]["arguments"], "{");
    assert_eq!(chat(&simulator, &ask("echo", "hello")).content(), "hello");
    assert!(get(&simulator, "/v1/models", "").text().contains(r#""id":"m""#));
}

#[test]
fn the_header_wins_over_the_script_and_the_script_over_the_model() {
    let simulator = play(r#"[{"reply": {"directives": "status=500"}}]"#);
    assert_eq!(chat(&simulator, &ask("m;status=400", "")).status, 500);
    assert_eq!(chat_with(&simulator, "x-sim: status=418\r\n", &ask("m", "")).status, 418);
    assert_eq!(post(&simulator, "/v1/embeddings", "", br#"{"model":"m","input":"x"}"#).status, 500);
}

#[test]
fn a_start_says_why_it_failed() {
    let error = Simulator::start("127.0.0.1", 0, Some("[{}]")).expect_err("a bad script");
    assert!(matches!(error, StartError::Script(_)));
    assert!(error.to_string().contains("`reply`"), "{error}");
    let first = play("[]");
    let error = Simulator::start("127.0.0.1", first.port(), None).expect_err("a port in use");
    assert!(error.to_string().contains(&format!("127.0.0.1 port {}", first.port())), "{error}");
}

#[test]
fn a_stop_ends_every_connection_and_frees_the_port() {
    let simulator = client::start();
    let mut socket = client::connect(&simulator);
    client::send(&mut socket, "/v1/chat/completions", "", ask("m;first=10m", "").to_string().as_bytes());
    client::until(&simulator, |stats| stats.in_flight == 1);
    simulator.stop();
    simulator.stop();
    assert_eq!(client::receive(&mut socket).status, 0);
    assert_eq!(simulator.url(), format!("http://127.0.0.1:{}/v1", simulator.port()));
    drop(socket);
    Simulator::start("127.0.0.1", simulator.port(), None).expect("the port is free again");
}
