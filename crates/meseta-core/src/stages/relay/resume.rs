//! A stream that breaks after it has begun: another target goes on where that is sound. The client's connection is silent
//! meanwhile, and then the rest comes as if nothing had happened.

use std::pin::Pin;
use std::time::Duration;

use meseta_wire::dialect::{self, Dialect};
use meseta_wire::failure::Cause;
use meseta_wire::feature::Losses;
use meseta_wire::json::Json;
use meseta_wire::resume::{Facts, MOST_BYTES, Partial, Resumed, Resumption};

use crate::error::{Code, Error};
use crate::handle::{Journey, Outbound, walk};
use crate::plan::Next;
use crate::stages::pick::rest;
use crate::stages::read::Ask;
use crate::stages::relay::stream::{Ending, Reader, Relayed, Stream, push};
use crate::stages::relay::translator::Translator;
use crate::stages::send::{Answer, AnswerBody, Failed, Lost, Notes, Watch};
use crate::stages::translate::{self, Reading};
use crate::trip::Trip;

/// What a target has said, as it came. Of an answer that is too long nothing is left: nobody can go on with it.
#[derive(Default)]
pub(super) struct Tape {
    bytes: Vec<u8>,
    full: bool,
}

/// What most answers fit into.
const USUAL_BYTES: usize = 8 * 1024;

impl Tape {
    pub fn write(&mut self, data: &[u8]) {
        if self.full {
            return;
        }
        if self.bytes.len().saturating_add(data.len()) > MOST_BYTES {
            *self = Tape { bytes: Vec::new(), full: true };
            return;
        }
        if self.bytes.is_empty() {
            self.bytes.reserve(USUAL_BYTES);
        }
        self.bytes.extend_from_slice(data);
    }

    /// The last event was taken though it has no blank line behind it.
    pub fn end_event(&mut self) {
        self.write(b"\n\n");
    }

    fn bytes(&self) -> Option<&[u8]> {
        (!self.full).then_some(&self.bytes)
    }
}

/// The way to the next target. It owns what the request is until it has arrived, so that a client that leaves ends all.
pub(super) type Walk = Pin<Box<dyn Future<Output = Walked>>>;

pub(super) struct Walked {
    trip: Trip,
    journey: Box<Journey>,
    outcome: Result<Outbound, Failed>,
}

async fn set_out(mut trip: Trip, mut journey: Box<Journey>, pause: Duration) -> Walked {
    rest(pause).await;
    let outcome = walk(&mut trip, &mut journey).await;
    Walked { trip, journey, outcome }
}

impl Stream {
    /// Sees to it that a stream that broke goes on, or ends well if nothing is missing. False if that cannot be: then the
    /// client has to be told of the error.
    pub(super) fn resume(&mut self, error: &Error) -> bool {
        self.try_resume(error).is_some()
    }

    fn try_resume(&mut self, error: &Error) -> Option<()> {
        // Whoever has no answer to this break has none to a later one.
        let mut journey = self.journey.take()?;
        let tape = self.tape.take().unwrap_or_default();
        if !may_help(error) || matches!(&self.reader, Reader::Translator(writer) if writer.has_given_up()) {
            return None;
        }
        let raw = tape.bytes()?;
        let told = match &self.reader {
            Reader::Bytes => return None,
            Reader::Scan(scan) => Partial::read(scan.dialect, raw),
            Reader::Translator(translator) => translator.told(raw),
        };
        let resumption = told.plan(&facts(&journey.ask)?);
        if matches!(self.reader, Reader::Scan(_)) {
            // Not every event that passes unread is a piece.
            self.heard.pieces = told.pieces;
        }
        journey.plan.resuming = true;
        let pause = match &resumption {
            Resumption::Unsound(_) => return None,
            Resumption::Finish(_) => None,
            Resumption::Fresh | Resumption::Continue => {
                let choice = self.call.as_ref()?.choice.clone();
                let failed = Failed::from(error.clone());
                let Next::After(pause) = journey.next(self.trip.as_mut()?, Lost::of(choice, failed)) else {
                    return None;
                };
                Some(pause)
            }
        };
        journey.told = (resumption == Resumption::Continue).then(|| Box::new(told.clone()));
        let mut out = Vec::new();
        let mut translator = self.writer_of_the_rest(&journey.ask, raw, told, &resumption, &mut out)?;
        push(&mut self.ready, out.into());
        self.hang_up(Some(error));
        self.upstream.borrow_mut().take();
        if let Some(pause) = pause {
            let mut trip = self.trip.take()?;
            trip.told = Some(self.watch.touched().into_std());
            self.walk = Some(Box::pin(set_out(trip, journey, pause)));
        } else {
            translator.end(&resumption, &mut self.heard, &mut self.ready);
            self.ended = Some(Ending::Complete);
        }
        self.reader = Reader::Translator(Box::new(translator));
        Some(())
    }

