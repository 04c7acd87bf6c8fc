//! A prompt is brought to the right model, and to the next one of its preference where that cannot answer.

use serde_json::{Value as Json, json};

use crate::choosing::{choose_by_model, chooses, rule};
use crate::street::Street;
use crate::support::ask;
use crate::support::http1::{Client, Reply};
use crate::support::provider::{Provider, json as answer, says};

/// Two models, each at a provider of its own, and two preferences; a model chooses.
fn street(chooser: &Provider, one: &Provider, other: &Provider, change: impl FnOnce(&mut Json)) -> Street {
    Street::of("chain", &["weather"], |document| {
        choose_by_model(document, chooser);
        for (name, provider, price) in [("one", one, 5.0), ("other", other, 1.0)] {
            let mut target = crate::support::target(&provider.url());
            target["name"] = json!(name);
            target["model"] = json!(name);
            target["price"] = json!({"input": price, "cached_input": null, "cache_write": null, "output": price, "source": "test"});
            document["targets"].as_array_mut().expect("targets").push(target);
            document["names"][name] = json!(name);
        }
        let preference = |name: &str, models: &[&str]| json!({"name": name, "description": name, "examples": [], "models": models, "prefer": "none"});
        document["preferences"] =
            json!([preference("code", &["one", "other"]), preference("chat", &["other"])]);
        change(document);
    })
}

fn post(street: &Street, path: &str, headers: &str, body: &Json) -> Reply {
    let mut client = Client::connect(street.address("models"));
    client.post(path, headers, body.to_string());
    client.reply()
}

fn providers() -> (Provider, Provider) {
    (Provider::start(|_| says("one")), Provider::start(|_| says("other")))
}

#[test]
fn the_matching_preference_says_who_is_asked_and_in_which_order() {
    let (one, other) = providers();
    let chooser = Provider::start(|_| chooses(&["code"]));
    let street = street(&chooser, &one, &other, |_| {});
    let reply = post(&street, "/v1/chat/completions", "", &ask("sim/echo", "Sort this in Go."));
    assert_eq!((reply.content().as_str(), reply.header("x-meseta-route")), ("one", Some("code")));
    // What Plano lacks: the rest of the list stands in.
    one.answer(|_| answer("503 Service Unavailable", "", "{}"));
    let reply = post(&street, "/v1/chat/completions", "", &ask("sim/echo", "Sort that in Go."));
    assert_eq!((reply.content().as_str(), reply.header("x-meseta-attempts")), ("other", Some("2")));
    let rows = street.rows("SELECT route, model FROM requests WHERE parent IS NULL ORDER BY id");
    assert_eq!(rows, ["code one", "code other"]);
}

#[test]
fn nothing_that_fits_leaves_the_client_its_model() {
    let (one, other) = providers();
    let chooser = Provider::start(|_| chooses(&[]));
    let street = street(&chooser, &one, &other, |_| {});
    let reply = post(&street, "/v1/chat/completions", "", &ask("sim/echo", "Hello."));
    assert_eq!((reply.content().as_str(), reply.header("x-meseta-route")), ("Hello.", Some("sim/echo")));
}

#[test]
fn the_cheapest_goes_first_where_that_is_wanted() {
    let (one, other) = providers();
    let chooser = Provider::start(|_| chooses(&["code"]));
    let street =
        street(&chooser, &one, &other, |document| document["preferences"][0]["prefer"] = json!("cheapest"));
    let reply = post(&street, "/routing/v1/chat/completions", "", &ask("sim/echo", "Sort this."));
    assert_eq!(reply.json()["models"], json!(["other", "one"]));
    assert_eq!((&reply.json()["route"], one.asked().len()), (&json!("code"), 0));
    let street = self::street(&chooser, &one, &other, |document| {
        document["preferences"][0]["prefer"] = json!("fastest");
        document["latencies"] = json!({"one": 3.0, "other": 4.0});
    });
    let reply = post(&street, "/routing/v1/chat/completions", "", &ask("sim/echo", "Sort this."));
    assert_eq!(reply.json()["models"], json!(["one", "other"]));
}

