//! How every target is doing: what may be asked of it now, and who waits for it.
//!
//! One [`Health`] per plane. It goes by the targets' names and so survives a reload; requests that are in flight keep
//! what they began with alive. Nothing in it reads a clock or draws a number of its own, but for the end of a call that
//! was dropped; times are handed in.

pub(crate) mod backoff;
mod breaker;
pub(crate) mod budget;
mod latency;
mod queue;
mod quota;
pub(crate) mod random;
pub(crate) mod select;
mod status;
mod target;
#[cfg(test)]
mod tests;
mod ticket;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use queue::{Place, wait};
pub use status::{KeyStatus, ProbeStatus, State, TargetStatus};
pub(crate) use target::{Call, TargetHealth};
pub(crate) use ticket::{Ticket, Verdict};

/// What a target's configuration says of its health and its limits. Handed in with every call, as a reload may change it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// Failures in a row that eject; 0 for any number.
    pub failures: u32,
    /// The share of errors in the window that ejects, of at least `minimum_requests`; 0 for none.
    pub error_percent: f64,
    pub minimum_requests: u32,
    pub window: Duration,
    /// The first rest; the next ones double up to `rest_max`.
    pub rest: Duration,
    pub rest_max: Duration,
    /// How long the share grows after a rest.
    pub ramp: Duration,
    /// Calls at the same time; 0 for any number.
    pub concurrency: u32,
    /// Calls that may wait for a slot, and how long.
    pub queue: usize,
    pub queue_time: Duration,
    /// What tells one key from another, such as a hash, in the order of the configuration: a key that a reload puts in
    /// the place of a bad one must not rest for it. Never the keys themselves. An empty list is one key.
    pub keys: Vec<u64>,
    /// What tells the target's address from another one, such as a hash: a reload that sends calls elsewhere must not
    /// hold against the new place what the old one did.
    pub place: u64,
}

/// What can be asked of a target now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Standing {
    /// `share` is below 1 while it comes back from a rest.
    Ready {
        share: f32,
        in_flight: u32,
        latency: Option<Duration>,
    },
    /// It has rested, and one call may try it.
    Trial,
    Resting {
        until: Instant,
    },
    /// The provider has said that it would refuse.
    Limited {
        until: Instant,
    },
    /// Every slot is taken.
    Full,
    /// This request has used every key already.
    Spent,
}

#[derive(Debug, Default)]
pub(crate) struct Health {
    targets: Mutex<HashMap<String, Arc<TargetHealth>>>,
}

impl Health {
    pub fn new() -> Health {
        Health::default()
    }

    /// The target of that name, new if it was not known.
    pub fn of(&self, target: &str) -> Arc<TargetHealth> {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = targets.get(target) {
            return known.clone();
        }
        let new = Arc::new(TargetHealth::new(target));
        targets.insert(target.to_owned(), new.clone());
        new
    }

    /// Forgets the others. Requests that hold one of them end on it.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| keep(name));
    }

    /// Every target by name, for people.
    pub fn status(&self, now: Instant) -> Vec<TargetStatus> {
        self.all().iter().map(|target| target.status(now)).collect()
    }

    /// Closes breakers and forgets limits, of one target or of all. How many had something to forget.
    pub fn reset(&self, target: Option<&str>, now: Instant) -> usize {
        let chosen = |known: &&Arc<TargetHealth>| target.is_none_or(|name| known.name() == name);
        self.all().iter().filter(chosen).filter(|known| known.reset(now)).count()
    }

    /// Another replica has ejected a target for so long. Believed for no longer than our own longest rest.
    pub fn hint(&self, target: &str, rest: Duration, settings: &Settings, now: Instant) {
        let known = self.targets.lock().unwrap_or_else(PoisonError::into_inner).get(target).cloned();
        if let Some(known) = known {
            known.rest(rest.min(settings.rest_max), now);
        }
    }

    /// Our own ejections since the last time, for other replicas: which targets, and how long they rest from now on.
    pub fn drain_hints(&self, now: Instant) -> Vec<(String, Duration)> {
        self.all()
            .iter()
            .filter_map(|target| target.take_hint(now).map(|rest| (target.name().to_owned(), rest)))
            .collect()
    }

    fn all(&self) -> Vec<Arc<TargetHealth>> {
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = targets.values().cloned().collect();
        all.sort_by(|one, other| one.name().cmp(other.name()));
        all
    }
}
