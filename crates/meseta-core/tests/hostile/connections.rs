//! Connections that are too many, say nothing, or leave early.

use serde_json::json;

use super::{CHAT, hasty};
use crate::support::http1::{Client, request};
use crate::support::http2::{self, frame};
use crate::support::{House, ask, streamed, until};

#[test]
fn connections_that_say_nothing_or_only_begin() {
    let house = hasty(1_000);
    let ours = house.plane.stats().connections;
    assert_eq!(ours, 0);
    let unfinished_headers = [http2::PREFACE, &frame(http2::SETTINGS, 0, 0, b""), &[0, 0, 9, 1]].concat();
    let beginnings: [&[u8]; 9] = [
        b"",
        b"P",
        b"PRI * HTTP/2.0",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n",
        http2::PREFACE,
        &unfinished_headers,
        b"GET /healthz HTTP/1.1\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
    ];
    let mut clients: Vec<Client> = beginnings
        .iter()
        .map(|beginning| {
            let mut client = house.connect();
            client.send(beginning);
            client
        })
        .collect();
    for (client, beginning) in clients.iter_mut().zip(beginnings) {
        let rest = client.rest();
        assert!(rest.len() < 4096, "{:?}: {rest:?}", String::from_utf8_lossy(beginning));
    }
    until("every connection is let go", || house.plane.stats().connections == 0);
    house.well("silence");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let house = House::start();
    let mut client = house.connect();
    let mut bytes = Vec::new();
    for number in 0..40 {
        // The first ones take longest.
        let model = if number < 3 { "sim/echo;first=30ms" } else { "sim/echo" };
        bytes.extend(request(CHAT, "", ask(model, &format!("number {number}")).to_string().as_bytes()));
        if number % 10 == 5 {
            bytes.extend(request(CHAT, "", b"{not json"));
        }
    }
    client.send(&bytes);
    for number in 0..40 {
        assert_eq!(client.reply().content(), format!("number {number}"));
        if number % 10 == 5 {
            assert_eq!(client.reply().code(), "request.invalid_json");
        }
    }
    assert_eq!(house.reached(), 40);
    house.well("pipelining");
}

#[test]
fn pipelined_requests_whose_client_leaves() {
    let house = House::start();
    for _ in 0..20 {
        let one = request(CHAT, "", streamed("sim/echo;pace=5ms", "a b c d e f").to_string().as_bytes());
        house.connect().send(one.repeat(20));
    }
    house.well("pipelining without reading");
}

#[test]
fn more_connections_than_there_may_be() {
    let house = House::with(|document| document["listeners"][0]["limits"]["connections"] = json!(8));
    let mut held: Vec<Client> = (0..8).map(|_| house.connect()).collect();
    for client in &mut held {
        assert_eq!(client.get("/healthz").status, 200);
    }
    for _ in 0..20 {
        let mut client = house.connect();
        client.try_send(request(CHAT, "", ask("sim/echo", "x").to_string().as_bytes()));
        let reply = client.reply();
        assert_eq!((reply.status, reply.code().as_str()), (503, "plane.overloaded"));
        assert_eq!(reply.header("retry-after"), Some("1"));
        assert!(client.rest().is_empty());
    }
    assert_eq!(house.plane.stats().refused_connections, 20);
    // Those that are in are served, and a place that becomes free is taken.
    assert_eq!(held[7].chat(&ask("sim/echo", "in")).content(), "in");
    held.clear();
    until("the places are free", || house.plane.stats().connections == 0);
    house.well("too many connections");
}
