//! A second target beside one that is slow.

use serde_json::{Value as Json, json};

use crate::support::{streamed, until};
use crate::town::{Town, at, pool, who};

fn hedged(after_ms: u64, spend_percent: f64, change: impl FnOnce(&mut Json)) -> Town {
    Town::of(&["a", "b"], |document| {
        let mut pool = pool("p", &["a", "b"]);
        pool["hedge"] = json!({"after_ms": after_ms, "minimum_ms": 10, "spend_percent": spend_percent});
        document["pools"] = json!([pool]);
        for name in ["a", "b"] {
            at(document, name)["price"] = json!({"input": 1.0, "cached_input": null, "cache_write": null, "output": 1.0, "source": "config"});
        }
        change(document);
    })
}

const CALLS: &str = "target, reason, coalesce(code, ''), usage_source, cost_usd > 0";

#[test]
fn who_begins_first_answers_and_the_other_is_cancelled() {
    for stream in [false, true] {
        let town = hedged(50, 100.0, |_| {});
        town.order("a", "first=30s");
        let mut request = streamed("p", "hello there");
        request["stream"] = json!(stream);
        let reply = town.client().chat(&request);
        assert_eq!((who(&reply), reply.header("x-meseta-attempts")), ("b", Some("2")));
        until("the loser is cancelled", || town.provider("a").stats().aborted == 1);
        assert_eq!(
            town.calls(CALLS),
            ["a first upstream.hedge_lost estimated 1", "b hedge  exact 1"],
            "stream {stream}"
        );
        // The cost of both is the request's.
        assert_eq!(
            town.rows("SELECT abs(r.cost_usd - sum(a.cost_usd)) < 1e-12 FROM requests r JOIN attempts a ON a.request_id = r.id"),
            ["1"]
        );
    }
}

#[test]
fn the_first_may_still_win() {
    let town = hedged(50, 100.0, |_| {});
    town.order("a", "first=1s");
    town.order("b", "first=30s");
    assert_eq!(who(&town.ask("p")), "a");
    until("the loser is cancelled", || town.provider("b").stats().aborted == 1);
    assert_eq!(town.calls(CALLS), ["a first  exact 1", "b hedge upstream.hedge_lost estimated 1"]);
}

#[test]
fn nobody_is_asked_beside_one_that_is_fast() {
    let town = hedged(10_000, 100.0, |_| {});
    assert_eq!((who(&town.ask("p")), town.reached("b")), ("a", 0));
}

#[test]
fn the_cap_holds() {
    let town = hedged(20, 0.0, |_| {});
    town.order("a", "first=200ms");
    let reply = town.ask("p");
    assert_eq!((who(&reply), reply.header("x-meseta-attempts"), town.reached("b")), ("a", Some("1"), 0));
    // A quarter of what ordinary calls cost: of eight requests two may ask twice.
    let town = hedged(20, 25.0, |document| at(document, "a")["health"]["failures"] = json!(0));
    town.order("a", "first=500ms");
    for _ in 0..8 {
        assert_eq!(town.ask("p").status, 200);
    }
    assert_eq!((town.reached("a"), town.reached("b")), (8, 2));
}

#[test]
fn a_hedge_that_was_not_made_is_no_try() {
    let town = hedged(20, 0.0, |document| document["pools"][0]["retry"]["attempts"] = json!(2));
    town.order("a", "first=200ms;status=500");
    assert_eq!(who(&town.ask("p")), "b");
    assert_eq!(town.calls("target, reason"), ["a first", "b retry"]);
}

#[test]
fn one_of_both_may_fail() {
    for (first, second, answers) in [
        ("first=300ms;status=500", "first=600ms", "b"),
        ("first=1s", "first=100ms;status=500", "a"),
        ("first=1s", "drop=rst", "a"),
    ] {
        let town = hedged(50, 100.0, |_| {});
        town.order("a", first);
        town.order("b", second);
        let reply = town.ask("p");
        assert_eq!((who(&reply), reply.header("x-meseta-attempts")), (answers, Some("2")), "{first}");
    }
}

#[test]
fn both_may_fail() {
    let town = hedged(50, 100.0, |_| {});
    for name in ["a", "b"] {
        town.order(name, "first=150ms;status=500;message=Out of luck");
    }
    let reply = town.ask("p");
    assert_eq!((reply.status, reply.json()["error"]["message"].as_str()), (500, Some("Out of luck")));
    // Three tries in all: two side by side, and one more.
    assert_eq!((reply.header("x-meseta-attempts"), town.reached("a") + town.reached("b")), (Some("3"), 3));
    let town = hedged(50, 100.0, |_| {});
    town.order("a", "first=150ms;status=500");
    town.order_times("b", 1, "first=150ms;status=500");
    let reply = town.ask("p");
    assert!(matches!(reply.status, 200 | 500), "{}", reply.text());
    assert_eq!(reply.header("x-meseta-attempts"), Some("3"));
}

#[test]
fn what_may_act_is_not_asked_twice() {
    let town = hedged(20, 100.0, |_| {});
    town.order("a", "first=200ms");
    let body =
        json!({"model": "p", "messages": [{"role": "user", "content": "x"}], "tools": [{"type": "mcp"}]});
    let reply = town.post("/v1/chat/completions", "", &body);
    assert_eq!((who(&reply), town.reached("b")), ("a", 0));
}

#[test]
fn its_own_past_says_what_slow_is() {
    let town = hedged(0, 100.0, |_| {});
    // Too little is known of it before.
    town.order("a", "first=100ms");
    assert_eq!((who(&town.ask("p")), town.reached("b")), ("a", 0));
    town.heal("a");
    for _ in 0..40 {
        // On a busy machine one of them may be slow for the others, and is asked elsewhere too.
        assert_eq!(town.ask("p").status, 200);
    }
    let before = town.reached("b");
    town.order("a", "first=30s");
    assert_eq!((who(&town.ask("p")), town.reached("b")), ("b", before + 1));
}
