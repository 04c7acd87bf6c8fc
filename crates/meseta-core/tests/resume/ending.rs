//! Where nobody goes on: the client hears of it in its own words, and nothing is told twice.

use std::io::{Read, Write};
use std::net::TcpListener;

use meseta_wire::dialect::Dialect;
use serde_json::{Value as Json, json};

use super::{CLIENTS, Resuming, number, provider, send, text};
use crate::events;
use crate::support::dialects::{short, tools};

/// The error comes at once, behind what the client has seen, in its own dialect.
#[test]
fn nobody_is_left() {
    for client in CLIENTS {
        for first in [client, Dialect::BedrockConverse] {
            for second in ["echo;status=500", "echo;drop=fin"] {
                let members = [(first, "echo;cut=fin@3"), (Dialect::GeminiGenerateContent, second)];
                let house = Resuming::with(&members, |document| {
                    document["pools"][0]["retry"]["attempts"] = json!(2);
                });
                let (heard, events) = house.call(client, "", |_| {});
                let place = format!("{client:?} from {first:?}, then {second}");
                assert_eq!(heard.text, "one two three", "{place}");
                assert!(heard.failed.is_some_and(|words| words.contains("gemini/*")), "{place}");
                assert_one_response(&events);
                let rows = house.rows("SELECT blame, resumed, attempts FROM requests");
                assert_eq!(rows, [vec![text("upstream"), number(0), number(2)]], "{place}");
            }
        }
    }
}

/// Where the client speaks Responses, all events name the same answer.
pub fn assert_one_response(events: &[events::Data]) {
    let ids: Vec<&Json> =
        events.iter().flatten().map(|event| &event["response"]["id"]).filter(|id| id.is_string()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    let created = events.iter().flatten().filter(|event| event["type"] == "response.created").count();
    assert!(created <= 1, "{created} answers were begun");
}

/// A stream that passes as it is, of a name that is no pool: the error event of ours fits behind it.
#[test]
fn a_broken_stream_that_nobody_resumes_ends_in_its_own_name() {
    for client in CLIENTS {
        let house = Resuming::start(&[(client, "echo")]);
        let (heard, events) = house.call(client, "", |body| {
            body["model"] = json!(format!("{}/echo;cut=fin@3", short(client)));
        });
        assert_eq!(heard.text, "one two three", "{client:?}");
        assert!(heard.failed.is_some(), "{client:?}");
        assert_one_response(&events);
        if client == Dialect::OpenaiResponses {
            let last = events.last().and_then(Option::as_ref).expect("events");
            assert_eq!(last["type"], "response.failed", "{last}");
            assert_eq!(last["response"]["status"], "failed", "{last}");
        }
    }
}

#[test]
fn resume_off() {
    for client in CLIENTS {
        let members = [(client, "echo;cut=fin@3"), (Dialect::OpenaiChat, "echo;continue=rest")];
        let house = Resuming::with(&members, |document| document["pools"][0]["resume"] = json!("off"));
        let heard = house.ask(client);
        assert_eq!(heard.text, "one two three", "{client:?}");
        assert!(heard.failed.is_some(), "{client:?}");
        let rows = house.rows("SELECT code, resumed, attempts FROM requests");
        assert_eq!(rows, [vec![text("upstream.cut"), number(0), number(1)]], "{client:?}");
    }
}

/// What is told of a call is told by nobody else: with all of it the answer ends, with half of it it fails.
#[test]
fn a_tool_call_is_never_told_twice() {
    for client in CLIENTS {
        for first in [client, Dialect::BedrockConverse] {
            let mut seen = (0, 0);
            for tokens in 1..=12 {
                let broken = format!("echo;tool=weather;cut=fin@{tokens}");
                let house = Resuming::start(&[(first, &broken), (Dialect::OpenaiChat, "echo")]);
                let (heard, _) = house.call(client, "", |body| body["tools"] = tools(client));
                let place = format!("{client:?} from {first:?}, {broken}");
                if heard.failed.is_some() {
                    seen.0 += 1;
                } else {
                    seen.1 += 1;
                    assert_eq!((heard.calls.len(), heard.text.as_str()), (1, ""), "{place}");
                    assert!(
                        ["tool_calls", "tool_use", "completed"].contains(&heard.finish.as_str()),
                        "{place}"
                    );
                }
                assert_eq!(house.requests().len(), 1, "{place}: somebody else was asked");
                assert_eq!(house.rows("SELECT resumed FROM requests"), [[number(0)]], "{place}");
            }
            assert!(seen.0 > 0 && seen.1 > 0, "{client:?} from {first:?}: {seen:?}");
        }
    }
}

/// Without anybody else the error comes at once: whoever broke off is not asked to go on.
#[test]
fn a_pool_of_one() {
    for client in CLIENTS {
        let house = Resuming::start(&[(client, "echo;cut=fin@3")]);
        let heard = house.ask(client);
        assert_eq!(heard.text, "one two three", "{client:?}");
        assert!(heard.failed.is_some(), "{client:?}");
        assert_eq!(house.requests().len(), 1, "{client:?}");
    }
}

/// What the prompt is too long for is not a break that another target mends.
#[test]
fn a_mistake_of_the_client_in_the_stream() {
    for client in CLIENTS {
        let house = Resuming::start(&[
            (client, "echo;refuse=context;error=sse@3"),
            (Dialect::OpenaiChat, "echo;continue=rest"),
        ]);
        let heard = house.ask(client);
        assert!(heard.failed.is_some(), "{client:?}");
        assert_eq!(house.requests().len(), 1, "{client:?}");
    }
}

/// A provider that sends these events, and then keeps the connection.
fn odd_provider(events: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a call");
        let _ = stream.read(&mut [0; 16 * 1024]);
        let body: String = events.iter().flat_map(|data| ["data: ", data, "\n\n"]).collect();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = stream.write_all(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes());
        let _ = stream.read(&mut [0; 1]);
    });
    url
}

