//! The answer on its way back, in the client's dialect: whole, or piece by piece as it comes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{
    ALT_SVC, CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, SET_COOKIE, STRICT_TRANSPORT_SECURITY, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use meseta_wire::openai::{self, Event};
use meseta_wire::sse;

use crate::error::{Code, Error};
use crate::respond;
use crate::stages::Stage;
use crate::stages::send::{Answer, AnswerBody, Begun, Watch};
use crate::trip::Trip;
use crate::upstream::Call;

/// An event that is longer than this passes unread: no stream may make us hold more.
const HELD_BYTES: usize = 1024 * 1024;

/// Pieces that arrive together are sent together, up to about this size.
const GATHERED_BYTES: usize = 16 * 1024;

/// What the server sends as a response body.
pub(crate) enum Body {
    Whole { bytes: Option<Bytes>, trip: Option<Box<Trip>> },
    Stream(Box<Stream>),
}

impl Body {
    /// A body that is complete. Without a trip there is nothing to record.
    pub fn whole(bytes: impl Into<Bytes>, trip: Option<Trip>) -> Body {
        Body::Whole { bytes: Some(bytes.into()), trip: trip.map(Box::new) }
    }
}

pub(crate) fn relay(mut trip: Trip, answer: Answer) -> Response<Body> {
    trip.enter(Stage::Relay);
    let mut head = answer.head;
    head.version = http::Version::default();
    head.extensions.clear();
    clean(&mut head.headers);
    respond::sign(&mut head.headers, &trip);
    let name = match answer.target.model {
        Some(_) => answer.target.name.to_string(),
        None => format!("{}/{}", answer.target.provider, answer.model),
    };
    if let Ok(name) = HeaderValue::from_str(&name) {
        head.headers.insert(respond::MODEL, name);
    }
    let body = match answer.body {
        AnswerBody::Whole(bytes) => {
            let rejected = (!head.status.is_success()).then_some(Code::UpstreamRejected);
            if let Some(attempt) = trip.attempt() {
                attempt.code = rejected;
            }
            trip.answer.bytes = bytes.len() as u64;
            trip.end(head.status.as_u16(), rejected);
            Body::whole(bytes, Some(trip))
        }
        AnswerBody::Begun(begun) => {
            if begun.hide_usage || begun.events {
                head.headers.remove(CONTENT_LENGTH);
            }
            Body::Stream(Box::new(Stream::begin(trip, *begun, head.status.as_u16())))
        }
    };
    Response::from_parts(head, body)
}

/// Headers of the provider's connection and of its own web site mean nothing to our client, or harm.
fn clean(headers: &mut HeaderMap) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const OURS: [HeaderName; 4] = [respond::REQUEST_ID, respond::MODEL, respond::ROUTE, respond::ATTEMPTS];
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        SET_COOKIE,
        ALT_SVC,
        STRICT_TRANSPORT_SECURITY,
    ]
    .into_iter()
    .chain(OURS)
    {
        headers.remove(name);
    }
}

/// A stream under way.
pub(crate) struct Stream {
    /// Taken, and so recorded, when the stream is over.
    trip: Option<Trip>,
    /// Shared with the worker, which ends calls that are overdue: while a client does not read, nobody polls this body.
    upstream: Call,
    watch: Watch,
    status: u16,
    scan: Scan,
    ready: VecDeque<Bytes>,
    /// The last words have been said; what is in `ready` still has to go.
    ended: Option<Ending>,
}

enum Ending {
    Complete,
    Failed(Code),
}

/// Reads events on their way through.
struct Scan {
    /// Off for what is no event stream, and for a stream whose events are longer than we hold.
    on: bool,
    hide_usage: bool,
    /// The piece of an event whose end has not come yet. It is not sent: were it the usage event that the client did not
    /// ask for, or the half event before a cut, it could not be taken back.
    held: BytesMut,
    /// How far `held` has been looked at.
    cursor: sse::Cursor,
    verdict: Verdict,
}

/// What the stream has said of its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Open,
    Done,
    /// The provider reported an error in it.
    Failed,
}

impl Stream {
    fn begin(trip: Trip, mut begun: Begun, status: u16) -> Stream {
        let first = std::mem::take(&mut begun.first);
        let mut stream = Stream {
            watch: Watch::start(begun.timeouts, begun.total),
            scan: Scan {
                on: begun.events,
                hide_usage: begun.hide_usage,
                held: BytesMut::new(),
                cursor: sse::Cursor::default(),
                verdict: Verdict::Open,
            },
            upstream: trip.worker.overdue.watch(begun),
            trip: Some(trip),
            status,
            ready: VecDeque::with_capacity(2),
            ended: None,
        };
        if !first.is_empty() {
            stream.take(first);
        }
        stream
    }

    fn take(&mut self, data: Bytes) {
        self.watch.touch();
        let Some(trip) = &mut self.trip else { return };
        if let Some(attempt) = trip.attempt() {
            attempt.response_bytes += data.len() as u64;
        }
        if self.scan.on { self.scan.read(data, trip, &mut self.ready) } else { self.ready.push_back(data) }
    }

    /// Ends with an error event where the client reads events; otherwise the connection breaks off, which is the only
    /// sign left.
    fn fail(&mut self, mut error: Error) {
        let Some(trip) = &self.trip else { return };
        if self.scan.on {
            if let Some(attempt) = trip.attempts.last() {
                error.message = format!("{}: {}", attempt.target.name, error.message).into();
            }
            self.scan.held.clear();
            self.ready.push_back(respond::event(&error, trip));
        }
        self.ended = Some(Ending::Failed(error.code));
        self.upstream.borrow_mut().take();
    }

