//! A call that has begun: it holds a slot, and its end says how the target is doing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Settings;
use super::breaker::Pass;
use super::queue::Granted;
use super::quota::Mark;
use super::target::TargetHealth;
use meseta_wire::failure::Cause;
use meseta_wire::limits::ProviderLimits;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Success,
    /// The target's fault.
    Failed(Cause),
    /// Not accepted for the key that it came with: who it is, or what it may still spend.
    KeyFailed(Cause),
    /// The key must wait. Without a time: a second, doubling with each time in a row.
    Limited {
        until: Option<Instant>,
    },
    /// The client's fault, or cancelled: it says nothing of the target.
    Neutral,
}

/// Dropped without a verdict, a call is a cancelled one.
#[derive(Debug)]
pub(crate) struct Ticket {
    target: Arc<TargetHealth>,
    settings: Arc<Settings>,
    stub: Stub,
    first_token_seen: AtomicBool,
    /// A time to the first token that `end` has to note.
    first: Option<Duration>,
    finished: bool,
}

/// What a call must bring back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stub {
    pub target: Pass,
    pub place: usize,
    pub key: Option<KeyStub>,
    pub began: Instant,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct KeyStub {
    pub identity: u64,
    pub pass: Pass,
    pub mark: Mark,
}

impl Ticket {
    pub(super) fn new(target: Arc<TargetHealth>, settings: Arc<Settings>, stub: Stub) -> Ticket {
        Ticket {
            target,
            settings,
            stub,
            first_token_seen: AtomicBool::new(false),
            first: None,
            finished: false,
        }
    }

    /// The number of the key to call with, in the order of the configuration that the call began with.
    pub fn key(&self) -> usize {
        self.stub.place
    }

    /// The first token has come so long after the call was sent. Only the first time counts.
    pub fn first_token(&self, after: Duration, now: Instant) {
        if !self.first_token_seen.swap(true, Ordering::Relaxed) {
            self.target.lock().observe(after, now);
        }
    }

    /// The answer came whole, so long after the call was sent: its first token and its end in one step.
    pub fn complete(mut self, after: Duration, now: Instant) {
        if !self.first_token_seen.swap(true, Ordering::Relaxed) {
            self.first = Some(after);
        }
        self.end(Verdict::Success, now);
    }

    /// What the answer's headers say of the provider's limits.
    pub fn limits(&self, limits: &ProviderLimits, now: Instant) {
        let mut state = self.target.lock();
        if let Some(stub) = &self.stub.key
            && let Some(key) = state.key_of(stub)
        {
            key.quota.report(limits, stub.mark, now);
        }
    }

    pub fn finish(mut self, verdict: Verdict, now: Instant) {
        // Waiting in vain is a time to the first token too, and at least so long.
        if verdict == Verdict::Failed(Cause::Timeout) {
            self.first_token(now.saturating_duration_since(self.stub.began), now);
        }
        self.end(verdict, now);
    }

    fn end(&mut self, verdict: Verdict, now: Instant) {
        self.finished = true;
        let (stub, settings) = (&self.stub, &*self.settings);
        let mut state = self.target.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        if let Some(after) = self.first {
            state.observe(after, now);
        }
        let random = state.random.fraction();
        match verdict {
            Verdict::Success => state.breaker.succeed(stub.target, settings, now),
            Verdict::Failed(cause) => {
                if state.breaker.fail(stub.target, cause, settings, random, now) {
                    state.untold = state.breaker.until(now);
                }
            }
            Verdict::KeyFailed(_) | Verdict::Limited { .. } | Verdict::Neutral => {
                state.breaker.leave(stub.target);
            }
        }
        if let Some(stub) = &stub.key
            && let Some(key) = state.key_of(stub)
        {
            key.in_flight = key.in_flight.saturating_sub(1);
            match verdict {
                Verdict::Success => {
                    key.breaker.succeed(stub.pass, settings, now);
                    key.quota.succeed(stub.mark);
                }
                Verdict::KeyFailed(cause) => {
                    key.breaker.fail(stub.pass, cause, settings, random, now);
                }
                Verdict::Limited { until } => {
                    key.breaker.leave(stub.pass);
                    key.quota.refuse(until, stub.mark, now);
                }
                Verdict::Failed(_) | Verdict::Neutral => key.breaker.leave(stub.pass),
            }
        }
        let granted = self.target.serve(&mut state, now);
        drop(state);
        Granted::deliver(granted);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.finished {
            // A drop is handed no time. The runtime's clock is the one that tests can stop.
            self.end(Verdict::Neutral, tokio::time::Instant::now().into_std());
        }
    }
}
