//! Limits of providers, and our own limits of calls to a target.

use std::thread;

use serde_json::{Value as Json, json};

use crate::support::{streamed, until};
use crate::town::{Town, at, pool, who};

fn town(change: impl FnOnce(&mut Json)) -> Town {
    Town::of(&["a", "b"], |document| {
        document["pools"] = json!([pool("p", &["a", "b"]), pool("alone", &["a"])]);
        change(document);
    })
}

#[test]
fn what_a_providers_headers_say_holds_for_the_next_call() {
    for directives in ["limit=requests:0/30s", "limit=tokens:0/30s", "limit=requests:5/30s,tokens:1/30s"] {
        let town = town(|_| {});
        town.order("a", directives);
        assert_eq!(who(&town.ask("p")), "a");
        assert_eq!((who(&town.ask("p")), town.reached("a")), ("b", 1), "{directives}");
        assert_eq!(town.calls("target, reason"), ["b first"], "{directives}");
        // Where nobody else can answer, the client hears when it is worth trying again, and nobody is called.
        for name in ["alone", "a"] {
            let reply = town.ask(name);
            assert_eq!((reply.status, reply.code().as_str()), (429, "upstream.limited"), "{directives}");
            assert_eq!(reply.header("retry-after"), Some("30"), "{directives}");
            assert_eq!(town.reached("a"), 1, "{directives}");
        }
    }
}

#[test]
fn a_limit_that_ends_soon_is_waited_for() {
    let town = town(|document| document["pools"][1]["retry"]["max_ms"] = json!(2_000));
    town.order("a", "limit=requests:0/200ms");
    for _ in 0..3 {
        assert_eq!(who(&town.ask("alone")), "a");
    }
    assert_eq!(town.rows("SELECT DISTINCT attempts FROM requests"), ["1"]);
}

#[test]
fn limits_of_a_clients_own_key_hold_nobody_else_up() {
    let town = town(|document| at(document, "a")["credentials"] = json!([{"type": "passthrough"}]));
    town.order("a", "limit=requests:0/30s");
    for _ in 0..3 {
        assert_eq!(who(&town.ask_with("a", "authorization: Bearer mine\r\n")), "a");
    }
}

fn one_at_a_time(queue: u32, queue_ms: u64) -> Town {
    town(|document| {
        at(document, "a")["limits"] = json!({"concurrency": 1, "queue": queue, "queue_ms": queue_ms});
        at(document, "b")["limits"] = json!({"concurrency": 1, "queue": 0, "queue_ms": 0});
    })
}

/// A stream that goes on until its client leaves.
fn hold(town: &Town, model: &str) -> crate::support::http1::Client {
    let mut client = town.client();
    client.post("/v1/chat/completions", "x-sim: stall=1\r\n", streamed(model, "one two three").to_string());
    who(&client.head().expect("a head"));
    client
}

#[test]
fn a_full_target_is_passed_over_and_a_full_pool_says_so() {
    let town = one_at_a_time(0, 0);
    let first = hold(&town, "p");
    assert_eq!(who(&town.ask("p")), "b");
    let second = hold(&town, "p");
    for name in ["p", "alone", "a"] {
        let reply = town.ask(name);
        assert_eq!((reply.status, reply.code().as_str()), (503, "upstream.busy"), "{name}");
        assert_eq!(reply.header("retry-after"), Some("1"), "{name}");
    }
    assert_eq!((town.reached("a"), town.reached("b")), (1, 2));
    drop((first, second));
    until("the place is free again", || town.ask("alone").status == 200);
}

#[test]
fn who_may_wait_gets_the_place_that_becomes_free() {
    let town = one_at_a_time(1, 20_000);
    let first = hold(&town, "alone");
    let replies = thread::scope(|scope| {
        let waiting: Vec<_> = (0..2).map(|_| scope.spawn(|| town.ask("alone"))).collect();
        // Only one may wait, so one of them is told at once; then the place becomes free for the other.
        until("one is turned away", || waiting.iter().any(thread::ScopedJoinHandle::is_finished));
        drop(first);
        waiting.into_iter().map(|waiting| waiting.join().expect("an answer")).collect::<Vec<_>>()
    });
    let mut statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503]);
    assert_eq!(town.reached("a"), 2);
}

#[test]
fn waiting_has_an_end() {
    let town = one_at_a_time(4, 50);
    let _first = hold(&town, "alone");
    let reply = town.ask("alone");
    assert_eq!((reply.status, reply.code().as_str()), (503, "upstream.busy"));
    // The client's own limit is nearer.
    let town = one_at_a_time(4, 20_000);
    let _first = hold(&town, "alone");
    for header in ["x-meseta-deadline: 80ms\r\n", "x-stainless-read-timeout: 0.08\r\n"] {
        let reply = town.ask_with("alone", header);
        assert_eq!((reply.status, reply.code().as_str()), (504, "request.deadline"), "{header}");
    }
    assert_eq!(town.reached("a"), 1);
}