#[test]
fn a_request_may_bring_its_own_preferences_and_they_go_no_further() {
    let (one, other) = providers();
    let chooser =
        Provider::start(
            |request| {
                if request.contains("poems") { chooses(&["poems"]) } else { chooses(&["code"]) }
            },
        );
    let street = street(&chooser, &one, &other, |_| {});
    let mut asked = ask("sim/echo", "Rhyme.");
    asked["routing_preferences"] = json!([
        {"name": "poems", "description": "Rhymes", "models": ["other"]},
        {"name": "prose", "description": "No rhymes", "models": ["one"]},
    ]);
    let reply = post(&street, "/v1/chat/completions", "", &asked);
    assert_eq!((reply.content().as_str(), reply.header("x-meseta-route")), ("other", Some("poems")));
    assert!(!other.asked()[0].contains("routing_preferences"));
    // None at all means no routing.
    asked["routing_preferences"] = json!([]);
    assert_eq!(post(&street, "/v1/chat/completions", "", &asked).content(), "Rhyme.");
    asked["routing_preferences"] = json!([{"name": "x", "models": ["nowhere/at-all"]}]);
    let reply = post(&street, "/v1/chat/completions", "", &asked);
    assert_eq!((reply.status, reply.code().as_str()), (404, "model.not_found"));
    asked["routing_preferences"] = json!("x");
    let reply = post(&street, "/v1/chat/completions", "", &asked);
    assert_eq!((reply.status, reply.code().as_str()), (400, "request.invalid_field"));
}

#[test]
fn between_two_turns_of_the_user_the_choice_stays() {
    let (one, other) = providers();
    let chooser =
        Provider::start(
            |request| {
                if request.contains("tool says") { chooses(&["chat"]) } else { chooses(&["code"]) }
            },
        );
    let street =
        street(&chooser, &one, &other, |document| document["chooser"]["user_turns_only"] = json!(true));
    let session = "x-meseta-session: s1\r\n";
    assert_eq!(post(&street, "/v1/chat/completions", session, &ask("sim/echo", "Sort.")).content(), "one");
    let asked = json!({"model": "sim/echo", "messages": [
        {"role": "user", "content": "Sort."},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "run", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "tool says"},
    ]});
    assert_eq!(post(&street, "/v1/chat/completions", session, &asked).content(), "one");
    assert_eq!(chooser.asked().len(), 1);
    assert_eq!(street.rows("SELECT step FROM decisions ORDER BY request_id DESC LIMIT 1"), ["replayed"]);
}

#[test]
fn an_operators_rule_goes_before_all() {
    let (one, other) = providers();
    let chooser = Provider::start(|_| chooses(&["code"]));
    let street = street(&chooser, &one, &other, |document| {
        document["chooser"]["rules"] = json!([rule("(?i)secret", &["sim/echo"]), rule("chat", &["chat"])]);
    });
    let reply = post(&street, "/v1/chat/completions", "", &ask("one", "A secret."));
    assert_eq!((reply.content().as_str(), reply.header("x-meseta-route")), ("A secret.", Some("one")));
    let reply = post(&street, "/v1/chat/completions", "", &ask("one", "We chat."));
    assert_eq!((reply.content().as_str(), reply.header("x-meseta-route")), ("other", Some("chat")));
    assert!(chooser.asked().is_empty());
}

