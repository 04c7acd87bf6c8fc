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
        std::thread::sleep(std::time::Duration::from_secs(10));
        says("too late")
    });
    let reply = street.ask("", "A trip.");
    assert_eq!(reply.content(), "weather: I am weather.\nhotels: I am hotels.");
    until("the slow one is left", || street.agent("flights").connections().1 == 0);
    let rows = street.rows("SELECT status, code FROM requests WHERE agent = 'flights'");
    assert_eq!(rows, ["499 client.disconnected"]);
}

#[test]
fn one_that_fails_is_left_out_unless_all_are_asked_for() {
    for (quorum, status) in [(0, 200), (3, 503), (9, 503), (2, 200)] {
        let street = street(|document| orchestration(document)["parallel"]["quorum"] = json!(quorum));
        street
            .agent("flights")
            .answer(|_| answer("503 Service Unavailable", "", r#"{"error":{"message":"full"}}"#));
        let reply = street.ask("", "A trip.");
        assert_eq!(reply.status, status, "{}", reply.text());
        if status == 200 {
            assert_eq!(reply.header("x-meseta-agents"), Some("weather,hotels"));
            assert_eq!(reply.header("x-meseta-agents-missing"), Some("flights"));
        }
    }
    // Nobody is left whose answer it could be.
    let street = street(|_| {});
    for id in ["weather", "flights", "hotels"] {
        street.agent(id).answer(|_| answer("500 Internal Server Error", "", r#"{"error":{"message":"no"}}"#));
    }
    assert_eq!(street.ask("", "A trip.").status, 500);
}

#[test]
fn what_came_by_the_deadline_is_the_answer_if_it_is_enough() {
    for (quorum, status) in [(0, 200), (3, 504)] {
        let street = street(|document| {
            let parallel = &mut orchestration(document)["parallel"];
            (parallel["deadline_ms"], parallel["quorum"]) = (json!(1_500), json!(quorum));
        });
        street.agent("flights").answer(|_| {
            std::thread::sleep(std::time::Duration::from_secs(20));
            says("too late")
        });
        let reply = street.ask("", "A trip.");
        assert_eq!(reply.status, status, "{}", reply.text());
        if status == 200 {
            assert_eq!(reply.content(), "weather: I am weather.\nhotels: I am hotels.");
            assert_eq!(reply.header("x-meseta-agents-missing"), Some("flights"));
        } else {
            assert_eq!(reply.code(), "agent.late", "{}", reply.text());
        }
    }
}

#[test]
fn nobody_goes_on_when_too_few_can_still_answer() {
    let street = street(|document| orchestration(document)["parallel"]["quorum"] = json!(2));
    for id in ["weather", "flights"] {
        street.agent(id).answer(|_| answer("500 Internal Server Error", "", r#"{"error":{"message":"no"}}"#));
    }
    street.agent("hotels").answer(|_| {
        std::thread::sleep(std::time::Duration::from_secs(5));
        says("for nothing")
    });
    assert_eq!(street.ask("", "A trip.").status, 500);
    let rows = street.rows("SELECT status, code FROM requests WHERE agent = 'hotels'");
    assert_eq!(rows, ["499 client.disconnected"]);
}

#[test]
fn a_merged_answer_says_what_all_of_it_took() {
    let street = street(|_| {});
    for (id, tokens) in [("weather", 3), ("flights", 5), ("hotels", 0)] {
        let body = json!({
            "id": "x", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": id}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens},
        });
        street.agent(id).answer(move |_| answer("200 OK", "", &body.to_string()));
    }
    let reply = street.ask("", "A trip.");
    assert_eq!(reply.json()["usage"]["prompt_tokens"], 30, "{}", reply.text());
    assert_eq!(reply.json()["usage"]["completion_tokens"], 8);
    let mut asked = chat("A trip.");
    (asked["stream"], asked["stream_options"]) = (json!(true), json!({"include_usage": true}));
    let text = street.post("/v1/chat/completions", "", &asked).text();
    assert!(text.contains("\"completion_tokens\":8"), "{text}");
}

#[test]
fn a_model_that_writes_nothing_leaves_the_agents_own_words() {
    let street = street(|document| {
        orchestration(document)["parallel"]["merge"] =
            json!({"type": "model", "model": "sim/unknown", "prompt": "Sum up."});
    });
    let reply = street.ask("", "A trip.");
    assert_eq!(
        (reply.status, reply.content().as_str()),
        (200, "I am flights.\n\nI am weather.\n\nI am hotels.")
    );
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
