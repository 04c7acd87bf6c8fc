//! A tool that an agent calls is the client's to run. With its result the turn goes on where it stood.

use serde_json::{Value as Json, json};

use crate::choosing::{choose_by_model, chooses, rule};
use crate::street::{Street, body, chat, orchestration};
use crate::support::provider::{Provider, json as answer, says};

/// An answer that calls a tool.
fn calls(id: &str) -> String {
    let call = json!({"id": id, "type": "function", "function": {"name": "seat", "arguments": "{}"}});
    let message = json!({"role": "assistant", "content": null, "tool_calls": [call]});
    let choices = json!([{"index": 0, "message": message, "finish_reason": "tool_calls"}]);
    let document =
        json!({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": choices});
    answer("200 OK", "", &document.to_string())
}

/// The same as a stream.
fn streams_calls(id: &str) -> String {
    let call =
        json!({"index": 0, "id": id, "type": "function", "function": {"name": "seat", "arguments": "{}"}});
    let event = |delta: Json, finish: Option<&str>| {
        let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
        format!(
            "data: {}\n\n",
            json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices})
        )
    };
    let events = event(json!({"role": "assistant", "tool_calls": [call]}), None)
        + &event(json!({}), Some("tool_calls"))
        + "data: [DONE]\n\n";
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream";
    format!("{head}\r\ncontent-length: {}\r\n\r\n{events}", events.len())
}

/// Calls first, and answers when the result is there.
fn once(calls: impl Fn() -> String + Send + Sync + 'static) -> impl Fn(&str) -> String + Send + Sync {
    move |request| if request.contains("tool_call_id") { says("Seat 4A.") } else { calls() }
}

fn with_result(text: &str, id: &str) -> Json {
    let call = json!({"id": id, "type": "function", "function": {"name": "seat", "arguments": "{}"}});
    let mut asked = chat(text);
    asked["messages"].as_array_mut().expect("a list").extend([
        json!({"role": "assistant", "content": null, "tool_calls": [call]}),
        json!({"role": "tool", "tool_call_id": id, "content": "window"}),
    ]);
    asked
}

fn street(strategy: &str) -> Street {
    Street::of(strategy, &["weather", "flights", "hotels"], |document| {
        orchestration(document)["rules"] = json!([rule("trip", &["weather", "flights", "hotels"])]);
    })
}

fn shown(request: &str) -> String {
    body(request)["messages"].to_string()
}

#[test]
fn a_chain_goes_on_with_the_agent_that_called() {
    let street = street("chain");
    street.agent("flights").answer(once(|| calls("call_1")));
    assert!(street.ask("", "A trip.").text().contains("tool_calls"));
    assert!(street.agent("hotels").asked().is_empty());
    let reply = street.post("/v1/chat/completions", "", &with_result("A trip.", "call_1"));
    assert_eq!(reply.content(), "I am hotels.");
    assert_eq!(reply.header("x-meseta-agents"), Some("flights,hotels"));
    // Who has answered is not asked again, and is not forgotten.
    assert_eq!(street.agent("weather").asked().len(), 1);
    let flights = shown(&street.agent("flights").asked()[1]);
    assert!(flights.contains("I am weather.") && flights.contains("window"), "{flights}");
    let hotels = shown(&street.agent("hotels").asked()[0]);
    assert!(hotels.contains("I am weather.") && hotels.contains("Seat 4A."), "{hotels}");
    let rows = street.rows("SELECT step, why FROM decisions ORDER BY request_id, number");
    assert_eq!(rows.last().map(String::as_str), Some("replayed the result of a tool that it called"));
}

