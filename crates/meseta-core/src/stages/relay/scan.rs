//! Events that pass as they are, read on their way through.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use meseta_wire::dialect::Dialect;
use meseta_wire::failure::{self, Cause};
use meseta_wire::scan::{self, Scanner, Seen};
use meseta_wire::sse;

use crate::continuation::Keep;
use crate::stages::relay::stream::{Heard, Verdict, push};

/// An event that is longer than this passes unread: no stream may make us hold more.
const HELD_BYTES: usize = 1024 * 1024;

/// Reads events on their way through.
pub(super) struct Scan {
    pub dialect: Dialect,
    /// An event was longer than we hold: from there on nothing is read.
    pub off: bool,
    hide_usage: bool,
    failures: Failures,
    /// The provider has failed: why, and in what words.
    failure: Option<Box<(Cause, String)>>,
    /// The piece of an event whose end has not come yet. It is not sent: were it the usage event that the client did not
    /// ask for, or the half event before a cut, it could not be taken back.
    held: BytesMut,
    /// How far `held` has been looked at.
    cursor: sse::Cursor,
    pub verdict: Verdict,
    scanner: Scanner,
    pub keep: Option<Box<Keep>>,
    seam: Option<Box<Seam>>,
}

/// What becomes of a failure that the provider reports.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failures {
    Pass,
    /// Another target may go on instead, so it waits, with all that follows it.
    Wait,
    /// One does.
    Waiting,
}

/// What an event of ours must fit behind, in the dialect that numbers its events.
#[derive(Default)]
pub(crate) struct Seam {
    /// The event that names the answer.
    first: Bytes,
    last: Bytes,
}

impl Seam {
    /// The data of the two; `None` while nothing has passed.
    pub fn data(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let data = |event: &Bytes| sse::event_data(event).into_owned();
        (!self.first.is_empty()).then(|| (data(&self.first), data(&self.last)))
    }
}

/// What becomes of an event.
enum Way {
    Passes,
    /// It is the one that the client did not ask for.
    Hidden,
    Waits,
}

impl Scan {
    pub fn new(dialect: Dialect, hide_usage: bool, may_resume: bool, keep: Option<Box<Keep>>) -> Scan {
        Scan {
            dialect,
            off: false,
            hide_usage,
            failures: if may_resume { Failures::Wait } else { Failures::Pass },
            failure: None,
            held: BytesMut::new(),
            cursor: sse::Cursor::default(),
            verdict: Verdict::Open,
            scanner: Scanner::new(dialect),
            keep,
            seam: (dialect == Dialect::OpenaiResponses).then(Box::default),
        }
    }

    /// Forgets half an event: the stream is over.
    pub fn clear(&mut self) {
        self.held.clear();
    }

    /// Whether a failure waits for somebody to say what becomes of the stream.
    pub fn waits(&self) -> bool {
        self.failures == Failures::Waiting
    }

    /// Why the provider failed, and in what words.
    pub fn failure(&self) -> (Cause, &str) {
        self.failure.as_deref().map_or((Cause::Error, ""), |(cause, words)| (*cause, words))
    }

    pub fn seam(&self) -> Option<&Seam> {
        self.seam.as_deref()
    }

    pub fn read(&mut self, data: Bytes, notes: &mut Heard, ready: &mut VecDeque<Bytes>) {
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
        let mut last = None;
        self.cursor = sse::Cursor::default();
        while let Some(length) = self.cursor.event_end(&bytes[at..]) {
            match self.way(&bytes[at..at + length], notes) {
                Way::Passes => {
                    last = Some(at..at + length);
                    self.name(&bytes[at..at + length]);
                    at += length;
                }
                Way::Hidden => {
                    push(ready, bytes.slice(sent..at));
                    at += length;
                    sent = at;
                }
                Way::Waits => break,
            }
            self.cursor = sse::Cursor::default();
        }
        self.cursor = sse::Cursor::default();
        if !self.waits() && bytes.len() - at > HELD_BYTES {
            self.off = true;
            at = bytes.len();
        }
        if let (Some(seam), Some(last)) = (&mut self.seam, last) {
            seam.last = bytes.slice(last);
        }
        push(ready, bytes.slice(sent..at));
        self.held.extend_from_slice(&bytes[at..]);
    }

    /// Keeps the event that names the answer, without the packet that it came in.
    fn name(&mut self, event: &[u8]) {
        if let Some(seam) = self.seam.as_mut().filter(|seam| seam.first.is_empty()) {
            seam.first = Bytes::copy_from_slice(event);
        }
    }

    /// Lets the failure pass after all, and all that follows it.
    pub fn release(&mut self, notes: &mut Heard, ready: &mut VecDeque<Bytes>) {
        self.failures = Failures::Pass;
        self.read(Bytes::new(), notes, ready);
    }

    /// The stream is over: what is held has no blank line behind it, but may be the last event all the same. Without a
    /// sign of the end it is more likely half of one.
    pub fn finish(&mut self, delimited: bool, notes: &mut Heard, ready: &mut VecDeque<Bytes>) {
        let last = self.held.split().freeze();
        self.failures = Failures::Pass;
        let before = self.verdict;
        let passes = matches!(self.way(&last, notes), Way::Passes);
        // Some servers forget the last word. An end without a reason is a cut, however well the body ends: many agents
        // that fail do just stop.
        if self.verdict == Verdict::Open && delimited && self.scanner.is_told() {
            self.verdict = Verdict::Done;
        }
        if passes && (self.verdict != before || delimited && self.verdict != Verdict::Open) {
            push(ready, last);
        }
    }

    /// Notes what an event says.
    fn way(&mut self, event: &[u8], notes: &mut Heard) -> Way {
        let data = sse::event_data(event);
        match self.scanner.event(&data) {
            Seen::Piece => notes.pieces += 1,
            Seen::PieceWithUsage(usage) => {
                notes.pieces += 1;
                notes.usage = Some(usage);
            }
            Seen::UsageOnly(usage) => {
                notes.usage = Some(usage);
                if self.hide_usage {
                    return Way::Hidden;
                }
            }
            Seen::Failure => {
                let cause = failure::classify_event(&data);
                self.failure = Some(Box::new((cause, String::from_utf8_lossy(&data).into_owned())));
                if self.failures != Failures::Pass {
                    self.failures = Failures::Waiting;
                    return Way::Waits;
                }
                self.verdict = Verdict::Failed;
            }
            Seen::Done(usage) if self.verdict == Verdict::Open => {
                notes.usage = usage.or(notes.usage);
                self.verdict = Verdict::Done;
                if let Some((keep, response)) = self.keep.take().zip(scan::completed_response(&data)) {
                    keep.put(response);
                }
            }
            Seen::Done(_) | Seen::Nothing => {}
        }
        Way::Passes
    }
}
