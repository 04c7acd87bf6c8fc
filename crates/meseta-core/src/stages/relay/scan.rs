//! Events that pass as they are, read on their way through.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use meseta_wire::dialect::Dialect;
use meseta_wire::scan::{self, Scanner, Seen};
use meseta_wire::sse;

use crate::continuation::Keep;
use crate::stages::relay::{Heard, Verdict, push};

/// An event that is longer than this passes unread: no stream may make us hold more.
const HELD_BYTES: usize = 1024 * 1024;

/// Reads events on their way through.
pub(super) struct Scan {
    /// Off for what is no event stream, and for a stream whose events are longer than we hold.
    pub on: bool,
    hide_usage: bool,
    /// The piece of an event whose end has not come yet. It is not sent: were it the usage event that the client did not
    /// ask for, or the half event before a cut, it could not be taken back.
    held: BytesMut,
    /// How far `held` has been looked at.
    cursor: sse::Cursor,
    pub verdict: Verdict,
    scanner: Scanner,
    keep: Option<Box<Keep>>,
}

impl Scan {
    pub fn new(dialect: Dialect, on: bool, hide_usage: bool, keep: Option<Box<Keep>>) -> Scan {
        Scan {
            on,
            hide_usage,
            held: BytesMut::new(),
            cursor: sse::Cursor::default(),
            verdict: Verdict::Open,
            scanner: Scanner::new(dialect),
            keep,
        }
    }

    /// Forgets half an event: the stream is over.
    pub fn clear(&mut self) {
        self.held.clear();
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
        self.cursor = sse::Cursor::default();
        while let Some(length) = self.cursor.event_end(&bytes[at..]) {
            if self.passes(&bytes[at..at + length], notes) {
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
    pub fn finish(&mut self, notes: &mut Heard, ready: &mut VecDeque<Bytes>) {
        let last = self.held.split().freeze();
        if self.on && self.passes(&last, notes) {
            push(ready, last);
        }
    }

    /// Notes what an event says; false for the one that the client did not ask for.
    fn passes(&mut self, event: &[u8], notes: &mut Heard) -> bool {
        let data = sse::event_data(event);
        match self.scanner.event(&data) {
            Seen::Piece => notes.pieces += 1,
            Seen::PieceWithUsage(usage) => {
                notes.pieces += 1;
                notes.usage = Some(usage);
            }
            Seen::UsageOnly(usage) => {
                notes.usage = Some(usage);
                return !self.hide_usage;
            }
            Seen::Failure => self.verdict = Verdict::Failed,
            Seen::Done(usage) if self.verdict == Verdict::Open => {
                notes.usage = usage.or(notes.usage);
                self.verdict = Verdict::Done;
                if let Some((keep, response)) = self.keep.take().zip(scan::completed_response(&data)) {
                    keep.put(response);
                }
            }
            Seen::Done(_) | Seen::Nothing => {}
        }
        true
    }
}