/// Events that are not where their API has them pass as they are, and behind them nobody can go on. The provider's own
/// word of its failure still comes.
#[test]
fn events_in_disorder() {
    let url = odd_provider(&[
        r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_odd"}}"#,
        r#"{"type":"response.output_text.delta","sequence_number":1,"item_id":"m","output_index":4,"content_index":0,"delta":"Odd"}"#,
        r#"{"type":"error","sequence_number":2,"code":"server_error","message":"Lost my way.","param":null}"#,
    ]);
    let members = [(Dialect::OpenaiResponses, "odd"), (Dialect::OpenaiChat, "echo;continue=rest")];
    let house = Resuming::with(&members, |document| {
        let mut odd = provider(Dialect::OpenaiResponses, &url);
        odd["name"] = json!("odd/*");
        document["targets"].as_array_mut().expect("targets").push(odd);
        document["pools"][0]["members"][0]["target"] = json!("odd/*");
    });
    let mut connection = house.house.connect();
    send(&mut connection, Dialect::OpenaiResponses, "", |_| {});
    let reply = connection.reply();
    assert!(reply.text().contains("Odd") && reply.text().contains("Lost my way."), "{}", reply.text());
    assert!(house.requests().is_empty());
    let rows = house.rows("SELECT code, resumed, attempts FROM requests");
    assert_eq!(rows, [[text("upstream.failed_mid_stream"), number(0), number(1)]]);
}

/// A request that acts is not sent twice.
#[test]
fn what_acts_is_not_asked_for_again() {
    let members =
        [(Dialect::OpenaiResponses, "echo;cut=fin@3"), (Dialect::OpenaiResponses, "echo;continue=rest")];
    let house = Resuming::start(&members);
    let (heard, _) = house.call(Dialect::OpenaiResponses, "", |body| {
        body["tools"] = json!([{"type": "code_interpreter", "container": {"type": "auto"}}]);
    });
    assert!(heard.failed.is_some());
    assert_eq!(house.requests().len(), 1);
}
