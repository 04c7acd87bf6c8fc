//! Somebody else goes on, whatever broke and whatever he speaks.

use meseta_core::log::Value;
use meseta_wire::dialect::Dialect;
use serde_json::json;

use super::{CLIENTS, Resuming, TEXT, number, text, whole};
use crate::support::pool;

/// Every client, told the beginning by its own dialect or by another one, hears the rest from each of the five.
#[test]
fn another_target_goes_on_in_whatever_dialect() {
    for client in CLIENTS {
        for first in [client, Dialect::BedrockConverse, Dialect::GeminiGenerateContent] {
            for second in Dialect::ALL {
                let house = Resuming::start(&[(first, "echo;cut=fin@3"), (second, "echo;continue=rest")]);
                let place = format!("{client:?}: {first:?}, then {second:?}");
                whole(&house.ask(client), client, &place);
                let rows = house.rows(
                    "SELECT requests.status, requests.code, resumed, requests.attempts, reason, attempts.code \
                     FROM requests JOIN attempts ON request_id = id ORDER BY number",
                );
                let row = |reason: &str, code: Value| {
                    vec![number(200), Value::Null, number(1), number(2), text(reason), code]
                };
                let expected = vec![row("first", text("upstream.cut")), row("resume", Value::Null)];
                assert_eq!(rows, expected, "{place}");
            }
        }
    }
}

#[test]
fn however_the_stream_breaks() {
    for fault in
        ["cut=rst@3;pace=5ms", "cut=frame@3", "error=sse@3", "refuse=overloaded;error=sse@3", "stall=3"]
    {
        for client in CLIENTS {
            for first in [client, Dialect::BedrockConverse] {
                let broken = format!("echo;{fault}");
                let house = Resuming::start(&[(first, &broken), (Dialect::OpenaiChat, "echo;continue=rest")]);
                let place = format!("{client:?} from {first:?}, {fault}");
                whole(&house.ask(client), client, &place);
                let rows = house.rows("SELECT code, resumed, attempts FROM requests");
                assert_eq!(rows, [vec![Value::Null, number(1), number(2)]], "{place}");
            }
        }
    }
}

#[test]
fn a_second_break_is_resumed_again() {
    for client in CLIENTS {
        for first in [client, Dialect::GeminiGenerateContent] {
            let house = Resuming::start(&[
                (first, "echo;cut=fin@2"),
                (Dialect::BedrockConverse, "echo;cut=fin@3;continue=rest"),
                (Dialect::OpenaiChat, "echo;continue=rest"),
            ]);
            whole(&house.ask(client), client, &format!("{client:?} from {first:?}"));
            let rows = house.rows(
                "SELECT resumed, attempts, reason, pieces FROM requests JOIN attempts ON request_id = id \
                 ORDER BY number",
            );
            let row = |reason: &str, pieces| vec![number(2), number(3), text(reason), number(pieces)];
            assert_eq!(rows[0], row("first", 2), "{client:?} from {first:?}");
            assert_eq!(rows[1], row("resume", 3), "{client:?} from {first:?}");
            assert_eq!(rows[2][..3], row("resume", 0)[..3], "{client:?} from {first:?}");
        }
    }
}

/// A target that fails before its first word is only passed over.
#[test]
fn the_next_target_may_fail_too() {
    for client in CLIENTS {
        let house = Resuming::start(&[
            (client, "echo;cut=fin@2"),
            (Dialect::OpenaiChat, "echo;status=500"),
            (Dialect::AnthropicMessages, "echo;continue=rest"),
        ]);
        whole(&house.ask(client), client, &format!("{client:?}"));
        let rows = house.rows("SELECT resumed, attempts, status FROM requests");
        assert_eq!(rows, [vec![number(1), number(3), number(200)]], "{client:?}");
    }
}

/// A text that is whole needs nobody: the stream is ended well.
#[test]
fn an_answer_that_only_lacks_its_end() {
    for client in CLIENTS {
        let house =
            Resuming::start(&[(client, "echo;cut=fin@8"), (Dialect::OpenaiChat, "echo;continue=rest")]);
        let heard = house.ask(client);
        assert_eq!((heard.text.as_str(), heard.failed.as_deref()), (TEXT, None), "{client:?}");
    }
}

/// Nobody of the pool is left, but one of its fallbacks is.
#[test]
fn a_fallback_goes_on() {
    for client in CLIENTS {
        let house = Resuming::with(&[(client, "echo;cut=fin@3")], |document| {
            let mut spare = pool("spare", &[("gemini/*", Some("echo;continue=rest"))]);
            spare["resume"] = json!("off");
            document["pools"][0]["fallback"] = json!([{"name": "spare", "on": ["error"]}]);
            document["pools"].as_array_mut().expect("pools").push(spare);
        });
        whole(&house.ask(client), client, &format!("{client:?}"));
        let rows = house.rows("SELECT reason FROM attempts ORDER BY number");
        assert_eq!(rows, [[text("first")], [text("resume")]], "{client:?}");
    }
}
