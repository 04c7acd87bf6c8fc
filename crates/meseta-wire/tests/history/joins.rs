//! A request with the kept conversation before what it says.

use meseta_wire::conversation::{Message, Part, Role};
use meseta_wire::dialect::Dialect;
use meseta_wire::history::{Bounds, JoinError, Joined, Kept, join, messages};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::any::{call, result, said};

const CLIENTS: [Dialect; 3] = [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::AnthropicMessages];
const ALL: Bounds = Bounds { messages: 0, tokens: 0 };

fn kept(messages: Vec<Message<'static>>) -> Vec<Kept<'static>> {
    messages.into_iter().map(|message| Kept { instructions: false, message }).collect()
}

fn instructions(words: &str) -> Kept<'static> {
    Kept { instructions: true, message: said(Role::System, words) }
}

fn user(words: &str) -> Message<'static> {
    said(Role::User, words)
}

fn model(words: &str) -> Message<'static> {
    said(Role::Assistant, words)
}

/// A request as a plain client writes it.
fn request(dialect: Dialect, system: Option<&str>, turns: &[(&str, &str)]) -> Value {
    let turns: Vec<Value> =
        turns.iter().map(|(role, words)| json!({"role": role, "content": words})).collect();
    match dialect {
        Dialect::OpenaiChat => {
            let system = system.map(|words| json!({"role": "system", "content": words}));
            let messages: Vec<Value> = system.into_iter().chain(turns).collect();
            json!({"model": "m", "messages": messages, "x_own": {"a": 1.50}})
        }
        Dialect::OpenaiResponses => {
            json!({"model": "m", "instructions": system, "input": turns, "x_own": {"a": 1.50}})
        }
        _ => {
            let mut body = json!({"model": "m", "max_tokens": 9, "messages": turns, "x_own": {"a": 1.50}});
            if let Some(system) = system {
                body["system"] = json!(system);
            }
            body
        }
    }
}

fn joined(dialect: Dialect, request: &Value, stored: &[Kept<'_>]) -> Joined {
    join(dialect, request.to_string().as_bytes(), stored, ALL).unwrap()
}

/// Who says what in a body, with calls and results by their ids.
fn outline(dialect: Dialect, body: &[u8]) -> Vec<String> {
    messages(dialect, body).unwrap().iter().map(line).collect()
}

fn line(message: &Message<'_>) -> String {
    let parts: Vec<String> = message
        .parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.text.to_string(),
            Part::ToolCall(call) => format!("call {}", call.id),
            Part::ToolResult(result) => format!("result {}", result.id),
            other => format!("{other:?}"),
        })
        .collect();
    format!("{:?}: {}", message.role, parts.join(", "))
}

fn new(joined: &Joined) -> Vec<String> {
    joined.new.iter().map(|kept| line(&kept.message)).collect()
}

#[test]
fn the_kept_thread_comes_before_the_new_turn() {
    for dialect in CLIENTS {
        let mut stored = vec![instructions("Be brief.")];
        stored.extend(kept(vec![user("Hello"), model("Hi.")]));
        let body = request(dialect, None, &[("user", "And now?")]);
        let joined = joined(dialect, &body, &stored);
        let sent = joined.body.as_deref().unwrap();
        assert_eq!(
            outline(dialect, sent),
            ["System: Be brief.", "User: Hello", "Assistant: Hi.", "User: And now?"],
            "{dialect:?}"
        );
        assert_eq!(new(&joined), ["User: And now?"]);
        assert_eq!((joined.added, joined.left_out), (3, 0));
        // Everything else is the client's own.
        let sent: Value = serde_json::from_slice(sent).unwrap();
        assert_eq!(sent["x_own"], json!({"a": 1.5}));
        assert_eq!(sent["model"], "m");
        assert_eq!(sent.get("max_tokens"), body.get("max_tokens"));
        assert_eq!(sent.get("store"), None);
        assert_eq!(sent.get("stream"), None);
    }
}

