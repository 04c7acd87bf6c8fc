//! The answer on its way back, in the client's dialect: whole, or piece by piece as it comes.

pub(crate) mod framing;
mod scan;
mod translator;

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{
    ALT_SVC, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use meseta_wire::usage::Usage;

use crate::attempts::Track;
use crate::error::{Code, Error};
use crate::handle::Journey;
use crate::health::{self, Ticket};
use crate::respond;
use crate::stages::Stage;
use crate::stages::relay::scan::Scan;
use crate::stages::relay::translator::Translator;
use crate::stages::send::{Answer, AnswerBody, Begun, Notes, Onward, Watch, verdict};
use crate::stages::translate::Reading;
use crate::trip::Trip;
use crate::upstream::Call;

const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");

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

/// `journey` is there when another target may take the stream up.
pub(crate) fn relay(mut trip: Trip, answer: Answer, journey: Option<Box<Journey>>) -> Response<Body> {
    trip.enter(Stage::Relay);
    trip.answer.translated = answer.notes.translated;
    trip.answer.dropped = answer.notes.dropped;
    let mut head = answer.head;
    head.version = http::Version::default();
    head.extensions.clear();
    clean(&mut head.headers);
    if let AnswerBody::Begun(_, onward) = &answer.body
        && let Reading::Conversation(translation) = &onward.reading
    {
        let mut notes = Notes::default();
        notes.of(&translation.losses);
        trip.answer.translated = notes.translated;
        trip.answer.dropped = notes.dropped;
        head.headers.clear();
        head.headers.insert(CONTENT_TYPE, EVENTS);
        head.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
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
            trip.answer.bytes = bytes.len() as u64;
            trip.end(head.status.as_u16(), rejected);
            Body::whole(bytes, Some(trip))
        }
        AnswerBody::Begun(begun, onward) => {
            if begun.events {
                head.headers.remove(CONTENT_LENGTH);
            }
            let call = Relayed { track: answer.track, ticket: answer.ticket };
            Body::Stream(Box::new(Stream::begin(trip, call, *begun, *onward, head.status.as_u16(), journey)))
        }
    };
    Response::from_parts(head, body)
}

/// Headers of the provider's connection and of its own web site mean nothing to our client, or harm.
fn clean(headers: &mut HeaderMap) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const OURS: [HeaderName; 5] =
        [respond::REQUEST_ID, respond::MODEL, respond::ROUTE, respond::ATTEMPTS, respond::DROPPED];
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

/// The call that a stream comes from.
struct Relayed {
    track: Track,
    ticket: Option<Ticket>,
}

/// What a stream has said so far, as far as the record is concerned.
#[derive(Default)]
struct Heard {
    /// Events that carried a piece of the answer.
    pieces: u64,
    usage: Option<Usage>,
    dropped: Option<String>,
}

/// A stream under way.
pub(crate) struct Stream {
    /// Taken, and so recorded, when the stream is over.
    trip: Option<Trip>,
    /// Shared with the worker, which ends calls that are overdue: while a client does not read, nobody polls this body.
    upstream: Call,
    call: Relayed,
    heard: Heard,
    watch: Watch,
    status: u16,
    reader: Reader,
    journey: Option<Box<Journey>>,
    /// A translated stream has said its last word.
    told: bool,
    ready: VecDeque<Bytes>,
    /// The last words have been said; what is in `ready` still has to go.
    ended: Option<Ending>,
}

enum Ending {
    Complete,
    Failed(Code),
}

enum Reader {
    /// In the client's own dialect, or no events at all.
    Scan(Scan),
    Translator(Box<Translator>),
}

/// What the stream has said of its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Open,
    Done,
    /// The provider reported an error in it.
    Failed,
}

impl Verdict {
    /// An end that HTTP marks is one, though the stream has not said so.
    fn or_done(self) -> Verdict {
        if self == Verdict::Open { Verdict::Done } else { self }
    }
}

