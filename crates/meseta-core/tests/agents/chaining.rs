//! One agent, and several one after the other.

use serde_json::json;

use crate::street::{Street, body, chat};
use crate::support::provider::json as answer;

#[test]
fn an_agent_gets_the_conversation_as_it_is() {
    let street = Street::of("chain", &["weather"], |_| {});
    let mut asked = chat("Will it rain?");
    asked["x-unknown"] = json!([1.5, {"b": 1, "a": 2}]);
    let headers = "authorization: Bearer client-secret\r\ncookie: a=b\r\nx-meseta-session: s1\r\n";
    let reply = street.post("/v1/chat/completions", headers, &asked);
    assert_eq!((reply.status, reply.content().as_str()), (200, "I am weather."));
    assert_eq!(reply.header("x-meseta-agents"), Some("weather"));
    assert_eq!(reply.header("x-meseta-model"), Some("agent/weather/1"));
    let request = &street.agent("weather").asked()[0];
    assert_eq!(body(request), asked);
    // What the client proves itself with is nobody else's.
    assert!(!request.contains("client-secret") && !request.contains("cookie"), "{request}");
    assert!(
        request.contains("x-meseta-session: s1\r\n") && request.contains("\r\nx-meseta-context: "),
        "{request}"
    );
    assert!(request.contains("\r\ntraceparent: 00-"), "{request}");
}

#[test]
fn an_agents_status_and_words_arrive_as_they_are() {
    let street = Street::of("chain", &["weather"], |_| {});
    for (status, said) in [
        ("422 Unprocessable Entity", r#"{"error":{"message":"no such city"}}"#),
        ("500 Internal Server Error", r#"{"error":{"message":"oops"}}"#),
    ] {
        street.agent("weather").answer(move |_| answer(status, "x-own: 1\r\n", said));
        let reply = street.ask("", "Will it rain?");
        assert_eq!(reply.status.to_string(), status[..3]);
        assert_eq!((reply.text().as_str(), reply.header("x-own")), (said, Some("1")));
    }
    // 500 may have acted: it is asked once.
    assert_eq!(street.agent("weather").asked().len(), 2);
}

#[test]
fn a_web_page_is_no_answer() {
    let street = Street::of("chain", &["weather"], |_| {});
    street.agent("weather").answer(|_| {
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>".to_owned()
    });
    let reply = street.ask("", "Will it rain?");
    assert_eq!((reply.status, reply.code().as_str()), (502, "upstream.invalid_answer"));
}

#[test]
fn a_named_agent_answers_alone_and_an_unknown_one_is_named() {
    let street = Street::of("chain", &["weather", "flights"], |_| {});
    let reply = street.ask("x-meseta-agent: flights\r\n", "Will it rain?");
    assert_eq!(reply.content(), "I am flights.");
    assert!(street.agent("weather").asked().is_empty());
    let reply = street.ask("x-meseta-agent: hotels\r\n", "Will it rain?");
    assert_eq!((reply.status, reply.code().as_str()), (404, "agent.not_found"));
    assert!(reply.text().contains("weather, flights"), "{}", reply.text());
}

#[test]
fn the_log_tells_who_was_asked_for_whom() {
    let street = Street::of("chain", &["weather"], |_| {});
    street.ask("x-meseta-run: r1\r\n", "Will it rain?");
    let rows =
        street.rows("SELECT parent IS NULL, agent, agents, run, status, attempts FROM requests ORDER BY id");
    assert_eq!(rows, ["1 - weather r1 200 0", "0 weather - r1 200 1"]);
    let rows =
        street.rows("SELECT count(*) FROM requests a JOIN requests b ON a.parent = b.id AND a.root = b.id");
    assert_eq!(rows, ["1"]);
    // The run has one trace, and what an agent used are the models that it called.
    let rows = street.rows("SELECT count(DISTINCT trace_id), count(trace_id) FROM requests");
    assert_eq!(rows, ["1 2"]);
}

#[test]
fn agents_that_call_agents_end() {
    let street = Street::of("chain", &["weather", "flights"], |_| {});
    let address = street.address("agents");
    // Each asks the other one, with what it was told.
    for (id, other) in [("weather", "flights"), ("flights", "weather")] {
        street.agent(id).answer(move |request| {
            let context = request.lines().find(|line| line.starts_with("x-meseta-context")).expect("told");
            let mut client = crate::support::http1::Client::connect(address);
            client.post(
                "/v1/chat/completions",
                &format!("{context}\r\nx-meseta-agent: {other}\r\n"),
                chat("And you?").to_string(),
            );
            let reply = client.reply();
            answer(&format!("{} Handed On", reply.status), "", &reply.text())
        });
    }
    let reply = street.ask("", "Will it rain?");
    assert_eq!((reply.status, reply.code().as_str()), (508, "agent.cycle"), "{}", reply.text());
    assert!(reply.text().contains("weather > flights > weather"), "{}", reply.text());
}