#[test]
fn the_new_turn_stays_as_the_client_wrote_it() {
    let stored = kept(vec![user("Hello"), model("Hi.")]);
    for dialect in CLIENTS {
        let mut instructed = vec![instructions("Be brief.")];
        for stored in [&stored, &{
            instructed.extend(stored.clone());
            instructed
        }] {
            let turn = json!({"role": "user", "content": "And now?", "x_own": {"b": [1, null]}});
            let key = if dialect == Dialect::OpenaiResponses { "input" } else { "messages" };
            let body = json!({"model": "m", key: [turn], "system": null, "instructions": null});
            let sent = joined(dialect, &body, stored).body.unwrap();
            let sent: Value = serde_json::from_slice(&sent).unwrap();
            assert_eq!(sent[key].as_array().unwrap().last(), Some(&turn), "{dialect:?}");
            let outline = outline(dialect, sent.to_string().as_bytes());
            assert_eq!(outline[outline.len() - 3..], ["User: Hello", "Assistant: Hi.", "User: And now?"]);
            assert_eq!(outline.len(), stored.len() + 1);
        }
    }
}

#[test]
fn kept_instructions_alone_are_put_in_too() {
    let stored = [instructions("Be brief.")];
    for dialect in CLIENTS {
        let body = request(dialect, None, &[("user", "Hello")]);
        let joined = joined(dialect, &body, &stored);
        let sent = outline(dialect, joined.body.as_deref().unwrap());
        assert_eq!(sent, ["System: Be brief.", "User: Hello"], "{dialect:?}");
        assert_eq!(joined.added, 1);
    }
}

#[test]
fn a_client_that_sends_the_conversation_is_left_as_it_is() {
    for dialect in CLIENTS {
        let mut stored = vec![instructions("Be brief.")];
        stored.extend(kept(vec![user("Hello"), model("Hi.\n")]));
        let turns = [("user", "Hello"), ("assistant", "Hi."), ("user", "And now?")];
        let joined = joined(dialect, &request(dialect, Some("Be  brief."), &turns), &stored);
        assert_eq!(joined.body, None, "{dialect:?}");
        assert_eq!(new(&joined), ["User: And now?"]);
    }
}

#[test]
fn a_client_that_sends_a_part_of_the_conversation_gets_all_of_it_once() {
    let stored = kept(vec![user("a"), model("b"), user("c"), model("d")]);
    for dialect in CLIENTS {
        for turns in [
            // The newest part; a middle one; the beginning, as when a question is asked again; with one left out.
            &[("user", "c"), ("assistant", "d"), ("user", "e")][..],
            &[("assistant", "b"), ("user", "e")],
            &[("user", "a"), ("assistant", "b"), ("user", "e")],
            &[("user", "a"), ("assistant", "d"), ("user", "e")],
            &[("user", "e")],
        ] {
            let joined = joined(dialect, &request(dialect, None, turns), &stored);
            assert_eq!(new(&joined), ["User: e"], "{dialect:?} {turns:?}");
            assert_eq!(
                outline(dialect, joined.body.as_deref().unwrap()),
                ["User: a", "Assistant: b", "User: c", "Assistant: d", "User: e"],
                "{dialect:?} {turns:?}"
            );
        }
    }
}

#[test]
fn answers_of_other_agents_that_the_client_was_not_told_are_kept_and_sent() {
    let by = |name: &str, words: &str| Message { name: Some(name.to_owned().into()), ..model(words) };
    let stored = kept(vec![user("a"), by("weather", "rain"), by("flights", "b")]);
    for turns in [&[("user", "a"), ("assistant", "b"), ("user", "c")][..], &[("user", "c")]] {
        let dialect = Dialect::OpenaiChat;
        let joined = joined(dialect, &request(dialect, None, turns), &stored);
        assert_eq!(new(&joined), ["User: c"]);
        let sent: Value = serde_json::from_slice(joined.body.as_deref().unwrap()).unwrap();
        let names = sent["messages"].as_array().unwrap().iter().map(|message| message["name"].as_str());
        assert_eq!(names.collect::<Vec<_>>(), [None, Some("weather"), Some("flights"), None]);
    }
}

