//! What goes wrong on demand, whole and streamed, over sockets.

mod client;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use client::{
    End, Reply, ask, chat, chat_with, connect, leave, post, receive, receive_until, send, start, streamed,
    until,
};
use serde_json::json;

#[test]
fn a_status_comes_with_its_error_and_retry_after() {
    let simulator = start();
    for (status, kind) in [
        (401, "invalid_request_error"),
        (429, "rate_limit_error"),
        (503, "server_error"),
        (599, "server_error"),
    ] {
        for request in
            [ask, streamed].map(|make| make(&format!("m;status={status};retry-after=2;message=Too busy"), ""))
        {
            let reply = chat(&simulator, &request);
            assert_eq!(reply.status, status);
            assert_eq!(reply.json()["error"]["type"], kind);
            assert_eq!(reply.message(), "Too busy");
            assert!(reply.head.contains("retry-after: 2"));
        }
    }
}

#[test]
fn delays_do_not_change_an_answer() {
    let simulator = start();
    for request in [ask, streamed].map(|make| make("echo;first=1ms;head_then=1ms;pace=1ms", "a b c")) {
        let reply = chat(&simulator, &request);
        assert_eq!((reply.status, reply.end), (200, End::Complete));
    }
    // The head is there while the body is not.
    let mut socket = connect(&simulator);
    send(
        &mut socket,
        "/v1/chat/completions",
        "x-sim: head_then=10m\r\n",
        ask("m", "").to_string().as_bytes(),
    );
    let reply = receive_until(&mut socket, |_| true);
    assert_eq!((reply.status, reply.end, reply.body.len()), (200, End::Silence, 0));
}

#[test]
fn streams_are_cut_in_three_ways() {
    let simulator = start();
    for (cut, end) in [("fin", End::Fin), ("rst", End::Reset), ("frame", End::Fin)] {
        for after in [0_usize, 1, 3, 5] {
            let reply = chat(&simulator, &streamed(&format!("echo;cut={cut}@{after}"), "1 2 3 4 5"));
            assert_eq!((reply.status, reply.end), (200, end), "{cut}@{after}");
            // A reset may overtake what is in the client's own buffers, though not in its program's.
            if cut != "rst" {
                assert_eq!(reply.tokens().len(), after, "{}", reply.text());
                assert_eq!(
                    reply.text().ends_with("\n\n") || reply.body.is_empty(),
                    cut == "fin",
                    "{}",
                    reply.text()
                );
            }
        }
        let reply = chat(&simulator, &streamed(&format!("echo;cut={cut}@6"), "1 2 3 4 5"));
        assert_eq!(reply.end, End::Complete);
    }
    assert_eq!(simulator.stats().aborted, 0);
}

#[test]
fn whole_answers_are_cut_after_bytes() {
    let simulator = start();
    let length = chat(&simulator, &ask("echo", "1 2 3 4 5")).body.len();
    for after in [0, 10, length - 1] {
        let cut = |kind: &str| {
            chat_with(&simulator, &format!("x-sim: cut={kind}@{after}\r\n"), &ask("echo", "1 2 3 4 5"))
        };
        let fin = cut("fin");
        assert_eq!((fin.status, fin.end, fin.body.len()), (200, End::Fin, after));
        assert!(fin.head.contains(&format!("content-length: {length}")));
        assert_eq!(cut("rst").end, End::Reset);
        let frame = cut("frame");
        assert_eq!((frame.end, frame.body.len()), (End::Fin, after + (length - after) / 2));
    }
    let reply = chat_with(&simulator, &format!("x-sim: cut=fin@{length}\r\n"), &ask("echo", "1 2 3 4 5"));
    assert_eq!(reply.end, End::Complete);
}

#[test]
fn a_cut_lets_out_all_that_came_before_it() {
    let simulator = start();
    // The junk is never read: closing a socket in that state resets it unless care is taken.
    for junk in [0, 200_000] {
        let mut socket = connect(&simulator);
        let body = streamed("m;first=100ms;body=24m;cut=fin@6291456", "").to_string();
        let length = body.len();
        let head =
            format!("POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\ncontent-length: {length}\r\n\r\n");
        socket.write_all(&[head.as_bytes(), body.as_bytes(), &vec![b' '; junk]].concat()).expect("sent");
        // A client slower than the simulator: the socket's buffers are full when the cut is due.
        let mut words = 0;
        let mut block = [0; 2048];
        loop {
            match socket.read(&mut block).expect("a clean close, not a reset") {
                0 => break,
                length => words += blanks(&block[..length]),
            }
        }
        // One blank per token; those around them are in the head and in `data: `, one per event and its role.
        let events = (24 << 20) / (16 << 10) + 1;
        assert!(words >= 6_291_456 + events, "{words} with {junk} bytes of junk");
    }
}

#[test]
fn a_cut_waits_for_a_full_socket() {
    // With a client that does not read, some size fills the kernel's buffers and leaves a rest that the simulator
    // still holds when the cut is due. Which one is the kernel's secret, so sizes are tried until one is too large.
    for events in (1..2000).step_by(2) {
        let simulator = start();
        let mut socket = connect(&simulator);
        let (bytes, tokens) = (events * (16 << 10), events * (4 << 10));
        let request = streamed(&format!("m;body={bytes};cut=fin@{tokens}"), "");
        send(&mut socket, "/v1/chat/completions", "", request.to_string().as_bytes());
        let patience = Instant::now() + Duration::from_millis(100);
        while simulator.stats().requests == 0
            || (simulator.stats().in_flight > 0 && Instant::now() < patience)
        {
            std::thread::yield_now();
        }
        let too_large = simulator.stats().in_flight > 0;
        let mut received = Vec::new();
        socket.read_to_end(&mut received).expect("a clean close");
        let words = blanks(&received);
        assert!(words >= tokens + events, "{words} of {tokens} tokens");
        if too_large {
            return;
        }
    }
    panic!("no size fills this kernel's buffers");
}

