//! One attempt at one target: connect, send, and wait for the first piece of the answer. Nothing has gone to the client
//! yet, so every failure in here can still become a status, or another target's turn.

mod answer;

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Response, response};
use meseta_wire::dialect::Dialect;
use tokio::time::{Instant, timeout_at};

use crate::continuation::Keep;
use crate::decompress::{self, Decoder, Undecodable};
use crate::error::{Code, Error};
use crate::snapshot::{Target, Timeouts};
use crate::stages::Stage;
use crate::stages::choose::Choice;
use crate::stages::translate::{Reading, Wire};
use crate::trip::Trip;
use crate::upstream::{Lease, announced};

/// A target's answer, begun or complete.
pub(crate) struct Answer {
    pub head: response::Parts,
    pub body: AnswerBody,
    pub target: Arc<Target>,
    pub model: Arc<str>,
}

pub(crate) enum AnswerBody {
    /// All of it, checked, in the client's dialect.
    Whole(Bytes),
    /// A stream of events, or an answer too long to hold; `first` has arrived.
    Begun(Box<Begun>, Box<Onward>),
}

pub(crate) struct Begun {
    pub first: Bytes,
    /// Where the rest comes from.
    pub source: Source,
    pub events: bool,
    /// The end of the body is marked (by length, chunks or HTTP/2), so that a cut can be told from an end.
    pub delimited: bool,
    pub timeouts: Timeouts,
    pub total: Instant,
}

/// What `relay` does with a stream.
pub(crate) struct Onward {
    pub reading: Reading,
    pub keep: Option<Box<Keep>>,
}

/// The body of an answer as it comes, unpacked.
pub(crate) struct Source {
    lease: Lease,
    unpacking: Option<Box<Unpacking>>,
}

struct Unpacking {
    decoder: Decoder,
    out: BytesMut,
}

/// What one packet may unpack to.
const UNPACKED_BYTES: u64 = 64 * 1024 * 1024;

impl Source {
    fn new(lease: Lease, head: &response::Parts) -> Result<Source, Error> {
        let codings = decompress::codings(&head.headers).map_err(|error| packed_wrongly(&error))?;
        let unpacking = (!codings.is_empty())
            .then(|| Box::new(Unpacking { decoder: Decoder::new(&codings), out: BytesMut::new() }));
        Ok(Source { lease, unpacking })
    }

    /// The next piece of the body, perhaps empty; `None` at its end.
    pub fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let data = ready!(self.lease.poll_data(context));
        let Some(unpacking) = &mut self.unpacking else { return Poll::Ready(data) };
        Poll::Ready(match data {
            Some(Ok(data)) => Some(
                unpacking
                    .decoder
                    .push(&data, &mut unpacking.out, UNPACKED_BYTES)
                    .map(|()| unpacking.out.split().freeze())
                    .map_err(|error| packed_wrongly(&error)),
            ),
            Some(Err(error)) => Some(Err(error)),
            None => match unpacking.decoder.finish() {
                Ok(()) => None,
                Err(error) => Some(Err(packed_wrongly(&error))),
            },
        })
    }

    /// The body has been read to its end, so that no poll is needed to learn of it.
    fn ended(&self) -> bool {
        self.unpacking.is_none() && self.lease.ended()
    }

    pub fn finish(self) {
        self.lease.finish();
    }
}

fn packed_wrongly(error: &Undecodable) -> Error {
    Error::new(Code::UpstreamInvalidAnswer, format!("the provider's answer: {error}."))
}

/// Answers up to this size are held back until they are complete, so that a broken one can still become an error or
/// another target's turn. Longer ones are relayed as they come.
const WHOLE_BYTES: usize = 1024 * 1024;
/// An answer that must be translated as a whole may be this long.
const TRANSLATED_BYTES: usize = 32 * 1024 * 1024;

pub(crate) async fn send(trip: &mut Trip, choice: Choice, wire: Wire) -> Result<Answer, Error> {
    trip.enter(Stage::Send);
    let target = choice.target.clone();
    let result = attempt(trip, choice, wire).await;
    let now = trip.now();
    if let (Err(error), Some(attempt)) = (&result, trip.attempt()) {
        attempt.code = Some(error.code);
        attempt.ended = Some(now);
    }
    result.map_err(|mut error| {
        error.message = format!("{}: {}", target.name, error.message).into();
        error
    })
}