#[test]
fn a_user_may_say_the_same_thing_again() {
    let stored = kept(vec![user("Hello"), model("Hi.")]);
    for dialect in CLIENTS {
        let joined = joined(dialect, &request(dialect, None, &[("user", "Hello")]), &stored);
        assert_eq!(new(&joined), ["User: Hello"]);
        assert_eq!(
            outline(dialect, joined.body.as_deref().unwrap()),
            ["User: Hello", "Assistant: Hi.", "User: Hello"]
        );
        // And a model may give the same answer again.
        let turns = [("user", "a"), ("assistant", "OK"), ("user", "b"), ("assistant", "OK"), ("user", "c")];
        let stored = kept(vec![user("a"), model("OK")]);
        let joined = self::joined(dialect, &request(dialect, None, &turns), &stored);
        assert_eq!(new(&joined), ["User: b", "Assistant: OK", "User: c"]);
        assert_eq!(joined.body, None);
    }
}

#[test]
fn what_is_kept_may_be_only_the_end_of_what_the_client_sends() {
    // The beginning of the conversation is not read any more.
    let stored = kept(vec![user("a"), model("b"), user("a"), model("c")]);
    let turns = [
        ("user", "a"),
        ("assistant", "b"),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "a"),
        ("assistant", "c"),
        ("user", "d"),
    ];
    for dialect in CLIENTS {
        let joined = joined(dialect, &request(dialect, None, &turns), &stored);
        assert_eq!((joined.body.as_ref(), new(&joined)), (None, vec!["User: d".to_owned()]));
    }
}

#[test]
fn the_last_instructions_hold() {
    for dialect in CLIENTS {
        let mut stored = vec![instructions("one")];
        stored.extend(kept(vec![user("a"), model("b")]));
        let body = request(dialect, Some("two"), &[("user", "c")]);
        let joined = joined(dialect, &body, &stored);
        assert_eq!(new(&joined), ["System: two", "User: c"]);
        assert!(joined.new[0].instructions && !joined.new[1].instructions);
        let sent = outline(dialect, joined.body.as_deref().unwrap());
        assert_eq!(sent, ["System: two", "User: a", "Assistant: b", "User: c"]);
        stored.extend(joined.new);
        stored.extend(kept(vec![model("d")]));
        let joined = self::joined(dialect, &request(dialect, None, &[("user", "e")]), &stored);
        let sent = outline(dialect, joined.body.as_deref().unwrap());
        assert_eq!(sent, ["System: two", "User: a", "Assistant: b", "User: c", "Assistant: d", "User: e"]);
    }
}

#[test]
fn a_result_finds_its_kept_call() {
    let stored = kept(vec![
        user("weather?"),
        Message { role: Role::Assistant, name: None, parts: vec![call("call_1"), call("call_2")] },
    ]);
    for (dialect, turns) in [
        (
            Dialect::OpenaiChat,
            json!([{"role": "tool", "tool_call_id": "call_1", "content": "rain"},
                   {"role": "tool", "tool_call_id": "call_2", "content": "sun"}]),
        ),
        (
            Dialect::OpenaiResponses,
            json!([{"type": "function_call_output", "call_id": "call_1", "output": "rain"},
                   {"type": "function_call_output", "call_id": "call_2", "output": "sun"}]),
        ),
        (
            Dialect::AnthropicMessages,
            json!([{"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "rain"},
                {"type": "tool_result", "tool_use_id": "call_2", "content": "sun"}]}]),
        ),
    ] {
        let key = if dialect == Dialect::OpenaiResponses { "input" } else { "messages" };
        let body = json!({"model": "m", key: turns});
        let joined = joined(dialect, &body, &stored);
        assert_eq!(
            outline(dialect, joined.body.as_deref().unwrap()),
            ["User: weather?", "Assistant: call call_1, call call_2", "Tool: result call_1, result call_2"],
            "{dialect:?}"
        );
        assert_eq!(new(&joined), ["Tool: result call_1, result call_2"]);
    }
}

