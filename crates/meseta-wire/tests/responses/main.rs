//! The OpenAI Responses dialect: requests, whole answers, streams, and what hostile input does to each.

mod answers;
mod hostile;
mod requests;
mod streams;
#[path = "../support/mod.rs"]
mod support;

use meseta_wire::conversation::{Event, Request};
use meseta_wire::dialect::{Context, Destination, Dialect, Quirks};
use meseta_wire::feature::Losses;
use meseta_wire::json::Json;
use meseta_wire::{responses, sse};
use serde_json::Value;

fn context() -> Context {
    Context {
        request_id: "req_test".to_owned(),
        id: "42".to_owned(),
        model: "smart".to_owned(),
        created: 1_750_000_000,
        include_usage: true,
        echo: None,
    }
}

fn between(client: Dialect) -> Losses {
    Losses::new(client, Dialect::OpenaiResponses)
}

/// What a provider of this dialect gets for a request of a client's.
fn encoded(request: &Request<'_>, losses: &mut Losses) -> Value {
    let quirks = Quirks::default();
    let destination = Destination { model: "gpt-5-mini", max_output_tokens: 4096, quirks: &quirks };
    let bytes = responses::encode_request(request, &destination, losses).expect("not refused");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn complaint(text: &str) -> String {
    let json = Json::parse(text).expect("JSON");
    let mut losses = between(Dialect::OpenaiResponses);
    responses::decode_request(&json, &mut losses).expect_err("malformed").to_string()
}

/// The data of every event of a stream, checked to carry its type as its name and to be numbered in order.
fn events_of(stream: &[u8]) -> Vec<Value> {
    let mut events = Vec::new();
    let mut rest = stream;
    while let Some(end) = sse::event_end(rest) {
        let (event, behind) = rest.split_at(end);
        rest = behind;
        let data = sse::event_data(event);
        if data.is_empty() {
            continue;
        }
        let data: Value = serde_json::from_slice(&data).expect("JSON");
        let name = format!("event: {}\n", data["type"].as_str().expect("a type"));
        assert!(event.starts_with(name.as_bytes()), "{}", String::from_utf8_lossy(event));
        assert_eq!(data["sequence_number"], events.len(), "{data}");
        events.push(data);
    }
    assert!(rest.is_empty());
    events
}

fn written(events: &[Event<'_>]) -> (Vec<Value>, responses::StreamEncoder) {
    let mut encoder = responses::StreamEncoder::new(context());
    let mut stream = Vec::new();
    for event in events {
        encoder.event(event, &mut stream);
    }
    encoder.end(&mut stream);
    (events_of(&stream), encoder)
}

/// The events of a provider's stream, as text, and whether each call said that more may follow.
fn read(datas: &[Value]) -> (Vec<String>, bool) {
    let mut decoder = responses::StreamDecoder::default();
    let mut events = Vec::new();
    for data in datas {
        decoder.event(data.to_string().as_bytes(), &mut |event| events.push(format!("{event:?}")));
    }
    let whole = decoder.end(&mut |event| events.push(format!("{event:?}")));
    (events, whole)
}
