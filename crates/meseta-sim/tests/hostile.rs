//! Input that means harm, or is merely broken: an error for its sender, and service for everybody else.

mod client;

use std::io::{Read, Write};

use client::{End, ask, chat, connect, post, receive, start};

#[test]
fn bodies_over_the_limit_are_refused() {
    let simulator = start();
    for size in [(32 << 20) + 1, 40 << 20] {
        let reply = post(&simulator, "/v1/chat/completions", "", &vec![b' '; size]);
        assert_eq!((reply.status, reply.end), (413, End::Complete));
    }
    assert_eq!(post(&simulator, "/v1/chat/completions", "", &vec![b' '; 32 << 20]).status, 400);
    // One that asks first is told without having to send.
    let mut socket = connect(&simulator);
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\nexpect: 100-continue\r\ncontent-length: 99999999\r\n\r\n";
    socket.write_all(head.as_bytes()).expect("sent");
    assert_eq!(receive(&mut socket).status, 413);
}

#[test]
fn no_input_stops_the_simulator() {
    let simulator = start();
    let deep = format!(r#"{{"model":"m","messages":[{}"#, r#"{"content":["#.repeat(50_000));
    for body in [
        deep.as_bytes(),
        b"\xff\xfe\x00",
        br#"{"model":"\ud800","messages":[{}]}"#,
        br#"{"model":5,"messages":[{}]}"#,
        br#"{"model":"m","messages":[null]}"#,
        br#"{"model":"m","messages":[{}],"n":1e400}"#,
        br#"{"model":"m","model":"m","messages":[{}]}"#,
        br#"{"model":"m","messages":[{}],"tools":"x"}"#,
        br#"{"model":";;;","messages":[{}]}"#,
    ] {
        for path in ["/v1/chat/completions", "/v1/embeddings"] {
            assert_eq!(
                post(&simulator, path, "", body).status,
                400,
                "{}",
                String::from_utf8_lossy(&body[..30.min(body.len())])
            );
        }
    }
    for bytes in [
        &b"\x00\x01\x02\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense-nonsense",
    ] {
        let mut socket = connect(&simulator);
        socket.write_all(bytes).expect("sent");
        // What comes back is the server's affair, as long as the connection ends.
        let _ = socket.read_to_end(&mut Vec::new());
    }
    assert_eq!(chat(&simulator, &ask("echo", "alive")).content(), "alive");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let simulator = start();
    let mut socket = connect(&simulator);
    let one = |text: &str| {
        let body = ask("echo", text).to_string();
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let close = "GET /v1/models HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n\r\n";
    socket.write_all(format!("{}{}{close}", one("first"), one("second")).as_bytes()).expect("sent");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("answers");
    let places: Vec<_> =
        ["\"first\"", "\"second\"", "\"list\""].iter().map(|part| text.find(part).expect("there")).collect();
    assert!(places.is_sorted(), "{text}");
}
