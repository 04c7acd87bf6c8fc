//! Every way to choose among the members.

use std::collections::BTreeMap;
use std::thread;

use serde_json::{Value as Json, json};

use crate::support::{ask, streamed, until};
use crate::town::{Town, at, pool, who};

fn selecting(select: &str, change: impl FnOnce(&mut Json)) -> Town {
    Town::of(&["a", "b", "c"], |document| {
        let mut pool = pool("p", &["a", "b", "c"]);
        pool["select"] = json!(select);
        document["pools"] = json!([pool]);
        change(document);
    })
}

fn counts(town: &Town, requests: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let mut client = town.client();
    for _ in 0..requests {
        let reply = client.chat(&ask("p", "hello"));
        *counts.entry(who(&reply).to_owned()).or_default() += 1;
    }
    counts
}

fn count(counts: &BTreeMap<String, usize>, name: &str) -> usize {
    counts.get(name).copied().unwrap_or(0)
}

#[test]
fn weights_are_shares() {
    let town = selecting("weighted", |document| {
        document["pools"][0]["members"][0]["weight"] = json!(6.0);
        document["pools"][0]["members"][1]["weight"] = json!(3.0);
    });
    let counts = counts(&town, 1_000);
    // Six standard deviations around 600, 300 and 100.
    assert!((507..=693).contains(&count(&counts, "a")), "{counts:?}");
    assert!((213..=387).contains(&count(&counts, "b")), "{counts:?}");
    assert!((43..=157).contains(&count(&counts, "c")), "{counts:?}");
}

#[test]
fn round_robin_takes_turns() {
    let counts = counts(&selecting("round_robin", |_| {}), 30);
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [10, 10, 10]);
}

#[test]
fn priority_asks_the_first_while_it_can_answer() {
    let town = selecting("priority", |_| {});
    assert_eq!(count(&counts(&town, 5), "a"), 5);
    town.order("a", "status=500");
    assert_eq!(count(&counts(&town, 3), "b"), 3);
    town.order("b", "status=500");
    assert_eq!(count(&counts(&town, 2), "c"), 2);
}

#[test]
fn a_later_group_answers_only_when_the_earlier_one_cannot() {
    for select in ["weighted", "round_robin", "least_latency", "least_busy", "cheapest", "session_hash"] {
        let town = selecting(select, |document| document["pools"][0]["members"][2]["priority"] = json!(1));
        assert_eq!(count(&counts(&town, 20), "c"), 0, "{select}");
        town.order("a", "status=500");
        assert_eq!(count(&counts(&town, 4), "b"), 4, "{select}");
        town.order("b", "status=500");
        assert_eq!(count(&counts(&town, 2), "c"), 2, "{select}");
    }
}

#[test]
fn the_cheapest_is_asked_first_and_one_without_a_price_last() {
    let price = |input: f64| json!({"input": input, "cached_input": null, "cache_write": null, "output": input, "source": "config"});
    let town = selecting("cheapest", |document| {
        at(document, "b")["price"] = price(2.0);
        at(document, "c")["price"] = price(1.0);
    });
    assert_eq!(who(&town.ask("p")), "c");
    town.order("c", "status=500");
    assert_eq!(who(&town.ask("p")), "b");
    town.order("b", "status=500");
    assert_eq!(who(&town.ask("p")), "a");
}

#[test]
fn the_fastest_gets_most_once_all_were_measured() {
    let town = selecting("least_latency", |_| {});
    town.order("a", "first=200ms");
    town.order("b", "first=200ms");
    counts(&town, 3);
    let counts = counts(&town, 90);
    // Of two that are drawn the better one is asked, so c whenever it is drawn: two times of three. Five standard
    // deviations below that is still more than a third.
    assert!(count(&counts, "c") > 37, "{counts:?}");
    assert!(count(&counts, "c") > count(&counts, "a").max(count(&counts, "b")), "{counts:?}");
}

