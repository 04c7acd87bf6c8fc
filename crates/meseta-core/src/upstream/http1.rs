//! HTTP/1.1 towards a provider: one connection, one exchange at a time.
//!
//! hyper's client puts every connection into a task of its own and hands a body over chunk by chunk through a channel. For
//! a stream of small chunks that is two turns of the scheduler for each token. Here the one who relays reads the socket
//! itself: what is in the buffer is there at once, and dropping the connection is what cancels a call.
//!
//! Framing follows RFC 9112: section 6.3 for where a body ends, section 7.1 for chunks. Heads and chunk sizes are parsed
//! by httparse. Whatever a provider could mean in two ways is refused, and whatever leaves the connection in doubt
//! keeps it from being used again.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::io::poll_read_buf;

/// Largest head that is taken, and most headers.
const HEAD_BYTES: usize = 256 * 1024;
const HEADERS: usize = 128;
/// Longest line of a chunk's size, and longest trailer section.
const CHUNK_LINE_BYTES: usize = 4 * 1024;
const TRAILER_BYTES: usize = 16 * 1024;
/// Room that is made for each read.
const READ_BYTES: usize = 8 * 1024;
/// A body up to this size is copied behind its head, so that both leave in one write.
const JOINED_BYTES: usize = 16 * 1024;

/// Why an exchange failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection ended, or never took a byte.
    Closed { unsent: bool },
    /// The provider's bytes are not HTTP/1.1 as we take it.
    Protocol(&'static str),
}

pub(crate) struct Http1 {
    stream: Stream,
    buffer: BytesMut,
    framing: Framing,
    reusable: bool,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// How the body that is arriving ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked(Chunk),
    /// With the connection: an end cannot be told from a cut.
    Close,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    Size,
    Data(u64),
    /// The line end behind the data.
    Behind,
    Trailers {
        taken: usize,
    },
}

impl Http1 {
    pub fn plain(stream: TcpStream) -> Http1 {
        Http1::new(Stream::Plain(stream))
    }

    pub fn tls(stream: TlsStream<TcpStream>) -> Http1 {
        Http1::new(Stream::Tls(Box::new(stream)))
    }

    fn new(stream: Stream) -> Http1 {
        Http1 { stream, buffer: BytesMut::new(), framing: Framing::Ended, reusable: true }
    }

    /// Sends a request and reads the head of the answer.
    pub async fn exchange(
        &mut self,
        method: &Method,
        target: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Response<()>, Failure> {
        let head = request_head(method, target, headers, body);
        self.reusable = false;
        let early = self.write(head, body).await?;
        loop {
            let (head, length) = poll_fn(|context| self.poll_head(context)).await?;
            if head.status().is_informational() && head.status() != StatusCode::SWITCHING_PROTOCOLS {
                continue;
            }
            self.framing = length;
            self.reusable = !early && may_reuse(&head, length);
            return Ok(head);
        }
    }

    /// The next piece of the body; `None` at its end.
    pub fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        loop {
            match decode(&mut self.framing, &mut self.buffer) {
                Ok(Decoded::Data(data)) => return Poll::Ready(Some(Ok(data))),
                Ok(Decoded::Ended) => return Poll::Ready(None),
                Ok(Decoded::More) => {}
                Err(failure) => return Poll::Ready(Some(Err(self.fail(failure)))),
            }
            match ready!(self.poll_fill(context)) {
                Ok(0) if self.framing == Framing::Close => self.framing = Framing::Ended,
                Ok(0) | Err(_) => {
                    return Poll::Ready(Some(Err(self.fail(Failure::Closed { unsent: false }))));
                }
                Ok(_) => {}
            }
        }
    }

    fn fail(&mut self, failure: Failure) -> Failure {
        self.framing = Framing::Ended;
        self.reusable = false;
        failure
    }

    /// The body has been read to its end.
    pub fn ended(&self) -> bool {
        matches!(self.framing, Framing::Ended | Framing::Length(0))
    }

    /// The end of the body is marked, so that a cut can be told from it.
    pub fn delimited(&self) -> bool {
        self.framing != Framing::Close
    }

    /// Nothing has come since the last answer.
    pub fn is_silent(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The exchange is over and the next one may follow.
    pub fn reusable(&self) -> bool {
        self.reusable && self.ended() && self.buffer.is_empty()
    }

    /// Whether a connection that has been waiting is still open. A provider that says anything before it was asked, or
    /// that has closed, is not asked again.
    pub fn alive(&mut self) -> bool {
        let mut byte = [0];
        let mut seen = ReadBuf::new(&mut byte);
        // Nobody waits here: whoever uses the connection next registers its own waker.
        Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut seen).is_pending()
    }

