//! Who answers: rules, a model that is asked, what happens when it does not answer, and what is told of the choice.

use serde_json::{Value as Json, json};

use crate::street::{Street, body, chat, orchestration};
use crate::support::provider::{Provider, json as answer, says};

/// When the user's words match, these agents are asked.
pub fn rule(text: &str, ids: &[&str]) -> Json {
    json!({"name": text, "priority": 0, "use": ids, "when": {
        "headers": {}, "tags": [], "tenants": [], "text": text,
        "min_tokens": null, "max_tokens": null, "tools": null, "images": null,
    }})
}

/// A chooser that is a model: what it says goes through `provider`.
pub fn choose_by_model(document: &mut Json, provider: &Provider) {
    let mut target = crate::support::target(&provider.url());
    target["name"] = json!("chooser");
    target["model"] = json!("chooser");
    document["targets"].as_array_mut().expect("targets").push(target);
    document["names"]["chooser"] = json!("chooser");
    document["chooser"]["model"] = json!({
        "model": "chooser", "prompt": "structured", "deadline_ms": 60_000, "context_tokens": 8_192,
        "cache_entries": 16, "cache_ms": 60_000,
    });
}

/// What a model says that chooses these.
pub fn chooses(names: &[&str]) -> String {
    says(&json!({"route": names}).to_string().replace('"', "\\\""))
}

#[test]
fn several_agents_answer_in_the_order_of_the_rule() {
    let street = Street::of("chain", &["weather", "flights", "hotels"], |document| {
        orchestration(document)["rules"] = json!([rule("(?i)trip", &["flights", "weather"])]);
    });
    let reply = street.ask("", "Plan my trip.");
    assert_eq!((reply.status, reply.content().as_str()), (200, "I am weather."));
    assert_eq!(reply.header("x-meseta-agents"), Some("flights,weather"));
    let last = body(&street.agent("weather").asked()[0]);
    assert_eq!(
        last["messages"],
        json!([
            {"role": "assistant", "name": "flights", "content": "I am flights."},
            {"role": "user", "content": "Plan my trip."},
        ])
    );
    assert!(street.agent("hotels").asked().is_empty());
    let rows = street.rows("SELECT step, chosen, why FROM decisions");
    assert_eq!(rows, ["rules flights,weather (?i)trip"]);
}

