//! Sessions stay where their prompts are cached, and leave when the target cannot answer or the budget allows it.

mod support;

use meseta_core::Plane;
use meseta_sim::Simulator;
use serde_json::{Value as Json, json};

use support::http1::{Client, Reply};
use support::{House, ask, document, keys, pool, target};

const NAMED: &str = "x-meseta-session: s\r\n";

/// Providers of their own, and a pool `all` of them all whose targets are named by their numbers.
struct Town {
    plane: Plane,
    providers: Vec<Simulator>,
}

impl Town {
    fn with(providers: usize, change: impl FnOnce(&mut Json)) -> Town {
        let providers: Vec<Simulator> =
            (0..providers).map(|_| Simulator::start("127.0.0.1", 0, None).expect("a simulator")).collect();
        let names: Vec<String> = (0..providers.len()).map(|number| number.to_string()).collect();
        let mut document = document("http://unused");
        document["wildcards"] = json!({});
        document["catalog"] = json!([]);
        document["targets"] =
            providers.iter().zip(&names).map(|(one, name)| warm(name, &one.url())).collect();
        let members: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
        document["pools"] = json!([pool("all", &members)]);
        document["pools"][0]["select"] = json!("round_robin");
        change(&mut document);
        let plane = Plane::start(&document.to_string(), 2).unwrap_or_else(|error| panic!("{error}"));
        for provider in &providers {
            provider.clear_requests();
        }
        Town { plane, providers }
    }

    fn say(&self, headers: &str, request: &Json) -> Reply {
        let mut client = Client::connect(self.plane.stats().listeners[0].address);
        client.post("/v1/chat/completions", headers, request.to_string());
        let reply = client.reply();
        assert_eq!(reply.status, 200, "{}", reply.text());
        // The pin is there before the next turn is: a client that has its answer may go on at once.
        support::until("settled", || self.plane.stats().in_flight == 0);
        reply
    }

    /// Says something in a session, and who answered.
    fn turn(&self, headers: &str) -> usize {
        self.asked_by(headers, &ask("all", "Hello"))
    }

    fn asked_by(&self, headers: &str, request: &Json) -> usize {
        let before = self.counts();
        self.say(headers, request);
        let after = self.counts();
        let moved: Vec<usize> = (0..after.len()).filter(|at| after[*at] > before[*at]).collect();
        // The last one asked has answered; a broken one before it was asked too.
        match moved[..] {
            [one] => one,
            _ => panic!("several were asked: {before:?} {after:?}"),
        }
    }

    fn counts(&self) -> Vec<u64> {
        self.providers.iter().map(|provider| provider.stats().requests).collect()
    }

    /// Who answers these turns.
    fn turns(&self, headers: &str, count: usize) -> Vec<usize> {
        (0..count).map(|_| self.turn(headers)).collect()
    }

    fn decisions(&self, decision: &str) -> u64 {
        let stats = self.plane.stats();
        stats.sessions.decisions.iter().find(|(name, _)| *name == decision).expect("a decision").1
    }
}

/// A target whose provider keeps prompts for five minutes.
fn warm(name: &str, url: &str) -> Json {
    let mut target = target(url);
    target["name"] = json!(name);
    target["model"] = json!("echo");
    target["prompt_cache"] = json!({"window_ms": 300_000, "minimum_tokens": 1, "marks": "none"});
    target["health"]["failures"] = json!(1);
    target
}

fn all_same(turns: &[usize]) -> bool {
    turns.windows(2).all(|pair| pair[0] == pair[1])
}

#[test]
fn a_session_stays_while_its_cache_is_warm() {
    let town = Town::with(3, |_| {});
    let unnamed = town.turns("", 3);
    assert!(!all_same(&unnamed), "without a session they take turns: {unnamed:?}");
    for headers in [NAMED, "x-model-affinity: t\r\n"] {
        let turns = town.turns(headers, 4);
        assert!(all_same(&turns), "{turns:?}");
    }
    assert_eq!(town.plane.stats().sessions.pins, 2);
    assert_eq!(town.decisions("cold"), 2);
    assert_eq!(town.decisions("no_budget") + town.decisions("same_target"), 6);
}

