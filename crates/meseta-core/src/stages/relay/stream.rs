//! A stream under way: what comes from the target is read on its way to the client, and its end is recorded.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::Frame;
use meseta_wire::failure::Cause;
use meseta_wire::usage::Usage;

use crate::attempts::Track;
use crate::error::{Code, Error};
use crate::handle::Journey;
use crate::health::{self, Ticket};
use crate::plan::Choice;
use crate::respond;
use crate::stages::relay::Broken;
use crate::stages::relay::resume::{Tape, Walk};
use crate::stages::relay::scan::Scan;
use crate::stages::relay::translator::Translator;
use crate::stages::send::{Begun, Onward, Watch, excerpt, verdict};
use crate::stages::translate::Reading;
use crate::trip::Trip;
use crate::upstream::Call;

/// Pieces that arrive together are sent together, up to about this size.
const GATHERED_BYTES: usize = 16 * 1024;

/// The call that a stream comes from.
pub(super) struct Relayed {
    pub choice: Choice,
    pub track: Track,
    pub ticket: Option<Ticket>,
}

/// What a call has said so far, as far as the record is concerned.
#[derive(Default)]
pub(super) struct Heard {
    /// Events that carried a piece of the answer.
    pub pieces: u64,
    /// From the provider.
    pub bytes: u64,
    pub usage: Option<Usage>,
    pub dropped: Option<String>,
}

pub(crate) struct Stream {
    /// Taken, and so recorded, when the stream is over. While another target is looked for, `walk` has it.
    pub(super) trip: Option<Trip>,
    /// Shared with the worker, which ends calls that are overdue: while a client does not read, nobody polls this body.
    pub(super) upstream: Call,
    /// Until it is settled.
    pub(super) call: Option<Relayed>,
    pub(super) heard: Heard,
    pub(super) watch: Watch,
    status: u16,
    pub(super) reader: Reader,
    /// Who else could go on.
    pub(super) journey: Option<Box<Journey>>,
    /// What the target has said, while somebody could go on from it.
    pub(super) tape: Option<Tape>,
    /// Under way to a target that goes on.
    pub(super) walk: Option<Walk>,
    /// A translated stream has said its last word.
    told: bool,
    pub(super) ready: VecDeque<Bytes>,
    /// The last words have been said; what is in `ready` still has to go.
    pub(super) ended: Option<Ending>,
}

pub(super) enum Ending {
    Complete,
    Failed(Error),
}

pub(super) enum Reader {
    /// No events: all passes unread.
    Bytes,
    /// In the client's own dialect.
    Scan(Scan),
    Translator(Box<Translator>),
}

/// What the stream has said of its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Open,
    Done,
    /// The provider reported an error in it.
    Failed,
}

