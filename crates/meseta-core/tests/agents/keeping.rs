//! Conversations that the plane keeps: clients say what is new, agents get all of it.

use serde_json::{Value as Json, json};

use crate::choosing::rule;
use crate::failing::{dies_in_the_middle, target};
use crate::street::{Street, body, chat, orchestration};
use crate::support::provider::{json as answer, says};
use crate::support::{Folder, keys};

fn street(folder: &Folder, change: impl FnOnce(&mut Json)) -> Street {
    Street::of("chain", &["weather", "flights"], |document| {
        document["histories"] = json!({
            "path": folder.file("sessions.db"), "keep_hours": 24, "max_bytes": 1 << 26, "max_message_bytes": 1 << 20,
        });
        orchestration(document)["history"] = json!({"mode": "keep", "messages": 0, "tokens": 0});
        change(document);
    })
}

/// What the agent was last told, one line a message.
fn told(street: &Street, id: &str) -> Vec<String> {
    let asked = street.agent(id).asked();
    let messages = body(asked.last().expect("it was asked"))["messages"].clone();
    let line = |message: &Json| {
        format!("{}: {}", message["role"].as_str().unwrap_or("?"), message["content"].as_str().unwrap_or("?"))
    };
    messages.as_array().expect("messages").iter().map(line).collect()
}

#[test]
fn the_new_turn_is_enough_and_a_new_plane_knows_the_old_ones() {
    let folder = Folder::new();
    let first = street(&folder, |_| {});
    let reply = first.ask("", "Will it rain?");
    let session = reply.header("x-meseta-session").expect("a name").to_owned();
    let headers = format!("x-meseta-session: {session}\r\n");
    assert_eq!(first.ask(&headers, "And tomorrow?").status, 200);
    let expected = ["user: Will it rain?", "assistant: I am weather.", "user: And tomorrow?"];
    assert_eq!(told(&first, "weather"), expected);
    drop(first);
    let second = street(&folder, |_| {});
    second.ask(&headers, "And on Sunday?");
    let longer = [&expected[..], &["assistant: I am weather.", "user: And on Sunday?"]].concat();
    assert_eq!(told(&second, "weather"), longer);
}

#[test]
fn a_client_that_repeats_the_conversation_doubles_nothing() {
    let folder = Folder::new();
    let street = street(&folder, |_| {});
    let headers = "x-meseta-session: s1\r\n";
    street.ask(headers, "Will it rain?");
    let mut asked = chat("Will it rain?");
    asked["messages"].as_array_mut().expect("a list").extend([
        json!({"role": "assistant", "content": "I am weather."}),
        json!({"role": "user", "content": "And tomorrow?"}),
    ]);
    street.post("/v1/chat/completions", headers, &asked);
    assert_eq!(
        told(&street, "weather"),
        ["user: Will it rain?", "assistant: I am weather.", "user: And tomorrow?"]
    );
}

#[test]
fn what_agents_said_on_the_way_is_part_of_the_conversation_in_any_api() {
    let folder = Folder::new();
    let street = street(&folder, |document| {
        orchestration(document)["rules"] = json!([rule("trip", &["flights", "weather"])]);
    });
    let headers = "x-meseta-session: s1\r\n";
    street.ask(headers, "A trip.");
    let asked =
        json!({"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "And back?"}]});
    let reply = street.post("/v1/messages", headers, &asked);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let told = told(&street, "weather").join("\n");
    for part in ["user: A trip.", "I am flights.", "I am weather.", "user: And back?"] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
}

#[test]
fn a_turn_that_failed_is_not_kept() {
    let folder = Folder::new();
    let street = street(&folder, |_| {});
    let headers = "x-meseta-session: s1\r\n";
    street.agent("weather").answer(|_| answer("500 Internal Server Error", "", "{}"));
    assert_eq!(street.ask(headers, "Will it rain?").status, 500);
    street.agent("weather").answer(|_| says("Yes."));
    street.ask(headers, "Will it rain?");
    assert_eq!(told(&street, "weather"), ["user: Will it rain?"]);
}

#[test]
fn streams_are_kept_before_their_last_word_goes() {
    let folder = Folder::new();
    let street = street(&folder, |_| {});
    street.agent("weather").answer(|_| {
        let body = concat!(
            r#"data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"It "},"finish_reason":null}]}"#,
            "\n\n",
            r#"data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"rains."},"finish_reason":"stop"}]}"#,
            "\n\ndata: [DONE]\n\n"
        );
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    });
    let headers = "x-meseta-session: s1\r\n";
    let mut asked = chat("Will it rain?");
    asked["stream"] = json!(true);
    assert!(street.post("/v1/chat/completions", headers, &asked).text().ends_with("data: [DONE]\n\n"));
    street.ask(headers, "And tomorrow?");
    assert_eq!(told(&street, "weather")[1], "assistant: It rains.");
}

#[test]
fn agents_are_shown_no_more_than_the_bounds() {
    let folder = Folder::new();
    let street = street(&folder, |document| {
        orchestration(document)["history"] = json!({"mode": "keep", "messages": 3, "tokens": 0});
    });
    for text in ["One?", "Two?", "Three?"] {
        street.ask("x-meseta-session: s1\r\n", text);
    }
    assert_eq!(told(&street, "weather"), ["user: Two?", "assistant: I am weather.", "user: Three?"]);
    let street = Street::of("chain", &["weather"], |document| {
        orchestration(document)["history"]["mode"] = json!("off");
    });
    let mut asked = chat("One?");
    asked["messages"]
        .as_array_mut()
        .expect("a list")
        .extend([json!({"role": "assistant", "content": "1"}), json!({"role": "user", "content": "Two?"})]);
    street.post("/v1/chat/completions", "", &asked);
    assert_eq!(told(&street, "weather"), ["user: Two?"]);
}

#[test]
fn a_call_that_the_user_gives_up_is_closed_and_makes_room() {
    let folder = Folder::new();
    let street = street(&folder, |document| {
        orchestration(document)["history"] = json!({"mode": "keep", "messages": 4, "tokens": 0});
    });
    let calls = json!({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [{
        "index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": null, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]}}]});
    street.agent("weather").answer(move |_| answer("200 OK", "", &calls.to_string()));
    for text in ["One?", "Two?", "Three?"] {
        street.ask("x-meseta-session: s1\r\n", text);
    }
    let shown = told(&street, "weather");
    assert_eq!(shown[..2], ["user: Two?", "assistant: ?"], "{shown:?}");
    assert!(shown[2].starts_with("tool: This call was not run"), "{shown:?}");
    assert_eq!(shown[3..], ["user: Three?"]);
}