impl Stream {
    fn begin(
        trip: Trip,
        call: Relayed,
        mut begun: Begun,
        onward: Onward,
        status: u16,
        journey: Option<Box<Journey>>,
    ) -> Stream {
        let reader = match onward.reading {
            Reading::Same { dialect, hide_usage } => {
                Reader::Scan(Scan::new(dialect, begun.events, hide_usage, onward.keep))
            }
            Reading::Conversation(translation) => {
                Reader::Translator(Box::new(Translator::new(trip.dialect, *translation, onward.keep)))
            }
            // These are never streamed; `send` has read them whole.
            Reading::Count(dialect) => Reader::Scan(Scan::new(dialect, false, false, None)),
            Reading::Embeddings(_) => Reader::Scan(Scan::new(trip.dialect, false, false, None)),
        };
        let first = std::mem::take(&mut begun.first);
        let mut stream = Stream {
            watch: Watch::start(begun.timeouts, begun.total),
            reader,
            told: false,
            call,
            heard: Heard::default(),
            journey,
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
        self.call.track.note(|attempt| attempt.response_bytes += data.len() as u64);
        match &mut self.reader {
            Reader::Scan(scan) if scan.on => scan.read(data, &mut self.heard, &mut self.ready),
            Reader::Scan(_) => push(&mut self.ready, data),
            // What a provider sends behind its last word is nobody's.
            Reader::Translator(_) if self.told => {}
            Reader::Translator(translator) => {
                match translator.read(&data, &mut self.heard, &mut self.ready) {
                    Verdict::Open => {}
                    // The end of the body is still to be read, so that the connection can serve another call.
                    Verdict::Done => self.told = true,
                    Verdict::Failed => {
                        self.ended = Some(Ending::Failed(Code::UpstreamFailedMidStream));
                        self.upstream.borrow_mut().take();
                    }
                }
            }
        }
    }

    /// Ends with an error event where the client reads events; otherwise the connection breaks off, which is the only
    /// sign left.
    fn fail(&mut self, mut error: Error) {
        if self.told {
            self.ended = Some(Ending::Complete);
            self.upstream.borrow_mut().take();
            return;
        }
        let Some(trip) = &self.trip else { return };
        self.call.track.note(|attempt| {
            error.message = format!("{}: {}", attempt.target.name, error.message).into();
        });
        match &mut self.reader {
            Reader::Scan(scan) if scan.on => {
                scan.clear();
                self.ready.push_back(respond::event(&error, trip));
            }
            Reader::Scan(_) => {}
            Reader::Translator(translator) => translator.fail(&error, &mut self.ready),
        }
        self.ended = Some(Ending::Failed(error.code));
        self.upstream.borrow_mut().take();
    }

    fn complete(&mut self) {
        let Some(begun) = self.upstream.borrow_mut().take() else { return };
        let verdict = match &mut self.reader {
            Reader::Scan(scan) => {
                scan.finish(&mut self.heard, &mut self.ready);
                if scan.on && !begun.delimited { scan.verdict } else { scan.verdict.or_done() }
            }
            Reader::Translator(_) if self.told => Verdict::Done,
            Reader::Translator(translator) => translator.finish(&mut self.heard, &mut self.ready),
        };
        match verdict {
            Verdict::Open => {
                self.fail(Error::new(Code::UpstreamCut, "the stream ended without its last event."));
                return;
            }
            Verdict::Done => self.ended = Some(Ending::Complete),
            Verdict::Failed => self.ended = Some(Ending::Failed(Code::UpstreamFailedMidStream)),
        }
        begun.source.finish();
    }

    /// Whether the body ends well for HTTP, and the record of it.
    fn close(&mut self) -> Result<(), Broken> {
        if self.trip.is_none() {
            return Ok(());
        }
        let code = match self.ended {
            Some(Ending::Failed(code)) => Some(code),
            _ => None,
        };
        self.hang_up(code);
        let Some(mut trip) = self.trip.take() else { return Ok(()) };
        if let Some(lost) = self.heard.dropped.take() {
            let dropped = trip.answer.dropped.get_or_insert_default();
            let gap = if dropped.is_empty() { "" } else { ", " };
            dropped.push_str(gap);
            dropped.push_str(&lost);
        }
        trip.end(self.status, code);
        let told = match &self.reader {
            Reader::Scan(scan) => scan.on,
            Reader::Translator(_) => true,
        };
        if code.is_some() && !told { Err(Broken) } else { Ok(()) }
    }
}

impl Stream {
    /// Settles the call that the stream comes from.
    fn hang_up(&mut self, code: Option<Code>) {
        let Heard { pieces, usage, .. } = &mut self.heard;
        let (pieces, usage) = (std::mem::take(pieces), usage.take());
        let now = self.call.track.now();
        if let Some(trip) = &mut self.trip {
            trip.answer.chunks += pieces;
        }
        let error = code.map(|code| Error::new(code, ""));
        self.call.track.note(|attempt| {
            attempt.ended = Some(now);
            attempt.code = code;
            attempt.cause = error.as_ref().and_then(Error::failover);
            attempt.pieces = pieces;
            attempt.usage = usage;
        });
        if let Some(ticket) = self.call.ticket.take() {
            let now = std::time::Instant::now();
            ticket.finish(error.map_or(health::Verdict::Success, |error| verdict(&error, now)), now);
        }
    }
}

/// A client that leaves drops the stream: what it has had is paid for.
impl Drop for Stream {
    fn drop(&mut self) {
        if self.trip.is_some() {
            self.hang_up(Some(Code::ClientDisconnected));
        }
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
                Some(begun) => begun.source.poll_data(context),
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
