//! One call to one target: connect, send, and wait until the answer has begun. Nothing of it has gone to the client yet, so
//! every failure in here can still become a status, or another target's turn.

mod answer;
mod clock;
mod collect;
mod failed;
mod form;
mod hedge;
mod opening;
mod source;

use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Response, response};
use meseta_wire::dialect::Dialect;
use meseta_wire::feature::Losses;
use meseta_wire::limits;
use meseta_wire::usage::Usage;
use tokio::time::{Instant, timeout_at};

use crate::attempts::Track;
use crate::continuation::Keep;
use crate::error::{Code, Error};
use crate::handle::Journey;
use crate::health::Ticket;
use crate::log::RequestId;
use crate::plan::Choice;
use crate::serve::Worker;
use crate::snapshot::{Target, Timeouts};
use crate::stages::pick::Picked;
use crate::stages::send::clock::late;
use crate::stages::send::collect::{Held, collect, hold};
use crate::stages::send::form::{Asked, Making};
use crate::stages::send::opening::Opening;
use crate::stages::translate::{Reading, Wire};
use crate::trip::Trip;
use crate::upstream::Lease;

pub(crate) use clock::{Watch, late_for_client};
pub(crate) use failed::{Failed, Lost, verdict};
pub(crate) use hedge::hedge;
pub(crate) use opening::excerpt;
pub(crate) use source::Source;

/// All that a call needs. It owns it, so that two of them can run side by side.
pub(crate) struct Sending {
    pub choice: Choice,
    pub track: Track,
    worker: Rc<Worker>,
    /// `None` for calls that no limit counts.
    ticket: Option<Ticket>,
    wire: Box<Wire>,
    timeouts: Timeouts,
    client: Client,
    /// The request may arrive twice.
    may_repeat: bool,
    /// The call has less time than the configuration gives it.
    rushed: bool,
    /// Keep the beginning of a stream back until it holds a piece of the answer: what has not been told can still be
    /// told by somebody else.
    hold: bool,
    /// Of a conversation: in which form its answer is to come.
    asked: Option<Asked>,
}

/// Whom the answer is for.
#[derive(Clone, Copy)]
pub(crate) struct Client {
    pub dialect: Dialect,
    pub id: RequestId,
}

/// A target's answer, begun or complete.
pub(crate) struct Answer {
    pub head: response::Parts,
    pub body: AnswerBody,
    pub choice: Choice,
    pub track: Track,
    pub ticket: Option<Ticket>,
    pub notes: Notes,
}

/// What the record says of an answer that was read whole.
#[derive(Default)]
pub(crate) struct Notes {
    pub usage: Option<Usage>,
    /// The target's dialect, where it is not the client's.
    pub translated: Option<Dialect>,
    /// What a translation left out or changed.
    pub dropped: Option<String>,
}

impl Notes {
    /// Tells the client and the record what a translation left out.
    pub fn of(&mut self, losses: &Losses) {
        self.translated = Some(losses.target());
        self.dropped = (!losses.is_empty()).then(|| losses.noted().join(", "));
    }
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

/// Answers up to this size are held back until they are complete, so that a broken one can still become an error or
/// another target's turn. Longer ones are relayed as they come.
const WHOLE_BYTES: usize = 1024 * 1024;
/// An answer that must be translated as a whole may be this long.
const TRANSLATED_BYTES: usize = 32 * 1024 * 1024;

impl Sending {
    /// `Err` when the client's time is over.
    pub fn new(trip: &Trip, journey: &Journey, picked: Picked, wire: Box<Wire>) -> Result<Sending, Lost> {
        let Picked { choice, ticket, track } = picked;
        let policy = &journey.plan.policy;
        let configured = policy.timeouts(&choice.member.target);
        let left = policy.left(trip.started).unwrap_or(configured.total);
        let Ok(timeouts) = trip.shorten(Timeouts { total: configured.total.min(left), ..configured }) else {
            return Err(Lost::of(choice, late_for_client().into()));
        };
        Ok(Sending {
            may_repeat: journey.may_repeat(),
            rushed: timeouts.is_shorter_than(&configured),
            asked: Asked::of(journey, &choice.member.target, &wire.reading),
            choice,
            track,
            worker: trip.worker.clone(),
            ticket: Some(ticket),
            wire,
            timeouts,
            client: Client { dialect: trip.dialect, id: trip.id },
            hold: journey.plan.has_alternative(),
        })
    }

