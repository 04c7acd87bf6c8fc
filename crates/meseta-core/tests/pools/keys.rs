//! Several keys for one target.

use serde_json::{Value as Json, json};

use crate::town::{Town, at, pool, who};

fn with_keys(directives: &str, change: impl FnOnce(&mut Json)) -> Town {
    let town = Town::of(&["a", "b"], |document| {
        let key =
            |key: &str| json!({"type": "header", "name": "authorization", "value": format!("Bearer {key}")});
        at(document, "a")["credentials"] = json!([key("worn"), key("fresh")]);
        document["pools"] = json!([pool("p", &["a"])]);
        change(document);
    });
    worn(&town, directives);
    town
}

fn worn(town: &Town, directives: &str) {
    let script = json!([{"when": {"key": "worn"}, "reply": {"directives": directives}}]);
    town.provider("a").set_script(&script.to_string()).expect("a script");
}

/// How often the key was used.
fn used(town: &Town, key: u32) -> u64 {
    town.rows(&format!("SELECT count(*) FROM attempts WHERE key = {key}"))[0].parse().expect("a number")
}

#[test]
fn the_second_key_answers_for_a_limited_one_at_once() {
    for name in ["a", "p"] {
        let town = with_keys("status=429;retry-after=60", |_| {});
        for _ in 0..6 {
            assert_eq!(who(&town.ask(name)), "a");
        }
        // The limited key rests: it was asked once, in whichever turn came to it first.
        assert_eq!((used(&town, 1), used(&town, 2)), (1, 6), "{name}");
        assert_eq!(town.rows("SELECT cause FROM attempts WHERE key = 1"), ["rate_limit"], "{name}");
    }
}

#[test]
fn a_refused_key_is_taken_out() {
    for (name, directives) in
        [("a", "refuse=key"), ("p", "refuse=key"), ("p", "refuse=quota"), ("p", "status=401")]
    {
        let town = with_keys(directives, |_| {});
        for _ in 0..10 {
            assert_eq!(who(&town.ask(name)), "a", "{directives}");
        }
        assert_eq!((used(&town, 1), used(&town, 2)), (2, 10), "{name} {directives}");
        assert_eq!(town.rows("SELECT DISTINCT cause FROM attempts WHERE key = 1"), ["credential"]);
    }
}

#[test]
fn calls_are_spread_over_keys_that_are_well() {
    let town = with_keys("cached=0", |_| {});
    for _ in 0..20 {
        assert_eq!(who(&town.ask("p")), "a");
    }
    assert_eq!((used(&town, 1), used(&town, 2)), (10, 10));
}

#[test]
fn what_no_key_changes_is_not_tried_with_another() {
    let town = with_keys("cached=0", |_| {});
    town.order("a", "status=500");
    assert_eq!((town.ask("a").status, town.reached("a")), (500, 1));
}

#[test]
fn a_pool_whose_keys_are_all_spent_says_when_one_is_free() {
    let town = with_keys("cached=0", |_| {});
    let script = json!([
        {"when": {"key": "worn"}, "reply": {"directives": "status=429;retry-after=50"}},
        {"when": {"key": "fresh"}, "reply": {"directives": "status=429;retry-after=20"}},
    ]);
    town.provider("a").set_script(&script.to_string()).expect("a script");
    for (name, reached) in [("p", 2), ("a", 2)] {
        let reply = town.ask(name);
        assert_eq!((reply.status, reply.header("retry-after")), (429, Some("20")), "{name}");
        assert_eq!(town.reached("a"), reached, "{name}");
    }
}

#[test]
fn a_key_that_nobody_accepts_is_told_and_not_tried_twice() {
    let town = Town::of(&["a"], |document| document["pools"] = json!([pool("p", &["a"])]));
    town.order("a", "refuse=key");
    let reply = town.ask("p");
    assert_eq!((reply.status, town.reached("a")), (401, 1));
}

#[test]
fn a_limit_of_one_clients_own_key_is_not_that_of_others() {
    let town = Town::of(&["a"], |document| {
        at(document, "a")["credentials"] = json!([{"type": "passthrough"}]);
    });
    let script = json!([{"when": {"key": "poor"}, "reply": {"directives": "status=429;retry-after=60"}}]);
    town.provider("a").set_script(&script.to_string()).expect("a script");
    let reply = town.ask_with("a", "authorization: Bearer poor\r\n");
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("60")));
    assert_eq!(who(&town.ask_with("a", "authorization: Bearer rich\r\n")), "a");
    // Nor is it the plane's business to tell a client that its own key is refused in other words.
    town.order("a", "refuse=key");
    for _ in 0..5 {
        assert_eq!(town.ask_with("a", "authorization: Bearer wrong\r\n").status, 401);
    }
    town.heal("a");
    assert_eq!(who(&town.ask_with("a", "authorization: Bearer rich\r\n")), "a");
}
