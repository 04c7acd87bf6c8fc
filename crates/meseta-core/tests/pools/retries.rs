//! Tries after the first, how many there are, and what the client hears when all of them failed.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use serde_json::{Value as Json, json};

use crate::support::ask;
use crate::town::{Town, at, no_retries, pool, who};

fn town(members: &[&str], change: impl FnOnce(&mut Json)) -> Town {
    Town::of(&["a", "b"], |document| {
        document["pools"] = json!([pool("p", members)]);
        change(document);
    })
}

#[test]
fn the_next_member_is_asked_and_the_record_says_why() {
    for (directives, code, cause) in [
        ("status=500", "upstream.rejected", "error"),
        ("status=529", "upstream.rejected", "error"),
        ("status=429;retry-after=30", "upstream.rejected", "rate_limit"),
        ("drop=fin", "upstream.cut", "error"),
        ("garbage=http", "upstream.protocol_error", "error"),
        ("garbage=json", "upstream.invalid_answer", "error"),
        ("first=5s", "upstream.first_token_timeout", "timeout"),
    ] {
        let town =
            town(&["a", "b"], |document| at(document, "a")["timeouts"]["first_token_ms"] = json!(1_000));
        town.order("a", directives);
        let reply = town.ask("p");
        assert_eq!((who(&reply), reply.header("x-meseta-attempts")), ("b", Some("2")), "{directives}");
        assert_eq!(
            town.calls("number, target, reason, code, cause, key"),
            [format!("1 a first {code} {cause} 1"), "2 b retry - - 1".to_owned()],
            "{directives}"
        );
    }
}

#[test]
fn one_alone_is_asked_again() {
    let town = town(&["a"], |_| {});
    town.order_times("a", 2, "status=500");
    assert_eq!(who(&town.ask("p")), "a");
    assert_eq!(town.calls("target, reason, status"), ["a first 500", "a retry 500", "a retry 200"]);
}

#[test]
fn attempts_are_counted() {
    let town = town(&["a", "b"], |document| document["pools"][0]["retry"]["attempts"] = json!(5));
    town.order("a", "status=500;message=Out of luck");
    town.order("b", "status=500;message=Out of luck");
    let reply = town.ask("p");
    assert_eq!((reply.status, reply.header("x-meseta-attempts")), (500, Some("5")));
    assert_eq!(town.reached("a") + town.reached("b"), 5);
    assert_eq!(reply.json()["error"]["message"], "Out of luck");
}

#[test]
fn causes_that_are_not_named_are_not_tried_again() {
    let town = town(&["a", "b"], |document| document["pools"][0]["retry"]["on"] = json!(["timeout"]));
    town.order("a", "status=500");
    assert_eq!((town.ask("p").status, town.reached("b")), (500, 0));
}

#[test]
fn a_mistake_of_the_request_is_told_at_once() {
    let town = town(&["a", "b"], |_| {});
    for directives in ["status=400", "status=422", "refuse=context", "refuse=policy"] {
        town.order("a", directives);
        let reply = town.ask("p");
        assert!((400..500).contains(&reply.status), "{directives}");
    }
    assert_eq!((town.reached("a"), town.reached("b")), (4, 0));
    // It was no fault of the target, however often it comes.
    for _ in 0..10 {
        town.ask("p");
    }
    town.heal("a");
    assert_eq!(who(&town.ask("p")), "a");
}

#[test]
fn the_providers_own_words_reach_the_client() {
    let town = town(&["a", "b"], |_| {});
    for name in ["a", "b"] {
        town.order(name, "refuse=overloaded");
    }
    let through = town.ask("p");
    let mut direct =
        crate::support::http1::Client::connect(([127, 0, 0, 1], town.provider("a").port()).into());
    assert_eq!(through.body, direct.chat(&ask("echo", "hello")).body);
    // In another dialect the words are the same.
    let body = json!({"model": "p", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]});
    let reply = town.post("/v1/messages", "", &body);
    assert_eq!(reply.json()["error"]["message"], through.json()["error"]["message"]);
}

