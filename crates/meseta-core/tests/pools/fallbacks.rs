//! Who is asked when the pool itself cannot answer.

use serde_json::{Value as Json, json};

use crate::town::{Town, at, no_retries, pool, who};

fn to(name: &str, on: &[&str]) -> Json {
    json!({"name": name, "on": on})
}

/// `p` has the first target, and these names behind it.
fn falling_back(names: &[&str], fallback: &Json, change: impl FnOnce(&mut Json)) -> Town {
    Town::of(names, |document| {
        let mut pool = pool("p", &names[..1]);
        pool["fallback"] = fallback.clone();
        pool["retry"]["attempts"] = json!(1);
        document["pools"] = json!([pool]);
        change(document);
    })
}

#[test]
fn each_cause_has_its_own() {
    let chain = json!([
        to("by-alias", &["rate_limit"]),
        to("c", &["context_length"]),
        to("q", &["content_policy"]),
        to("sim/any", &["error"]),
        to("d", &["timeout"]),
    ]);
    let town = falling_back(&["a", "b", "c", "d"], &chain, |document| {
        document["names"]["by-alias"] = json!("b");
        let second = pool("q", &["d"]);
        document["pools"].as_array_mut().expect("pools").push(second);
        at(document, "a")["timeouts"]["first_token_ms"] = json!(1_500);
        at(document, "a")["health"]["failures"] = json!(0);
        document["retry_budget"] = no_retries();
    });
    for (directives, answers) in [
        ("refuse=context", "c"),
        ("refuse=policy", "d"),
        ("status=500", "sim/any"),
        ("drop=rst", "sim/any"),
        ("refuse=quota", "sim/any"),
        ("first=5s", "d"),
        ("status=429;retry-after=60", "b"),
    ] {
        town.order("a", directives);
        let reply = town.ask("p");
        assert_eq!((who(&reply), reply.header("x-meseta-attempts")), (answers, Some("2")), "{directives}");
        assert_eq!(town.calls("reason"), ["first", "fallback"], "{directives}");
    }
    // The limit is known now: nobody asks there to hear of it again.
    let before = town.reached("a");
    assert_eq!((who(&town.ask("p")), town.reached("a")), ("b", before));
    assert_eq!(town.calls("target, reason"), ["b fallback"]);
}

#[test]
fn a_fallback_for_another_cause_does_not_help() {
    let town = falling_back(&["a", "b"], &json!([to("b", &["timeout"])]), |_| {});
    for directives in ["refuse=context", "status=500", "status=400"] {
        town.order("a", directives);
        assert!(town.ask("p").status >= 400, "{directives}");
    }
    assert_eq!(town.reached("b"), 0);
}

#[test]
fn the_chain_goes_on_until_somebody_answers() {
    let all = ["error", "rate_limit", "timeout"];
    let town = falling_back(&["a", "b", "c"], &json!([to("q", &all), to("c", &all)]), |document| {
        let second = pool("q", &["b"]);
        document["pools"].as_array_mut().expect("pools").push(second);
    });
    town.order("a", "status=500");
    town.order("b", "status=503");
    let reply = town.ask("p");
    assert_eq!(who(&reply), "c");
    // The fallback's own pool tries as often as it says before the next one has its turn.
    assert_eq!(town.calls("target, reason").first().map(String::as_str), Some("a first"));
    assert_eq!(town.calls("target, reason").last().map(String::as_str), Some("c fallback"));
}

#[test]
fn chains_that_meet_end() {
    let all = ["error"];
    let chain = json!([to("q", &all), to("r", &all)]);
    let town = falling_back(&["a", "b", "c"], &chain, |document| {
        for (name, member, next) in [("q", "b", "r"), ("r", "c", "p")] {
            let mut pool = pool(name, &[member]);
            pool["fallback"] = json!([to(next, &all), to("p", &all)]);
            pool["retry"]["attempts"] = json!(1);
            document["pools"].as_array_mut().expect("pools").push(pool);
        }
    });
    for name in ["a", "b", "c"] {
        town.order(name, "status=500");
    }
    assert_eq!(town.ask("p").status, 500);
    assert_eq!((town.reached("a"), town.reached("b"), town.reached("c")), (1, 1, 1));
}

#[test]
fn who_has_just_failed_is_not_asked_under_another_name() {
    let town = falling_back(&["a", "b"], &json!([to("q", &["error"])]), |document| {
        let second = pool("q", &["a", "b"]);
        document["pools"].as_array_mut().expect("pools").push(second);
    });
    town.order("a", "status=500");
    assert_eq!((who(&town.ask("p")), town.reached("a")), ("b", 1));
}

#[test]
fn fallbacks_come_before_those_who_rest_and_those_before_nobody() {
    let town = falling_back(&["a", "b"], &json!([to("b", &["error"])]), |document| {
        at(document, "a")["health"]["failures"] = json!(1);
        at(document, "a")["health"]["rest_ms"] = json!(600_000);
        at(document, "a")["health"]["rest_max_ms"] = json!(600_000);
    });
    town.order("a", "status=500");
    assert_eq!(who(&town.ask("p")), "b");
    town.heal("a");
    assert_eq!((who(&town.ask("p")), town.reached("a")), ("b", 1));
    let town = falling_back(&["a", "b"], &json!([to("b", &["timeout"])]), |document| {
        at(document, "a")["health"]["failures"] = json!(1);
    });
    town.order("a", "status=500");
    assert_eq!(town.ask("p").status, 500);
    town.heal("a");
    assert_eq!((who(&town.ask("p")), town.reached("a")), ("a", 2));
}

#[test]
fn a_full_target_makes_way_for_its_fallback() {
    let town = falling_back(&["a", "b"], &json!([to("b", &["rate_limit"])]), |document| {
        at(document, "a")["limits"] = json!({"concurrency": 1, "queue": 0, "queue_ms": 0});
    });
    town.order("a", "stall=1");
    let mut held = town.client();
    held.post("/v1/chat/completions", "", crate::support::streamed("p", "one two three").to_string());
    assert_eq!(who(&held.head().expect("a head")), "a");
    assert_eq!((who(&town.ask("p")), town.reached("a")), ("b", 1));
}
