//! Several agents at once, and one answer.

use serde_json::json;

use crate::choosing::rule;
use crate::street::{Street, body, chat, orchestration};
use crate::support::provider::{json as answer, says};
use crate::support::until;

fn street(change: impl FnOnce(&mut serde_json::Value)) -> Street {
    Street::of("parallel", &["weather", "flights", "hotels"], |document| {
        orchestration(document)["rules"] = json!([rule("trip", &["flights", "weather", "hotels"])]);
        change(document);
    })
}

#[test]
fn answers_stand_in_the_order_of_the_choice() {
    let street = street(|_| {});
    street.agent("flights").answer(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        says("{agent} flies.")
    });
    let reply = street.ask("", "A trip.");
    assert_eq!(reply.content(), "flights: {agent} flies.\nweather: I am weather.\nhotels: I am hotels.");
    let rows = street.rows("SELECT count(*) FROM requests WHERE parent IS NOT NULL");
    assert_eq!(rows, ["3"]);
    let mut asked = chat("A trip.");
    asked["stream"] = json!(true);
    let text = street.post("/v1/chat/completions", "", &asked).text();
    assert!(text.contains("hotels: I am hotels.") && text.ends_with("data: [DONE]\n\n"), "{text}");
}

#[test]
fn enough_answers_are_enough_and_the_others_are_cancelled() {
    let street = street(|document| orchestration(document)["parallel"]["quorum"] = json!(2));
    street.agent("flights").answer(|_| {
        std::thread::sleep(std::time::Duration::from_secs(2));
        says("too late")
    });
    let reply = street.ask("", "A trip.");
    assert_eq!(reply.content(), "weather: I am weather.\nhotels: I am hotels.");
    until("the slow one is left", || street.agent("flights").connections().1 == 0);
    let rows = street.rows("SELECT status, code FROM requests WHERE agent = 'flights'");
    assert_eq!(rows, ["499 client.disconnected"]);
}

#[test]
fn one_that_fails_is_told_where_all_are_needed_and_is_not_where_others_are_enough() {
    for (quorum, status) in [(0, 503), (2, 200)] {
        let street = street(|document| orchestration(document)["parallel"]["quorum"] = json!(quorum));
        street
            .agent("flights")
            .answer(|_| answer("503 Service Unavailable", "", r#"{"error":{"message":"full"}}"#));
        let reply = street.ask("", "A trip.");
        assert_eq!(reply.status, status, "{}", reply.text());
    }
}

#[test]
fn whoever_is_late_is_named_by_a_code() {
    let street = street(|document| orchestration(document)["parallel"]["deadline_ms"] = json!(200));
    street.agent("flights").answer(|_| {
        std::thread::sleep(std::time::Duration::from_secs(3));
        says("too late")
    });
    let reply = street.ask("", "A trip.");
    assert_eq!(reply.status, 504, "{}", reply.text());
}

#[test]
fn a_model_writes_one_answer_of_all() {
    let street = street(|document| {
        orchestration(document)["parallel"]["merge"] =
            json!({"type": "model", "model": "sim/echo", "prompt": "Sum up."});
    });
    let reply = street.ask("", "A trip.");
    assert_eq!((reply.status, reply.content().as_str()), (200, "Sum up."));
    let rows = street.rows("SELECT model_requested FROM requests WHERE parent IS NOT NULL AND agent IS NULL");
    assert_eq!(rows, ["sim/echo"]);
    assert_eq!(body(&street.agent("weather").asked()[0])["messages"].as_array().map(Vec::len), Some(1));
}
