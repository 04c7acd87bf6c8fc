//! Streams that break after they have begun: another target goes on, the client sees one answer, and the record says who
//! told which part of it.

#[path = "matrix/events.rs"]
mod events;
#[path = "matrix/heard.rs"]
#[allow(dead_code, reason = "the matrix of conversations hears more than this asks for")]
mod heard;
mod support;

use std::io::{Read, Write};
use std::net::TcpListener;

use heard::Heard;
use meseta_core::log::Value;
use meseta_sim::{Recorded, Simulator};
use meseta_wire::dialect::Dialect;
use serde_json::{Value as Json, json};
use support::dialects::{short, speaking, tools};
use support::http1::{Client, Reply};
use support::{Folder, House, PATIENCE, pool, until};

const TEXT: &str = "one two three four five six seven eight";
const CLIENTS: [Dialect; 3] = [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::AnthropicMessages];

/// A plane whose pool `asked` has the given members: a dialect, and the model with what the simulator is told.
struct Resuming {
    house: House,
    folder: Folder,
}

fn provider(dialect: Dialect, url: &str) -> Json {
    let mut target = speaking(dialect, url);
    target["timeouts"]["idle_ms"] = json!(1_000);
    target["price"] = json!({
        "input": 1.0, "cached_input": null, "cache_write": null, "output": 1.0, "source": "config",
    });
    target
}

impl Resuming {
    fn start(members: &[(Dialect, &str)]) -> Resuming {
        Resuming::with(members, |_| {})
    }

    fn with(members: &[(Dialect, &str)], change: impl FnOnce(&mut Json)) -> Resuming {
        let folder = Folder::new();
        let house = House::with(|document| {
            let url = document["targets"][0]["base_url"].as_str().expect("an address").to_owned();
            let providers = Dialect::ALL.map(|dialect| provider(dialect, &url));
            document["targets"].as_array_mut().expect("targets").extend(providers);
            for dialect in Dialect::ALL {
                document["wildcards"][short(dialect)] = json!(format!("{}/*", short(dialect)));
            }
            let names: Vec<String> =
                members.iter().map(|(dialect, _)| format!("{}/*", short(*dialect))).collect();
            let members: Vec<(&str, Option<&str>)> =
                names.iter().zip(members).map(|(name, (_, model))| (name.as_str(), Some(*model))).collect();
            let mut pool = pool("asked", &members);
            for (number, member) in pool["members"].as_array_mut().expect("members").iter_mut().enumerate() {
                member["priority"] = json!(number);
            }
            document["pools"] = json!([pool]);
            document["retry_budget"]["minimum_per_second"] = json!(1_000);
            document["log"] = support::log::settings(&folder.file("log.db"));
            change(document);
        });
        house.simulator.clear_requests();
        Resuming { house, folder }
    }

    fn simulator(&self) -> &Simulator {
        &self.house.simulator
    }

    fn ask(&self, client: Dialect) -> Heard {
        self.call(client, "", |_| {}).0
    }

    /// What the client hears, and the events as they came.
    fn call(
        &self,
        client: Dialect,
        headers: &str,
        change: impl FnOnce(&mut Json),
    ) -> (Heard, Vec<events::Data>) {
        let mut connection = self.house.connect();
        send(&mut connection, client, headers, change);
        listen(client, &connection.reply())
    }

    fn requests(&self) -> Vec<Recorded> {
        self.simulator().requests()
    }

    /// Rows of the log, once everything is in it.
    fn rows(self, sql: &str) -> Vec<Vec<Value>> {
        until("nothing is under way", || {
            self.house.plane.stats().in_flight == 0 && self.simulator().stats().in_flight == 0
        });
        assert_eq!(self.house.plane.stats().panics, 0);
        assert!(self.house.plane.stop(PATIENCE));
        support::log::query(&self.folder.file("log.db"), sql)
    }
}

fn send(connection: &mut Client, client: Dialect, headers: &str, change: impl FnOnce(&mut Json)) {
    let messages = json!([{"role": "user", "content": TEXT}]);
    let (path, mut body) = match client {
        Dialect::OpenaiResponses => ("/v1/responses", json!({"input": TEXT})),
        Dialect::AnthropicMessages => ("/v1/messages", json!({"max_tokens": 500, "messages": messages})),
        _ => {
            ("/v1/chat/completions", json!({"messages": messages, "stream_options": {"include_usage": true}}))
        }
    };
    body["model"] = json!("asked");
    body["stream"] = json!(true);
    change(&mut body);
    connection.post(path, headers, body.to_string());
}

fn listen(client: Dialect, reply: &Reply) -> (Heard, Vec<events::Data>) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(!reply.broken, "{}", reply.text());
    let events =
        events::read(client, &reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()));
    (heard::streamed(client, &events), events)
}

