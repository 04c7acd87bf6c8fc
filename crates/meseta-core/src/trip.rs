//! The record of one request while it is under way: ids, clock, notes. Whatever ends the request (an answer, an error, a
//! client that leaves, a panic) drops the trip, and the drop settles and records it, once.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::Method;
use meseta_wire::dialect::Dialect;
use meseta_wire::usage::Usage;

use crate::admission::Pass;
use crate::agents::Lineage;
use crate::agents::trails::Trail;
use crate::attempts::Attempts;
use crate::deadline::{self, Hints, Passed, Progress};
use crate::endpoint::Endpoint;
use crate::error::{Code, Error};
use crate::histories::Turn as KeptTurn;
use crate::log::Decision;
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
    /// Where the request comes from, when it is part of a run that has begun elsewhere.
    pub lineage: Option<Box<Lineage>>,
    /// Whom it tells how it ended: the request that it is made for.
    pub ended: Option<Ended>,
    /// That the agent is at work, when one is asked.
    pub trail: Option<Trail>,
    /// How agents or a model were chosen.
    pub decisions: Vec<Decision>,
    /// The turn of a conversation that is kept with its answer.
    pub kept: Option<Box<KeptTurn>>,
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
    /// The agent that is asked.
    pub agent: Option<Arc<str>>,
    /// The agent that asks.
    pub caller: Option<Arc<str>>,
    /// The preference that the conversation matched.
    pub route: Option<Arc<str>>,
    /// The agents that were asked, in their order; in the end those that the answer is of.
    pub agents: Vec<Arc<str>>,
    /// Those that were asked and have no part in the answer.
    pub missing: Vec<Arc<str>>,
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub status: u16,
    pub code: Option<Code>,
}

/// Where a request that was made for another one leaves how it ended, and the tokens that its answer says it took.
#[derive(Clone, Default)]
pub(crate) struct Ended(Rc<Left>);

#[derive(Default)]
struct Left {
    outcome: Cell<Option<Outcome>>,
    usage: Cell<Option<Usage>>,
}

impl Ended {
    pub fn with(outcome: Option<Outcome>) -> Ended {
        Ended(Rc::new(Left { outcome: Cell::new(outcome), ..Left::default() }))
    }

    pub fn get(&self) -> Option<Outcome> {
        self.0.outcome.get()
    }

    pub fn usage(&self) -> Option<Usage> {
        self.0.usage.get()
    }

    /// What its answer said; of several attempts the last one gave it.
    pub fn used(&self, usage: Usage) {
        self.0.usage.set(Some(usage));
    }
}

/// A path, long enough for any endpoint of ours, short enough for a log under attack.
fn shown(path: &str) -> &str {
    const MOST: usize = 128;
    if path.len() <= MOST {
        return path;
    }
    path.char_indices().nth(MOST).and_then(|(end, _)| path.get(..end)).unwrap_or(path)
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
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
            path: shown(path).to_owned(),
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
            lineage: None,
            ended: None,
            trail: None,
            decisions: Vec::new(),
            kept: None,
            recorded: true,
            stages: [u32::MAX; STAGES],
        }
    }

    /// A request that is made for this one. It is not counted as one of a client's.
    pub fn hop(&self) -> Trip {
        let ask = AskNotes {
            tokens: self.ask.tokens,
            session: self.ask.session.clone(),
            run: self.ask.run.clone(),
            tags: self.ask.tags.clone(),
            trace: self.ask.trace.clone(),
            tenant: self.ask.tenant.clone(),
            ..AskNotes::default()
        };
        let lineage = Lineage {
            root: self.root(),
            parent: self.id,
            agents: self.agents().to_vec(),
            deadline: None,
            tenant: self.ask.tenant.clone(),
            session: self.ask.session.clone(),
            run: self.ask.run.clone(),
        };
        let since = self.started.elapsed();
        Trip {
            id: self.worker.ids.next(),
            worker: self.worker.clone(),
            snapshot: self.worker.shared.snapshot.load_full(),
            door: self.door.clone(),
            started: Instant::now(),
            method: self.method.clone(),
            path: self.path.clone(),
            ask,
            attempts: Attempts::default(),
            answer: AnswerNotes::default(),
            dialect: self.dialect,
            outcome: None,
            hints: Hints { total: self.hints.total.map(|total| total.saturating_sub(since)), ..self.hints },
            told: None,
            acted: false,
            pass: None,
            turn: None,
            lineage: Some(Box::new(lineage)),
            ended: Some(Ended::default()),
            trail: None,
            decisions: Vec::new(),
            kept: None,
            recorded: true,
            stages: [u32::MAX; STAGES],
        }
    }

    /// The request with which the run began.
    pub fn root(&self) -> RequestId {
        self.lineage.as_ref().map_or(self.id, |lineage| lineage.root)
    }

    /// The agents on the way here.
    pub fn agents(&self) -> &[Arc<str>] {
        // An agent that does not say for whom it works is still on the way to whomever it asks.
        self.lineage.as_ref().map_or(self.ask.caller.as_slice(), |lineage| &lineage.agents)
    }

    /// Whether the plane itself makes it, for a request of a client.
    pub fn is_hop(&self) -> bool {
        self.ended.is_some()
    }

    /// Microseconds since the request began.
    pub fn now(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_micros()).unwrap_or(u32::MAX - 1)
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

    /// Notes that a stage begins, and says when. A stage that a retry enters again keeps its first time.
    pub fn enter(&mut self, stage: Stage) -> u32 {
        let now = self.now();
        let slot = &mut self.stages[stage as usize];
        if *slot == u32::MAX {
            *slot = now;
        }
        now
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
        let outcome = *self.outcome.get_or_insert(Outcome { status, code });
        if let Some(ended) = &self.ended {
            ended.0.outcome.set(Some(outcome));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_between_two_characters() {
        assert_eq!(shown("/v1/models"), "/v1/models");
        let accents = "é".repeat(128);
        assert_eq!(shown(&accents), accents);
        assert_eq!(shown(&format!("{accents}x")), accents);
        assert_eq!(shown(&"/".repeat(10_000)), "/".repeat(128));
    }
}
