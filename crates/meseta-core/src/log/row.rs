//! What a row holds, as the worker hands it over: references and numbers, turned into text by the writer.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use meseta_wire::dialect::Dialect;

use crate::error::Code;
use crate::log::Attempt;
use crate::snapshot::Target;
use crate::stages::Stage;

/// A request's name and the log's primary key in one: milliseconds since 1970 (42 bits), worker (10), sequence (11).
/// Rows so arrive in the order of the key, and no second index is needed to find one by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub i64);

const WORKER_BITS: u32 = 10;
const SEQUENCE_BITS: u32 = 11;

impl RequestId {
    /// The smallest id of a millisecond since 1970.
    pub(super) fn first_of(millisecond: i64) -> RequestId {
        RequestId((millisecond & 0x3ff_ffff_ffff) << (WORKER_BITS + SEQUENCE_BITS))
    }

    /// `req_` and sixteen hex digits.
    pub fn text(self) -> String {
        self.behind("req_")
    }

    /// The digits alone, for dialects that have prefixes of their own.
    pub fn hex(self) -> String {
        self.behind("")
    }

    /// Every answer carries it, so it is written without the machinery of `format!`.
    fn behind(self, prefix: &str) -> String {
        let digit = |place: u32| char::from_digit((self.0.cast_unsigned() >> (4 * place) & 0xf) as u32, 16);
        let mut text = String::with_capacity(prefix.len() + 16);
        text.push_str(prefix);
        text.extend((0..16).rev().filter_map(digit));
        text
    }
}

/// Makes ids on one worker, without asking the others.
pub(crate) struct Ids {
    worker: i64,
    last: Cell<i64>,
    sequence: Cell<i64>,
}

impl Ids {
    pub fn new(worker: usize) -> Ids {
        Ids {
            worker: i64::try_from(worker % (1 << WORKER_BITS)).unwrap_or(0),
            last: Cell::new(0),
            sequence: Cell::new(0),
        }
    }

    pub fn next(&self) -> RequestId {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_millis()).unwrap_or(0);
        // A clock that is set back must not repeat an id: time stands still here until it has caught up.
        let mut time = now.max(self.last.get());
        let mut sequence = if time == self.last.get() { self.sequence.get() + 1 } else { 0 };
        if sequence >= 1 << SEQUENCE_BITS {
            time += 1;
            sequence = 0;
        }
        self.last.set(time);
        self.sequence.set(sequence);
        RequestId(RequestId::first_of(time).0 | self.worker << SEQUENCE_BITS | sequence)
    }
}

pub(crate) struct Row {
    pub request: RequestRow,
    pub attempts: Vec<Attempt>,
    pub decisions: Vec<Decision>,
}

/// How agents or a model were chosen for a request.
pub(crate) struct Decision {
    /// Who chose: rules, the embedded chooser, a model, …
    pub step: &'static str,
    pub chosen: Vec<Arc<str>>,
    /// The rule's name, or how sure the chooser was.
    pub why: String,
    /// Everybody who was weighed, with a probability.
    pub candidates: Vec<(Arc<str>, f32)>,
    /// The steps before that handed on, and why.
    pub passed: Vec<(&'static str, &'static str)>,
    pub micros: u32,
}

pub(crate) struct RequestRow {
    pub id: RequestId,
    pub ended_us: i64,
    pub duration_us: u32,
    pub listener: Arc<str>,
    pub method: Method,
    pub path: String,
    pub model_requested: Option<String>,
    pub model: Option<Arc<str>>,
    pub target: Option<Arc<Target>>,
    pub stream: bool,
    pub status: u16,
    pub code: Option<Code>,
    pub first_byte_us: Option<u32>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub chunks: u64,
    pub translated: Option<Dialect>,
    pub dropped: Option<String>,
    pub session: Option<String>,
    pub run: Option<String>,
    pub tags: Option<String>,
    pub trace: Option<String>,
    pub tenant: Option<Arc<str>>,
    /// The pool, if the client named one.
    pub pool: Option<Arc<str>>,
    /// Microseconds before the plane let the request in.
    pub waited_us: u32,
    /// How often a broken stream was taken up by another target.
    pub resumed: u32,
    /// The request that this one was made for.
    pub parent: Option<RequestId>,
    /// The request with which the run began.
    pub root: Option<RequestId>,
    /// The agent that was asked.
    pub agent: Option<Arc<str>>,
    /// The agent that asked.
    pub caller: Option<Arc<str>>,
    /// The preference that the conversation matched.
    pub route: Option<Arc<str>>,
    /// The agents that were asked, in their order.
    pub agents: Vec<Arc<str>>,
    pub stages: Vec<(Stage, u32)>,
    pub snapshot: Arc<str>,
}

impl RequestRow {
    /// Microseconds since 1970 at which the request began.
    pub fn started_us(&self) -> i64 {
        self.ended_us - i64::from(self.duration_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_and_never_repeat() {
        let ids = Ids::new(500);
        let made: Vec<i64> = (0..100_000).map(|_| ids.next().0).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(made.iter().all(|id| (id >> SEQUENCE_BITS) & 0x3ff == 500));
        assert_eq!(RequestId(255).text(), "req_00000000000000ff");
    }
}
