//! What only HTTP/2 can do: floods of headers, resets and streams.

use serde_json::json;

use super::CHAT;
use crate::support::http2::{self, block, frame};
use crate::support::{House, ask, until};

#[test]
fn header_floods_over_http2() {
    let house = House::start();
    http2::run(async {
        let client = http2::connect(house.address()).await;
        for (count, size) in [(1, 20_000), (2_000, 8), (100, 8)] {
            let mut request = http2::chat(&ask("sim/echo", "x"));
            for number in 0..count {
                let name = http::HeaderName::try_from(format!("x-{number}")).expect("a name");
                request.headers_mut().insert(name, "b".repeat(size).parse().expect("a value"));
            }
            let answer = client.clone().send_request(request).await;
            assert!(
                answer.is_err() || answer.is_ok_and(|answer| answer.status() == 431),
                "{count} of {size}"
            );
        }
    });
    assert_eq!(house.reached(), 0);
    house.well("header floods over HTTP/2");
}

#[test]
fn rapid_resets_over_http2() {
    let house = House::start();
    let mut client = house.connect();
    let head = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", CHAT),
        (":authority", "x"),
        ("content-length", "100"),
    ]);
    client.send([http2::PREFACE, &frame(http2::SETTINGS, 0, 0, b"")].concat());
    let mut ended = false;
    for batch in 0..2_000_u32 {
        let mut bytes = Vec::new();
        for number in 0..50 {
            let stream = 2 * (batch * 50 + number) + 1;
            bytes.extend(frame(http2::HEADERS, 4, stream, &head));
            bytes.extend(frame(http2::RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        }
        if !client.try_send(bytes) {
            ended = true;
            break;
        }
    }
    assert!(ended, "100,000 resets were taken");
    assert_eq!(house.reached(), 0);
    house.well("rapid resets");
}

#[test]
fn more_streams_than_there_may_be() {
    let house =
        House::with(|document| document["listeners"][0]["limits"]["streams_per_connection"] = json!(4));
    let mut client = house.connect();
    let head = block(&[(":method", "POST"), (":scheme", "http"), (":path", CHAT), (":authority", "x")]);
    let mut bytes = [http2::PREFACE, &frame(http2::SETTINGS, 0, 0, b"")].concat();
    for stream in 0..200_u32 {
        bytes.extend(frame(http2::HEADERS, 4, 2 * stream + 1, &head));
    }
    client.try_send(bytes);
    until("four streams are open", || house.plane.stats().in_flight == 4);
    let mut refused = 0;
    while refused < 196 {
        let (kind, payload) = client.frame().expect("the others are refused, each by itself");
        // RFC 9113, section 7: REFUSED_STREAM.
        refused += usize::from(kind == http2::RST_STREAM && payload == [0, 0, 0, 7]);
    }
    assert_eq!(house.plane.stats().in_flight, 4);
    drop(client);
    assert_eq!(house.reached(), 0);
    house.well("too many streams");
}

#[test]
fn garbage_over_http2() {
    let house = House::start();
    let settings = frame(http2::SETTINGS, 0, 0, b"");
    for garbage in [
        vec![0xff; 4096],
        frame(http2::HEADERS, 4, 1, &[0xff; 64]),
        frame(http2::HEADERS, 4, 0, &block(&[(":method", "GET")])),
        frame(
            http2::HEADERS,
            4,
            2,
            &block(&[(":method", "GET"), (":scheme", "http"), (":path", "/healthz")]),
        ),
        frame(http2::HEADERS, 4, 1, &block(&[("Upper", "case"), (":method", "GET")])),
        frame(0, 0, 5, b"data on a stream that is not open"),
        frame(8, 0, 0, &[0; 4]),
        frame(9, 0, 1, b"a continuation of nothing"),
        frame(http2::SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
        [0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1].to_vec(),
    ] {
        let mut client = house.connect();
        client.try_send([http2::PREFACE, &settings, &garbage].concat());
        client.half_close();
        client.rest();
    }
    house.well("garbage over HTTP/2");
}

/// A head that never ends, in frames that each are small (CVE-2024-27316 in other servers).
#[test]
fn continuation_flood_over_http2() {
    let house = House::start();
    let mut client = house.connect();
    let head = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/healthz"), (":authority", "x")]);
    client.send([http2::PREFACE, &frame(http2::SETTINGS, 0, 0, b"")].concat());
    client.send(frame(http2::HEADERS, 0, 1, &head));
    let more = frame(9, 0, 1, &block(&[("x-flood", &"a".repeat(120))]).repeat(100));
    let mut sent = 0;
    while client.try_send(&more) {
        sent += 1;
        assert!(sent < 100_000, "more than a gigabyte of one head was taken");
    }
    house.well("a flood of continuations");
}
