//! One attempt at one target: connect, send, and wait for the first piece of the answer. Nothing has gone to the client
//! yet, so every failure in here can still become a status, or another target's turn.

use std::future::{Future, poll_fn};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Response, StatusCode, response};
use meseta_wire::openai;
use tokio::time::{Instant, timeout_at};

use crate::endpoint::Call;
use crate::error::{Code, Error};
use crate::snapshot::{Target, Timeouts};
use crate::stages::Stage;
use crate::stages::choose::Choice;
use crate::stages::translate::Wire;
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
    /// All of it, checked.
    Whole(Bytes),
    /// A stream of events, or an answer too long to hold; `first` has arrived.
    Begun(Box<Begun>),
}

pub(crate) struct Begun {
    pub first: Bytes,
    /// Where the rest comes from.
    pub lease: Lease,
    pub events: bool,
    pub hide_usage: bool,
    /// The end of the body is marked (by length, chunks or HTTP/2), so that a cut can be told from an end.
    pub delimited: bool,
    pub timeouts: Timeouts,
    pub total: Instant,
}

/// Answers up to this size are held back until they are complete, so that a broken one can still become an error or
/// another target's turn. Longer ones are relayed as they come.
const WHOLE_BYTES: usize = 1024 * 1024;

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

async fn attempt(trip: &mut Trip, choice: Choice, wire: Wire) -> Result<Answer, Error> {
    let target = choice.target;
    let timeouts = target.timeouts;
    let hide_usage = wire.hide_usage;
    let total = Instant::now() + timeouts.total;
    let Exchanged { head: response, mut lease, first_token } = exchange(trip, &target, &wire, total).await?;
    let (head, ()) = response.into_parts();
    let now = trip.now();
    if let Some(attempt) = trip.attempt() {
        attempt.status = Some(head.status.as_u16());
        attempt.first_byte = Some(now);
    }
    refuse_redirect(&head)?;
    let events = head.status.is_success() && content_type_is(&head.headers, b"text/event-stream");
    let held = collect(&head, &mut lease, &timeouts, (first_token, total), events).await?;
    let body = match held {
        Held::All(bytes) => {
            lease.finish();
            let now = trip.now();
            if let Some(attempt) = trip.attempt() {
                attempt.ended = Some(now);
                attempt.response_bytes = bytes.len() as u64;
            }
            trip.answer.usage = check(&head, &bytes)?;
            AnswerBody::Whole(bytes)
        }
        Held::Begun(first) => AnswerBody::Begun(Box::new(Begun {
            first,
            delimited: lease.delimited(),
            lease,
            events,
            hide_usage,
            timeouts,
            total,
        })),
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
    let address = match wire.call {
        Call::Chat => &target.chat,
        Call::Embeddings => &target.embeddings,
    };
    loop {
        let pool = trip.worker.pool.clone();
        let mut lease = pool.lease(target).await?;
        let now = trip.now();
        if let Some(attempt) = trip.attempt() {
            attempt.connected = (!lease.reused()).then_some(now);
        }
        let first_token = (Instant::now() + target.timeouts.first_token).min(total);
        let Ok(sent) = timeout_at(first_token, lease.send(&wire.headers, &wire.body, address)).await else {
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
    lease: &mut Lease,
    timeouts: &Timeouts,
    (first_token, total): (Instant, Instant),
    events: bool,
) -> Result<Held, Error> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let mut deadline = first_token;
    if announced(&head.headers).is_some_and(|length| length > WHOLE_BYTES as u64) {
        return Ok(Held::Begun(first));
    }
    loop {
        let data = match timeout_at(deadline, poll_fn(|context| lease.poll_data(context))).await {
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
        if events || joined.len() > WHOLE_BYTES {
            let first = if joined.is_empty() { first } else { joined.freeze() };
            return Ok(Held::Begun(first));
        }
        if lease.ended() {
            break;
        }
        deadline = (Instant::now() + timeouts.idle).min(total);
    }
    if events && head.status == StatusCode::OK {
        return Err(Error::new(Code::UpstreamCut, "the stream ended before its first event."));
    }
    Ok(Held::All(if joined.is_empty() { first } else { joined.freeze() }))
}

/// A whole answer that says 200 must be the JSON that the API promises; an error must be one that the client can read.
fn check(head: &response::Parts, body: &Bytes) -> Result<Option<meseta_wire::usage::Usage>, Error> {
    match openai::read_answer(body) {
        Ok(answer) => Ok(answer.usage),
        Err(error) if head.status.is_success() => Err(Error::new(
            Code::UpstreamInvalidAnswer,
            format!("the provider answered {} but its body is not a JSON object ({error}).", head.status),
        )),
        Err(_) => {
            let excerpt: String = String::from_utf8_lossy(&body[..body.len().min(512)])
                .chars()
                .filter(|character| !character.is_control())
                .take(200)
                .collect();
            Err(Error::new(
                Code::UpstreamRejected,
                format!("the provider answered {} without a JSON body: {excerpt}", head.status),
            )
            .with_status(head.status))
        }
    }
}

/// A redirect is not followed: it would carry the request, and perhaps the key, to a host that nobody configured.
fn refuse_redirect(head: &response::Parts) -> Result<(), Error> {
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