    /// Writes head and body. True when the provider answered before it had taken all of it.
    async fn write(&mut self, mut head: BytesMut, body: &Bytes) -> Result<bool, Failure> {
        let mut rest = if body.len() <= JOINED_BYTES {
            head.extend_from_slice(body);
            Bytes::new()
        } else {
            body.clone()
        };
        let mut taken = false;
        poll_fn(|context| {
            loop {
                let piece: &[u8] = if head.is_empty() { &rest } else { &head };
                if piece.is_empty() {
                    let flushed = ready!(Pin::new(&mut self.stream).poll_flush(context));
                    return Poll::Ready(
                        flushed.map(|()| false).map_err(|_| Failure::Closed { unsent: false }),
                    );
                }
                match Pin::new(&mut self.stream).poll_write(context, piece) {
                    Poll::Ready(Ok(written)) if written > 0 => {
                        taken = true;
                        if head.is_empty() { rest.advance(written) } else { head.advance(written) }
                    }
                    // It may have closed after saying why: the answer is read if there is one.
                    Poll::Ready(_) if taken => return Poll::Ready(Ok(true)),
                    Poll::Ready(_) => return Poll::Ready(Err(Failure::Closed { unsent: true })),
                    Poll::Pending => {
                        return match ready!(self.poll_fill(context)) {
                            Ok(read) if read > 0 => Poll::Ready(Ok(true)),
                            _ => Poll::Ready(Err(Failure::Closed { unsent: false })),
                        };
                    }
                }
            }
        })
        .await
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.reserve(READ_BYTES);
        poll_read_buf(Pin::new(&mut self.stream), context, &mut self.buffer)
    }

    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<(Response<()>, Framing), Failure>> {
        loop {
            if let Some(parsed) = parse_head(&mut self.buffer)? {
                return Poll::Ready(Ok(parsed));
            }
            match ready!(self.poll_fill(context)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Failure::Closed { unsent: false })),
                Ok(_) => {}
            }
        }
    }
}

fn request_head(method: &Method, target: &str, headers: &HeaderMap, body: &Bytes) -> BytesMut {
    let mut head = BytesMut::with_capacity(1024 + body.len().min(JOINED_BYTES));
    head.extend_from_slice(method.as_str().as_bytes());
    head.extend_from_slice(b" ");
    head.extend_from_slice(target.as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in headers {
        head.extend_from_slice(name.as_ref());
        head.extend_from_slice(b": ");
        // A HeaderValue cannot hold a line end, so nothing can be smuggled in here.
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    if *method == Method::POST {
        head.extend_from_slice(b"content-length: ");
        head.extend_from_slice(body.len().to_string().as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// The head at the start of the buffer, taken out of it, and how its body ends; `None` if it is not complete yet.
fn parse_head(buffer: &mut BytesMut) -> Result<Option<(Response<()>, Framing)>, Failure> {
    if buffer.is_empty() {
        return Ok(None);
    }
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, buffer, &mut slots) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if buffer.len() < HEAD_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(Failure::Protocol("its head is too large")),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Failure::Protocol("its head has too many headers"));
        }
        Err(_) => return Err(Failure::Protocol("its first bytes are no HTTP/1.1 head")),
    };
    let version_1_1 = parsed.version == Some(1);
    let status = parsed
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(Failure::Protocol("its status is none"))?;
    // Values are kept as slices of the buffer, so their places in it are noted before it is taken.
    let start = buffer.as_ptr() as usize;
    let mut places = Vec::with_capacity(parsed.headers.len());
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| Failure::Protocol("a header's name is none"))?;
        let at = header.value.as_ptr() as usize - start;
        places.push((name, at..at + header.value.len()));
    }
    let head = buffer.split_to(length).freeze();
    let mut response = Response::new(());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // What we add on the way to the client finds room, so that nothing is moved for it.
    headers.reserve(places.len() + 8);
    for (name, place) in places {
        let value = HeaderValue::from_maybe_shared(head.slice(place))
            .map_err(|_| Failure::Protocol("a header's value is none"))?;
        headers.append(name, value);
    }
    if !version_1_1 {
        *response.version_mut() = http::Version::HTTP_10;
    }
    let framing = framing(&response)?;
    Ok(Some((response, framing)))
}

