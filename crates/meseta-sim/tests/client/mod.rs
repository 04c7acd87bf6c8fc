//! A client of HTTP/1.1 on a bare socket, which tells how a connection ended.
#![allow(dead_code, reason = "each test binary uses its own part of the client")]

pub mod dialects;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use meseta_sim::{Simulator, Stats};
use serde_json::{Value, json};

/// A test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// As HTTP wants it, with the connection still open.
    Complete,
    /// The connection was closed before the answer's end.
    Fin,
    /// The connection was reset.
    Reset,
    /// Nothing came for a while, and the connection stayed open.
    Silence,
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Everything before the empty line, in lower case.
    pub head: String,
    /// Without the framing of chunks.
    pub body: Vec<u8>,
    pub end: End,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The data of each whole event.
    pub fn events(&self) -> Vec<String> {
        let text = self.text();
        let whole = text.rfind("\n\n").map_or("", |end| &text[..end]);
        whole.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).map(str::to_owned).collect()
    }

    /// The chunks before `[DONE]`.
    pub fn chunks(&self) -> Vec<Value> {
        let events = self.events();
        let chunks = events.iter().filter(|event| *event != "[DONE]");
        chunks.map(|event| serde_json::from_str(event).expect("a chunk is JSON")).collect()
    }

    /// The contents of the first choice's deltas, but for the first, which is empty.
    pub fn tokens(&self) -> Vec<String> {
        let contents = self.chunks().into_iter().filter_map(|chunk| {
            chunk["choices"][0]["delta"]["content"]
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        });
        contents.collect()
    }

    pub fn content(&self) -> String {
        self.json()["choices"][0]["message"]["content"].as_str().expect("text").to_owned()
    }

    pub fn message(&self) -> String {
        self.json()["error"]["message"].as_str().expect("an error").to_owned()
    }
}

pub fn start() -> Simulator {
    Simulator::start("127.0.0.1", 0, None).expect("it starts")
}

pub fn connect(simulator: &Simulator) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", simulator.port())).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

/// A chat request with one message of the user.
pub fn ask(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

/// The same request, streamed.
pub fn streamed(model: &str, text: &str) -> Value {
    let mut request = ask(model, text);
    request["stream"] = json!(true);
    request
}

pub fn chat(simulator: &Simulator, request: &Value) -> Reply {
    chat_with(simulator, "", request)
}

/// `headers` are lines that each end in CR LF.
pub fn chat_with(simulator: &Simulator, headers: &str, request: &Value) -> Reply {
    post(simulator, "/v1/chat/completions", headers, request.to_string().as_bytes())
}

pub fn post(simulator: &Simulator, path: &str, headers: &str, body: &[u8]) -> Reply {
    let mut socket = connect(simulator);
    send(&mut socket, path, headers, body);
    receive(&mut socket)
}

pub fn get(simulator: &Simulator, path: &str, headers: &str) -> Reply {
    let mut socket = connect(simulator);
    write!(socket, "GET {path} HTTP/1.1\r\nhost: sim\r\n{headers}\r\n").expect("sent");
    receive(&mut socket)
}

pub fn send(socket: &mut TcpStream, path: &str, headers: &str, body: &[u8]) {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nhost: sim\r\ncontent-length: {length}\r\n{headers}\r\n");
    socket.write_all(head.as_bytes()).expect("sent");
    socket.write_all(body).expect("sent");
}

/// Reads one answer.
pub fn receive(socket: &mut TcpStream) -> Reply {
    receive_until(socket, |_| false)
}

/// Reads until the body so far is enough, then for a moment more: the end is `Silence` if nothing came in it.
pub fn receive_until(socket: &mut TcpStream, enough: impl Fn(&[u8]) -> bool) -> Reply {
    let mut received = Vec::new();
    let mut block = vec![0; 64 << 10];
    loop {
        let reply = parse(&received);
        if let Some(reply) = reply.as_ref().filter(|reply| reply.end == End::Complete) {
            return Reply { body: reply.body.clone(), head: reply.head.clone(), ..*reply };
        }
        if reply.is_some_and(|reply| enough(&reply.body)) {
            socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
        }
        let end = match socket.read(&mut block) {
            Ok(0) => End::Fin,
            Ok(length) => {
                received.extend_from_slice(&block[..length]);
                continue;
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
            Err(error) if error.kind() == ErrorKind::WouldBlock => End::Silence,
            Err(error) => panic!("{error}"),
        };
        let nothing = Reply { status: 0, head: String::new(), body: received.clone(), end };
        return Reply { end, ..parse(&received).unwrap_or(nothing) };
    }
}

/// What has arrived of an answer, once its head has; the end is `Complete` or, so far, `Silence`.
fn parse(received: &[u8]) -> Option<Reply> {
    let head_end = received.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&received[..head_end]).ok()?.to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let rest = &received[head_end + 4..];
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let (body, complete) = match length {
        Some(length) => (rest.to_vec(), rest.len() == length),
        None => unchunk(rest),
    };
    Some(Reply { status, head, body, end: if complete { End::Complete } else { End::Silence } })
}

/// The data of the chunks so far, the last one's part included, and whether the closing chunk has come.
fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let digits = std::str::from_utf8(&rest[..line]).expect("a chunk's length");
        let length = usize::from_str_radix(digits, 16).expect("a chunk's length");
        rest = &rest[line + 2..];
        if length == 0 {
            return (body, rest.starts_with(b"\r\n"));
        }
        body.extend_from_slice(&rest[..length.min(rest.len())]);
        rest = rest.get(length + 2..).unwrap_or_default();
    }
    (body, false)
}