    /// Puts itself behind the last word that the client has seen.
    fn writer_of_the_rest(
        &mut self,
        ask: &Ask,
        raw: &[u8],
        told: Partial,
        resumption: &Resumption,
        out: &mut Vec<u8>,
    ) -> Option<Translator> {
        if let Reader::Scan(scan) = &mut self.reader {
            let json = Json::parse(std::str::from_utf8(&ask.body).ok()?).ok()?;
            let model = &self.call.as_ref()?.choice.member.model;
            let context = translate::context(self.trip.as_ref()?, ask, model, &json);
            // Where the events are in disorder the scan stays as it is: it has the provider's words still to tell.
            let resumed = Resumed::passed(scan.dialect, context, raw, told, resumption, out).ok()?;
            return Some(Translator::resumed(resumed, scan.dialect, scan.keep.take()));
        }
        match std::mem::replace(&mut self.reader, Reader::Bytes) {
            Reader::Translator(translator) => Some(translator.resume(told, resumption, out)),
            Reader::Bytes | Reader::Scan(_) => None,
        }
    }

    /// The walk has ended: somebody goes on, or nobody does.
    pub(super) fn go_on(&mut self, walked: Walked) {
        let Walked { mut trip, mut journey, outcome } = walked;
        let answer = match outcome {
            Ok(Outbound::Answer(answer, _)) => *answer,
            // A document of our own goes on with nothing.
            Ok(Outbound::Own(..) | Outbound::Inner(..)) => return self.give_up(trip, no_stream()),
            Err(failed) => return self.give_up(trip, failed.error),
        };
        let Answer { body, choice, track, ticket, .. } = answer;
        let AnswerBody::Begun(mut begun, onward) = body else { return self.give_up(trip, no_stream()) };
        if !begun.events {
            return self.give_up(trip, no_stream());
        }
        let dialect = match &onward.reading {
            Reading::Same { dialect, .. } | Reading::Count(dialect) => *dialect,
            Reading::Conversation(translation) => {
                let mut notes = Notes::default();
                notes.of(&translation.losses);
                if let Some(lost) = notes.dropped {
                    trip.answer.drop_too(&lost);
                }
                translation.target
            }
            Reading::Embeddings(_) => return self.give_up(trip, no_stream()),
        };
        trip.answer.translated = (dialect != trip.dialect).then_some(dialect);
        trip.answer.resumed += 1;
        let first = std::mem::take(&mut begun.first);
        self.call = Some(Relayed { choice, track, ticket });
        self.watch = Watch::start(begun.timeouts, begun.total);
        self.upstream = trip.worker.overdue.watch(*begun);
        self.trip = Some(trip);
        journey.told = None;
        self.journey = Some(journey);
        if let Reader::Translator(translator) = &mut self.reader {
            translator.listen(dialect);
        }
        if !first.is_empty() {
            self.take(first);
        }
    }

    fn give_up(&mut self, trip: Trip, error: Error) {
        self.trip = Some(trip);
        self.fail(error);
    }
}

/// Whether another target could do better, and the client still waits for one.
fn may_help(error: &Error) -> bool {
    let elsewhere = match error.failover() {
        Some(Cause::Error | Cause::Timeout | Cause::RateLimit | Cause::Credential) => true,
        Some(Cause::ContextLength | Cause::ContentPolicy | Cause::Invalid) | None => false,
    };
    elsewhere && error.code != Code::UpstreamTotalTimeout
}

/// What the request says of going on; `None` if it cannot be read.
fn facts(ask: &Ask) -> Option<Facts> {
    let json = Json::parse(std::str::from_utf8(&ask.body).ok()?).ok()?;
    let client = ask.call.dialect();
    let mut losses = Losses::new(client, client);
    let request = dialect::decode_request(client, &json, &mut losses).ok()?;
    let audio = client == Dialect::OpenaiChat && json.get("audio").is_some_and(|audio| *audio != Json::Null);
    Some(Facts { audio, ..Facts::of(&request) })
}

fn no_stream() -> Error {
    Error::new(
        Code::UpstreamInvalidAnswer,
        "The stream broke, and the target that was to go on did not answer with a stream.",
    )
}