#[expect(clippy::naive_bytecount, reason = "a crate for one test's count would be too much")]
fn blanks(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b' ').count()
}

#[test]
fn a_stall_lasts_until_the_client_leaves() {
    let simulator = start();
    for (number, request) in [(1, streamed("echo;stall=2", "1 2 3")), (2, ask("echo;stall=2", "1 2 3"))] {
        let mut socket = connect(&simulator);
        send(&mut socket, "/v1/chat/completions", "", request.to_string().as_bytes());
        let reply = receive_until(&mut socket, |body| {
            body.len() == 2 || body.ends_with(b"\"finish_reason\":null}]}\n\n")
        });
        assert_eq!(reply.end, End::Silence);
        assert_eq!(simulator.stats().in_flight, 1);
        if number == 1 {
            assert_eq!(reply.tokens(), ["1", " 2"]);
        } else {
            assert_eq!(reply.text(), "{\"");
        }
        leave(&socket);
        let stats = until(&simulator, |stats| stats.in_flight == 0);
        assert_eq!(stats.aborted, number);
    }
}

#[test]
fn a_client_that_leaves_before_the_head_is_counted() {
    let simulator = start();
    let mut socket = connect(&simulator);
    send(&mut socket, "/v1/chat/completions", "", ask("m;first=10m", "").to_string().as_bytes());
    until(&simulator, |stats| stats.in_flight == 1);
    drop(socket);
    assert_eq!(until(&simulator, |stats| stats.in_flight == 0).aborted, 1);
}

#[test]
fn garbage_comes_in_three_kinds() {
    let simulator = start();
    for request in [ask, streamed].map(|make| make("m;garbage=json", "")) {
        let reply = chat(&simulator, &request);
        assert_eq!((reply.status, reply.end), (200, End::Complete));
        assert!(reply.head.contains("application/json"));
        assert!(serde_json::from_slice::<serde_json::Value>(&reply.body).is_err());
    }
    for request in [ask, streamed].map(|make| make("m;garbage=http", "")) {
        let reply = chat(&simulator, &request);
        assert_eq!((reply.status, reply.end), (0, End::Fin));
        assert!(!reply.body.is_empty() && !reply.body.starts_with(b"HTTP"));
    }
    for request in [ask, streamed].map(|make| make("m;garbage=sse", "")) {
        let reply = chat(&simulator, &request);
        assert_eq!((reply.status, reply.end), (200, End::Complete));
        assert!(reply.head.contains("text/event-stream"));
        assert_eq!(reply.events()[0], "this is not JSON");
    }
}

#[test]
fn an_error_comes_mid_stream() {
    let simulator = start();
    let reply = chat(&simulator, &streamed("echo;error=sse@2;message=Out of luck", "1 2 3"));
    assert_eq!((reply.status, reply.end), (200, End::Complete));
    assert_eq!(reply.tokens(), ["1", " 2"]);
    let events = reply.events();
    let error: serde_json::Value = serde_json::from_str(events.last().expect("an error")).expect("JSON");
    assert_eq!(
        error["error"],
        json!({"message": "Out of luck", "type": "server_error", "param": null, "code": null})
    );
    let whole = chat(&simulator, &ask("echo;error=sse@2;message=Out of luck", "1 2 3"));
    assert_eq!((whole.status, whole.message().as_str()), (500, "Out of luck"));
}

#[test]
fn a_huge_body_is_as_long_as_ordered() {
    let simulator = start();
    for bytes in [0, 1, 5, 1 << 20, (1 << 20) + 3] {
        let reply = chat(&simulator, &ask(&format!("m;body={bytes}"), ""));
        assert_eq!(reply.content().len(), bytes);
        assert_eq!(reply.json()["usage"]["completion_tokens"], bytes.div_ceil(4));
        assert_eq!(
            chat(&simulator, &streamed(&format!("m;body={bytes}"), "")).tokens().concat().len(),
            bytes
        );
    }
    let mut several = ask("m;body=1g", "");
    several["n"] = json!(2);
    assert_eq!(chat(&simulator, &several).status, 400);
}

#[test]
fn other_endpoints_fail_the_same_way() {
    let simulator = start();
    let embed = |directives: &str| -> Reply {
        post(
            &simulator,
            "/v1/embeddings",
            &format!("x-sim: {directives}\r\n"),
            br#"{"model":"m","input":"x"}"#,
        )
    };
    assert_eq!(embed("status=429").status, 429);
    assert_eq!(embed("cut=fin@5").body.len(), 5);
    assert_eq!(embed("cut=rst@5").end, End::Reset);
    assert!(serde_json::from_slice::<serde_json::Value>(&embed("garbage=json").body).is_err());
    assert!(embed("usage=none").json().get("usage").is_none());
    assert_eq!(client::get(&simulator, "/v1/models", "x-sim: status=500\r\n").status, 500);
}

#[test]
fn a_connection_is_kept_for_the_next_request() {
    let simulator = start();
    let mut socket = connect(&simulator);
    for request in [ask("echo", "a"), streamed("echo", "b"), ask("m;status=503", "")] {
        send(&mut socket, "/v1/chat/completions", "", request.to_string().as_bytes());
        assert_eq!(receive(&mut socket).end, End::Complete);
    }
    let stats = simulator.stats();
    assert_eq!((stats.connections, stats.requests, stats.in_flight, stats.aborted), (1, 3, 0, 0));
}