#[test]
fn the_most_telling_error_is_kept() {
    // That waiting helps says more than that something broke.
    let town = town(&["a", "b"], |_| {});
    town.order("a", "status=429;retry-after=40");
    town.order("b", "status=500");
    let reply = town.ask("p");
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("40")));
}

#[test]
fn a_long_retry_after_goes_to_the_client() {
    let town = town(&["a"], |_| {});
    town.order("a", "status=429;retry-after=7");
    let reply = town.ask("p");
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("7")));
    // And holds for everybody, without asking again.
    let reply = town.ask("p");
    assert_eq!((reply.status, reply.code().as_str()), (429, "upstream.limited"));
    assert_eq!((reply.header("retry-after"), town.reached("a")), (Some("7"), 1));
}

#[test]
fn a_short_retry_after_is_waited_for() {
    let town = town(&["a"], |document| document["pools"][0]["retry"]["max_ms"] = json!(3_000));
    town.order_times("a", 1, "status=429;retry-after=1");
    let reply = town.ask("p");
    assert_eq!((who(&reply), town.reached("a")), ("a", 2));
}

#[test]
fn of_several_limits_the_shortest_is_told() {
    for (first, second) in [(30, 9), (9, 30)] {
        let town = town(&["a", "b"], |_| {});
        town.order("a", &format!("status=429;retry-after={first}"));
        town.order("b", &format!("status=429;retry-after={second}"));
        let reply = town.ask("p");
        assert_eq!((reply.status, reply.header("retry-after")), (429, Some("9")));
        let reply = town.ask("p");
        assert_eq!((reply.code().as_str(), reply.header("retry-after")), ("upstream.limited", Some("9")));
        assert_eq!((town.reached("a"), town.reached("b")), (1, 1));
    }
}

#[test]
fn the_budget_bounds_retries_and_not_fallbacks() {
    let town = town(&["a", "b"], |document| document["retry_budget"] = no_retries());
    town.order("a", "status=500");
    assert_eq!((town.ask("p").status, town.reached("b")), (500, 0));
    let town = Town::of(&["a", "b"], |document| {
        let mut pool = pool("p", &["a"]);
        pool["fallback"] = json!([{"name": "b", "on": ["error"]}]);
        document["pools"] = json!([pool]);
        document["retry_budget"] = no_retries();
    });
    town.order("a", "status=500");
    assert_eq!((who(&town.ask("p")), town.reached("a")), ("b", 1));
}

#[test]
fn a_retry_of_the_client_earns_none_of_ours() {
    let all = json!({"percent": 100.0, "minimum_per_second": 0});
    let town = town(&["a", "b"], |document| document["retry_budget"] = all);
    town.order("a", "status=500");
    let reply = town.ask_with("p", "x-stainless-retry-count: 1\r\n");
    assert_eq!((reply.status, town.reached("b")), (500, 0));
    let reply = town.ask_with("p", "x-stainless-retry-count: 0\r\n");
    assert_eq!(who(&reply), "b");
}

#[test]
fn one_retry_costs_one() {
    // Four requests earn four retries: two for each of two requests that need all three tries.
    let town = town(&["a", "b"], |document| {
        document["retry_budget"] = json!({"percent": 100.0, "minimum_per_second": 0});
        at(document, "a")["health"]["failures"] = json!(0);
        at(document, "b")["health"]["failures"] = json!(0);
    });
    for _ in 0..3 {
        assert_eq!(who(&town.ask("p")), "a");
    }
    town.order("a", "status=500");
    town.order("b", "status=500");
    let before = town.reached("a") + town.reached("b");
    for _ in 0..3 {
        assert_eq!(town.ask("p").status, 500);
    }
    // Six requests in all, so six retries, and these three need exactly that many.
    assert_eq!(town.reached("a") + town.reached("b") - before, 9);
}