#[test]
fn a_chain_ends_at_the_agent_that_fails_and_the_client_hears_it() {
    let street = Street::of("chain", &["weather", "flights"], |document| {
        orchestration(document)["rules"] = json!([rule("trip", &["flights", "weather"])]);
    });
    street.agent("flights").answer(|_| answer("418 I'm a teapot", "", r#"{"error":{"message":"short"}}"#));
    let reply = street.ask("", "A trip.");
    assert_eq!((reply.status, reply.text().as_str()), (418, r#"{"error":{"message":"short"}}"#));
    assert!(street.agent("weather").asked().is_empty());
}

#[test]
fn an_agent_that_wants_the_client_to_run_a_tool_is_heard_by_the_client() {
    let street = Street::of("chain", &["weather", "flights"], |document| {
        orchestration(document)["rules"] = json!([rule("trip", &["flights", "weather"])]);
    });
    let call = r#"{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"book","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#;
    street.agent("flights").answer(move |_| answer("200 OK", "", call));
    let reply = street.ask("", "A trip.");
    assert_eq!(reply.json()["choices"][0]["message"]["tool_calls"][0]["id"], "c1");
    assert!(street.agent("weather").asked().is_empty());
}

#[test]
fn streams_are_understood_and_the_last_one_passes() {
    let street = Street::of("chain", &["weather", "flights"], |document| {
        orchestration(document)["rules"] = json!([rule("trip", &["flights", "weather"])]);
    });
    for id in ["flights", "weather"] {
        street.agent(id).answer(move |_| {
            let chunk = |delta: &str, finish: &str| {
                format!("data: {{\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n")
            };
            let body = [
                chunk(r#"{"role":"assistant","content":"It is "}"#, "null"),
                chunk(&format!(r#"{{"content":"{id}."}}"#), "null"),
                chunk("{}", "\"stop\""),
                "data: [DONE]\n\n".to_owned(),
            ]
            .concat();
            format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        });
    }
    let mut asked = chat("A trip.");
    asked["stream"] = json!(true);
    let reply = street.post("/v1/chat/completions", "", &asked);
    assert!(reply.text().contains("\"content\":\"weather.\"") && reply.text().ends_with("data: [DONE]\n\n"));
    let last = body(&street.agent("weather").asked()[0]);
    assert_eq!(last["messages"][0]["content"], "It is flights.");
}

#[test]
fn clients_of_messages_and_responses_are_answered_in_their_own_words() {
    let street = Street::of("chain", &["weather", "flights"], |document| {
        orchestration(document)["rules"] = json!([rule("trip", &["flights", "weather"])]);
    });
    let asked =
        json!({"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "A trip."}]});
    let reply = street.post("/v1/messages", "", &asked);
    assert_eq!(reply.json()["content"][0]["text"], "I am weather.", "{}", reply.text());
    // The agents speak chat, and get it.
    let last = body(&street.agent("weather").asked()[0]);
    assert!(last.to_string().contains("flights: I am flights."), "{last}");
    let asked = json!({"model": "m", "input": "A trip."});
    let reply = street.post("/v1/responses", "", &asked);
    assert_eq!(reply.json()["output"][0]["content"][0]["text"], "I am weather.", "{}", reply.text());
}

#[test]
fn a_model_chooses_where_no_rule_does_and_is_asked_once_for_a_question() {
    let provider = Provider::start(|_| chooses(&["flights"]));
    let street =
        Street::of("chain", &["weather", "flights"], |document| choose_by_model(document, &provider));
    for _ in 0..2 {
        assert_eq!(
            street.ask("authorization: Bearer secret\r\n", "Bring me to Oslo.").content(),
            "I am flights."
        );
    }
    assert_eq!(provider.asked().len(), 1);
    assert!(!provider.asked()[0].contains("secret"));
    let rows = street.rows("SELECT step, chosen FROM decisions ORDER BY request_id");
    assert_eq!(rows, ["model flights", "cached flights"]);
    // The question to the model is a row of the run.
    let rows = street.rows(
        "SELECT a.model_requested FROM requests a JOIN requests b ON a.parent = b.id WHERE a.agent IS NULL",
    );
    assert_eq!(rows, ["chooser"]);
}

#[test]
fn nothing_fails_because_a_chooser_fails() {
    for (what, said) in [
        ("failed", answer("500 Internal Server Error", "", "{}")),
        ("unreadable", says("I would rather not say.")),
        ("failed", "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>".to_owned()),
        ("nobody", chooses(&[])),
    ] {
        let provider = Provider::start(move |_| said.clone());
        let street =
            Street::of("chain", &["weather", "flights"], |document| choose_by_model(document, &provider));
        let reply = street.ask("", "Hello?");
        assert_eq!((reply.status, reply.content().as_str()), (200, "I am weather."), "{what}");
        let rows = street.rows("SELECT step, passed FROM decisions");
        assert_eq!(rows, [format!("default rules=off embedded=off model={what}")]);
    }
}

#[test]
fn a_chooser_that_is_silent_is_late() {
    let provider = Provider::start(|_| {
        std::thread::sleep(std::time::Duration::from_secs(5));
        chooses(&["flights"])
    });
    let street = Street::of("chain", &["weather", "flights"], |document| {
        choose_by_model(document, &provider);
        document["chooser"]["model"]["deadline_ms"] = json!(100);
    });
    assert_eq!(street.ask("", "Hello?").content(), "I am weather.");
    assert_eq!(street.rows("SELECT passed FROM decisions"), ["rules=off embedded=off model=late"]);
}

#[test]
fn a_decision_can_be_asked_for_alone() {
    let street = Street::of("chain", &["weather", "flights"], |document| {
        orchestration(document)["rules"] = json!([rule("trip", &["flights", "weather"])]);
    });
    let reply = street.post("/routing/v1/chat/completions", "", &chat("A trip."));
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["agents"], json!(["flights", "weather"]));
    assert_eq!(reply.json()["decisions"][0]["step"], "rules");
    assert!(street.agent("flights").asked().is_empty());
}

#[test]
fn equal_questions_that_come_together_are_one() {
    let provider = Provider::start(|_| {
        std::thread::sleep(std::time::Duration::from_secs(1));
        chooses(&["flights"])
    });
    let street = Street::of("chain", &["weather", "flights"], |document| {
        choose_by_model(document, &provider);
        document["chooser"]["model"]["deadline_ms"] = json!(60_000);
    });
    std::thread::scope(|scope| {
        for _ in 0..30 {
            scope.spawn(|| assert_eq!(street.ask("", "Bring me to Oslo.").content(), "I am flights."));
        }
    });
    assert_eq!(provider.asked().len(), 1);
    assert_eq!(street.agent("flights").asked().len(), 30);
}

#[test]
fn a_chooser_that_talks_nonsense_is_left_alone_for_a_while() {
    let provider = Provider::start(|_| says("I would rather not say."));
    let street =
        Street::of("chain", &["weather", "flights"], |document| choose_by_model(document, &provider));
    for number in 0..9 {
        assert_eq!(street.ask("", &format!("Question {number}")).content(), "I am weather.");
    }
    assert_eq!(provider.asked().len(), 5);
    assert_eq!(street.rows("SELECT count(*) FROM decisions WHERE passed LIKE '%model=resting'"), ["4"]);
}

#[test]
fn whoever_judges_what_is_left_to_do_sees_the_question_behind_long_answers() {
    let provider =
        Provider::start(
            |request| {
                if request.contains("flights: ") { chooses(&[]) } else { chooses(&["flights"]) }
            },
        );
    let street = Street::of("supervise", &["weather", "flights"], |document| {
        choose_by_model(document, &provider);
    });
    let said = says(&format!("FIRST {} LAST", "long words ".repeat(4_000)));
    street.agent("flights").answer(move |_| said.clone());
    assert_eq!(street.ask("", "Bring me to Oslo, please.").status, 200);
    let judged = &provider.asked()[1];
    assert!(judged.contains("Bring me to Oslo, please."));
    assert!(judged.contains("flights: FIRST") && judged.contains("LAST") && judged.contains('…'));
    assert!(judged.len() < 8_192 * 4 + 8_192, "{}", judged.len());
}

#[test]
fn who_asks_for_a_decision_without_a_trace_gets_one_to_go_on_with() {
    let street = Street::of("chain", &["weather", "flights"], |_| {});
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let given = format!("traceparent: 00-{trace}-b7ad6b7169203331-01\r\n");
    let reply = street.post("/routing/v1/chat/completions", &given, &chat("A trip."));
    assert_eq!(reply.json()["trace_id"], trace);
    let mut made = std::collections::HashSet::new();
    for _ in 0..3 {
        let reply = street.post("/routing/v1/chat/completions", "", &chat("A trip."));
        let id = reply.json()["trace_id"].as_str().expect("a trace").to_owned();
        assert!(id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{id}");
        assert_eq!(street.rows("SELECT trace_id FROM requests ORDER BY id DESC LIMIT 1"), [id.as_str()]);
        made.insert(id);
    }
    assert_eq!(made.len(), 3);
}