#[test]
fn the_least_busy_is_asked() {
    let town = selecting("least_busy", |document| {
        document["pools"][0]["members"].as_array_mut().expect("members").pop();
    });
    for name in ["a", "b"] {
        let slow = json!([{"when": {"contains": "slow"}, "reply": {"directives": "stall=1"}}]);
        town.provider(name).set_script(&slow.to_string()).expect("a script");
    }
    let mut held = town.client();
    held.post("/v1/chat/completions", "", streamed("p", "slow slow slow").to_string());
    let busy = who(&held.head().expect("a head")).to_owned();
    let counts = counts(&town, 10);
    assert_eq!(count(&counts, &busy), 0, "{busy} {counts:?}");
    drop(held);
    until("the call is given up", || town.provider(&busy).stats().in_flight == 0);
}

#[test]
fn a_session_keeps_its_target_and_sessions_are_spread() {
    let town = selecting("session_hash", |document| document["pools"][0]["affinity"] = json!(false));
    let mut homes = BTreeMap::new();
    for session in 0..40 {
        let header = format!("x-meseta-session: session-{session}\r\n");
        let home = who(&town.ask_with("p", &header)).to_owned();
        for _ in 0..2 {
            assert_eq!(who(&town.ask_with("p", &header)), home);
        }
        *homes.entry(home).or_insert(0) += 1;
    }
    assert_eq!(homes.len(), 3, "{homes:?}");
    // Only the sessions of the one that is gone move, and they come back.
    town.order("a", "status=500");
    let home = |session: u32| {
        who(&town.ask_with("p", &format!("x-meseta-session: session-{session}\r\n"))).to_owned()
    };
    let moved: Vec<String> = (0..40).map(home).collect();
    assert_eq!(moved.iter().filter(|name| *name == "a").count(), 0);
    let stayed = |name: &str| moved.iter().filter(|home| *home == name).count();
    assert!(stayed("b") >= homes["b"] && stayed("c") >= homes["c"], "{homes:?}");
}

#[test]
fn members_of_one_wildcard_target_are_told_apart() {
    let town = Town::of(&["a"], |document| {
        let mut pool = crate::support::pool("p", &[("sim/*", Some("one")), ("sim/*", Some("two"))]);
        pool["select"] = json!("round_robin");
        document["pools"] = json!([pool]);
    });
    let said: Vec<String> =
        (0..2).map(|_| town.ask("p").header("x-meseta-model").expect("who answered").to_owned()).collect();
    assert_eq!(said.iter().filter(|name| *name == "sim/one").count(), 1, "{said:?}");
    assert_eq!(said.iter().filter(|name| *name == "sim/two").count(), 1, "{said:?}");
}

#[test]
fn a_pool_is_a_model_like_any_other() {
    let town = selecting("priority", |document| document["default"] = json!("p"));
    let reply =
        town.post("/v1/chat/completions", "", &json!({"messages": [{"role": "user", "content": "x"}]}));
    assert_eq!(who(&reply), "a");
    let reply = town.post(
        "/v1/messages",
        "",
        &json!({"model": "p", "max_tokens": 50, "messages": [{"role": "user", "content": "said again"}]}),
    );
    assert_eq!(reply.json()["content"][0]["text"], "said again", "{}", reply.text());
    let reply = town.post("/v1/responses", "", &json!({"model": "p", "input": "said again"}));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(town.rows("SELECT pool, target FROM requests"), ["p a", "p a", "p a"]);
}

#[test]
fn embeddings_and_counts_go_by_pools_too() {
    let town = selecting("priority", |_| {});
    town.order("a", "status=500");
    let reply = town.post("/v1/embeddings", "", &json!({"model": "p", "input": "x"}));
    assert_eq!(who(&reply), "b");
    assert_eq!(reply.json()["data"].as_array().map(Vec::len), Some(1));
    let body = json!({"model": "p", "messages": [{"role": "user", "content": "count me"}]});
    let reply = town.post("/v1/messages/count_tokens", "anthropic-version: 2023-06-01\r\n", &body);
    assert!(reply.json()["input_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "{}", reply.text());
}

#[test]
fn many_at_once_lose_nothing() {
    let town = selecting("weighted", |document| {
        document["retry_budget"] = json!({"percent": 100.0, "minimum_per_second": 1000});
    });
    town.order("a", "status=500");
    let town = &town;
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(move || {
                let mut client = town.client();
                for _ in 0..50 {
                    assert_ne!(who(&client.chat(&ask("p", "hello"))), "a");
                }
            });
        }
    });
    assert_eq!(town.plane.stats().panics, 0);
}
