//! Bodies that are no request, have no end, or come a byte at a time.

use serde_json::json;

use super::{CHAT, hasty, refusal};
use crate::support::{House, ask};

#[test]
fn malformed_json_and_wrong_types() {
    let house = House::start();
    let mut client = house.connect();
    for body in [
        "",
        " ",
        "{",
        "}",
        "null",
        "[]",
        "\"text\"",
        "{]",
        "{\"messages\":[}",
        "{\"messages\":[],}",
        "{'messages':[]}",
        "{\"messages\":[]}{}",
        "{\"messages\":[1e999]}",
        "{\"messages\":[\"\\ud800\"]}",
        "{\"messages\":[\"\n\"]}",
        "{\"messages\":[\"\\x\"]}",
        "{\"messages\":[01]}",
        "{\"messages\":[NaN]}",
        "\u{feff}{\"messages\":[]}",
    ] {
        let (status, code, error) = refusal(&mut client, body);
        assert_eq!((status, code.as_str()), (400, "request.invalid_json"), "{body:?}: {error}");
    }
    for (body, param) in [
        (json!({"model": "sim/echo"}), "messages"),
        (json!({"model": "sim/echo", "messages": null}), "messages"),
        (json!({"model": "sim/echo", "messages": "hi"}), "messages"),
        (json!({"model": "sim/echo", "messages": {}}), "messages"),
        (json!({"model": 7, "messages": []}), "model"),
        (json!({"model": ["sim/echo"], "messages": []}), "model"),
        (json!({"model": "sim/echo", "messages": [], "stream": "true"}), "stream"),
        (json!({"model": "sim/echo", "messages": [], "stream": 1}), "stream"),
        (json!({"model": "sim/echo", "messages": [], "stream_options": 1}), "stream_options"),
    ] {
        let (status, code, error) = refusal(&mut client, body.to_string());
        assert_eq!((status, code.as_str()), (400, "request.invalid_field"), "{body}: {error}");
        assert_eq!(error["param"], param, "{body}: {error}");
    }
    let twice = r#"{"model":"sim/echo","messages":[],"mod\u0065l":"sim/other"}"#;
    assert_eq!(refusal(&mut client, twice).2["message"], "`model` appears twice.");
    assert_eq!(house.reached(), 0);
    house.well("malformed JSON");
}

#[test]
fn nesting_of_a_hundred_thousand_levels() {
    let house = House::start();
    let mut client = house.connect();
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
    for value in [deep("[", "]"), deep("{\"a\":", "}"), "[".repeat(100_000)] {
        for key in ["messages", "x", "model", "stream", "stream_options"] {
            let (status, code, error) = refusal(&mut client, format!(r#"{{"messages":[],"{key}":{value}}}"#));
            assert_eq!(status, 400, "{key}: {error}");
            assert!(
                matches!(code.as_str(), "request.invalid_json" | "request.invalid_field"),
                "{key}: {error}"
            );
        }
    }
    assert_eq!(house.reached(), 0);
    house.well("deep nesting");
}

#[test]
fn invalid_utf8() {
    let house = House::start();
    let mut client = house.connect();
    for bytes in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"] {
        let body = [b"{\"model\":\"sim/echo\",\"messages\":[\"", bytes, b"\"]}"].concat();
        let (status, code, error) = refusal(&mut client, body);
        assert_eq!((status, code.as_str()), (400, "request.invalid_json"));
        assert!(error["message"].as_str().is_some_and(|text| text.contains("UTF-8 (at byte 33)")), "{error}");
    }
    house.well("invalid UTF-8");
}

#[test]
fn a_body_of_a_hundred_mebibytes() {
    const SIZE: usize = 100 * 1024 * 1024;
    let house = House::start();
    let block = vec![b' '; 1024 * 1024];
    let mut client = house.connect();
    client.send(format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {SIZE}\r\n\r\n"));
    for _ in 0..SIZE / block.len() {
        client.send(&block);
    }
    let reply = client.reply();
    assert_eq!((reply.status, reply.code().as_str()), (413, "request.too_large"));
    // It was read to its end, so the connection is still good.
    assert_eq!(client.chat(&ask("sim/echo", "small")).content(), "small");

    let mut client = house.connect();
    client.send(format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"));
    for _ in 0..SIZE / block.len() {
        client.send(format!("{:x}\r\n", block.len()));
        client.send(&block);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    let reply = client.reply();
    assert_eq!((reply.status, reply.code().as_str()), (413, "request.too_large"));

    // One who asks first is told before the body goes out.
    let mut client = house.connect();
    client.send(format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {SIZE}\r\n\r\n"
    ));
    assert_eq!(client.reply().code(), "request.too_large");
    assert_eq!(house.reached(), 1);
    house.well("100 MiB");
}

#[test]
fn a_body_that_never_ends_is_let_go() {
    let house = House::start();
    let mut client = house.connect();
    client.send(format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"));
    let mut piece = b"100000\r\n".to_vec();
    piece.resize(piece.len() + 0x10_0000, b' ');
    piece.extend_from_slice(b"\r\n");
    let mut sent = 0;
    while client.try_send(&piece) {
        sent += 1;
        assert!(sent < 2048, "2 GiB were taken in");
    }
    house.well("an endless body");
}

#[test]
fn a_body_that_trickles() {
    let house = hasty(1_000);
    let mut client = house.connect();
    client.send(format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{{\"mes"));
    let reply = client.reply();
    assert_eq!((reply.status, reply.code().as_str()), (408, "request.timeout"));
    assert_eq!(reply.header("connection"), Some("close"));
    assert!(client.rest().is_empty());
    house.well("a slow body");
}

#[test]
fn a_body_that_breaks_off() {
    let house = House::start();
    let mut client = house.connect();
    client.send(format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{{\"mes"));
    client.half_close();
    client.rest();
    let mut client = house.connect();
    client.send(format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n"));
    client.rest();
    assert_eq!(house.reached(), 0);
    house.well("a cut body");
}