#[test]
fn a_provider_that_keeps_nothing_holds_nobody() {
    let cold = Town::with(3, |document| {
        for target in document["targets"].as_array_mut().unwrap() {
            target["prompt_cache"]["window_ms"] = json!(0);
        }
    });
    assert!(!all_same(&cold.turns(NAMED, 3)));
    let idle = Town::with(3, |document| {
        document["sessions"]["idle_ms"] = json!(60_000);
        for target in document["targets"].as_array_mut().unwrap() {
            target["prompt_cache"]["window_ms"] = json!(0);
        }
    });
    assert!(all_same(&idle.turns(NAMED, 3)), "but the configuration may");
    let without = Town::with(3, |document| document["pools"][0]["affinity"] = json!(false));
    assert!(!all_same(&without.turns(NAMED, 3)));
    assert_eq!(without.plane.stats().sessions.pins, 0);
}

#[test]
fn a_session_leaves_a_target_that_cannot_answer_and_stays_with_the_next() {
    let town = Town::with(3, |_| {});
    let home = town.turn(NAMED);
    town.providers[home].set_script(r#"[{"reply": {"directives": "status=503"}}]"#).unwrap();
    let reply = town.say(NAMED, &ask("all", "Hello"));
    assert_eq!(reply.header("x-meseta-attempts"), Some("2"));
    // One failure ejects it. The session has a new home and does not come back.
    let turns = town.turns(NAMED, 4);
    assert!(all_same(&turns) && turns[0] != home, "{turns:?}, not {home}");
}

#[test]
fn a_session_stays_with_a_fallbacks_target_while_its_own_rest() {
    let town = Town::with(3, |document| {
        let mut spare = pool("spare", &[("1", None), ("2", None)]);
        spare["select"] = json!("round_robin");
        let mut first = pool("all", &[("0", None)]);
        first["fallback"] = json!([{"name": "spare", "on": ["error"]}]);
        document["pools"] = json!([first, spare]);
    });
    town.providers[0].set_script(r#"[{"reply": {"directives": "status=503"}}]"#).unwrap();
    town.say(NAMED, &ask("all", "Hello"));
    let turns = town.turns(NAMED, 4);
    assert!(all_same(&turns) && turns[0] != 0, "{turns:?}");
}

#[test]
fn conversations_are_told_apart_by_how_they_begin() {
    let town = Town::with(3, |document| document["sessions"]["implicit"] = json!(true));
    let conversation = |topic: &str, turns: usize| {
        let mut messages = vec![json!({"role": "system", "content": "Be brief."})];
        messages.push(json!({"role": "user", "content": topic}));
        for turn in 0..turns {
            messages.push(json!({"role": "assistant", "content": format!("Answer {turn}.")}));
            messages.push(json!({"role": "user", "content": format!("And {turn}?")}));
        }
        json!({"model": "all", "messages": messages})
    };
    let turns = |topic: &str, headers: &str| -> Vec<usize> {
        (0..4).map(|turns| town.asked_by(headers, &conversation(topic, turns))).collect()
    };
    let (one, other, third) = (turns("Wine", ""), turns("Cheese", ""), turns("Bread", ""));
    assert!(all_same(&one) && all_same(&other) && all_same(&third), "{one:?} {other:?} {third:?}");
    assert_ne!((one[0], other[0]), (other[0], third[0]), "new conversations take turns");
    assert!(!all_same(&turns("Water", "x-plano-cache: off\r\n")));
    assert_eq!(town.plane.stats().sessions.pins, 3);
}

#[test]
fn a_session_hash_places_sessions_alike_without_a_pin() {
    let by_hash = |document: &mut Json| {
        document["pools"][0]["select"] = json!("session_hash");
        document["pools"][0]["affinity"] = json!(false);
    };
    let (one, other) = (Town::with(4, by_hash), Town::with(4, by_hash));
    let mut homes = Vec::new();
    for session in 0..12 {
        let headers = format!("x-meseta-session: {session}\r\n");
        let turns = [one.turns(&headers, 2), other.turns(&headers, 2)].concat();
        assert!(all_same(&turns), "{turns:?}");
        homes.push(turns[0]);
    }
    assert!(!all_same(&homes), "they are spread");
    assert_eq!(one.plane.stats().sessions.pins, 0);
}

#[test]
fn one_tenants_sessions_are_not_anothers() {
    // SHA-256 of "one" and "two".
    let digests = [
        "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",
        "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3",
    ];
    let town = Town::with(2, |document| document["listeners"][0]["auth"] = keys(&digests));
    let of = |key: &str| format!("authorization: Bearer {key}\r\n{NAMED}");
    assert_ne!(town.turn(&of("one")), town.turn(&of("two")), "the second session begins anew");
    assert_eq!(town.plane.stats().sessions.pins, 2);
    let town = Town::with(2, |document| document["sessions"]["tenant_header"] = json!("x-tenant"));
    let of = |tenant: &str| format!("x-tenant: {tenant}\r\n{NAMED}");
    assert_ne!(town.turn(&of("one")), town.turn(&of("two")));
}

/// Two targets of which the pool likes the first better, and a session that is at the second.
fn away(budget: Json, prices: [Json; 2]) -> Town {
    let town = Town::with(2, |document| {
        document["pools"][0]["select"] = json!("priority");
        document["sessions"]["budget"] = budget;
        for (target, price) in document["targets"].as_array_mut().unwrap().iter_mut().zip(prices) {
            target["price"] = price;
            // A hundred thousand tokens in every prompt, all of them cached.
            target["default_headers"] = json!({"x-sim": "cached=100000"});
            target["health"]["rest_ms"] = json!(1);
            target["health"]["ramp_ms"] = json!(0);
        }
    });
    let long = json!([{"reply": {"usage": {"input": 100_000, "cached": 100_000}}}]).to_string();
    town.providers[0].set_script(r#"[{"reply": {"directives": "status=503"}}]"#).unwrap();
    town.providers[1].set_script(&long).unwrap();
    town.say(NAMED, &ask("all", "Hello"));
    town.providers[0].set_script(&long).unwrap();
    // The first one has rested and is wholly back when it answers whatever comes without a session.
    support::until("the first target is back", || {
        let before = town.counts()[1];
        (0..10).for_each(|_| drop(town.say("", &ask("all", "Hello"))));
        town.counts()[1] == before
    });
    town
}

fn price(input: f64, cached: f64) -> Json {
    json!({"input": input, "cached_input": cached, "cache_write": null, "output": 1.0, "source": "config"})
}

#[test]
fn without_a_budget_nobody_moves_and_with_one_it_is_kept() {
    let prices = || [price(1.0, 0.1), price(1.0, 0.1)];
    let town = away(Json::Null, prices());
    assert_eq!(town.turns(NAMED, 5), [1; 5]);
    assert_eq!(town.decisions("no_budget"), 5);
    // Every turn saves 0.01 USD at the warm target, and the way to the cold one costs 0.09 USD more: with all that was
    // saved to be spent, that is the ninth turn.
    let budget =
        |percent: f64| json!({"percent": percent, "replenish_on_rebind": true, "cache_read_discount": 0.1});
    let town = away(budget(100.0), prices());
    assert_eq!(town.turns(NAMED, 10), [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
    assert_eq!((town.decisions("over_budget"), town.decisions("within_budget")), (8, 1));
    let town = away(budget(0.0), prices());
    assert_eq!(town.turns(NAMED, 12), [1; 12]);
    // The client may say how much.
    assert_eq!(town.turn(&format!("x-plano-max-switch-spend-pct: 100\r\n{NAMED}")), 0);
}

#[test]
fn what_is_cheaper_even_cold_and_what_has_no_price_is_free_to_go_to() {
    let budget = || json!({"percent": 0.0, "replenish_on_rebind": true, "cache_read_discount": 0.1});
    let town = away(budget(), [price(0.05, 0.01), price(1.0, 0.1)]);
    assert_eq!(town.turns(NAMED, 2), [0, 0]);
    assert_eq!(town.decisions("free"), 1);
    let town = away(budget(), [Json::Null, price(1.0, 0.1)]);
    assert_eq!(town.turns(NAMED, 2), [0, 0]);
    assert_eq!(town.decisions("unpriced"), 1);
}

/// A plane in front of one provider that wants marks, and what it is sent.
fn marked(dialect: &str, marks: &str, change: impl FnOnce(&mut Json)) -> House {
    let house = House::with(|document| {
        document["sessions"]["cache_marks"] = json!(true);
        document["sessions"]["minimum_prefix_tokens"] = json!(100);
        let target = &mut document["targets"][0];
        target["dialects"] = json!([dialect]);
        target["quirks"]["cache_control"] = json!(marks == "chat_parts");
        target["prompt_cache"] = json!({"window_ms": 300_000, "minimum_tokens": 50, "marks": marks});
        target["default_headers"] = json!({"anthropic-version": "2023-06-01"});
        change(document);
    });
    house.simulator.clear_requests();
    house
}

fn long_chat() -> Json {
    json!({"model": "sim/anthropic.claude-sonnet-4-20250514-v1:0", "messages": [
        {"role": "system", "content": "Be brief. ".repeat(200)},
        {"role": "user", "content": "Hello"},
    ]})
}

fn sent(house: &House, headers: &str, request: &Json) -> String {
    house.simulator.clear_requests();
    let mut client = house.connect();
    client.post("/v1/chat/completions", headers, request.to_string());
    let reply = client.reply();
    assert_eq!(reply.status, 200, "{}", reply.text());
    house.simulator.requests().pop().expect("a request").body
}

#[test]
fn prompts_are_marked_where_their_target_wants_it() {
    let mark = r#""cache_control":{"type":"ephemeral"}"#;
    for (dialect, marks, mark) in [
        ("openai_chat", "chat_parts", mark),
        ("anthropic_messages", "messages", mark),
        ("bedrock_converse", "converse", r#""cachePoint":{"type":"default"}"#),
    ] {
        let house = marked(dialect, marks, |_| {});
        let body = sent(&house, "", &long_chat());
        assert_eq!(body.matches(mark).count(), 2, "{dialect}: {body}");
        assert_eq!(sent(&house, "x-plano-cache: off\r\n", &long_chat()).matches(mark).count(), 0);
        let short = sent(&house, "", &ask("sim/echo", "Hello"));
        assert_eq!(short.matches(mark).count(), 0, "{dialect}: {short}");
    }
    let wrong = marked("openai_chat", "messages", |_| {});
    assert!(!sent(&wrong, "", &long_chat()).contains("cache_control"), "those of another dialect");
    let unwanted = marked("openai_chat", "chat_parts", |document| {
        document["sessions"]["cache_marks"] = json!(false);
    });
    assert!(!sent(&unwanted, "", &long_chat()).contains("cache_control"));
    let longer = marked("openai_chat", "chat_parts", |document| {
        document["targets"][0]["prompt_cache"]["minimum_tokens"] = json!(100_000);
    });
    assert!(!sent(&longer, "", &long_chat()).contains("cache_control"), "the target's minimum counts too");
}

#[test]
fn marks_leave_every_other_byte_of_the_clients_own_dialect() {
    let house = marked("anthropic_messages", "messages", |_| {});
    let request = json!({
        "model": "sim/echo",
        "max_tokens": 50,
        "system": [{"type": "text", "text": "Be brief. ".repeat(200)}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    });
    let text = request.to_string();
    let mut client = house.connect();
    client.post("/v1/messages", "anthropic-version: 2023-06-01\r\n", &text);
    assert_eq!(client.reply().status, 200);
    let body = house.simulator.requests().pop().expect("a request").body;
    let mark = r#","cache_control":{"type":"ephemeral"}"#;
    assert_eq!(body.matches(mark).count(), 2, "{body}");
    assert_eq!(body.replace(mark, "").replace(r#""echo""#, r#""sim/echo""#), text);
}
