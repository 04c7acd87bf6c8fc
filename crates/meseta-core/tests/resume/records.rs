//! What is asked for, billed and kept of an answer that two have told.

use meseta_wire::dialect::Dialect;
use serde_json::{Value as Json, json};

use super::{CLIENTS, Resuming, TEXT, number, whole};
use crate::support::Folder;

#[test]
fn each_call_is_billed_once() {
    for client in CLIENTS {
        for first in [client, Dialect::GeminiGenerateContent] {
            let members = [(first, "echo;cut=fin@3"), (Dialect::OpenaiChat, "echo;continue=rest")];
            let house = Resuming::start(&members);
            let heard = house.ask(client);
            let place = format!("{client:?} from {first:?}");
            let asked = house.requests();
            assert_eq!(asked.iter().map(|request| request.tokens).collect::<Vec<_>>(), [3, 5], "{place}");
            // What the client is told is the sum, so that it is not surprised by its bill.
            assert_eq!(heard.usage.map(|usage| usage.output >= 8), Some(true), "{place}");
            let rows = house.rows(
                "SELECT number, pieces, attempts.output_tokens, attempts.cost_usd > 0, \
                 abs(requests.cost_usd - (SELECT sum(cost_usd) FROM attempts)) < 1e-12, \
                 requests.output_tokens = (SELECT sum(output_tokens) FROM attempts) \
                 FROM requests JOIN attempts ON request_id = id ORDER BY number",
            );
            assert_eq!(rows.len(), 2, "{place}");
            assert_eq!(rows[0][1..3], [number(3), number(3)], "{place}");
            assert_eq!(rows[1][2], number(5), "{place}");
            for row in &rows {
                assert_eq!(row[3..], [number(1), number(1), number(1)], "{place}: {row:?}");
            }
        }
    }
}

/// The name that the client gave its request is not the name of another request.
#[test]
fn the_rest_is_asked_for_under_no_name_of_the_clients() {
    let members = [(Dialect::OpenaiChat, "echo;cut=fin@3"), (Dialect::OpenaiChat, "echo;continue=rest")];
    let house = Resuming::start(&members);
    let (heard, _) = house.call(Dialect::OpenaiChat, "idempotency-key: mine\r\n", |_| {});
    whole(&heard, Dialect::OpenaiChat, "a named request");
    let names: Vec<Option<String>> =
        house.requests().into_iter().map(|request| request.idempotency_key).collect();
    assert_eq!(names, [Some("mine".to_owned()), None]);
}

/// The whole answer is kept, and a conversation goes on from it wherever it likes.
#[test]
fn a_resumed_answer_is_kept() {
    for first in [Dialect::OpenaiResponses, Dialect::AnthropicMessages] {
        let folder = Folder::new();
        let members = [(first, "echo;cut=fin@3"), (Dialect::OpenaiChat, "echo;continue=rest")];
        let house = Resuming::with(&members, |document| {
            document["responses"] = json!({
                "path": folder.file("responses.db"), "keep_hours": 1, "max_bytes": 10_000_000,
                "max_response_bytes": 1_000_000,
            });
        });
        let (heard, events) = house.call(Dialect::OpenaiResponses, "", |_| {});
        whole(&heard, Dialect::OpenaiResponses, "a kept answer");
        let last = events.last().and_then(Option::as_ref).expect("events");
        let id = last["response"]["id"].as_str().expect("an id").to_owned();
        let stored = house.house.connect().get(&format!("/v1/responses/{id}"));
        assert_eq!(stored.status, 200, "{}", stored.text());
        assert_eq!(stored.json(), last["response"]);
        house.simulator().clear_requests();
        let more = json!({"model": "responses/echo", "input": "more", "previous_response_id": id});
        let mut connection = house.house.connect();
        connection.post("/v1/responses", "", more.to_string());
        assert_eq!(connection.reply().status, 200);
        let sent = house.requests().pop().expect("a request").body;
        assert!(sent.contains(TEXT) && !sent.contains("previous_response_id\":\""), "{sent}");
    }
}

/// Usage that the client did not ask for stays hidden, of both calls.
#[test]
fn usage_that_nobody_asked_for() {
    let members = [(Dialect::OpenaiChat, "echo;cut=fin@3"), (Dialect::OpenaiChat, "echo;continue=rest")];
    let house = Resuming::start(&members);
    let (heard, _) = house.call(Dialect::OpenaiChat, "", |body| body["stream_options"] = Json::Null);
    assert_eq!((heard.text.as_str(), heard.usage), (TEXT, None));
}
