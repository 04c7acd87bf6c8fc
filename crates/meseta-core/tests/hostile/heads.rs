//! Heads that are no HTTP, that lie about the body, or hold what no client should send.

use std::io::Write;
use std::net::TcpStream;

use super::{CHAT, hasty};
use crate::support::http1::request;
use crate::support::{House, ask};

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
