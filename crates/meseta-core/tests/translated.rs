//! Answers in another dialect than the client's, from providers that fail, lie or are of an older kind of HTTP.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use meseta_core::log::Value;
use serde_json::{Value as Json, json};
use support::http1::Reply;
use support::{Folder, House, ask, keys, streamed, target, until};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";

/// SHA-256 of "first".
const FIRST: &str = "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e";

/// A provider that answers each request with bytes of the test's choice and closes.
struct Raw {
    url: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Raw {
    fn start(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Raw {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notes = heard.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let Some(request) = hear(&mut stream) else { continue };
                let bytes = answer(&request);
                notes.lock().expect("notes").push(request);
                // The plane may have heard enough before the end.
                let _ = stream.write_all(&bytes);
            }
        });
        Raw { url, heard }
    }

    fn last(&self) -> String {
        self.heard.lock().expect("notes").last().expect("a request").clone()
    }
}

/// One request, head and body.
fn hear(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut block = [0; 8 * 1024];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().expect("a length")) {
                return Some(text.into_owned());
            }
        }
        match stream.read(&mut block) {
            Ok(length) if length > 0 => bytes.extend_from_slice(&block[..length]),
            _ => return None,
        }
    }
}

/// An answer whose length is said.
fn answer(head: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn events(data: &[&str]) -> String {
    data.iter().flat_map(|data| ["data: ", data, "\n\n"]).collect()
}

const BEGIN: &str =
    r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"one"}}]}"#;
const END: &str = r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}"#;
const SSE: &str = "200 OK\r\ncontent-type: text/event-stream";

/// `raw/` leads to the provider at `url`, which speaks `dialects`.
fn house(folder: &Folder, url: &str, dialects: &[&str], change: impl FnOnce(&mut Json)) -> House {
    House::with(|document| {
        let mut raw = target(url);
        raw["name"] = json!("raw/*");
        raw["provider"] = json!("raw");
        raw["dialects"] = json!(dialects);
        document["targets"].as_array_mut().expect("targets").push(raw);
        document["wildcards"]["raw"] = json!("raw/*");
        document["log"] = support::log::settings(&folder.file("log.db"));
        change(document);
    })
}

fn call(house: &House, path: &str, headers: &str, request: &Json) -> Reply {
    let mut client = house.connect();
    client.post(path, headers, request.to_string());
    client.reply()
}