    /// A call beside the usual walk: nobody else could be asked, and nothing is counted.
    pub fn alone(trip: &Trip, choice: Choice, track: Track, wire: Box<Wire>) -> Sending {
        Sending {
            timeouts: choice.member.target.timeouts,
            choice,
            track,
            worker: trip.worker.clone(),
            ticket: None,
            wire,
            client: Client { dialect: trip.dialect, id: trip.id },
            may_repeat: false,
            rushed: false,
            hold: false,
            asked: None,
        }
    }
}

pub(crate) async fn send(mut sending: Sending) -> Result<Answer, Lost> {
    let began = Instant::now();
    match attempt(&mut sending, began).await {
        Ok(answer) => Ok(answer),
        Err(failed) => {
            let failed = failed.settle(&mut sending, began);
            Err(Lost::of(sending.choice, failed))
        }
    }
}

async fn attempt(sending: &mut Sending, began: Instant) -> Result<Answer, Failed> {
    let Sending { choice, timeouts, client, .. } = sending;
    let (target, timeouts, client) = (choice.member.target.clone(), *timeouts, *client);
    let total = began + timeouts.total;
    let Exchanged { head: response, lease, first_token } =
        exchange(sending, &target, timeouts, (began, total)).await?;
    let (mut head, ()) = response.into_parts();
    let Sending { track, ticket, wire, .. } = sending;
    let now = track.now();
    track.note(|attempt| {
        attempt.status = Some(head.status.as_u16());
        attempt.first_byte = Some(now);
    });
    obey_limits(&head, &target, ticket.as_ref());
    refuse_redirect(&head, &target)?;
    let delimited = lease.delimited();
    let mut source = Source::new(lease, &head)?;
    if source.is_unpacking() {
        head.headers.remove(CONTENT_ENCODING);
        head.headers.remove(CONTENT_LENGTH);
    }
    let events = head.status.is_success() && is_event_stream(&head.headers, &wire.reading);
    if events && let Some(asked) = sending.asked.take_if(|asked| !asked.stream) {
        return gathered(sending, &asked, head, source, (first_token, total), began).await;
    }
    // What is no stream where one was asked for.
    let odd = head.status.is_success() && !events && sending.asked.as_ref().is_some_and(|asked| asked.stream);
    let limit = match (&wire.reading, events) {
        (_, true) => 0,
        _ if odd => form::MOST_BYTES,
        (Reading::Same { .. }, false) => WHOLE_BYTES,
        _ if !head.status.is_success() => WHOLE_BYTES,
        (_, false) => TRANSLATED_BYTES,
    };
    let held = collect(&head, &mut source, &timeouts, (first_token, total), limit).await?;
    let mut notes = Notes::default();
    let body = match held {
        Held::All(bytes) => {
            source.finish();
            AnswerBody::Whole(whole(sending, &mut head, &mut notes, bytes, began)?)
        }
        // What is longer than that is a web page; its beginning says as much.
        Held::Begun(bytes) if !head.status.is_success() => {
            track.note(|attempt| attempt.response_bytes = bytes.len() as u64);
            return Err(Failed::refused(sending, head, &bytes));
        }
        Held::Begun(_) if !events && (odd || !matches!(wire.reading, Reading::Same { .. })) => {
            return Err(too_long(limit).into());
        }
        Held::Begun(first) => {
            let first = if sending.hold && events {
                let opening = Opening::of(&wire.reading);
                let mut taken = 0;
                let held =
                    hold(opening, first, &mut source, &timeouts, (first_token, total), &mut taken).await;
                // What went well is counted where it is handed on.
                held.inspect_err(|_| track.note(|attempt| attempt.response_bytes = taken))?
            } else {
                first
            };
            if let Some(ticket) = ticket {
                let (after, now) = (began.elapsed(), std::time::Instant::now());
                ticket.first_token(after, now);
                sending.worker.shared.paces.observe(&sending.choice.member, after, now);
            }
            let begun = Begun { first, source, events, delimited, timeouts, total };
            let reading = std::mem::replace(&mut wire.reading, Reading::Count(client.dialect));
            AnswerBody::Begun(Box::new(begun), Box::new(Onward { reading, keep: wire.keep.take() }))
        }
    };
    Ok(Answer {
        head,
        body,
        choice: sending.choice.clone(),
        track: sending.track.clone(),
        ticket: sending.ticket.take(),
        notes,
    })
}

/// An answer that is complete, in the client's words.
fn whole(
    sending: &mut Sending,
    head: &mut response::Parts,
    notes: &mut Notes,
    bytes: Bytes,
    began: Instant,
) -> Result<Bytes, Failed> {
    let now = sending.track.now();
    sending.track.note(|attempt| {
        attempt.ended = Some(now);
        attempt.response_bytes = bytes.len() as u64;
    });
    if head.status.is_success()
        && let Some(status) = answer::disguised(&bytes)
    {
        head.status = status;
    }
    if !head.status.is_success() {
        return Err(Failed::refused(sending, head.clone(), &bytes));
    }
    let bytes = if let Some(asked) = sending.asked.take_if(|asked| asked.stream) {
        asked.told(making(sending, notes, head), &bytes)?
    } else {
        let Sending { choice, wire, client, .. } = sending;
        let agent = choice.member.target.is_agent();
        let bytes = answer::read(*client, notes, &mut wire.reading, head, bytes, agent)?;
        if let Some(keep) = wire.keep.take()
            && let Ok(text) = std::str::from_utf8(&bytes)
        {
            keep.put(text);
        }
        bytes
    };
    let Sending { track, ticket, .. } = sending;
    track.note(|attempt| attempt.usage = notes.usage);
    if let Some(ticket) = ticket.take() {
        let now = Instant::now();
        let (after, now) = (now - began, now.into_std());
        ticket.complete(after, now);
        sending.worker.shared.paces.observe(&sending.choice.member, after, now);
    }
    Ok(bytes)
}

/// A stream for a client that waits for the whole answer.
async fn gathered(
    sending: &mut Sending,
    asked: &Asked,
    mut head: response::Parts,
    mut source: Source,
    deadlines: (Instant, Instant),
    began: Instant,
) -> Result<Answer, Failed> {
    let dialect = answer::dialect_of(&sending.wire.reading);
    let mut taken = 0;
    let gathered = asked.gather(&mut source, dialect, &sending.timeouts, deadlines, &mut taken).await;
    let now = sending.track.now();
    sending.track.note(|attempt| {
        attempt.ended = Some(now);
        attempt.response_bytes = taken;
        if let Ok(gathered) = &gathered {
            attempt.pieces = gathered.pieces();
            attempt.usage = gathered.usage();
        }
    });
    let gathered = gathered?;
    source.finish();
    let mut notes = Notes::default();
    let body = AnswerBody::Whole(asked.whole(making(sending, &mut notes, &mut head), gathered));
    if let Some(ticket) = sending.ticket.take() {
        ticket.complete(began.elapsed(), std::time::Instant::now());
    }
    let (choice, track) = (sending.choice.clone(), sending.track.clone());
    Ok(Answer { head, body, choice, track, ticket: None, notes })
}

fn making<'s>(sending: &'s mut Sending, notes: &'s mut Notes, head: &'s mut response::Parts) -> Making<'s> {
    let Sending { client, choice, wire, .. } = sending;
    let Wire { reading, keep, .. } = &mut **wire;
    Making { client: *client, model: &choice.member.model, reading, keep: keep.take(), notes, head }
}