impl Stream {
    pub(super) fn begin(
        trip: Trip,
        call: Relayed,
        mut begun: Begun,
        onward: Onward,
        status: u16,
        journey: Option<Box<Journey>>,
    ) -> Stream {
        let reader = match onward.reading {
            Reading::Same { dialect, hide_usage } if begun.events => {
                Reader::Scan(Scan::new(dialect, hide_usage, journey.is_some(), onward.keep))
            }
            Reading::Conversation(translation) => {
                Reader::Translator(Box::new(Translator::new(trip.dialect, *translation, onward.keep)))
            }
            // The last two are never streamed; `send` has read them whole.
            Reading::Same { .. } | Reading::Count(_) | Reading::Embeddings(_) => Reader::Bytes,
        };
        let first = std::mem::take(&mut begun.first);
        let mut stream = Stream {
            watch: Watch::start(begun.timeouts, begun.total),
            reader,
            told: false,
            call: Some(call),
            heard: Heard::default(),
            tape: journey.as_ref().map(|_| Tape::default()),
            journey,
            walk: None,
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

    pub(super) fn take(&mut self, data: Bytes) {
        self.heard.bytes += data.len() as u64;
        match &mut self.reader {
            Reader::Bytes => push(&mut self.ready, data),
            Reader::Scan(scan) => {
                let before = self.ready.len();
                scan.read(data, &mut self.heard, &mut self.ready);
                if let Some(tape) = &mut self.tape {
                    self.ready.range(before..).for_each(|piece| tape.write(piece));
                }
                if scan.off {
                    self.reader = Reader::Bytes;
                    self.tape = None;
                } else if scan.waits() {
                    self.failed_inside();
                }
            }
            // What a provider sends behind its last word is nobody's.
            Reader::Translator(_) if self.told => {}
            Reader::Translator(translator) => {
                if let Some(tape) = &mut self.tape {
                    tape.write(&data);
                }
                match translator.read(&data, &mut self.heard, &mut self.ready) {
                    Verdict::Open => {}
                    // The end of the body is still to be read, so that the connection can serve another call.
                    Verdict::Done => self.told = true,
                    Verdict::Failed => self.failed_inside(),
                }
            }
        }
    }

    /// The provider has reported a failure in its stream. If nobody goes on, the client gets to see its words.
    fn failed_inside(&mut self) {
        let error = self.reported();
        if self.resume(&error) {
            return;
        }
        match &mut self.reader {
            Reader::Bytes => {}
            // The end of the body is still to be read: the provider may have more to say of it.
            Reader::Scan(scan) => scan.release(&mut self.heard, &mut self.ready),
            Reader::Translator(translator) => {
                translator.fail(&error, &mut self.ready);
                self.ended = Some(Ending::Failed(error));
                self.upstream.borrow_mut().take();
            }
        }
    }

    /// Ends with an error event where the client reads events and nobody goes on; otherwise the connection breaks off,
    /// which is the only sign left.
    pub(super) fn fail(&mut self, mut error: Error) {
        // What comes behind the last word, be it one of failure, changes nothing.
        let last_word = match &self.reader {
            Reader::Scan(scan) => scan.verdict,
            Reader::Translator(_) if self.told => Verdict::Done,
            Reader::Bytes | Reader::Translator(_) => Verdict::Open,
        };
        if last_word != Verdict::Open {
            self.ended = Some(match last_word {
                Verdict::Failed => Ending::Failed(self.reported()),
                Verdict::Open | Verdict::Done => Ending::Complete,
            });
            self.upstream.borrow_mut().take();
            return;
        }
        self.name(&mut error);
        if self.resume(&error) {
            return;
        }
        let Some(trip) = &self.trip else { return };
        match &mut self.reader {
            Reader::Bytes => {}
            Reader::Scan(scan) => {
                scan.clear();
                self.ready.push_back(respond::event(&error, trip, scan.seam()));
            }
            Reader::Translator(translator) => translator.fail(&error, &mut self.ready),
        }
        self.ended = Some(Ending::Failed(error));
        self.upstream.borrow_mut().take();
    }

    fn complete(&mut self) {
        let Some(begun) = self.upstream.borrow_mut().take() else { return };
        let verdict = match &mut self.reader {
            Reader::Bytes => Verdict::Done,
            Reader::Scan(scan) => {
                scan.finish(begun.delimited, &mut self.heard, &mut self.ready);
                scan.verdict
            }
            Reader::Translator(_) if self.told => Verdict::Done,
            Reader::Translator(translator) => translator.finish(&mut self.heard, &mut self.ready),
        };
        match verdict {
            Verdict::Open => {
                if let Some(tape) = &mut self.tape {
                    tape.end_event();
                }
                self.fail(Error::new(Code::UpstreamCut, "the stream ended without its last event."));
                return;
            }
            Verdict::Done => self.ended = Some(Ending::Complete),
            Verdict::Failed => match &self.reader {
                // Its words have passed.
                Reader::Bytes | Reader::Scan(_) => self.ended = Some(Ending::Failed(self.reported())),
                Reader::Translator(_) => return self.failed_inside(),
            },
        }
        begun.source.finish();
    }

    /// What the provider has said of its failing.
    fn reported(&self) -> Error {
        let (cause, words) = match &self.reader {
            Reader::Bytes => (Cause::Error, ""),
            Reader::Scan(scan) => scan.failure(),
            Reader::Translator(translator) => translator.failure(),
        };
        let message = format!("the provider reported an error in its stream: {}", excerpt(words));
        let mut error = Error::new(Code::UpstreamFailedMidStream, message).with_cause(cause);
        self.name(&mut error);
        error
    }

    /// Puts the name of the target before the message.
    fn name(&self, error: &mut Error) {
        if let Some(call) = &self.call {
            error.message = call.choice.member.target.tell(&error.message).into();
        }
    }

    /// Whether the body ends well for HTTP, and the record of it.
    fn close(&mut self) -> Result<(), Broken> {
        if self.trip.is_none() {
            return Ok(());
        }
        let error = match self.ended.take() {
            Some(Ending::Failed(error)) => Some(error),
            _ => None,
        };
        self.hang_up(error.as_ref());
        let Some(mut trip) = self.trip.take() else { return Ok(()) };
        if let Some(lost) = self.heard.dropped.take() {
            trip.answer.drop_too(&lost);
        }
        trip.end(self.status, error.as_ref().map(|error| error.code));
        if error.is_some() && matches!(self.reader, Reader::Bytes) { Err(Broken) } else { Ok(()) }
    }

    /// Settles the call that the stream comes from.
    pub(super) fn hang_up(&mut self, error: Option<&Error>) {
        let Some(Relayed { track, ticket, .. }) = self.call.take() else { return };
        let Heard { pieces, bytes, usage, .. } = &mut self.heard;
        let (pieces, bytes, usage) = (std::mem::take(pieces), std::mem::take(bytes), usage.take());
        let now = track.now();
        if let Some(trip) = &mut self.trip {
            trip.answer.chunks += pieces;
        }
        track.note(|attempt| {
            attempt.ended = Some(now);
            attempt.code = error.map(|error| error.code);
            attempt.cause = error.and_then(Error::failover);
            attempt.pieces = pieces;
            attempt.response_bytes += bytes;
            attempt.usage = usage;
            // What is counted at the beginning is not all that came before the break.
            if let (Some(usage), Some(_)) = (&mut attempt.usage, error)
                && usage.output < pieces
            {
                usage.output = pieces;
                attempt.estimated = true;
            }
        });
        if let Some(ticket) = ticket {
            let now = std::time::Instant::now();
            ticket.finish(error.map_or(health::Verdict::Success, |error| verdict(error, now)), now);
        }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        // Whoever asks again after the end hears of the end again.
        if self.trip.is_none() && self.walk.is_none() {
            return Poll::Ready(None);
        }
        // One look at the clock for all that has arrived.
        let mut heard = false;
        while self.ended.is_none() && self.gathered() < GATHERED_BYTES {
            if let Some(walk) = &mut self.walk {
                // First the client takes what there is: a walk that was begun must not wait for it.
                if !self.ready.is_empty() {
                    break;
                }
                let walked = ready!(walk.as_mut().poll(context));
                self.walk = None;
                self.go_on(walked);
                continue;
            }
            let polled = if let Some(begun) = self.upstream.borrow_mut().as_mut() {
                begun.source.poll_data(context)
            } else {
                // A client that did not read let the time pass, which says nothing of the target.
                if let Some(call) = &mut self.call {
                    call.ticket = None;
                }
                Poll::Ready(Some(Err(self.watch.expired())))
            };
            if !matches!(polled, Poll::Ready(Some(Ok(_)))) && std::mem::take(&mut heard) {
                self.watch.touch();
            }
            match polled {
                Poll::Ready(Some(Ok(data))) => {
                    heard = true;
                    self.take(data);
                }
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
        if heard {
            self.watch.touch();
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

/// A client that leaves drops the stream: what it has had is paid for.
impl Drop for Stream {
    fn drop(&mut self) {
        if self.trip.is_some() {
            self.hang_up(Some(&Error::new(Code::ClientDisconnected, "")));
        }
    }
}

pub(super) fn push(ready: &mut VecDeque<Bytes>, bytes: Bytes) {
    if !bytes.is_empty() {
        ready.push_back(bytes);
    }
}