#[test]
fn with_a_budget_a_session_leaves_its_model_only_where_that_is_worth_it() {
    for (percent, expected) in [(Some(0.0), "one"), (Some(100.0), "one"), (None, "other")] {
        let (one, other) = providers();
        let chooser = Provider::start(|request| {
            if request.contains("Now we chat") { chooses(&["chat"]) } else { chooses(&["code"]) }
        });
        let street = street(&chooser, &one, &other, |document| {
            if let Some(percent) = percent {
                document["sessions"]["budget"] =
                    json!({"percent": percent, "replenish_on_rebind": true, "cache_read_discount": 0.1});
            }
            for target in document["targets"].as_array_mut().expect("targets") {
                // Leaving is dear: what is cached here is read at the full price there.
                target["prompt_cache"]["window_ms"] = json!(300_000);
                if target["name"] == "other" {
                    target["price"]["input"] = json!(50.0);
                }
            }
        });
        let session = "x-meseta-session: s1\r\n";
        assert_eq!(
            post(&street, "/v1/chat/completions", session, &ask("sim/echo", "Sort.")).content(),
            "one"
        );
        let asked = json!({"model": "sim/echo", "messages": [
            {"role": "user", "content": "Sort."},
            {"role": "assistant", "content": "one"},
            {"role": "user", "content": "Now we chat."},
        ]});
        let reply = post(&street, "/v1/chat/completions", session, &asked);
        assert_eq!(reply.content(), expected, "{percent:?}");
        // The model that the session stayed with is not there any more: the preference's own stand in.
        one.answer(|_| answer("503 Service Unavailable", "", "{}"));
        assert_eq!(post(&street, "/v1/chat/completions", session, &asked).content(), "other");
    }
}