#[test]
fn the_last_one_in_line_is_found_again_too_whole_or_streamed() {
    for stream in [false, true] {
        let street = street("chain");
        let said = if stream { streams_calls("call_1") } else { calls("call_1") };
        street.agent("hotels").answer(once(move || said.clone()));
        let mut asked = chat("A trip.");
        asked["stream"] = json!(stream);
        let text = street.post("/v1/chat/completions", "", &asked).text();
        assert!(text.contains("call_1"), "{text}");
        let reply = street.post("/v1/chat/completions", "", &with_result("A trip.", "call_1"));
        assert_eq!(reply.content(), "Seat 4A.");
        let asked = |id| street.agent(id).asked().len();
        assert_eq!((asked("weather"), asked("flights"), asked("hotels")), (1, 1, 2));
        let hotels = shown(&street.agent("hotels").asked()[1]);
        assert!(hotels.contains("I am weather.") && hotels.contains("I am flights."), "{hotels}");
    }
}

#[test]
fn several_calls_in_one_turn_each_go_on() {
    let street = street("chain");
    street.agent("flights").answer(|request| match request.matches("\"tool_call_id\"").count() {
        // Not every agent finds new names for its calls.
        0 | 1 => calls("call_0"),
        _ => says("Seat 4A."),
    });
    street.ask("", "A trip.");
    let mut asked = with_result("A trip.", "call_0");
    assert!(street.post("/v1/chat/completions", "", &asked).text().contains("call_0"));
    let more = with_result("", "call_0")["messages"].as_array().expect("a list")[1..].to_vec();
    asked["messages"].as_array_mut().expect("a list").extend(more);
    assert_eq!(street.post("/v1/chat/completions", "", &asked).content(), "I am hotels.");
    assert_eq!(street.agent("weather").asked().len(), 1);
}

#[test]
fn what_cannot_be_told_apart_is_nobodys_and_other_words_are_another_turn() {
    let street = street("chain");
    street.agent("flights").answer(once(|| calls("call_0")));
    street.ask("", "A trip.");
    let weather = || street.agent("weather").asked().len();
    // Somebody else's tool of the same name.
    street.post("/v1/chat/completions", "", &with_result("A trip with my dog.", "call_0"));
    assert_eq!(weather(), 2);
    // Two users who ask the same: neither is shown what was said to the other.
    street.ask("", "A trip.");
    street.post("/v1/chat/completions", "", &with_result("A trip.", "call_0"));
    assert_eq!(weather(), 4);
}

#[test]
fn one_of_several_at_once_goes_on_alone_with_what_the_others_said() {
    let street = street("parallel");
    street.agent("flights").answer({
        let answer = once(|| calls("call_1"));
        move |request| {
            std::thread::sleep(std::time::Duration::from_millis(500));
            answer(request)
        }
    });
    let reply = street.ask("", "A trip.");
    assert!(reply.text().contains("call_1"), "{}", reply.text());
    assert_eq!(reply.header("x-meseta-agents"), Some("flights"));
    let reply = street.post("/v1/chat/completions", "", &with_result("A trip.", "call_1"));
    assert_eq!(reply.content(), "Seat 4A.");
    let flights = shown(&street.agent("flights").asked()[1]);
    assert!(flights.contains("I am weather.") && flights.contains("I am hotels."), "{flights}");
    assert_eq!(street.agent("weather").asked().len(), 1);
}

#[test]
fn who_supervises_goes_on_with_all_that_was_said() {
    let order = std::sync::Mutex::new(vec!["hotels", "flights", "weather"]);
    let provider = Provider::start(move |_| match order.lock().expect("whole").pop() {
        Some(name) => chooses(&[name]),
        None => chooses(&[]),
    });
    let street = Street::of("supervise", &["weather", "flights", "hotels"], |document| {
        choose_by_model(document, &provider);
    });
    street.agent("flights").answer(once(|| calls("call_1")));
    assert!(street.ask("", "Bring me to Oslo.").text().contains("call_1"));
    let reply = street.post("/v1/chat/completions", "", &with_result("Bring me to Oslo.", "call_1"));
    assert_eq!(reply.content(), "I am weather.\n\nSeat 4A.\n\nI am hotels.");
    assert_eq!(street.agent("weather").asked().len(), 1);
}
