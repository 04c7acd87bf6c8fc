//! The instant server of chat completions and of Messages: one thread, keep-alive, answers made beforehand.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::answers::{self, Answers};
use crate::api::Api;
use crate::arguments;
use crate::framing::{self, Body};
use crate::timer::Timer;

const LISTENER: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);
const MAX_HEADERS: usize = 100;
/// Output held for a client that does not read; past it a paced stream is cut.
const MAX_PENDING: usize = 1 << 20;

pub fn serve(settings: &arguments::Mock) -> Result<(), String> {
    run(settings).map_err(|reason| format!("mock on port {}: {reason}", settings.port))
}

fn run(settings: &arguments::Mock) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], settings.port)))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening {}", listener.local_addr()?);
    let mut timer = Timer::new(poll.registry(), TIMER)?;
    let mut mock = Mock {
        empty: answers::with_length("{}"),
        chat: Answers::new(Api::Chat, settings.tokens, settings.body_bytes),
        messages: Answers::new(Api::Messages, settings.tokens, settings.body_bytes),
        tokens: settings.tokens,
        pace: settings.pace,
        connections: Vec::new(),
        free: Vec::new(),
        due: BinaryHeap::new(),
        serial: 0,
        scratch: vec![0; 64 << 10],
    };
    let mut events = Events::with_capacity(1024);
    loop {
        if let Some(Reverse(next)) = mock.due.peek() {
            timer.arm(next.at)?;
        }
        if let Err(reason) = poll.poll(&mut events, None)
            && reason.kind() != ErrorKind::Interrupted
        {
            return Err(reason);
        }
        for event in &events {
            match event.token() {
                LISTENER => mock.accept(&listener, &poll)?,
                TIMER => {}
                Token(index) => mock.ready(index),
            }
        }
        mock.send_due_tokens();
    }
}

struct Mock {
    empty: Vec<u8>,
    chat: Answers,
    messages: Answers,
    tokens: usize,
    pace: Duration,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    due: BinaryHeap<Reverse<Due>>,
    serial: u64,
    scratch: Vec<u8>,
}

/// When a connection's next token is due. `serial` tells a connection from a later one at its index.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
struct Due {
    at: Instant,
    index: usize,
    serial: u64,
}

struct Connection {
    socket: TcpStream,
    serial: u64,
    input: Vec<u8>,
    request: Option<Request>,
    output: Vec<u8>,
    sent: usize,
    stream: Option<Stream>,
    close_after: bool,
}

/// A request whose head has been read.
struct Request {
    body: Body,
    text: Vec<u8>,
    is_post: bool,
    api: Api,
}

struct Stream {
    api: Api,
    left: usize,
    usage: bool,
    pace: Duration,
}

/// What one complete request asks for.
enum Ask {
    Empty,
    Whole(Api),
    Stream { api: Api, usage: bool, pace: Option<Duration> },
}

impl Mock {
    fn answers(&self, api: Api) -> &Answers {
        match api {
            Api::Chat => &self.chat,
            Api::Messages => &self.messages,
        }
    }

    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> io::Result<()> {
        loop {
            let mut socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(reason) if reason.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(reason) if reason.kind() == ErrorKind::ConnectionAborted => continue,
                Err(reason) => return Err(reason),
            };
            let index = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            socket.set_nodelay(true)?;
            poll.registry().register(&mut socket, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            self.serial += 1;
            self.connections[index] = Some(Connection::new(socket, self.serial));
        }
    }

    fn ready(&mut self, index: usize) {
        let Some(mut connection) = self.connections[index].take() else { return };
        if connection.flush().is_ok() && self.read(index, &mut connection).is_ok() {
            self.connections[index] = Some(connection);
        } else {
            self.free.push(index);
        }
    }

    /// Reads until the socket is empty and answers each complete request. An error ends the connection.
    fn read(&mut self, index: usize, connection: &mut Connection) -> io::Result<()> {
        loop {
            let count = match connection.socket.read(&mut self.scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(reason) if reason.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(reason) if reason.kind() == ErrorKind::Interrupted => continue,
                Err(reason) => return Err(reason),
            };
            connection.input.extend_from_slice(&self.scratch[..count]);
            self.answer(index, connection)?;
            // A short read means that the socket is empty: the next bytes will be a new edge.
            if count < self.scratch.len() {
                return Ok(());
            }
        }
    }

    fn answer(&mut self, index: usize, connection: &mut Connection) -> io::Result<()> {
        while connection.stream.is_none()
            && let Some(ask) = connection.next_request()?
        {
            match ask {
                Ask::Empty => connection.send(&self.empty)?,
                Ask::Whole(api) => connection.send(&self.answers(api).whole)?,
                Ask::Stream { api, usage, pace } => {
                    let answers = self.answers(api);
                    let pace = pace.unwrap_or(self.pace);
                    if pace.is_zero() {
                        connection.send(&answers.instant[usize::from(usage)])?;
                        continue;
                    }
                    let mut first = answers.stream_head.clone();
                    answers.stamped_token(&mut first);
                    connection.stream = Some(Stream { api, left: self.tokens - 1, usage, pace });
                    connection.send(&first)?;
                    let serial = connection.serial;
                    self.due.push(Reverse(Due { at: Instant::now() + pace, index, serial }));
                }
            }
        }
        Ok(())
    }