/// The head of an answer, and where the rest comes from.
struct Exchanged {
    head: Response<()>,
    lease: Lease,
    /// Until when the first token must be here: the clock began when the request was sent, and a head that comes early
    /// does not begin it again.
    first_token: Instant,
}

/// How many kept connections that turn out to be closed are left before the target counts as unreachable.
const MOST_STALE: u32 = 8;

/// Connects (or takes a connection that is there) and waits for the answer's head.
async fn exchange(
    sending: &Sending,
    target: &Target,
    timeouts: Timeouts,
    (began, total): (Instant, Instant),
) -> Result<Exchanged, Failed> {
    let Sending { wire, track, worker, .. } = sending;
    let mut again = sending.may_repeat;
    let mut stale = 0;
    loop {
        let mut lease = worker.pool.lease(target, timeouts.connect).await.map_err(|error| {
            let by_client = error.code == Code::UpstreamConnectTimeout && timeouts.by_client.connect;
            Failed::unsent(if by_client { late_for_client() } else { error })
        })?;
        let connected = (!lease.reused()).then(|| track.now());
        track.note(|attempt| attempt.connected = connected);
        // What the client's patience has shortened counts from the beginning.
        let sooner = timeouts.first_token < target.timeouts.first_token;
        let from = if sooner { began } else { Instant::now() };
        let first_token = (from + timeouts.first_token).min(total);
        let Ok(sent) =
            timeout_at(first_token, lease.send(&wire.method, &wire.headers, &wire.body, &wire.address)).await
        else {
            return Err(late(timeouts, total).into());
        };
        match sent {
            Ok(head) => return Ok(Exchanged { head, lease, first_token }),
            // A kept connection that was closed before it took the request has done nothing: asking again is safe.
            Err(failure) if failure.unsent && lease.reused() && stale < MOST_STALE => stale += 1,
            Err(failure) if failure.unsent => return Err(Failed::unsent(failure.error)),
            // One that was closed in the moment of its use was most likely closed for its age. The others are older.
            Err(failure) if failure.silent && lease.reused() && again && may_retry(worker) => {
                again = false;
                worker.pool.forget(&target.origin);
            }
            Err(failure) => return Err(failure.error.into()),
        }
    }
}