#[test]
fn a_turn_that_nothing_fitted_is_gone_on_with_as_it_was_begun() {
    let (one, other) = providers();
    let chooser =
        Provider::start(|request| if request.contains("Hello.") { chooses(&[]) } else { chooses(&["code"]) });
    let street =
        street(&chooser, &one, &other, |document| document["chooser"]["user_turns_only"] = json!(true));
    let session = "x-meseta-session: s1\r\n";
    assert_eq!(post(&street, "/v1/chat/completions", session, &ask("sim/echo", "Sort.")).content(), "one");
    let mut asked = json!({"model": "sim/echo", "messages": [
        {"role": "user", "content": "Sort."},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "Hello."},
    ]});
    assert_eq!(post(&street, "/v1/chat/completions", session, &asked).content(), "Hello.");
    let messages = asked["messages"].as_array_mut().expect("messages");
    messages.push(json!({"role": "assistant", "content": null, "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "run", "arguments": "{}"}}]}));
    messages.push(json!({"role": "tool", "tool_call_id": "c1", "content": "tool says"}));
    let reply = post(&street, "/v1/chat/completions", session, &asked);
    assert_eq!((reply.status, reply.header("x-meseta-model")), (200, Some("sim/echo")));
    assert_eq!((one.asked().len(), chooser.asked().len()), (1, 2));
    let rows = street.rows("SELECT step, chosen FROM decisions ORDER BY request_id DESC LIMIT 1");
    assert_eq!(rows, ["replayed "]);
}

#[test]
fn preferences_of_a_request_are_no_larger_than_those_of_a_file() {
    let (one, other) = providers();
    let chooser = Provider::start(|_| chooses(&["x"]));
    let street = street(&chooser, &one, &other, |_| {});
    let with = |change: &dyn Fn(&mut Json)| {
        let mut preference = json!({"name": "x", "description": "d", "examples": [], "models": ["one"]});
        change(&mut preference);
        preference
    };
    let long =
        |key: &'static str, length: usize| with(&|preference| preference[key] = json!("é".repeat(length)));
    let many = |key: &'static str, item: &str, count: usize| {
        with(&|preference| preference[key] = json!(vec![item; count]))
    };
    let named = |number: usize| json!({"name": format!("x{number}"), "models": ["one"]});
    let all = |count: usize| Json::Array((0..count).map(named).collect());
    for (bound, preferences) in [
        ("no `name`", json!([long("name", 0)])),
        ("256 characters", json!([long("name", 257)])),
        ("16384 characters", json!([long("description", 16_385)])),
        ("1000 examples", json!([many("examples", "e", 1_001)])),
        ("4096 characters", json!([many("examples", &"e".repeat(4_097), 1)])),
        ("an empty one", json!([many("examples", "", 1)])),
        ("64 models", json!([many("models", "one", 65)])),
        ("1000 entries", all(1_001)),
        ("65536 bytes", json!(vec![long("description", 16_384); 3])),
    ] {
        let mut asked = ask("sim/echo", "Rhyme.");
        asked["routing_preferences"] = preferences;
        let reply = post(&street, "/v1/chat/completions", "", &asked);
        assert_eq!((reply.status, reply.code().as_str()), (400, "request.invalid_field"), "{bound}");
        assert_eq!(reply.json()["error"]["param"], "routing_preferences");
        assert!(reply.text().contains(bound), "{bound}: {}", reply.text());
    }
    // In the client's own words.
    let mut asked =
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Rhyme."}]});
    asked["routing_preferences"] = json!([long("name", 257)]);
    let reply = post(&street, "/v1/messages", "", &asked);
    assert_eq!((reply.status, &reply.json()["type"]), (400, &json!("error")), "{}", reply.text());
    assert!(chooser.asked().is_empty());
    // All that a file could have is taken.
    for preferences in [
        json!([long("name", 256)]),
        json!([long("description", 16_384)]),
        json!([many("examples", "e", 1_000)]),
        json!([many("models", "one", 64)]),
        all(1_000),
    ] {
        asked = ask("sim/echo", "Rhyme.");
        asked["routing_preferences"] = preferences;
        assert_eq!(post(&street, "/routing/v1/chat/completions", "", &asked).status, 200);
    }
}

#[test]
fn a_model_that_is_not_there_is_said_so_whether_a_preference_fits_or_not() {
    let (one, other) = providers();
    let chooser =
        Provider::start(|request| if request.contains("Hello.") { chooses(&[]) } else { chooses(&["code"]) });
    let street = street(&chooser, &one, &other, |_| {});
    for path in ["/v1/chat/completions", "/routing/v1/chat/completions"] {
        for said in ["Sort.", "Hello."] {
            let reply = post(&street, path, "", &ask("nowhere", said));
            assert_eq!((reply.status, reply.code().as_str()), (404, "model.not_found"), "{path} {said}");
        }
        // Whoever names none leaves it to the preferences.
        assert_eq!(post(&street, path, "", &ask("none", "Sort.")).status, 200);
    }
    assert_eq!(chooser.asked().len(), 1);
}

#[test]
fn models_are_measured_before_one_is_called_the_fastest() {
    let (one, other) = providers();
    let chooser = Provider::start(|_| chooses(&["code"]));
    let street =
        street(&chooser, &one, &other, |document| document["preferences"][0]["prefer"] = json!("fastest"));
    for _ in 0..6 {
        // To ask who would be asked measures nobody, and counts for nothing.
        let ranked = post(&street, "/routing/v1/chat/completions", "", &ask("sim/echo", "Sort."));
        assert_eq!(ranked.status, 200);
        post(&street, "/v1/chat/completions", "", &ask("sim/echo", "Sort."));
        street.rows("SELECT 1");
    }
    assert_eq!((one.asked().len(), other.asked().len()), (3, 3));
}

#[test]
fn a_model_that_brings_no_measurement_is_not_tried_with_every_request() {
    let (one, other) = providers();
    let chooser = Provider::start(|_| chooses(&["code"]));
    let street =
        street(&chooser, &one, &other, |document| document["preferences"][0]["prefer"] = json!("fastest"));
    one.answer(|_| answer("503 Service Unavailable", "", "{}"));
    for _ in 0..6 {
        assert_eq!(post(&street, "/v1/chat/completions", "", &ask("sim/echo", "Sort.")).content(), "other");
    }
    assert_eq!((one.asked().len(), other.asked().len()), (1, 6));
    let ranked = post(&street, "/routing/v1/chat/completions", "", &ask("sim/echo", "Sort."));
    assert_eq!(ranked.json()["models"], json!(["other", "one"]));
}