    fn send_due_tokens(&mut self) {
        // Fixed at the start, so that an overloaded mock still gets back to its sockets.
        let now = Instant::now();
        while let Some(Reverse(next)) = self.due.peek()
            && next.at <= now
            && let Some(Reverse(Due { at, index, serial })) = self.due.pop()
        {
            let Some(mut connection) = self.connections[index].take_if(|one| one.serial == serial) else {
                continue;
            };
            match self.send_token(index, &mut connection) {
                Ok(Some(pace)) => self.due.push(Reverse(Due { at: at + pace, index, serial })),
                Ok(None) => {}
                Err(_) => {
                    self.free.push(index);
                    continue;
                }
            }
            self.connections[index] = Some(connection);
        }
    }

    /// Sends a stream's next token, or its end, and says how long until the one after it.
    fn send_token(&mut self, index: usize, connection: &mut Connection) -> io::Result<Option<Duration>> {
        let Some(Stream { api, left, usage, pace }) = &mut connection.stream else { return Ok(None) };
        let answers = self.answers(*api);
        let mut bytes = Vec::with_capacity(512);
        if *left > 0 {
            *left -= 1;
            let pace = *pace;
            answers.stamped_token(&mut bytes);
            connection.send(&bytes)?;
            return Ok(Some(pace));
        }
        bytes.extend_from_slice(&answers.stream_end[usize::from(*usage)]);
        connection.stream = None;
        connection.send(&bytes)?;
        self.answer(index, connection)?;
        // A pipelined stream, if there was one, has been scheduled by `answer`.
        Ok(None)
    }
}

impl Connection {
    fn new(socket: TcpStream, serial: u64) -> Self {
        Self {
            socket,
            serial,
            input: Vec::new(),
            request: None,
            output: Vec::new(),
            sent: 0,
            stream: None,
            close_after: false,
        }
    }

    fn next_request(&mut self) -> io::Result<Option<Ask>> {
        if self.request.is_none() {
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut head = httparse::Request::new(&mut headers);
            let end = match head.parse(&self.input) {
                Ok(httparse::Status::Complete(end)) => end,
                Ok(httparse::Status::Partial) => return Ok(None),
                Err(reason) => return Err(io::Error::new(ErrorKind::InvalidData, reason)),
            };
            let body =
                framing::of(head.headers).map_err(|reason| io::Error::new(ErrorKind::InvalidData, reason))?;
            self.close_after = framing::closes(head.headers);
            let is_post = head.method == Some("POST");
            let api = Api::of_path(head.path.unwrap_or_default());
            let body = body.unwrap_or(Body::Length(0));
            self.request = Some(Request { body, text: Vec::new(), is_post, api });
            self.input.drain(..end);
        }
        let Some(Request { body, text, is_post, api }) = &mut self.request else { return Ok(None) };
        let (taken, complete) = body
            .take(&self.input, |bytes| text.extend_from_slice(bytes))
            .map_err(|reason| io::Error::new(ErrorKind::InvalidData, reason))?;
        self.input.drain(..taken);
        if !complete {
            return Ok(None);
        }
        let ask = if !*is_post {
            Ask::Empty
        } else if is_true(text, b"\"stream\"") {
            let usage = is_true(text, b"\"include_usage\"");
            Ask::Stream { api: *api, usage, pace: asked_pace(text) }
        } else {
            Ask::Whole(*api)
        };
        self.request = None;
        Ok(Some(ask))
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.output.len() - self.sent > MAX_PENDING {
            return Err(ErrorKind::TimedOut.into());
        }
        if !self.output.is_empty() {
            self.output.extend_from_slice(bytes);
            return self.flush();
        }
        let sent = write_some(&mut self.socket, bytes)?;
        self.output.extend_from_slice(&bytes[sent..]);
        self.sent = 0;
        self.end_if_asked()
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        self.sent += write_some(&mut self.socket, &self.output[self.sent..])?;
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
        }
        self.end_if_asked()
    }

    fn end_if_asked(&self) -> io::Result<()> {
        if self.close_after && self.output.is_empty() && self.stream.is_none() && self.request.is_none() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

/// Writes until done or until the socket is full, and answers how much went out.
fn write_some(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match socket.write(&bytes[sent..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => sent += count,
            Err(reason) if reason.kind() == ErrorKind::WouldBlock => break,
            Err(reason) if reason.kind() == ErrorKind::Interrupted => {}
            Err(reason) => return Err(reason),
        }
    }
    Ok(sent)
}

/// True when `key` is followed by a colon and `true` somewhere in this JSON text.
fn is_true(text: &[u8], key: &[u8]) -> bool {
    memmem::find_iter(text, key).any(|at| {
        let value = text[at + key.len()..].trim_ascii_start();
        value.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().starts_with(b"true"))
    })
}

/// A prompt may ask for a pace of its own: `pace_us=2000`. So one mock behind one gateway's configuration
/// serves both instant and paced streams.
fn asked_pace(text: &[u8]) -> Option<Duration> {
    const KEY: &[u8] = b"pace_us=";
    let digits = &text[memmem::find(text, KEY)? + KEY.len()..];
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_flag_is_found_however_it_is_spaced() {
        assert!(is_true(br#"{"stream":true}"#, b"\"stream\""));
        assert!(is_true(br#"{"a":"\"stream\"", "stream" : true}"#, b"\"stream\""));
        assert!(!is_true(br#"{"stream_options":{"include_usage":true}}"#, b"\"stream\""));
        assert!(!is_true(br#"{"stream":false}"#, b"\"stream\""));
    }

    #[test]
    fn a_prompt_may_ask_for_a_pace() {
        let pace = |text: &str| asked_pace(text.as_bytes());
        assert_eq!(pace(r#"{"content":"pace_us=2000 lorem"}"#), Some(Duration::from_millis(2)));
        assert_eq!(pace("pace_us="), None);
        assert_eq!(pace("lorem"), None);
    }
}