/// SHA-256 of `first` and of `second`.
const FIRST: &str = "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e";
const SECOND: &str = "16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4";

#[test]
fn a_conversation_is_its_tenants_and_can_be_read_and_deleted() {
    let folder = Folder::new();
    let street = street(&folder, |document| {
        let listeners = document["listeners"].as_array_mut().expect("listeners");
        let listener =
            listeners.iter_mut().find(|listener| listener["name"] == "agents").expect("it is there");
        listener["auth"] = keys(&[FIRST, SECOND]);
    });
    let headers = |key: &str| format!("authorization: Bearer {key}\r\nx-meseta-session: s1\r\n");
    street.ask(&headers("first"), "My secret.");
    street.ask(&headers("second"), "Hello.");
    assert_eq!(told(&street, "weather"), ["user: Hello."]);
    let get = |method: &str, key: &str| {
        let mut client = street.client();
        client.send(format!(
            "{method} /v1/sessions/s1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n"
        ));
        client.reply()
    };
    assert_eq!(get("GET", "first").json()["messages"].as_array().map(Vec::len), Some(2));
    assert!(!get("GET", "second").text().contains("secret"));
    assert_eq!(get("DELETE", "first").status, 200);
    let gone = get("GET", "first");
    assert_eq!((gone.status, gone.code().as_str()), (404, "session.not_found"));
    assert_eq!(get("GET", "second").status, 200);
}

/// A streamed answer of chat completions, cut as the test says.
fn streamed(finish: Option<&str>, last: &str) -> String {
    let event = |delta: Json, finish: Option<&str>| {
        let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
        format!(
            "data: {}\n\n",
            json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices})
        )
    };
    let mut body = event(json!({"role": "assistant", "content": "It rains."}), None);
    if finish.is_some() {
        body += &event(json!({}), finish);
    }
    body += last;
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    )
}

#[test]
fn a_stream_without_its_last_word_ends_all_the_same_and_is_not_kept() {
    let folder = Folder::new();
    let killed = street(&folder, |document| {
        target(document, "agent/weather/1")["base_url"] = json!(dies_in_the_middle());
    });
    let mut asked = chat("Will it rain?");
    asked["stream"] = json!(true);
    let headers = "x-meseta-session: killed\r\n";
    let reply = killed.post("/v1/chat/completions", headers, &asked);
    assert!(reply.text().contains("\"error\""), "{}", reply.text());
    // The plane has one worker, and that one still answers.
    assert_eq!(killed.client().get("/v1/sessions/killed").status, 404);
    drop(killed);
    for (finish, last, kept) in
        [(None, "", 404), (Some("stop"), "", 200), (Some("stop"), "data: [DONE]\n\n", 200)]
    {
        let folder = Folder::new();
        let street = street(&folder, |_| {});
        let said = streamed(finish, last);
        street.agent("weather").answer(move |_| said.clone());
        let reply = street.post("/v1/chat/completions", "x-meseta-session: s1\r\n", &asked);
        assert!(reply.text().contains("It rains."), "{}", reply.text());
        assert_eq!(street.client().get("/v1/sessions/s1").status, kept, "{finish:?} {last:?}");
    }
}