/// RFC 9112, section 6.3.
fn framing(head: &Response<()>) -> Result<Framing, Failure> {
    let status = head.status();
    if status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return Ok(Framing::Ended);
    }
    let mut encodings = head.headers().get_all(TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next() {
        let chunked = encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
        if !chunked || encodings.next().is_some() {
            return Err(Failure::Protocol("its transfer encoding is not `chunked` alone"));
        }
        return Ok(Framing::Chunked(Chunk::Size));
    }
    let mut length = None;
    for value in head.headers().get_all(CONTENT_LENGTH) {
        let digits = value.as_bytes();
        let number: u64 = value
            .to_str()
            .ok()
            .filter(|_| digits.iter().all(u8::is_ascii_digit))
            .and_then(|text| text.parse().ok())
            .ok_or(Failure::Protocol("its content length is no number"))?;
        if length.is_some_and(|earlier| earlier != number) {
            return Err(Failure::Protocol("it has two content lengths"));
        }
        length = Some(number);
    }
    Ok(length.map_or(Framing::Close, Framing::Length))
}

/// A connection may serve again when both sides agree where this answer ends and neither wants to close.
fn may_reuse(head: &Response<()>, framing: Framing) -> bool {
    let closes = head
        .headers()
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
    // Both a length and chunks: we went by the chunks, but somebody in between may not have.
    let ambiguous =
        head.headers().contains_key(TRANSFER_ENCODING) && head.headers().contains_key(CONTENT_LENGTH);
    head.version() == http::Version::HTTP_11 && !closes && !ambiguous && framing != Framing::Close
}

enum Decoded {
    Data(Bytes),
    Ended,
    /// What is in the buffer is not enough for a step.
    More,
}

/// One step of a body, from what is in the buffer.
fn decode(framing: &mut Framing, buffer: &mut BytesMut) -> Result<Decoded, Failure> {
    loop {
        match framing {
            Framing::Ended => return Ok(Decoded::Ended),
            Framing::Length(0) => *framing = Framing::Ended,
            Framing::Length(left) | Framing::Chunked(Chunk::Data(left)) if buffer.is_empty() => {
                debug_assert!(*left > 0, "a part that is complete is left at once");
                return Ok(Decoded::More);
            }
            Framing::Length(left) => return Ok(Decoded::Data(take(left, buffer))),
            Framing::Close if buffer.is_empty() => return Ok(Decoded::More),
            Framing::Close => return Ok(Decoded::Data(buffer.split().freeze())),
            Framing::Chunked(chunk) => match chunk {
                Chunk::Size => match httparse::parse_chunk_size(buffer) {
                    Ok(httparse::Status::Complete((line, 0))) => {
                        buffer.advance(line);
                        *chunk = Chunk::Trailers { taken: 0 };
                    }
                    Ok(httparse::Status::Complete((line, size))) => {
                        buffer.advance(line);
                        *chunk = Chunk::Data(size);
                    }
                    Ok(httparse::Status::Partial) if buffer.len() < CHUNK_LINE_BYTES => {
                        return Ok(Decoded::More);
                    }
                    _ => return Err(Failure::Protocol("a chunk's size is none")),
                },
                Chunk::Data(left) => {
                    let data = take(left, buffer);
                    if *left == 0 {
                        *chunk = Chunk::Behind;
                    }
                    return Ok(Decoded::Data(data));
                }
                Chunk::Behind => match &buffer[..] {
                    [b'\r', b'\n', ..] => {
                        buffer.advance(2);
                        *chunk = Chunk::Size;
                    }
                    [] | [b'\r'] => return Ok(Decoded::More),
                    _ => return Err(Failure::Protocol("a chunk is longer than its size")),
                },
                Chunk::Trailers { taken } => {
                    let Some(end) = buffer.iter().position(|byte| *byte == b'\n') else {
                        if buffer.len() + *taken > TRAILER_BYTES {
                            return Err(Failure::Protocol("its trailers are too large"));
                        }
                        return Ok(Decoded::More);
                    };
                    let blank = matches!(&buffer[..end], [] | [b'\r']);
                    buffer.advance(end + 1);
                    *taken += end + 1;
                    if blank {
                        *framing = Framing::Ended;
                    } else if *taken > TRAILER_BYTES {
                        return Err(Failure::Protocol("its trailers are too large"));
                    }
                }
            },
        }
    }
}