async fn attempt(trip: &mut Trip, choice: Choice, mut wire: Wire) -> Result<Answer, Error> {
    let target = choice.target;
    let timeouts = target.timeouts;
    let total = Instant::now() + timeouts.total;
    let Exchanged { head: response, lease, first_token } = exchange(trip, &target, &wire, total).await?;
    let (mut head, ()) = response.into_parts();
    let now = trip.now();
    if let Some(attempt) = trip.attempt() {
        attempt.status = Some(head.status.as_u16());
        attempt.first_byte = Some(now);
    }
    refuse_redirect(&head)?;
    let delimited = lease.delimited();
    let mut source = Source::new(lease, &head)?;
    if source.unpacking.is_some() {
        head.headers.remove(CONTENT_ENCODING);
        head.headers.remove(CONTENT_LENGTH);
    }
    let events = head.status.is_success() && is_event_stream(&head.headers, &wire.reading);
    if let Reading::Conversation(translation) = &wire.reading
        && head.status.is_success()
        && translation.stream != events
    {
        let (asked, came) =
            if events { ("a whole answer", "a stream") } else { ("a stream", "a whole answer") };
        return Err(Error::new(
            Code::UpstreamInvalidAnswer,
            format!("the provider was asked for {asked} and sent {came}."),
        ));
    }
    let limit = match (&wire.reading, events) {
        (_, true) => 0,
        (Reading::Same { .. }, false) => WHOLE_BYTES,
        (_, false) => TRANSLATED_BYTES,
    };
    let held = collect(&head, &mut source, &timeouts, (first_token, total), limit).await?;
    let body = match held {
        Held::All(bytes) => {
            source.finish();
            let now = trip.now();
            if let Some(attempt) = trip.attempt() {
                attempt.ended = Some(now);
                attempt.response_bytes = bytes.len() as u64;
            }
            let bytes = answer::read(trip, &mut wire.reading, &mut head, bytes)?;
            if let (Some(keep), true) = (wire.keep.take(), head.status.is_success())
                && let Ok(text) = std::str::from_utf8(&bytes)
            {
                keep.put(text);
            }
            AnswerBody::Whole(bytes)
        }
        Held::Begun(_) if !events && !matches!(wire.reading, Reading::Same { .. }) => {
            return Err(Error::new(
                Code::UpstreamInvalidAnswer,
                format!("the provider's answer is longer than {TRANSLATED_BYTES} bytes."),
            ));
        }
        Held::Begun(first) => {
            let begun = Begun { first, source, events, delimited, timeouts, total };
            let onward = Onward { reading: wire.reading, keep: wire.keep };
            AnswerBody::Begun(Box::new(begun), Box::new(onward))
        }
    };
    Ok(Answer { head, body, target, model: choice.model })
}

/// The head of an answer, and where the rest comes from.
struct Exchanged {
    head: Response<()>,
    lease: Lease,
    /// Until when the first byte of the body must be here: the clock began when the request was sent, and a head
    /// that comes early does not begin it again.
    first_token: Instant,
}

/// Connects (or takes a connection that is there) and waits for the answer's head.
async fn exchange(trip: &mut Trip, target: &Target, wire: &Wire, total: Instant) -> Result<Exchanged, Error> {
    loop {
        let pool = trip.worker.pool.clone();
        let mut lease = pool.lease(target).await?;
        let now = trip.now();
        if let Some(attempt) = trip.attempt() {
            attempt.connected = (!lease.reused()).then_some(now);
        }
        let first_token = (Instant::now() + target.timeouts.first_token).min(total);
        let Ok(sent) =
            timeout_at(first_token, lease.send(&wire.method, &wire.headers, &wire.body, &wire.address)).await
        else {
            return Err(late(target.timeouts, total));
        };
        match sent {
            Ok(head) => return Ok(Exchanged { head, lease, first_token }),
            // A kept connection that was closed before it took the request has done nothing: asking again is safe.
            Err(failure) if failure.unsent && lease.reused() => {}
            Err(failure) => return Err(failure.error),
        }
    }
}

enum Held {
    All(Bytes),
    /// Its first piece; the lease has the rest.
    Begun(Bytes),
}

