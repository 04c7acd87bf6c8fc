//! Clients that mean harm or know no better. Each gets a clear answer or a closed connection, and nobody else notices.

mod support;

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value as Json, json};
use support::http1::{Client, request};
use support::http2::{self, block, frame};
use support::{House, ask, streamed, until};

const CHAT: &str = "/v1/chat/completions";

/// A house whose clients have this long for a head and a body.
fn hasty(milliseconds: u64) -> House {
    House::with(|document| {
        document["listeners"][0]["timeouts"] = json!({"head_ms": milliseconds, "body_ms": milliseconds});
    })
}

/// Sends a body to the chat endpoint on a connection that must stay good, and gives the code of the refusal.
fn refusal(client: &mut Client, body: impl AsRef<[u8]>) -> (u16, String, Json) {
    client.post(CHAT, "", body);
    let reply = client.reply();
    (reply.status, reply.code(), reply.json()["error"].clone())
}

#[test]
fn malformed_http() {
    let house = House::start();
    for bytes in [
        "\r\n\r\n\r\n\r\nGET\r\n\r\n",
        "GET\r\n\r\n",
        "GET /v1/models\r\n\r\n",
        "GET /v1/models HTTP/9.9\r\n\r\n",
        "GET  /v1/models HTTP/1.1\r\n\r\n",
        "GET /v1/mo\u{1}dels HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /v1/models HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /v1/models HTTP/1.1\r\n: no name\r\n\r\n",
        "GET /v1/models HTTP/1.1\r\nsp ace: x\r\n\r\n",
        "GET /v1/models HTTP/1.1\r\nx: a\0b\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        "\u{0}\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}",
    ] {
        let mut client = house.connect();
        client.send(bytes);
        client.half_close();
        if let Some(reply) = client.try_reply() {
            assert!(matches!(reply.status, 400 | 404 | 405 | 505), "{bytes:?} is answered {}", reply.status);
        }
        client.rest();
    }
    // A client that leaves at every point of a good request.
    let whole = request(CHAT, "", ask("sim/echo", "hi").to_string().as_bytes());
    for end in (0..whole.len()).step_by(7) {
        house.connect().send(&whole[..end]);
    }
    assert_eq!(house.reached(), 0);
    house.well("malformed HTTP");
}

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
fn a_head_that_trickles() {
    let house = hasty(1_000);
    let head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-slow: ";
    let mut sockets: Vec<TcpStream> = (0..50).map(|_| house.connect().stream).collect();
    for at in 0.. {
        let byte = head.get(at).copied().unwrap_or(b'a');
        sockets.retain_mut(|socket| socket.write_all(&[byte]).is_ok());
        if sockets.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(at < 1000, "{} connections are still open", sockets.len());
    }
    house.well("slow-loris");
}

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