#[test]
fn what_cannot_be_said_to_one_is_said_to_another() {
    let town = town(&["a", "b"], |document| {
        at(document, "a")["dialects"] = json!(["anthropic_messages"]);
        // Nobody is asked twice, so nothing is taken from the budget.
        document["retry_budget"] = no_retries();
        document["pools"][0]["retry"] = json!({"attempts": 1, "base_ms": 10, "max_ms": 50, "on": []});
    });
    let mut request = ask("p", "hello");
    request["n"] = json!(2);
    let reply = town.client().chat(&request);
    assert_eq!((who(&reply), town.reached("a")), ("b", 0));
    assert_eq!(
        town.calls("target, reason, code, input_tokens IS NULL"),
        ["a first request.unsupported 1", "b first - 0"]
    );
    // When nobody else can answer, what went wrong there says more.
    town.order("b", "status=500;message=Out of luck");
    let reply = town.client().chat(&request);
    assert_eq!((reply.status, reply.json()["error"]["message"].as_str()), (500, Some("Out of luck")));
}

#[test]
fn what_only_one_provider_has_goes_to_that_provider() {
    let town = town(&["a", "b"], |document| {
        at(document, "b")["dialects"] = json!(["openai_chat", "openai_responses"]);
    });
    let tools = json!([{"type": "mcp", "server_label": "x", "server_url": "https://x.example"}]);
    let reply = town.post("/v1/responses", "", &json!({"model": "p", "input": "x", "tools": tools}));
    assert_eq!((who(&reply), town.reached("a")), ("b", 0));
}

#[test]
fn what_nobody_can_say_is_asked_of_nobody_and_not_twice() {
    let town = town(&["a"], |document| at(document, "a")["dialects"] = json!(["anthropic_messages"]));
    let mut request = ask("p", "hello");
    request["n"] = json!(2);
    let reply = town.client().chat(&request);
    assert_eq!((reply.status, reply.code().as_str()), (400, "request.unsupported"));
    assert_eq!((reply.header("x-meseta-attempts"), town.reached("a")), (Some("1"), 0));
}

#[test]
fn a_plain_model_is_asked_once() {
    let town = town(&["a"], |_| {});
    town.order("a", "status=500");
    assert_eq!((town.ask("a").status, town.reached("a")), (500, 1));
    // However often it fails, it stays the only one who could answer.
    for _ in 0..10 {
        town.ask("a");
    }
    town.heal("a");
    assert_eq!(who(&town.ask("a")), "a");
}

#[test]
fn a_kept_connection_that_was_closed_costs_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
    let server = thread::spawn(move || {
        let mut asked = 0;
        // Each connection answers once and closes on the second request.
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().expect("a connection");
            asked += u32::from(take_request(&mut stream));
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{ANSWER}",
                ANSWER.len()
            );
            stream.write_all(answer.as_bytes()).expect("written");
            asked += u32::from(take_request(&mut stream));
        }
        asked
    });
    let town = town(&["a"], |document| at(document, "a")["base_url"] = json!(url));
    for round in 0..3 {
        let reply = town.ask("a");
        assert_eq!((reply.status, reply.content().as_str()), (200, "here"), "round {round}");
    }
    assert!(town.plane.stop(crate::support::PATIENCE));
    drop(town);
    assert_eq!(server.join().expect("the server"), 5);
}

const ANSWER: &str = r#"{"id":"x","object":"chat.completion","created":1,"model":"echo","choices":[{"index":0,"message":{"role":"assistant","content":"here"},"finish_reason":"stop"}]}"#;

/// Whether a whole request came.
fn take_request(stream: &mut std::net::TcpStream) -> bool {
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&seen[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
            if seen.len() >= end + 4 + length {
                return true;
            }
        }
        match stream.read(&mut piece) {
            Ok(read) if read > 0 => seen.extend_from_slice(&piece[..read]),
            _ => return false,
        }
    }
}
