//! One keep-alive connection of the load generator: it reads an answer and checks that it is complete.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use memchr::{memchr, memmem};
use mio::net::TcpStream;

use crate::answers::{MARK, STAMP_DIGITS, unix_nanos};
use crate::api::Api;
use crate::filler;
use crate::framing::{self, Body};
use crate::report::Report;

const MAX_HEADERS: usize = 100;

pub struct Client {
    socket: TcpStream,
    pub state: State,
    /// Whether the server has sent anything: until then it may not have accepted the connection yet.
    pub heard: bool,
    unsent: usize,
    input: Vec<u8>,
    answer: Answer,
    close_after: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub enum State {
    Connecting,
    Idle,
    /// Since when the request counts: the moment it was sent, or was due in an open loop.
    Waiting(Instant),
}

/// How far the present answer has been read.
struct Answer {
    body: Option<Body>,
    api: Api,
    stream: bool,
    text: Vec<u8>,
    line: Vec<u8>,
    tokens: u32,
    last_token: Option<Instant>,
    /// Whether the newest event is the one that ends a stream.
    done: bool,
}

/// What reading came to.
pub enum Progress {
    More,
    Complete {
        reusable: bool,
    },
    /// The connection ended between two requests.
    Ended,
}

impl Client {
    pub fn new(socket: TcpStream, api: Api, stream: bool) -> Self {
        Self {
            socket,
            state: State::Connecting,
            heard: false,
            unsent: 0,
            input: Vec::new(),
            answer: Answer::new(api, stream),
            close_after: false,
        }
    }

    pub fn connected(&mut self) -> io::Result<bool> {
        if let Some(reason) = self.socket.take_error()? {
            return Err(reason);
        }
        match self.socket.peer_addr() {
            Ok(_) => {}
            Err(reason) if reason.kind() == ErrorKind::NotConnected => return Ok(false),
            Err(reason) => return Err(reason),
        }
        self.socket.set_nodelay(true)?;
        self.state = State::Idle;
        Ok(true)
    }

    pub fn ask(&mut self, request: &[u8], since: Instant) -> Result<(), String> {
        self.state = State::Waiting(since);
        self.unsent = request.len();
        self.answer.reset();
        self.send(request)
    }

    /// Sends what is left of the request.
    pub fn send(&mut self, request: &[u8]) -> Result<(), String> {
        while self.unsent > 0 {
            match self.socket.write(&request[request.len() - self.unsent..]) {
                Ok(count) => self.unsent -= count,
                Err(reason) if reason.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(reason) if reason.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err("write".to_owned()),
            }
        }
        Ok(())
    }

    /// Reads what has come. An error names its kind and ends the connection.
    pub fn read(
        &mut self,
        scratch: &mut [u8],
        tokens: Option<u32>,
        report: &mut Report,
    ) -> Result<Progress, String> {
        loop {
            let count = match self.socket.read(scratch) {
                Ok(0) if self.state == State::Idle => return Ok(Progress::Ended),
                Ok(0) => return Err("closed".to_owned()),
                Ok(count) => count,
                Err(reason) if reason.kind() == ErrorKind::WouldBlock => return Ok(Progress::More),
                Err(reason) if reason.kind() == ErrorKind::Interrupted => continue,
                Err(_) if self.state == State::Idle => return Ok(Progress::Ended),
                Err(_) => return Err("reset".to_owned()),
            };
            let now = Instant::now();
            self.heard = true;
            report.received(now, count);
            let State::Waiting(since) = self.state else { return Err("unasked_bytes".to_owned()) };
            if self.take(&scratch[..count], now, since, report)? {
                self.answer.check(tokens)?;
                report.answered(now, now - since);
                self.state = State::Idle;
                return Ok(Progress::Complete { reusable: !self.close_after });
            }
            // A short read means that the socket is empty: the next bytes will be a new edge.
            if count < scratch.len() {
                return Ok(Progress::More);
            }
        }
    }

    fn take(
        &mut self,
        bytes: &[u8],
        now: Instant,
        since: Instant,
        report: &mut Report,
    ) -> Result<bool, String> {
        let mut rest = bytes;
        if self.answer.body.is_none() {
            self.input.extend_from_slice(bytes);
            let held = self.input.len() - bytes.len();
            let Some(end) = self.read_head()? else { return Ok(false) };
            self.input.clear();
            rest = bytes.get(end.saturating_sub(held)..).ok_or("malformed_head")?;
        }
        let (taken, complete) = self.answer.take(rest, now, since, report)?;
        if complete && taken < rest.len() {
            return Err("bytes_after_the_answer".to_owned());
        }
        Ok(complete)
    }

    fn read_head(&mut self) -> Result<Option<usize>, String> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let end = match head.parse(&self.input) {
            Ok(httparse::Status::Complete(end)) => end,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err("malformed_head".to_owned()),
        };
        match head.code {
            Some(200) => {}
            code => return Err(format!("status_{}", code.unwrap_or_default())),
        }
        self.close_after = framing::closes(head.headers);
        let body = framing::of(head.headers).map_err(|_| "malformed_head")?;
        self.answer.body = Some(body.ok_or("unframed_body")?);
        Ok(Some(end))
    }

    /// How long the present stream has been silent, if a token of it has come.
    pub fn silence(&self, now: Instant) -> Option<Duration> {
        self.answer.last_token.map(|last| now - last)
    }

    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }
}

impl Answer {
    fn new(api: Api, stream: bool) -> Self {
        Self {
            body: None,
            api,
            stream,
            text: Vec::new(),
            line: Vec::new(),
            tokens: 0,
            last_token: None,
            done: false,
        }
    }