async fn collect(
    head: &response::Parts,
    source: &mut Source,
    timeouts: &Timeouts,
    (first_token, total): (Instant, Instant),
    limit: usize,
) -> Result<Held, Error> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let mut deadline = first_token;
    if announced(&head.headers).is_some_and(|length| length > limit.max(WHOLE_BYTES) as u64) {
        return Ok(Held::Begun(first));
    }
    loop {
        let data = match timeout_at(deadline, poll_fn(|context| source.poll_data(context))).await {
            Ok(Some(data)) => data?,
            Ok(None) => break,
            Err(_) if first.is_empty() => return Err(late(*timeouts, total)),
            Err(_) => return Err(silent(*timeouts, total)),
        };
        if data.is_empty() {
            continue;
        }
        if first.is_empty() {
            first = data;
        } else {
            if joined.is_empty() {
                joined.extend_from_slice(&first);
            }
            joined.extend_from_slice(&data);
        }
        if first.len().max(joined.len()) > limit {
            let first = if joined.is_empty() { first } else { joined.freeze() };
            return Ok(Held::Begun(first));
        }
        if source.ended() {
            break;
        }
        deadline = (Instant::now() + timeouts.idle).min(total);
    }
    if limit == 0 {
        return Err(Error::new(Code::UpstreamCut, "the stream ended before its first event."));
    }
    Ok(Held::All(if joined.is_empty() { first } else { joined.freeze() }))
}

/// A redirect is not followed: it would carry the request, and perhaps the key, to a host that nobody configured. Nor is a
/// change of protocol, which nobody asked for: handed on, it would have the client wait for it.
fn refuse_redirect(head: &response::Parts) -> Result<(), Error> {
    if head.status.is_informational() {
        return Err(Error::new(
            Code::UpstreamProtocolError,
            format!("the provider answers {}, which ends no exchange.", head.status),
        ));
    }
    if !head.status.is_redirection() {
        return Ok(());
    }
    let to = head.headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("nowhere");
    let to: String = to.chars().take(200).collect();
    Err(Error::new(
        Code::UpstreamProtocolError,
        format!("the provider redirects ({}) to {to}. Set `base_url` to the final address.", head.status),
    ))
}

/// Whether the answer comes as a stream of events in the form that its dialect has.
fn is_event_stream(headers: &HeaderMap, reading: &Reading) -> bool {
    match reading {
        Reading::Conversation(translation) if translation.target == Dialect::BedrockConverse => {
            content_type_is(headers, b"application/vnd.amazon.eventstream")
        }
        _ => content_type_is(headers, b"text/event-stream"),
    }
}

fn content_type_is(headers: &HeaderMap, expected: &[u8]) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
        value[..end].trim_ascii().eq_ignore_ascii_case(expected)
    })
}

fn late(timeouts: Timeouts, total: Instant) -> Error {
    if Instant::now() >= total {
        return expired(timeouts);
    }
    Error::new(
        Code::UpstreamFirstTokenTimeout,
        format!("no byte of an answer within {} ms.", timeouts.first_token.as_millis()),
    )
}

fn silent(timeouts: Timeouts, total: Instant) -> Error {
    if Instant::now() >= total {
        return expired(timeouts);
    }
    Error::new(
        Code::UpstreamIdleTimeout,
        format!("silent for {} ms in the middle of its answer.", timeouts.idle.as_millis()),
    )
}

fn expired(timeouts: Timeouts) -> Error {
    Error::new(
        Code::UpstreamTotalTimeout,
        format!("the answer was not complete after {} ms.", timeouts.total.as_millis()),
    )
}

/// Watches a stream under way. Re-armed only when it goes off, so that a piece costs no timer.
pub(crate) struct Watch {
    timer: std::pin::Pin<Box<tokio::time::Sleep>>,
    timeouts: Timeouts,
    last: Instant,
    total: Instant,
}

impl Watch {
    pub fn start(timeouts: Timeouts, total: Instant) -> Watch {
        let last = Instant::now();
        let timer = Box::pin(tokio::time::sleep_until((last + timeouts.idle).min(total)));
        Watch { timer, timeouts, last, total }
    }

    pub fn touch(&mut self) {
        self.last = Instant::now();
    }

    /// What it means that somebody else ended the call.
    pub fn expired(&self) -> Error {
        expired(self.timeouts)
    }

    /// Ready with an error once the stream has been silent, or under way, for too long.
    pub fn poll(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Error> {
        loop {
            std::task::ready!(self.timer.as_mut().poll(context));
            let due = (self.last + self.timeouts.idle).min(self.total);
            if Instant::now() >= due {
                return std::task::Poll::Ready(silent(self.timeouts, self.total));
            }
            self.timer.as_mut().reset(due);
        }
    }
}