#[test]
fn a_kept_call_that_the_user_has_given_up_is_closed() {
    let calls = Message { role: Role::Assistant, name: None, parts: vec![call("call_1")] };
    let stored = kept(vec![user("weather?"), calls]);
    for dialect in CLIENTS {
        let body = request(dialect, None, &[("user", "never mind")]);
        let joined = joined(dialect, &body, &stored);
        assert_eq!(
            outline(dialect, joined.body.as_deref().unwrap()),
            ["User: weather?", "Assistant: call call_1", "Tool: result call_1", "User: never mind"],
            "{dialect:?}"
        );
        assert!(String::from_utf8_lossy(joined.body.as_deref().unwrap()).contains("was not run"));
        // It is made anew each time, and not kept.
        assert_eq!(
            (joined.added, joined.left_out, new(&joined)),
            (2, 0, vec!["User: never mind".to_owned()])
        );
        let body = request(dialect, None, &[("user", "never mind")]).to_string();
        let joined = join(dialect, body.as_bytes(), &stored, Bounds { messages: 3, tokens: 0 }).unwrap();
        assert_eq!(outline(dialect, joined.body.as_deref().unwrap_or(body.as_bytes())), ["User: never mind"]);
    }
    // The result comes after all, from a client that sends what is new.
    let stored = [stored, kept(vec![user("never mind"), model("As you like.")])].concat();
    let late =
        json!({"model": "m", "messages": [{"role": "tool", "tool_call_id": "call_1", "content": "rain"}]});
    let joined = joined(Dialect::OpenaiChat, &late, &stored);
    let sent = outline(Dialect::OpenaiChat, joined.body.as_deref().unwrap());
    assert_eq!(
        sent[3..],
        ["User: never mind", "Assistant: As you like.", "User: Result of an earlier call of look:, rain"]
    );
    assert_eq!(new(&joined), ["Tool: result call_1"]);
}

#[test]
fn bounds_hold_for_what_is_kept_and_for_what_the_client_sends() {
    let bounds = Bounds { messages: 3, tokens: 0 };
    for dialect in CLIENTS {
        let stored = kept(vec![user("a"), model("b"), user("c"), model("d")]);
        let body = request(dialect, Some("s"), &[("user", "e")]).to_string();
        let joined = join(dialect, body.as_bytes(), &stored, bounds).unwrap();
        let sent = outline(dialect, joined.body.as_deref().unwrap());
        assert_eq!(sent, ["System: s", "User: c", "Assistant: d", "User: e"], "{dialect:?}");
        assert_eq!((joined.added, joined.left_out), (2, 2));
        let turns = [("user", "c"), ("assistant", "d"), ("user", "e"), ("assistant", "f"), ("user", "g")];
        let body = request(dialect, None, &turns).to_string();
        let joined = join(dialect, body.as_bytes(), &[], bounds).unwrap();
        let sent = outline(dialect, joined.body.as_deref().unwrap());
        assert_eq!(sent, ["User: e", "Assistant: f", "User: g"]);
        assert_eq!((joined.added, joined.left_out, joined.new.len()), (0, 2, 5));
        assert_eq!(join(dialect, body.as_bytes(), &[], ALL).unwrap().body, None);
    }
}

#[test]
fn what_a_dialect_cannot_say_becomes_words() {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": [
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}]});
    let spoken = joined(Dialect::OpenaiChat, &body, &[]);
    let mut stored = spoken.new;
    stored.extend(kept(vec![model("I hear you.")]));
    let dialect = Dialect::AnthropicMessages;
    let joined = joined(dialect, &request(dialect, None, &[("user", "b")]), &stored);
    let sent = outline(dialect, joined.body.as_deref().unwrap());
    assert!(sent[0].starts_with("User: [audio/wav of 4 bytes"), "{sent:?}");
    assert_eq!(sent[1..], ["Assistant: I hear you.", "User: b"]);
}

#[test]
fn a_request_that_is_none_is_refused() {
    for body in [&b"\xff"[..], b"{", b"[]", b"{}", br#"{"messages":5,"input":5}"#] {
        for dialect in CLIENTS {
            assert!(matches!(join(dialect, body, &[], ALL), Err(JoinError::Malformed(_))));
        }
    }
}

/// How much of the conversation a client sends with its next turn.
#[derive(Clone, Copy, Debug)]
enum Sends {
    OnlyNew,
    All,
    Last(usize),
}

#[derive(Clone, Debug)]
struct Turn {
    dialect: Dialect,
    sends: Sends,
    system: Option<&'static str>,
    asks: &'static str,
    answers: &'static str,
}