/// Waits until the counters are as wanted.
pub fn until(simulator: &Simulator, wanted: impl Fn(&Stats) -> bool) -> Stats {
    let begun = Instant::now();
    loop {
        let stats = simulator.stats();
        if wanted(&stats) {
            return stats;
        }
        assert!(begun.elapsed() < PATIENCE, "{stats:?}");
        std::thread::yield_now();
    }
}

pub fn leave(socket: &TcpStream) {
    socket.shutdown(Shutdown::Both).expect("closed");
}

/// A request of any method, with a JSON body.
pub fn send_json(simulator: &Simulator, method: &str, target: &str, headers: &str, body: &Value) -> Reply {
    let mut socket = connect(simulator);
    let body = body.to_string();
    let length = body.len();
    let head =
        format!("{method} {target} HTTP/1.1\r\nhost: sim\r\ncontent-length: {length}\r\n{headers}\r\n");
    socket.write_all(head.as_bytes()).expect("sent");
    socket.write_all(body.as_bytes()).expect("sent");
    receive(&mut socket)
}

/// Starts a simulator that plays a script.
pub fn play(script: &Value) -> Simulator {
    Simulator::start("127.0.0.1", 0, Some(&script.to_string())).expect("it starts")
}

/// A script whose only rule says one of everything.
pub fn everything() -> Value {
    json!([{"reply": {
        "content": [
            {"thinking": "Hm, well.", "signature": "c2ln"},
            {"thinking": "secret", "redacted": true},
            {"text": "I look."},
            {"tool": "weather", "arguments": {"city": "Oslo"}, "id": "one"},
            {"tool": "odd", "arguments": "{", "id": "two"}
        ],
        "usage": {"input": 100, "cached": 40, "cache_write": 10, "output": 30, "reasoning": 12}
    }}])
}

impl Reply {
    /// Name and data of each named event.
    pub fn named(&self) -> Vec<(String, Value)> {
        let text = self.text();
        let event = |event: &str| {
            let (name, data) = event.strip_prefix("event: ")?.split_once("\ndata: ")?;
            Some((name.to_owned(), serde_json::from_str(data).expect("JSON")))
        };
        text.split("\n\n").filter_map(event).collect()
    }

    /// A stretch of JSON in the data of events, whatever ends its lines.
    pub fn data(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
        lines.map(|data| serde_json::from_str(data).expect("JSON")).collect()
    }
}