fn whole(heard: &Heard, client: Dialect, place: &str) {
    assert_eq!((heard.text.as_str(), heard.failed.as_deref()), (TEXT, None), "{place}");
    let finish = match client {
        Dialect::OpenaiChat => "stop",
        Dialect::OpenaiResponses => "completed",
        _ => "end_turn",
    };
    assert_eq!(heard.finish, finish, "{place}");
    let usage = heard.usage.unwrap_or_else(|| panic!("{place}: no usage"));
    assert!(usage.input > 0 && usage.output >= 8, "{place}: {usage:?}");
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn number(number: i64) -> Value {
    Value::Integer(number)
}

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
fn assert_one_response(events: &[events::Data]) {
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

#[test]
fn a_client_that_leaves_while_somebody_is_looked_for() {
    for client in CLIENTS {
        let house = Resuming::start(&[(client, "echo;cut=fin@3"), (Dialect::OpenaiChat, "echo;first=60s")]);
        let mut connection = house.house.connect();
        send(&mut connection, client, "", |_| {});
        assert_eq!(connection.head().expect("a head").status, 200);
        until("the second target is asked", || house.requests().len() == 2);
        drop(connection);
        until("its call is cancelled", || house.simulator().stats().in_flight == 0);
        let rows = house.rows(
            "SELECT requests.code, resumed, reason, attempts.code FROM requests \
             JOIN attempts ON request_id = id ORDER BY number",
        );
        let row =
            |reason: &str, code: &str| vec![text("client.disconnected"), number(0), text(reason), text(code)];
        let expected = [row("first", "upstream.cut"), row("resume", "client.disconnected")];
        assert_eq!(rows, expected, "{client:?}");
    }
}

/// And one that leaves after somebody has gone on.
#[test]
fn a_client_that_leaves_a_resumed_stream() {
    let members =
        [(Dialect::OpenaiChat, "echo;cut=fin@3"), (Dialect::OpenaiChat, "echo;continue=rest;stall=2")];
    let house = Resuming::with(&members, |document| {
        for target in document["targets"].as_array_mut().expect("targets") {
            target["timeouts"]["idle_ms"] = json!(60_000);
        }
    });
    let mut connection = house.house.connect();
    send(&mut connection, Dialect::OpenaiChat, "", |_| {});
    assert_eq!(connection.head().expect("a head").status, 200);
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains(" five") {
        heard.extend(connection.chunk().expect("a piece"));
    }
    drop(connection);
    let rows = house.rows("SELECT code, resumed, attempts FROM requests");
    assert_eq!(rows, [vec![text("client.disconnected"), number(1), number(2)]]);
}

/// The limits of the new call hold as those of the first did.
#[test]
fn silence_of_the_target_that_goes_on() {
    for client in CLIENTS {
        let members = [(client, "echo;cut=fin@3"), (Dialect::OpenaiChat, "echo;continue=rest;stall=2")];
        let house = Resuming::with(&members, |document| {
            document["pools"][0]["retry"]["attempts"] = json!(2);
        });
        let (heard, events) = house.call(client, "", |_| {});
        assert_eq!(heard.text, "one two three four five", "{client:?}");
        assert!(heard.failed.is_some_and(|words| words.contains("silent")), "{client:?}");
        assert_one_response(&events);
        let rows = house.rows("SELECT code, resumed, attempts FROM requests");
        assert_eq!(rows, [vec![text("upstream.idle_timeout"), number(1), number(2)]], "{client:?}");
    }
}

/// A client that bears no long silence hears of the failure before it hangs up: the search counts as silence.
#[test]
fn the_search_lasts_no_longer_than_the_client_waits() {
    for client in CLIENTS {
        let house = Resuming::start(&[(client, "echo;cut=fin@3"), (Dialect::OpenaiChat, "echo;first=60s")]);
        let (heard, _) = house.call(client, "x-stainless-read-timeout: 1\r\n", |_| {});
        assert_eq!(heard.text, "one two three", "{client:?}");
        assert!(heard.failed.is_some(), "{client:?}");
        let rows = house.rows("SELECT code, resumed, attempts FROM requests");
        assert_eq!(rows, [[text("request.deadline"), number(0), number(2)]], "{client:?}");
    }
}

/// The call that goes on ends when its time is over, though its client reads nothing.
#[test]
fn a_client_that_does_not_read() {
    let members = [(Dialect::OpenaiChat, "echo;cut=fin@3"), (Dialect::AnthropicMessages, "echo;body=1g")];
    let house = Resuming::with(&members, |document| {
        for target in document["targets"].as_array_mut().expect("targets") {
            target["timeouts"]["total_ms"] = json!(3_000);
        }
    });
    let mut lazy = house.house.connect();
    send(&mut lazy, Dialect::OpenaiChat, "", |_| {});
    assert_eq!(lazy.head().expect("a head").status, 200);
    until("the call is ended", || house.requests().len() == 2 && house.simulator().stats().in_flight == 0);
    drop(lazy);
    house.rows("SELECT id FROM requests");
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

/// A client whose time is over gets its error, and nobody else is asked for it.
#[test]
fn the_clients_own_deadline() {
    let members = [(Dialect::OpenaiChat, "echo;stall=3"), (Dialect::OpenaiChat, "echo;continue=rest")];
    let house = Resuming::with(&members, |document| {
        for target in document["targets"].as_array_mut().expect("targets") {
            target["timeouts"]["idle_ms"] = json!(60_000);
        }
    });
    let (heard, _) = house.call(Dialect::OpenaiChat, "x-meseta-deadline: 2s\r\n", |_| {});
    assert!(heard.failed.is_some());
    assert_eq!(house.requests().len(), 1);
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
