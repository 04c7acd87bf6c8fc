//! The record of one request while it is under way: ids, clock, notes. Whatever ends the request (an answer, an error, a
//! client that leaves, a panic) drops the trip, and the drop settles and records it, once.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::Method;
use meseta_wire::dialect::Dialect;

use crate::admission::Pass;
use crate::attempts::Attempts;
use crate::deadline::{self, Hints, Passed, Progress};
use crate::endpoint::Endpoint;
use crate::error::{Code, Error};
use crate::log::RequestId;
use crate::serve::{Door, Worker};
use crate::sessions::Turn;
use crate::snapshot::{Listener, Snapshot, Timeouts};
use crate::stages::{STAGES, Stage, record, settle};

pub(crate) struct Trip {
    pub worker: Rc<Worker>,
    pub snapshot: Arc<Snapshot>,
    pub door: Arc<Door>,
    pub id: RequestId,
    pub started: Instant,
    pub method: Method,
    pub path: String,
    pub ask: AskNotes,
    pub attempts: Attempts,
    pub answer: AnswerNotes,
    /// What the client speaks: its errors are written in it.
    pub dialect: Dialect,
    pub outcome: Option<Outcome>,
    /// For how long the client waits.
    pub hints: Hints,
    /// When the client last heard of us.
    pub told: Option<Instant>,
    /// A target may have carried the request out though no answer came, and twice is not the same as once.
    pub acted: bool,
    /// The request's place in the plane.
    pub pass: Option<Pass>,
    /// The session that the request belongs to, if there is one to be kept.
    pub turn: Option<Box<Turn>>,
    /// Health checks leave no row.
    pub recorded: bool,
    stages: [u32; STAGES],
}

/// What the client asked.
#[derive(Default)]
pub(crate) struct AskNotes {
    pub model: Option<String>,
    pub stream: bool,
    pub bytes: u64,
    pub session: Option<String>,
    pub run: Option<String>,
    pub tags: Option<String>,
    pub trace: Option<String>,
    pub tenant: Option<Arc<str>>,
    /// The pool, if the client named one.
    pub pool: Option<Arc<str>>,
    /// Of the whole request, about.
    pub tokens: u64,
    /// Microseconds before the plane let it in.
    pub waited: u32,
}

/// What went back to the client.
#[derive(Default)]
pub(crate) struct AnswerNotes {
    pub first_byte: Option<u32>,
    pub bytes: u64,
    /// Stream events that carried a piece of the answer.
    pub chunks: u64,
    /// How often a broken stream was taken up by another target.
    pub resumed: u32,
    /// The target's dialect, where it is not the client's.
    pub translated: Option<Dialect>,
    /// What a translation left out or changed.
    pub dropped: Option<String>,
}

impl AnswerNotes {
    /// Notes one more thing that got lost.
    pub fn drop_too(&mut self, lost: &str) {
        let dropped = self.dropped.get_or_insert_default();
        let gap = if dropped.is_empty() { "" } else { ", " };
        dropped.push_str(gap);
        dropped.push_str(lost);
    }
}

/// How it ended.
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    pub status: u16,
    pub code: Option<Code>,
}

impl Trip {
    pub fn begin(
        worker: Rc<Worker>,
        snapshot: Arc<Snapshot>,
        door: Arc<Door>,
        method: Method,
        path: &str,
    ) -> Trip {
        let counters = &worker.shared.counters;
        counters.requests.fetch_add(1, Ordering::Relaxed);
        counters.in_flight.fetch_add(1, Ordering::Relaxed);
        Trip {
            id: worker.ids.next(),
            worker,
            snapshot,
            door,
            started: Instant::now(),
            method,
            // Long enough for any endpoint of ours, short enough for a log under attack.
            path: path.chars().take(128).collect(),
            ask: AskNotes::default(),
            attempts: Attempts::default(),
            answer: AnswerNotes::default(),
            dialect: Endpoint::dialect(path),
            outcome: None,
            hints: Hints::default(),
            told: None,
            acted: false,
            pass: None,
            turn: None,
            recorded: true,
            stages: [u32::MAX; STAGES],
        }
    }

    /// Microseconds since the request began.
    pub fn now(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_micros()).unwrap_or(u32::MAX - 1)
    }

    pub fn patience(&mut self, hints: Hints) {
        self.hints = hints;
    }

    /// The time limits of a call that begins now.
    pub fn shorten(&self, timeouts: Timeouts) -> Result<Timeouts, Passed> {
        deadline::shorten(timeouts, &self.hints, self.progress())
    }

    /// How much of the client's time is left; `None` where it set no limit.
    pub fn left(&self) -> Option<std::time::Duration> {
        self.hints.left(self.progress())
    }

    fn progress(&self) -> Progress {
        let since_request = self.started.elapsed();
        let since_told = self.told.map_or(since_request, |told| told.elapsed());
        Progress { since_request, since_told, whole: !self.ask.stream }
    }

    /// Notes that a stage begins. A stage that a retry enters again keeps its first time.
    pub fn enter(&mut self, stage: Stage) {
        let now = self.now();
        let slot = &mut self.stages[stage as usize];
        if *slot == u32::MAX {
            *slot = now;
        }
    }

    /// The stages that were passed, in order, with the microsecond at which each began.
    pub fn stages(&self) -> impl Iterator<Item = (Stage, u32)> {
        Stage::ALL.into_iter().zip(self.stages).filter(|(_, began)| *began != u32::MAX)
    }

    /// The settings of the listener that the request came in by. A reload may just have taken it away.
    pub fn listener<'a>(&self, snapshot: &'a Snapshot) -> Result<&'a Listener, Error> {
        self.door.listener(snapshot).ok_or_else(|| {
            Error::new(
                Code::PlaneListenerClosed,
                "This listener was closed by a change of configuration. Connect again.",
            )
        })
    }

    /// Sets how it ended, unless that is settled already.
    pub fn end(&mut self, status: u16, code: Option<Code>) {
        self.outcome.get_or_insert(Outcome { status, code });
    }
}

impl Drop for Trip {
    fn drop(&mut self) {
        if self.outcome.is_none() {
            // A panic unwinds through here too, and then the fault is ours, not the client's.
            let code = if std::thread::panicking() { Code::PlaneInternal } else { Code::ClientDisconnected };
            self.end(code.status(), Some(code));
        }
        settle::settle(self);
        record::record(self);
    }
}