fn turn() -> impl Strategy<Value = Turn> {
    let sends = prop_oneof![
        2 => Just(Sends::OnlyNew),
        2 => Just(Sends::All),
        1 => (1..6_usize).prop_map(Sends::Last),
    ];
    let words = prop::sample::select(vec!["yes", "no", "OK", "a b", "go on"]);
    let system = prop::sample::select(vec![None, None, Some("be brief"), Some("be kind")]);
    (prop::sample::select(CLIENTS.to_vec()), sends, system, words.clone(), words)
        .prop_map(|(dialect, sends, system, asks, answers)| Turn { dialect, sends, system, asks, answers })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever a client sends of it, the agent sees the conversation once, and it is kept once. What a client with a
    /// window sends may look like another place of the conversation where people say the same things, so those who
    /// have one say things that can be told apart.
    #[test]
    fn nothing_is_lost_and_nothing_doubled(turns in prop::collection::vec(turn(), 1..12)) {
        let windows = turns.iter().any(|turn| matches!(turn.sends, Sends::Last(_)));
        let mut stored: Vec<Kept<'static>> = Vec::new();
        let mut conversation: Vec<(&str, String)> = Vec::new();
        let mut system: Option<&str> = None;
        for (number, turn) in turns.iter().enumerate() {
            let say = |words: &str| if windows { format!("{words} {number}") } else { words.to_owned() };
            conversation.push(("user", say(turn.asks)));
            let from = match turn.sends {
                Sends::OnlyNew => conversation.len() - 1,
                Sends::All => 0,
                Sends::Last(count) => conversation.len().saturating_sub(count),
            };
            let sent: Vec<(&str, &str)> =
                conversation[from..].iter().map(|(role, words)| (*role, words.as_str())).collect();
            system = turn.system.or(system);
            let body = request(turn.dialect, turn.system, &sent).to_string();
            let joined = join(turn.dialect, body.as_bytes(), &stored, ALL).unwrap();
            let body = joined.body.unwrap_or(body.into_bytes());
            let mut expected: Vec<String> =
                system.iter().map(|words| format!("System: {words}")).collect();
            expected.extend(conversation.iter().map(|(role, words)| {
                format!("{}: {words}", if *role == "user" { "User" } else { "Assistant" })
            }));
            prop_assert_eq!(outline(turn.dialect, &body), expected);
            stored.extend(joined.new);
            stored.push(Kept { instructions: false, message: model(&say(turn.answers)) });
            conversation.push(("assistant", say(turn.answers)));
            let thread: Vec<&Kept<'_>> = stored.iter().filter(|kept| !kept.instructions).collect();
            prop_assert_eq!(thread.len(), conversation.len());
        }
    }

    #[test]
    fn a_kept_call_and_its_result_stay_together_in_every_dialect(
        ids in prop::collection::vec("[a-zA-Z0-9_.:-]{1,80}", 1..6),
        bound in 0..8_usize,
        dialect in prop::sample::select(CLIENTS.to_vec()),
    ) {
        let mut thread = Vec::new();
        for id in &ids {
            thread.push(user("look"));
            thread.push(Message { role: Role::Assistant, name: None, parts: vec![call(id)] });
            thread.push(Message { role: Role::Tool, name: None, parts: vec![result(id, "seen")] });
            thread.push(model("I saw it."));
        }
        let body = request(dialect, None, &[("user", "thanks")]).to_string();
        let bounds = Bounds { messages: bound, tokens: 0 };
        let joined = join(dialect, body.as_bytes(), &kept(thread), bounds).unwrap();
        let sent = joined.body.as_deref().unwrap_or(body.as_bytes());
        let sent = messages(dialect, sent).unwrap();
        let (mut calls, mut results) = (Vec::new(), Vec::new());
        for part in sent.iter().flat_map(|message| &message.parts) {
            match part {
                Part::ToolCall(call) => calls.push(call.id.to_string()),
                Part::ToolResult(result) => results.push(result.id.to_string()),
                _ => {}
            }
        }
        prop_assert_eq!(calls, results);
        prop_assert_eq!(sent.first().map(|message| message.role), Some(Role::User));
    }
}