#[test]
fn header_floods() {
    let house = House::start();
    for flood in
        ["x-a: b\r\n".repeat(65), "x-a: b\r\n".repeat(10_000), format!("x-a: {}\r\n", "b".repeat(20_000))]
    {
        let mut client = house.connect();
        client.try_send(format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{flood}\r\n"));
        let reply = client.reply();
        assert_eq!(reply.status, 431, "{} bytes", flood.len());
        client.rest();
    }
    let mut client = house.connect();
    client.try_send(format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(20_000)));
    assert!(matches!(client.reply().status, 414 | 431));
    // As many as there may be are no flood.
    let mut client = house.connect();
    client.send(format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{}\r\n", "x-a: b\r\n".repeat(63)));
    assert_eq!(client.reply().status, 200);
    house.well("header floods");
}

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
fn conflicting_lengths_smuggle_nothing() {
    let house = House::start();
    let inner = request(CHAT, "", ask("sim/echo", "smuggled").to_string().as_bytes());
    let inner = String::from_utf8(inner).expect("ASCII");
    let body = ask("sim/echo", "outer").to_string();
    let size = body.len();
    let chunked = format!("{size:x}\r\n{body}\r\n0\r\n\r\n");
    let before = house.reached();
    // What is refused must not reach the provider at all.
    for (headers, rest) in [
        (format!("content-length: {size}\r\ncontent-length: {}\r\n", size + inner.len()), body.clone()),
        (format!("content-length: {size}, {}\r\n", size + 1), body.clone()),
        (format!("content-length: +{size}\r\n"), body.clone()),
        (format!("content-length: 0x{size:x}\r\n"), body.clone()),
        (format!("content-length : {size}\r\n"), body.clone()),
        ("transfer-encoding: chunked, identity\r\n".to_owned(), chunked.clone()),
        ("transfer-encoding: gzip\r\n".to_owned(), chunked.clone()),
        ("transfer-encoding: xchunked\r\n".to_owned(), chunked.clone()),
        ("transfer-encoding : chunked\r\n".to_owned(), chunked.clone()),
        ("transfer-encoding:\u{b}chunked\r\n".to_owned(), chunked.clone()),
        ("transfer-encoding: chunked\r\n".to_owned(), format!("{size:x}\n{body}\n0\n\n")),
        ("transfer-encoding: chunked\r\n".to_owned(), format!("+{size:x}\r\n{body}\r\n0\r\n\r\n")),
        ("transfer-encoding: chunked\r\n".to_owned(), format!("1{:0>16}{size:x}\r\n{body}\r\n0\r\n\r\n", 0)),
    ] {
        let mut client = house.connect();
        client.try_send(format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\n{headers}\r\n{rest}{inner}"));
        client.half_close();
        let answered = client.try_reply();
        assert!(
            answered.as_ref().is_none_or(|reply| matches!(reply.status, 400 | 499)),
            "{headers:?} {rest:?}: {answered:?}"
        );
        assert!(client.try_reply().is_none(), "{headers:?}: a second answer");
        assert_eq!(house.reached(), before, "{headers:?} {rest:?}");
    }
    // Both framings at once: RFC 9112, section 6.1, lets chunks win if the connection then ends.
    for headers in [
        format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", chunked.len() + inner.len()),
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n".to_owned(),
    ] {
        let before = house.reached();
        let mut client = house.connect();
        client.send(format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\n{headers}\r\n{chunked}{inner}"));
        client.half_close();
        let first = client.reply();
        assert!(first.status == 400 || first.content() == "outer", "{headers:?}: {first:?}");
        assert!(client.try_reply().is_none(), "{headers:?}: a second answer");
        assert!(house.reached() <= before + 1, "{headers:?}");
    }
    house.well("smuggling");
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

#[test]
fn web_pages_get_nothing_without_a_key() {
    let house = House::start();
    for origin in ["https://evil.example", "null", "http://127.0.0.1", ""] {
        let mut client = house.connect();
        let body = ask("sim/echo", "x").to_string();
        client.post(CHAT, &format!("origin: {origin}\r\n"), &body);
        let reply = client.reply();
        assert_eq!((reply.status, reply.code().as_str()), (403, "request.origin_refused"), "{origin}");
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
    let mut client = house.connect();
    client.send("OPTIONS /v1/chat/completions HTTP/1.1\r\nhost: x\r\norigin: https://evil.example\r\n\r\n");
    assert_eq!(client.reply().status, 405);
    assert_eq!(house.reached(), 0);
    house.well("web pages");
}

#[test]
fn odd_paths() {
    let house = House::start();
    let long = format!("/v1/models/{}", "a/".repeat(4_000));
    for path in [
        "/",
        "//",
        "/v1",
        "/v1/",
        "/v1//chat/completions",
        "/v1/chat/completions/",
        "/V1/chat/completions",
        "/v1/%63hat/completions",
        "/v1/chat%2fcompletions",
        "/v1/models/..%2f..%2fetc%2fpasswd",
        "/../healthz",
        "/v1/models/%00",
        "/v1/models/%",
        "/v1/models/%zz",
        "/v1/models/{}[]|\\^`\"<>",
        "/%ff%fe",
        "/v1/models/",
        "/v1/models/\u{e9}",
        "/v1/models/sim/",
        &long,
    ] {
        let mut client = house.connect();
        let reply = client.get(path);
        assert!(matches!(reply.status, 400 | 404), "{path} is answered {}", reply.status);
        if !reply.body.is_empty() {
            assert!(matches!(reply.code().as_str(), "route.not_found" | "model.not_found"), "{path}");
            assert_eq!(client.get("/healthz").status, 200, "after {path}");
        }
    }
    let mut client = house.connect();
    for request in
        ["OPTIONS * HTTP/1.1", "CONNECT x:443 HTTP/1.1", "PRI * HTTP/1.1", "BREW /healthz HTTP/1.1"]
    {
        client.send(format!("{request}\r\nhost: x\r\n\r\n"));
        let Some(reply) = client.try_reply() else {
            client = house.connect();
            continue;
        };
        assert!(matches!(reply.status, 400 | 404 | 405), "{request} is answered {}", reply.status);
    }
    house.well("odd paths");
}

#[test]
fn odd_header_values() {
    let house = House::start();
    let body = ask("sim/echo;reflect=headers", "x").to_string();
    // Bytes above 0x7f are allowed by HTTP (obs-text) and travel as they are; our own labels must be ASCII.
    let mut client = house.connect();
    let mut bytes =
        format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nuser-agent: ", body.len());
    bytes.push_str("caf");
    let bytes = [bytes.as_bytes(), b"\xe9\xff\r\n\r\n", body.as_bytes()].concat();
    client.send(bytes);
    assert_eq!(client.reply().status, 200);
    for name in ["x-meseta-session", "x-meseta-run", "x-meseta-tags"] {
        for value in [&b"\xe9"[..], &[b'a'; 257]] {
            let head =
                format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n{name}: ", body.len());
            client.send([head.as_bytes(), value, b"\r\n\r\n", body.as_bytes()].concat());
            let reply = client.reply();
            assert_eq!((reply.status, reply.code().as_str()), (400, "request.invalid_header"));
            assert_eq!(reply.json()["error"]["param"], name);
        }
    }
    for headers in [
        "traceparent: \r\n",
        "traceparent: 00-zz-zz-zz\r\n",
        "authorization: \r\n",
        "content-type: image/png\r\n",
        "x-sim: \r\n",
        "cookie: a=b\r\n",
        "connection: x-sim, keep-alive\r\nx-sim: status=500\r\n",
    ] {
        client.post(CHAT, headers, &body);
        let reply = client.reply();
        assert!(
            matches!(reply.status, 200 | 500),
            "{headers:?} is answered {}: {}",
            reply.status,
            reply.text()
        );
        assert!(!reply.text().contains("a=b"), "{headers:?}");
    }
    client.post(CHAT, "content-encoding: gzip\r\n", b"\x1f\x8b\x08");
    assert_eq!(client.reply().code(), "request.encoding_unsupported");
    house.well("odd headers");
}
