//! How long clients wait, by their own headers.

use serde_json::{Value as Json, json};

use crate::support::{streamed, until};
use crate::town::{Town, at, pool, who};

fn town(change: impl FnOnce(&mut Json)) -> Town {
    Town::of(&["a", "b"], |document| {
        document["pools"] = json!([pool("p", &["a", "b"])]);
        change(document);
    })
}

const HEADERS: [&str; 3] =
    ["x-meseta-deadline: 200ms\r\n", "x-stainless-read-timeout: 0.2\r\n", "x-stainless-timeout: 0.2\r\n"];

#[test]
fn the_client_hears_that_its_time_is_over() {
    let town = town(|_| {});
    for directives in ["first=30s", "head_then=30s"] {
        for name in ["a", "b"] {
            town.order(name, directives);
        }
        for (number, header) in HEADERS.iter().enumerate() {
            for (model, stream) in [("a", false), ("p", false), ("p", true)] {
                let mut request = streamed(model, "hello");
                request["stream"] = json!(stream);
                let reply = town.post("/v1/chat/completions", header, &request);
                let told = (reply.status, reply.code());
                assert_eq!(told, (504, "request.deadline".to_owned()), "{number} {directives} {stream}");
                assert_eq!(reply.header("x-should-retry"), Some("false"));
                assert_eq!(
                    town.rows("SELECT code FROM requests ORDER BY id DESC LIMIT 1"),
                    ["request.deadline"]
                );
            }
        }
    }
    for name in ["a", "b"] {
        until("the calls are cancelled", || town.provider(name).stats().in_flight == 0);
    }
    // An impatient client takes no target away from the others.
    town.heal("a");
    assert_eq!(who(&town.ask("p")), "a");
}

#[test]
fn a_stream_ends_with_the_clients_time() {
    let town = town(|_| {});
    town.order("a", "stall=1");
    let reply =
        town.post("/v1/chat/completions", "x-meseta-deadline: 2s\r\n", &streamed("a", "one two three"));
    assert_eq!(reply.status, 200);
    assert!(reply.text().contains("request.deadline"), "{}", reply.text());
    for _ in 0..6 {
        town.post("/v1/chat/completions", HEADERS[0], &streamed("p", "one two three"));
    }
    town.heal("a");
    assert_eq!(who(&town.ask("p")), "a");
}

#[test]
fn no_client_waits_for_what_comes_too_late_for_it() {
    // Asking again would have to wait for longer than the client does.
    let town = town(|document| {
        document["pools"] = json!([pool("alone", &["a"])]);
        document["pools"][0]["retry"]["max_ms"] = json!(20_000);
    });
    town.order("a", "status=429;retry-after=15");
    for reached in [1, 1] {
        let reply = town.ask_with("alone", "x-meseta-deadline: 10s\r\n");
        assert_eq!(
            (reply.status, reply.header("retry-after"), town.reached("a")),
            (429, Some("15"), reached)
        );
    }
}

#[test]
fn time_that_one_target_took_is_not_there_for_the_next() {
    let town = town(|document| at(document, "a")["timeouts"]["first_token_ms"] = json!(500));
    town.order("a", "first=30s");
    town.order("b", "first=30s");
    let reply = town.ask_with("p", "x-meseta-deadline: 2s\r\n");
    assert_eq!((reply.status, reply.code().as_str()), (504, "request.deadline"));
    assert_eq!(town.calls("target, code"), ["a upstream.first_token_timeout", "b request.deadline"]);
    town.heal("b");
    assert_eq!(who(&town.ask_with("p", "x-meseta-deadline: 10s\r\n")), "b");
}

#[test]
fn a_pools_time_is_for_all_tries_together() {
    let town = town(|document| {
        document["pools"][0]["timeouts"] = json!({"first_token_ms": 60_000, "total_ms": 2_000});
        document["pools"][0]["retry"]["attempts"] = json!(5);
        at(document, "a")["timeouts"]["first_token_ms"] = json!(500);
    });
    town.order("a", "first=30s");
    town.order("b", "first=30s");
    let reply = town.ask("p");
    assert_eq!((reply.status, reply.code().as_str()), (504, "upstream.total_timeout"));
    assert_eq!((town.reached("a"), town.reached("b")), (1, 1));
}

#[test]
fn a_deadline_that_is_none_is_a_mistake() {
    let reply = town(|_| {}).ask_with("p", "x-meseta-deadline: soon\r\n");
    assert_eq!((reply.status, reply.code().as_str()), (400, "request.invalid_header"));
}