    fn reset(&mut self) {
        self.body = None;
        self.text.clear();
        self.line.clear();
        self.tokens = 0;
        self.last_token = None;
        self.done = false;
    }

    fn take(
        &mut self,
        input: &[u8],
        now: Instant,
        since: Instant,
        report: &mut Report,
    ) -> Result<(usize, bool), String> {
        let mut body = self.body.take().ok_or("malformed_head")?;
        let result = body.take(input, |payload| {
            if self.stream {
                self.lines(payload, now, since, report);
            } else {
                self.text.extend_from_slice(payload);
            }
        });
        self.body = Some(body);
        result.map_err(|_| "malformed_body".to_owned())
    }

    /// Splits server-sent events into lines, whole ones without a copy.
    fn lines(&mut self, mut payload: &[u8], now: Instant, since: Instant, report: &mut Report) {
        while let Some(end) = memchr(b'\n', payload) {
            if self.line.is_empty() {
                self.event_line(&payload[..end], now, since, report);
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&payload[..end]);
                self.event_line(&line, now, since, report);
                line.clear();
                self.line = line;
            }
            payload = &payload[end + 1..];
        }
        self.line.extend_from_slice(payload);
    }

    fn event_line(&mut self, line: &[u8], now: Instant, since: Instant, report: &mut Report) {
        let Some(data) = line.strip_prefix(b"data:") else { return };
        self.done = false;
        if let Some(mark) = memchr(MARK, data) {
            if self.tokens == 0 {
                report.first_token(now, now - since);
            }
            self.tokens += 1;
            report.token(now, self.last_token.map(|last| now - last), delay(&data[mark + 1..]));
            self.last_token = Some(now);
        } else {
            self.done = self.api.ends_stream(data);
        }
    }

    fn check(&self, tokens: Option<u32>) -> Result<(), String> {
        if !self.stream {
            let whole = self.text.starts_with(b"{") && self.text.trim_ascii_end().ends_with(b"}");
            let holds = |part: &[u8]| memmem::find(&self.text, part).is_some();
            return if whole && holds(self.api.answer_key()) && holds(filler::WORD) {
                Ok(())
            } else {
                Err("wrong_body".to_owned())
            };
        }
        if !self.done {
            return Err("stream_without_end".to_owned());
        }
        if tokens.is_some_and(|tokens| tokens != self.tokens) {
            return Err("wrong_token_count".to_owned());
        }
        Ok(())
    }
}

/// The time since the mock wrote a token, from the stamp at the start of its text.
fn delay(text: &[u8]) -> Option<Duration> {
    let stamp = std::str::from_utf8(text.get(..STAMP_DIGITS)?).ok()?.parse().ok()?;
    Some(Duration::from_nanos(unix_nanos().saturating_sub(stamp)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::{Answers, with_length};

    const TOKENS: usize = 3;

    /// Has the client read what follows the head of an answer, in pieces of `size` bytes, and check it.
    fn check(api: Api, stream: bool, answer: &[u8], size: usize) -> Result<u32, String> {
        let end = memmem::find(answer, b"\r\n\r\n").map_or(0, |at| at + 4);
        let now = Instant::now();
        let mut report = Report::new(now, now);
        let mut read = Answer::new(api, stream);
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut head = httparse::Response::new(&mut headers);
        head.parse(answer).map_err(|reason| reason.to_string())?;
        read.body = framing::of(head.headers)?;
        for piece in answer[end..].chunks(size) {
            read.take(piece, now, now, &mut report)?;
        }
        read.check(Some(3)).map(|()| read.tokens)
    }

    #[test]
    fn an_answer_of_the_mock_passes_in_its_api_only() {
        for (api, other) in [(Api::Chat, Api::Messages), (Api::Messages, Api::Chat)] {
            let answers = Answers::new(api, TOKENS, 1024);
            for size in [1, 7, 4096] {
                assert_eq!(check(api, false, &answers.whole, size), Ok(0));
                for stream in &answers.instant {
                    assert_eq!(check(api, true, stream, size), Ok(3));
                }
            }
            assert_eq!(check(other, false, &answers.whole, 4096), Err("wrong_body".to_owned()));
            assert_eq!(check(other, true, &answers.instant[0], 4096), Err("stream_without_end".to_owned()));
        }
    }

    #[test]
    fn a_lost_token_is_seen() {
        for api in [Api::Chat, Api::Messages] {
            let stream = &Answers::new(api, TOKENS - 1, 1024).instant[0];
            assert_eq!(check(api, true, stream, 4096), Err("wrong_token_count".to_owned()));
        }
    }

    #[test]
    fn nothing_may_follow_the_last_event() {
        let now = Instant::now();
        let mut report = Report::new(now, now);
        let mut answer = Answer::new(Api::Messages, true);
        answer.lines(b"data: {\"type\":\"message_stop\"}\n\n", now, now, &mut report);
        assert_eq!(answer.check(None), Ok(()));
        answer.lines(b"data: {\"type\":\"ping\"}\n\n", now, now, &mut report);
        assert_eq!(answer.check(None), Err("stream_without_end".to_owned()));
    }

    #[test]
    fn a_whole_answer_without_its_text_is_wrong() {
        let empty = with_length(r#"{"content":[],"stop_reason":"end_turn"}"#);
        assert_eq!(check(Api::Messages, false, &empty, 4096), Err("wrong_body".to_owned()));
    }
}
