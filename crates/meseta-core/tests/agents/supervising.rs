//! One agent after the other, chosen anew after each answer.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::choosing::{choose_by_model, chooses, rule};
use crate::street::{Street, body, orchestration};
use crate::support::provider::{Provider, json as answer, says};

/// A model that chooses these, one after the other, and then nobody.
fn chooser(order: &'static [&'static str]) -> Provider {
    let asked = AtomicUsize::new(0);
    Provider::start(move |_| match order.get(asked.fetch_add(1, Ordering::SeqCst)) {
        Some(name) => chooses(&[name]),
        None => chooses(&[]),
    })
}

#[test]
fn whoever_is_needed_next_is_asked_until_nobody_is() {
    let provider = chooser(&["flights", "hotels"]);
    let street = Street::of("supervise", &["weather", "flights", "hotels"], |document| {
        choose_by_model(document, &provider);
    });
    let reply = street.ask("", "Bring me to Oslo for a night.");
    assert_eq!(reply.content(), "I am flights.\n\nI am hotels.");
    assert_eq!(reply.header("x-meseta-agents"), Some("flights,hotels"));
    // The model sees what has been said; the agent sees it before the user's words.
    assert!(provider.asked()[1].contains("flights: I am flights."));
    let last = body(&street.agent("hotels").asked()[0]);
    assert_eq!(last["messages"][0]["content"], "I am flights.");
    assert_eq!(street.rows("SELECT count(*) FROM decisions"), ["3"]);
}

#[test]
fn without_a_model_those_of_the_first_choice_have_their_turns() {
    let street = Street::of("supervise", &["weather", "flights"], |document| {
        orchestration(document)["rules"] = json!([rule("trip", &["flights", "weather"])]);
    });
    assert_eq!(street.ask("", "A trip.").content(), "I am flights.\n\nI am weather.");
}

#[test]
fn steps_have_an_end_and_a_model_writes_the_final_answer() {
    let provider = chooser(&["flights", "hotels", "flights", "hotels", "flights", "hotels"]);
    let street = Street::of("supervise", &["weather", "flights", "hotels"], |document| {
        choose_by_model(document, &provider);
        orchestration(document)["supervise"] =
            json!({"steps": 3, "ms": 20_000, "usd": null, "final": "sim/echo"});
    });
    let reply = street.ask("", "Bring me to Oslo.");
    assert_eq!(reply.status, 200);
    assert!(reply.content().starts_with("Answer my last question now"), "{}", reply.content());
    assert_eq!(street.agent("flights").asked().len() + street.agent("hotels").asked().len(), 3);
}

#[test]
fn money_has_an_end() {
    let provider = chooser(&["flights", "hotels", "flights", "hotels"]);
    let street = Street::of("supervise", &["weather", "flights", "hotels"], |document| {
        choose_by_model(document, &provider);
        let targets = document["targets"].as_array_mut().expect("targets");
        let target = targets.iter_mut().find(|target| target["name"] == "sim/*").expect("it is there");
        target["price"] =
            json!({"input": 1e6, "cached_input": null, "cache_write": null, "output": 1e6, "source": "test"});
        orchestration(document)["supervise"]["usd"] = json!(0.5);
    });
    // The agent asks a model, for more than the run may cost, and says for whom.
    let models = street.address("models");
    street.agent("flights").answer(move |request| {
        let context = request.lines().find(|line| line.starts_with("x-meseta-context")).expect("told");
        let mut client = crate::support::http1::Client::connect(models);
        let asked = crate::support::ask("sim/echo", "How much?").to_string();
        client.post("/v1/chat/completions", &format!("{context}\r\n"), asked);
        assert_eq!(client.reply().status, 200);
        says("Much.")
    });
    let reply = street.ask("", "Bring me to Oslo.");
    assert_eq!(reply.content(), "Much.");
    assert!(street.agent("hotels").asked().is_empty());
}

const NO: &str = r#"{"error":{"message":"no"}}"#;

#[test]
fn an_agent_that_fails_is_passed_over_and_told_where_nobody_answers() {
    let provider = chooser(&["flights", "hotels", "weather", "hotels"]);
    let street = Street::of("supervise", &["weather", "flights", "hotels"], |document| {
        choose_by_model(document, &provider);
    });
    street.agent("hotels").answer(|_| answer("500 Internal Server Error", "", NO));
    let reply = street.ask("", "Bring me to Oslo.");
    assert_eq!(reply.content(), "I am flights.\n\nI am weather.");
    assert_eq!(reply.header("x-meseta-agents"), Some("flights,weather"));
    assert_eq!(reply.header("x-meseta-agents-missing"), Some("hotels"));
    // Who judges hears of it, and cannot have it asked again.
    assert!(provider.asked()[2].contains("hotels: (gave no answer)"), "{}", provider.asked()[2]);
    assert_eq!(street.agent("hotels").asked().len(), 1);
    let provider = chooser(&["hotels"]);
    let street =
        Street::of("supervise", &["weather", "hotels"], |document| choose_by_model(document, &provider));
    street.agent("hotels").answer(|_| answer("500 Internal Server Error", "", NO));
    assert_eq!(street.ask("", "Bring me to Oslo.").status, 500);
}

#[test]
fn an_agent_that_says_the_same_again_ends_the_round() {
    let provider = chooser(&["flights", "hotels", "flights", "hotels", "flights"]);
    let street = Street::of("supervise", &["weather", "flights", "hotels"], |document| {
        choose_by_model(document, &provider);
        orchestration(document)["supervise"]["steps"] = json!(20);
    });
    assert_eq!(street.ask("", "Bring me to Oslo.").content(), "I am flights.\n\nI am hotels.");
    assert_eq!(street.agent("flights").asked().len(), 2);
}

#[test]
fn a_final_answer_that_does_not_come_leaves_the_agents_own_words() {
    let provider = chooser(&["flights"]);
    let street = Street::of("supervise", &["weather", "flights"], |document| {
        choose_by_model(document, &provider);
        orchestration(document)["supervise"]["final"] = json!("sim/unknown");
    });
    let reply = street.ask("", "Bring me to Oslo.");
    assert_eq!((reply.status, reply.content().as_str()), (200, "I am flights."));
}