fn message(model: &str, stream: bool) -> Json {
    json!({"model": model, "max_tokens": 10, "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
}

/// What the log has of the first request: status, code, and tokens out.
fn logged(house: &House, folder: &Folder) -> Vec<Value> {
    until("nothing is under way", || house.plane.stats().in_flight == 0);
    assert_eq!(house.plane.stats().panics, 0);
    assert!(house.plane.stop(support::PATIENCE));
    let sql = "SELECT status, code, output_tokens FROM requests ORDER BY id";
    let rows = support::log::query(&folder.file("log.db"), sql);
    assert_eq!(rows.len(), 1, "one row for one request");
    rows.into_iter().next().expect("a row")
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn an_error_keeps_its_status_whatever_its_body_is() {
    for (kind, body) in [
        ("text/html; charset=latin-1", &b"<html>trop de requ\xeates</html>"[..]),
        ("text/event-stream", b"event: error\ndata: {}\n\n"),
        ("application/json", b"{\"error\": 7}"),
        ("application/json", b""),
    ] {
        for stream in [false, true] {
            let folder = Folder::new();
            let head = format!("429 Slow\r\ncontent-type: {kind}\r\nretry-after: 7");
            let raw = Raw::start(move |_| answer(&head, body));
            let house = house(&folder, &raw.url, &["openai_chat"], |_| {});
            let reply = call(&house, MESSAGES, "", &message("raw/m", stream));
            assert_eq!((reply.status, reply.header("retry-after")), (429, Some("7")), "{}", reply.text());
            assert_eq!(reply.header("content-type"), Some("application/json"));
            assert_eq!(reply.json()["error"]["type"], "rate_limit_error", "{}", reply.text());
            let row = logged(&house, &folder);
            assert_eq!(row, [Value::Integer(429), text("upstream.rejected"), Value::Null]);
        }
    }
}

#[test]
fn a_packed_answer_is_unpacked_before_it_is_translated() {
    let pack = |text: &str| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(text.as_bytes()).expect("memory");
        packer.finish().expect("memory")
    };
    let whole = r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"one"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":7}}"#;
    let stream = pack(&events(&[BEGIN, END, "[DONE]"]));
    let packed = |kind: &str, body: &[u8]| {
        answer(&format!("200 OK\r\ncontent-type: {kind}\r\ncontent-encoding: gzip\r\netag: \"x\""), body)
    };
    let cut = &stream[..stream.len() - 12];
    let cases = [
        (false, packed("application/json", &pack(whole)), None),
        (true, packed("text/event-stream", &stream), None),
        (true, packed("text/event-stream", cut), Some("upstream.")),
        (true, packed("text/event-stream", b"no gzip"), Some("upstream.invalid_answer")),
    ];
    for ((streams, bytes, code), translated) in
        cases.into_iter().flat_map(|case| [(case.clone(), true), (case, false)])
    {
        let folder = Folder::new();
        let raw = Raw::start(move |_| bytes.clone());
        let house = house(&folder, &raw.url, &["openai_chat"], |_| {});
        let path = if translated { MESSAGES } else { CHAT };
        let reply = call(&house, path, "", &message("raw/m", streams));
        assert_eq!(reply.header("content-encoding"), None);
        assert_eq!(reply.header("etag").is_some(), !translated && reply.status == 200);
        assert!(!reply.broken);
        let row = logged(&house, &folder);
        match code {
            None => {
                assert_eq!(reply.header("x-meseta-model"), Some("raw/m"));
                assert!(reply.text().contains("one"), "{}", reply.text());
                assert_eq!(row, [Value::Integer(200), Value::Null, Value::Integer(7)]);
            }
            Some(code) => {
                assert!(reply.text().contains("\"error\""), "{}", reply.text());
                assert!(matches!(&row[1], Value::Text(text) if text.starts_with(code)), "{row:?}");
            }
        }
    }
}

#[test]
fn what_is_no_answer_is_an_error() {
    let status = |status: &str| format!("HTTP/1.1 {status}\r\n\r\n").into_bytes();
    let long = json!({"choices": [], "x": "a".repeat(33 << 20)}).to_string();
    let document = r#"{"error":{"message":"no","type":"server_error"}}"#;
    for (name, bytes) in [
        ("101", status("101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade")),
        ("204", status("204 No Content\r\ncontent-type: text/event-stream")),
        ("304", status("304 Not Modified")),
        ("302", status("302 Found\r\nlocation: http://127.0.0.1:1/")),
        ("a document of an error", answer("200 OK\r\ncontent-type: application/json", document)),
        ("not UTF-8", answer("200 OK\r\ncontent-type: application/json", b"{\"a\":\"\xff\"}")),
        ("too long", answer("200 OK\r\ncontent-type: application/json", &long)),
        ("too long, to its end", format!("HTTP/1.1 200 OK\r\n\r\n{long}").into_bytes()),
        ("cut", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"choices\":".to_vec()),
        ("nothing", Vec::new()),
        ("an empty stream", answer(SSE, "")),
    ] {
        let raw = Raw::start(move |_| bytes.clone());
        for stream in [false, true] {
            for path in [MESSAGES, CHAT] {
                if path == CHAT && !matches!(name, "101" | "304" | "302" | "nothing") {
                    continue;
                }
                let folder = Folder::new();
                let house = house(&folder, &raw.url, &["openai_chat"], |_| {});
                let mut request = message("raw/m", stream);
                request["max_tokens"] = json!(3);
                let reply = call(&house, path, "", &request);
                assert_eq!(reply.status, 502, "{name} {path} {stream}: {}", reply.text());
                let row = logged(&house, &folder);
                assert!(
                    matches!(&row[1], Value::Text(code) if code.starts_with("upstream.")),
                    "{name}: {row:?}"
                );
            }
        }
    }
}

#[test]
fn a_stream_that_lacks_its_end_is_no_success() {
    let frame = |kind: &str, body: &str| {
        let headers =
            [(":message-type", "event"), (":event-type", kind), (":content-type", "application/json")];
        meseta_wire::eventstream::encode(&headers, body.as_bytes())
    };
    let frames = [
        frame("messageStart", r#"{"role":"assistant"}"#),
        frame("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"one"}}"#),
    ]
    .concat();
    let mut damaged = frames.clone();
    *damaged.last_mut().expect("bytes") ^= 1;
    let aws = "200 OK\r\ncontent-type: application/vnd.amazon.eventstream";
    let half = &frames[..frames.len() - 9];
    for (dialect, bytes) in [
        ("bedrock_converse", answer(aws, &frames)),
        ("bedrock_converse", answer(aws, half)),
        ("bedrock_converse", answer(aws, &damaged)),
        ("bedrock_converse", [b"HTTP/1.1 ", aws.as_bytes(), b"\r\n\r\n", half].concat()),
        ("openai_chat", answer(SSE, events(&[BEGIN]))),
        ("openai_chat", answer(SSE, &events(&[BEGIN, END])[..BEGIN.len() + 40])),
        ("openai_chat", answer(SSE, format!("{}data: {{", events(&[BEGIN])))),
        ("openai_chat", answer(SSE, format!("data: {}", "x".repeat(17 << 20)))),
    ] {
        for path in [MESSAGES, RESPONSES] {
            let folder = Folder::new();
            let bytes = bytes.clone();
            let raw = Raw::start(move |_| bytes.clone());
            let house = house(&folder, &raw.url, &[dialect], |_| {});
            let mut request = message("raw/m", true);
            if path == RESPONSES {
                request = json!({"model": "raw/m", "input": "hi", "stream": true});
            }
            let reply = call(&house, path, "", &request);
            assert_eq!((reply.status, reply.broken), (200, false));
            assert_eq!(reply.text().matches("event: error\n").count(), 1, "{}", reply.text());
            let row = logged(&house, &folder);
            assert!(matches!(&row[1], Value::Text(code) if code.starts_with("upstream.")), "{row:?}");
        }
    }
}

#[test]
fn a_last_event_without_its_blank_line_is_read_once() {
    let folder = Folder::new();
    let body = events(&[BEGIN, END, "[DONE]"]);
    let raw = Raw::start(move |_| answer(SSE, body.trim_end()));
    let house = house(&folder, &raw.url, &["openai_chat"], |_| {});
    let reply = call(&house, MESSAGES, "", &message("raw/m", true));
    assert_eq!(reply.text().matches("event: message_stop").count(), 1, "{}", reply.text());
    assert_eq!(logged(&house, &folder), [Value::Integer(200), Value::Null, Value::Integer(7)]);
}

#[test]
fn an_answer_that_grows_too_long_to_be_repeated_is_a_failure() {
    let folder = Folder::new();
    let piece = json!({"choices": [{"index": 0, "delta": {"content": "a".repeat(1 << 20)}}]}).to_string();
    let mut data = vec![piece.as_str(); 40];
    data.extend([END, "[DONE]"]);
    let body = events(&data);
    let raw = Raw::start(move |_| answer(SSE, &body));
    let house = house(&folder, &raw.url, &["openai_chat"], |_| {});
    let reply = call(&house, RESPONSES, "", &json!({"model": "raw/m", "input": "hi", "stream": true}));
    assert_eq!(reply.text().matches("event: response.failed").count(), 1);
    assert_eq!(logged(&house, &folder)[1], text("upstream.failed_mid_stream"));
}

#[test]
fn no_name_of_a_field_writes_a_header() {
    let house = House::start();
    let mut request = message("sim/echo", false);
    for number in 0..2000 {
        request[format!("x{number}\r\nset-cookie: a=b\u{e9}{}", "y".repeat(200))] = json!(1);
    }
    let reply = call(&house, MESSAGES, "", &request);
    assert_eq!((reply.status, reply.header("set-cookie")), (200, None));
    let dropped = reply.header("x-meseta-dropped").expect("what was dropped");
    assert!(dropped.contains("set-cookie:a=b") && dropped.len() < 4096, "{dropped}");
}

#[test]
fn a_client_that_leaves_ends_the_call() {
    for version in ["http1", "http2"] {
        let house = House::with(|document| document["targets"][0]["http_version"] = json!(version));
        let whole = call(&house, MESSAGES, "", &message("sim/echo", true));
        assert!(whole.text().contains("event: message_stop"), "{version}: {}", whole.text());
        let mut client = house.connect();
        client.post(MESSAGES, "", message("sim/echo;stall=1;tokens=9", true).to_string());
        assert_eq!(client.head().expect("a head").status, 200);
        client.chunk().expect("a piece");
        drop(client);
        until("the call is cancelled", || house.simulator.stats().aborted == 1);
        house.well("a client that left a translated stream");
    }
}

#[test]
fn silence_ends_a_translated_stream() {
    for (model, timeout, status) in
        [("sim/echo;head_then=60s", "first_token_ms", 504), ("sim/echo;stall=1;tokens=9", "idle_ms", 200)]
    {
        let house = House::with(|document| document["targets"][0]["timeouts"][timeout] = json!(100));
        let reply = call(&house, MESSAGES, "", &message(model, true));
        assert_eq!((reply.status, reply.broken), (status, false), "{}", reply.text());
        assert!(reply.text().contains("timeout"), "{}", reply.text());
        until("the call is ended", || house.simulator.stats().in_flight == 0);
    }
}

#[test]
fn a_text_about_signatures_passes_untouched() {
    let folder = Folder::new();
    let done = events(&[BEGIN, END, "[DONE]"]);
    let raw = Raw::start(move |_| answer(SSE, &done));
    let house = house(&folder, &raw.url, &["openai_chat"], |_| {});
    for quoted in ["see \"meseta.gemini.x\"", "meseta.yaml"] {
        let mut request = streamed("raw/m", quoted);
        request["of_tomorrow"] = json!({"kept": true});
        assert_eq!(call(&house, CHAT, "", &request).status, 200);
        assert!(raw.last().contains("of_tomorrow"), "{}", raw.last());
    }
}

#[test]
fn what_is_written_anew_for_its_own_dialect_keeps_that_dialects_headers() {
    let folder = Folder::new();
    let raw = Raw::start(|_| answer("400 No\r\ncontent-type: application/json", "{}"));
    let house = house(&folder, &raw.url, &["openai_chat", "anthropic_messages"], |document| {
        document["targets"][1]["credentials"] = json!([{"type": "passthrough"}]);
    });
    let mut request = message("raw/m", false);
    // What another one signed, and what nobody did.
    for signature in ["meseta.gemini.abc", "meseta.none"] {
        let thought = json!({"type": "thinking", "thinking": "hm", "signature": signature});
        request["messages"] = json!([
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [thought, {"type": "text", "text": "ho"}]},
            {"role": "user", "content": "hi"},
        ]);
        let headers = "anthropic-version: 2023-06-01\r\nanthropic-beta: b\r\nx-api-key: client\r\n";
        call(&house, MESSAGES, headers, &request);
        let heard = raw.last();
        assert!(heard.starts_with("POST /messages ") && !heard.contains("meseta."), "{heard}");
        for line in ["anthropic-version: 2023-06-01", "anthropic-beta: b", "x-api-key: client"] {
            assert!(heard.contains(line), "{line}: {heard}");
        }
    }
}

#[test]
fn a_key_of_ours_reaches_no_provider() {
    let folder = Folder::new();
    let raw = Raw::start(|_| answer("400 No\r\ncontent-type: application/json", "{}"));
    let house = house(&folder, &raw.url, &["openai_chat"], |document| {
        document["targets"][1]["credentials"] = json!([{"type": "passthrough"}]);
        document["targets"][1]["forward_headers"] = json!(["x-*", "authorization"]);
        document["listeners"][0]["auth"] = keys(&[FIRST]);
    });
    for headers in [
        "authorization: Bearer first\r\n",
        "x-api-key: first\r\n",
        "x-meseta-key: first\r\n",
        "x-meseta-key: first\r\nauthorization: Bearer first\r\n",
        "x-meseta-key: first\r\nx-api-key: first\r\n",
        "x-meseta-key: first\r\nauthorization: Bearer other\r\nauthorization: Bearer first\r\n",
    ] {
        for (path, request) in [(CHAT, ask("raw/m", "hi")), (MESSAGES, message("raw/m", false))] {
            assert_eq!(call(&house, path, headers, &request).status, 400);
            assert!(!raw.last().contains("first"), "{headers}: {}", raw.last());
        }
    }
    call(&house, MESSAGES, "x-meseta-key: first\r\nx-api-key: own\r\n", &message("raw/m", false));
    assert!(raw.last().contains("authorization: Bearer own"), "{}", raw.last());
}