    fn complete(&mut self) {
        let Some(begun) = self.upstream.borrow_mut().take() else { return };
        if let Some(trip) = &mut self.trip {
            self.scan.finish(trip, &mut self.ready);
        }
        if self.scan.on && !begun.delimited && self.scan.verdict == Verdict::Open {
            self.fail(Error::new(Code::UpstreamCut, "the stream ended without its last event."));
            return;
        }
        begun.lease.finish();
        self.ended = Some(if self.scan.verdict == Verdict::Failed {
            Ending::Failed(Code::UpstreamFailedMidStream)
        } else {
            Ending::Complete
        });
    }

    /// Whether the body ends well for HTTP, and the record of it.
    fn close(&mut self) -> Result<(), Broken> {
        let Some(mut trip) = self.trip.take() else { return Ok(()) };
        let now = trip.now();
        let code = match self.ended {
            Some(Ending::Failed(code)) => Some(code),
            _ => None,
        };
        if let Some(attempt) = trip.attempt() {
            attempt.ended = Some(now);
            attempt.code = code;
        }
        trip.end(self.status, code);
        if code.is_some() && !self.scan.on { Err(Broken) } else { Ok(()) }
    }
}

impl Scan {
    fn read(&mut self, data: Bytes, trip: &mut Trip, ready: &mut VecDeque<Bytes>) {
        let bytes = if self.held.is_empty() {
            data
        } else {
            self.held.extend_from_slice(&data);
            if self.cursor.event_end(&self.held).is_none() && self.held.len() <= HELD_BYTES {
                return;
            }
            self.held.split().freeze()
        };
        let mut sent = 0;
        let mut at = 0;
        self.cursor = sse::Cursor::default();
        while let Some(length) = self.cursor.event_end(&bytes[at..]) {
            if self.passes(&bytes[at..at + length], trip) {
                at += length;
            } else {
                push(ready, bytes.slice(sent..at));
                at += length;
                sent = at;
            }
            self.cursor = sse::Cursor::default();
        }
        if bytes.len() - at > HELD_BYTES {
            self.on = false;
            at = bytes.len();
        }
        push(ready, bytes.slice(sent..at));
        self.held.extend_from_slice(&bytes[at..]);
    }

    /// The stream is over: what is held has no blank line behind it, but may be the last event all the same.
    fn finish(&mut self, trip: &mut Trip, ready: &mut VecDeque<Bytes>) {
        let last = self.held.split().freeze();
        if self.on && self.passes(&last, trip) {
            push(ready, last);
        }
    }

    /// Notes what an event says; false for the one that the client did not ask for.
    fn passes(&mut self, event: &[u8], trip: &mut Trip) -> bool {
        match openai::read_event(&sse::event_data(event)) {
            Event::Piece => trip.answer.chunks += 1,
            Event::PieceWithUsage(usage) => {
                trip.answer.chunks += 1;
                trip.answer.usage = Some(usage);
            }
            Event::UsageOnly(usage) => {
                trip.answer.usage = Some(usage);
                return !self.hide_usage;
            }
            Event::Failure => self.verdict = Verdict::Failed,
            Event::Done if self.verdict == Verdict::Open => self.verdict = Verdict::Done,
            Event::Done | Event::Nothing => {}
        }
        true
    }
}

fn push(ready: &mut VecDeque<Bytes>, bytes: Bytes) {
    if !bytes.is_empty() {
        ready.push_back(bytes);
    }
}

/// A body that can end neither well nor with an event: hyper closes the connection on it.
#[derive(Debug)]
pub(crate) struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the provider's answer broke off")
    }
}

impl std::error::Error for Broken {}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Body::Whole { bytes, trip } => {
                let taken = bytes.take();
                if let Some(mut trip) = trip.take() {
                    let now = trip.now();
                    trip.answer.first_byte = Some(now);
                }
                Poll::Ready(taken.map(|bytes| Ok(Frame::data(bytes))))
            }
            Body::Stream(stream) => stream.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole { bytes, .. } => bytes.is_none(),
            Body::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole { bytes, .. } => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Body::Stream(_) => SizeHint::default(),
        }
    }
}

impl Stream {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        while self.ended.is_none() && self.gathered() < GATHERED_BYTES {
            let polled = match self.upstream.borrow_mut().as_mut() {
                Some(begun) => begun.lease.poll_data(context),
                None => Poll::Ready(Some(Err(self.watch.expired()))),
            };
            match polled {
                Poll::Ready(Some(Ok(data))) => self.take(data),
                Poll::Ready(Some(Err(error))) => self.fail(error),
                Poll::Ready(None) => self.complete(),
                Poll::Pending if self.ready.is_empty() => {
                    let error = ready!(self.watch.poll(context));
                    self.fail(error);
                }
                // All that has arrived leaves in one write.
                Poll::Pending => break,
            }
        }
        if let Some(bytes) = self.gather() {
            if let Some(trip) = &mut self.trip {
                trip.answer.bytes += bytes.len() as u64;
                let now = trip.now();
                trip.answer.first_byte.get_or_insert(now);
            }
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        Poll::Ready(self.close().err().map(Err))
    }

    fn gathered(&self) -> usize {
        self.ready.iter().map(Bytes::len).sum()
    }

    /// What is ready, in one piece.
    fn gather(&mut self) -> Option<Bytes> {
        if self.ready.len() < 2 {
            return self.ready.pop_front();
        }
        let mut joined = BytesMut::with_capacity(self.gathered());
        for bytes in self.ready.drain(..) {
            joined.extend_from_slice(&bytes);
        }
        Some(joined.freeze())
    }
}