fn take(left: &mut u64, buffer: &mut BytesMut) -> Bytes {
    let size = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
    *left -= size as u64;
    buffer.split_to(size).freeze()
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, from),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, from),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes an answer that arrives in packets of `packet` bytes, and then ends.
    fn read(answer: &[u8], packet: usize) -> Result<(u16, Vec<u8>, bool), Failure> {
        let mut buffer = BytesMut::new();
        let mut packets = answer.chunks(packet);
        let (head, mut framing) = loop {
            if let Some(parsed) = parse_head(&mut buffer)? {
                break parsed;
            }
            buffer.extend_from_slice(packets.next().ok_or(Failure::Closed { unsent: false })?);
        };
        let reusable = may_reuse(&head, framing);
        let mut body = Vec::new();
        loop {
            match decode(&mut framing, &mut buffer)? {
                Decoded::Data(data) => body.extend_from_slice(&data),
                Decoded::Ended => return Ok((head.status().as_u16(), body, reusable && buffer.is_empty())),
                Decoded::More => match packets.next() {
                    Some(packet) => buffer.extend_from_slice(packet),
                    None if framing == Framing::Close => framing = Framing::Ended,
                    None => return Err(Failure::Closed { unsent: false }),
                },
            }
        }
    }

    #[test]
    fn every_cut_of_the_network_gives_the_same_answer() {
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n\
                        0\r\nx-trailer: 1\r\n\r\n";
        let length = b"HTTP/1.1 201 Created\r\ncontent-length: 5\r\n\r\nhello";
        for packet in 1..chunked.len() {
            assert_eq!(read(chunked, packet).unwrap(), (200, b"abc0123456789".to_vec(), true));
        }
        for packet in 1..length.len() {
            assert_eq!(read(length, packet).unwrap(), (201, b"hello".to_vec(), true));
        }
    }

    #[test]
    fn says_when_a_connection_may_serve_again() {
        let reusable = |answer: &str| read(answer.as_bytes(), 1024).unwrap().2;
        assert!(reusable("HTTP/1.1 204 No Content\r\n\r\n"));
        assert!(reusable("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
        assert!(!reusable("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive, Close\r\n\r\n"));
        assert!(!reusable("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n"));
        assert!(!reusable("HTTP/1.1 200 OK\r\n\r\nuntil the end"));
        assert!(!reusable("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi and more"), "unasked bytes follow");
        let both = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        assert!(!reusable(both));
    }

    #[test]
    fn refuses_what_could_mean_two_things() {
        for answer in [
            "<html>",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc",
        ] {
            assert!(matches!(read(answer.as_bytes(), 1024), Err(Failure::Protocol(_))), "{answer}");
        }
    }

    #[test]
    fn tells_a_cut_from_an_end() {
        for answer in [
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
        ] {
            assert!(matches!(read(answer.as_bytes(), 1024), Err(Failure::Closed { .. })), "{answer}");
        }
    }

    #[test]
    fn bounds_what_it_holds() {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}", "a".repeat(HEAD_BYTES));
        assert!(matches!(read(long.as_bytes(), 8192), Err(Failure::Protocol(_))));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(HEADERS + 1));
        assert!(matches!(read(many.as_bytes(), 8192), Err(Failure::Protocol(_))));
        let trailers = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n{}",
            "a: b\r\n".repeat(TRAILER_BYTES)
        );
        assert!(matches!(read(trailers.as_bytes(), 8192), Err(Failure::Protocol(_))));
        let line = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;{}",
            "a".repeat(CHUNK_LINE_BYTES)
        );
        assert!(matches!(read(line.as_bytes(), 8192), Err(Failure::Protocol(_))));
    }

    /// Damaged answers: whatever a provider sends, nothing panics, and how the network cuts it makes no difference.
    #[test]
    fn damage_never_panics_and_reads_the_same_in_any_packets() {
        let answers: [&[u8]; 3] = [
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx: y\r\n\r\n3\r\nabc\r\n1a;e=\"f\"\r\n\
              abcdefghijklmnopqrstuvwxyz\r\n0\r\nt: u\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: keep-alive\r\n\r\nhello world",
            b"HTTP/1.0 200 OK\nserver: old\n\nuntil the end",
        ];
        // A linear congruential generator: the same damage in every run.
        let mut state: u64 = 42;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap_or(0) % below
        };
        let odd = b"\r\n\0:;,0123456789abcdefx \xff";
        for round in 0..30_000 {
            let mut answer = answers[round % answers.len()].to_vec();
            for _ in 0..=random(4) {
                let at = random(answer.len());
                match random(3) {
                    0 => answer[at] = odd[random(odd.len())],
                    1 => answer.insert(at, odd[random(odd.len())]),
                    _ => answer.truncate(at.max(1)),
                }
            }
            // Whether bytes behind the end are here already depends on the packets; what was read does not.
            let seen =
                |packet| format!("{:?}", read(&answer, packet).map(|(status, body, _)| (status, body)));
            assert_eq!(seen(1 + random(7)), seen(answer.len()), "{:?}", String::from_utf8_lossy(&answer));
        }
    }
}
