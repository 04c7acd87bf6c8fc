//! A client of HTTP/1.1 that can also write what no client should.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value as Json;

use super::PATIENCE;

/// A connection, over any stream: a socket or TLS on one.
pub struct Client<S = TcpStream> {
    pub stream: S,
    /// What has arrived and is not taken yet: the beginning of the next answer.
    received: Vec<u8>,
}

#[derive(Debug, Default)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The connection ended before the answer did.
    pub broken: bool,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// The text of a whole answer.
    pub fn content(&self) -> String {
        let json = self.json();
        json["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("{json}")).to_owned()
    }

    /// The error's code; the document must have all that our errors have.
    pub fn code(&self) -> String {
        let json = self.json();
        let error = &json["error"];
        assert!(error["message"].as_str().is_some_and(|text| text.ends_with('.')), "{json}");
        assert!(error["type"].is_string() && error.get("param").is_some(), "{json}");
        error["code"].as_str().unwrap_or_else(|| panic!("{json}")).to_owned()
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the plane listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_nodelay(true).expect("an option");
        Client::over(stream)
    }

    /// The client has said all it will.
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("closed");
    }
}

impl<S: Read + Write> Client<S> {
    pub fn over(stream: S) -> Client<S> {
        Client { stream, received: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the plane reads");
        self.stream.flush().expect("the plane reads");
    }

    /// Sends what the other end may refuse to read to its end.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).and_then(|()| self.stream.flush()).is_ok()
    }

    pub fn post(&mut self, path: &str, headers: &str, body: impl AsRef<[u8]>) {
        self.send(request(path, headers, body.as_ref()));
    }

    pub fn get(&mut self, path: &str) -> Reply {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: plane\r\n\r\n"));
        self.reply()
    }

    pub fn chat(&mut self, request: &Json) -> Reply {
        self.post("/v1/chat/completions", "", request.to_string());
        self.reply()
    }

    pub fn reply(&mut self) -> Reply {
        self.try_reply().expect("an answer")
    }

    /// One answer; `None` when the connection ended before one began.
    pub fn try_reply(&mut self) -> Option<Reply> {
        let mut reply = self.head()?;
        if reply.header("transfer-encoding") == Some("chunked") {
            reply.broken = loop {
                match self.chunk() {
                    Some(data) if data.is_empty() => break false,
                    Some(data) => reply.body.extend_from_slice(&data),
                    None => break true,
                }
            };
        } else {
            let length = reply.header("content-length").map_or(0, |length| length.parse().expect("a length"));
            while self.received.len() < length && self.more() {}
            reply.broken = self.received.len() < length;
            reply.body = self.take(length);
        }
        Some(reply)
    }

    /// Status and headers only; interim answers are passed over.
    pub fn head(&mut self) -> Option<Reply> {
        loop {
            let end = loop {
                if let Some(at) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                    break at + 4;
                }
                if !self.more() {
                    return None;
                }
            };
            let head = String::from_utf8(self.take(end)).expect("a head in ASCII");
            let mut lines = head.trim_end().split("\r\n");
            let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
            let headers = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect();
            if status >= 200 {
                return Some(Reply { status, headers, ..Reply::default() });
            }
        }
    }

    /// One piece of a chunked answer; empty at its end, `None` when the connection ended first.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(line) = self.received.windows(2).position(|window| window == b"\r\n") {
                let digits = std::str::from_utf8(&self.received[..line]).expect("a chunk's length");
                let length = usize::from_str_radix(digits, 16).expect("a chunk's length");
                let whole = line + 2 + length + 2;
                if self.received.len() >= whole {
                    let mut data = self.take(whole);
                    data.truncate(whole - 2);
                    return Some(data.split_off(line + 2));
                }
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// The kind and the payload of one frame of HTTP/2.
    pub fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let [high, middle, low, kind, ..] = self.received[..] {
                let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                if self.received.len() >= 9 + length {
                    return Some((kind, self.take(9 + length).split_off(9)));
                }
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// Everything until the other end closes, by whatever means.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.received)
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.received.split_off(length.min(self.received.len()));
        std::mem::replace(&mut self.received, rest)
    }

    fn more(&mut self) -> bool {
        let mut block = [0; 16 * 1024];
        match self.stream.read(&mut block) {
            Ok(0) => false,
            Ok(length) => {
                self.received.extend_from_slice(&block[..length]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("nothing within {PATIENCE:?}, after {:?}", String::from_utf8_lossy(&self.received))
            }
            Err(_) => false,
        }
    }
}

/// The bytes of a request; `headers` are lines that each end in CR LF.
pub fn request(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: plane\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}