fn may_retry(worker: &Worker) -> bool {
    worker.shared.retry_budget.load().withdraw(std::time::Instant::now())
}

/// What the provider says of its limits holds for the next call, not only after it has refused one. What a
/// target says of one client holds for that client alone.
fn obey_limits(head: &response::Parts, target: &Target, ticket: Option<&Ticket>) {
    let Some(ticket) = ticket.filter(|_| !target.speaks_of_one_client()) else { return };
    if head.headers.keys().any(|name| limits::is_limit_header(name.as_str())) {
        let read = limits::read(
            &|name| head.headers.get(name).and_then(|value| value.to_str().ok()),
            std::time::SystemTime::now(),
        );
        ticket.limits(&read, std::time::Instant::now());
    }
}

fn too_long(limit: usize) -> Error {
    let message = format!("the provider's answer is longer than {limit} bytes.");
    Error::new(Code::UpstreamInvalidAnswer, message)
}

/// A redirect is not followed: it would carry the request, and perhaps the key, to a host that nobody configured. Nor is a
/// change of protocol, which nobody asked for: handed on, it would have the client wait for it.
fn refuse_redirect(head: &response::Parts, target: &Target) -> Result<(), Error> {
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
    let key = if target.is_agent() { "url" } else { "base_url" };
    Err(Error::new(
        Code::UpstreamProtocolError,
        format!("the provider redirects ({}) to {to}. Set `{key}` to the final address.", head.status),
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

pub(crate) fn content_type_is(headers: &HeaderMap, expected: &[u8]) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
        value[..end].trim_ascii().eq_ignore_ascii_case(expected)
    })
}
