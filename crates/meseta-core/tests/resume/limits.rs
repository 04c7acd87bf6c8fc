//! Clients that leave, do not read or have no more time, and targets that fall silent.

use meseta_wire::dialect::Dialect;
use serde_json::json;

use super::ending::assert_one_response;
use super::{CLIENTS, Resuming, number, send, text};
use crate::support::until;

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
