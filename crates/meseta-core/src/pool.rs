//! A pool of the snapshot, compiled: targets that stand in for each other under one name, and the rules of that.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use meseta_wire::failure::Cause;

use crate::document::{
    FallbackDocument, MemberDocument, PoolDocument, Resume, RetryDocument, Select, SnapshotError, refuse,
};
use crate::health::budget::SpendCap;
use crate::health::random::mix;
use crate::target::{Target, Timeouts};

pub struct Pool {
    pub policy: Arc<Policy>,
    /// Never empty, but for an agent's.
    pub members: Vec<Member>,
    /// How often the pool was asked: whose turn it is.
    turns: AtomicU64,
}

/// What holds for a request that came by this name.
pub struct Policy {
    pub name: Arc<str>,
    pub select: Select,
    pub retry: Retry,
    pub fallback: Vec<Fallback>,
    pub hedge: Option<Hedge>,
    pub resume: Resume,
    pub affinity: bool,
    timeouts: Option<Limits>,
}

#[derive(Clone)]
pub struct Member {
    pub target: Arc<Target>,
    /// The id that it is sent.
    pub model: Arc<str>,
    pub weight: f64,
    pub priority: u32,
    /// Tells the members of a pool apart, the same on every replica and after a reload.
    pub hash: u64,
}

pub struct Retry {
    /// How often somebody is asked, the first time included.
    pub attempts: u32,
    pub base: Duration,
    pub longest: Duration,
    pub on: Causes,
}

pub struct Fallback {
    pub name: Arc<str>,
    pub on: Causes,
}

pub struct Hedge {
    /// `None`: what the target's own past says.
    pub after: Option<Duration>,
    pub minimum: Duration,
    /// What its calls cost is reckoned in dollars: every member has a price for input.
    pub in_dollars: bool,
    percent: f64,
    /// What hedges of this pool have cost. It outlives a reload that does not change it.
    pub(crate) cap: Arc<SpendCap>,
}

struct Limits {
    first_token: Duration,
    total: Duration,
}

/// A set of causes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Causes(u16);

impl Causes {
    pub fn of(causes: &[Cause]) -> Causes {
        causes.iter().fold(Causes(0), |set, cause| Causes(set.0 | 1 << *cause as u16))
    }

    /// All that another target may help against.
    pub fn all() -> Causes {
        Causes::of(&Causes::KNOWN)
    }

    const KNOWN: [Cause; 5] =
        [Cause::RateLimit, Cause::ContextLength, Cause::ContentPolicy, Cause::Error, Cause::Timeout];

    pub fn holds(self, cause: Cause) -> bool {
        // A key that a provider refuses is one more way in which the target cannot answer.
        let cause = if cause == Cause::Credential { Cause::Error } else { cause };
        self.0 & 1 << cause as u16 != 0
    }

    fn read(place: &str, names: &[String]) -> Result<Causes, SnapshotError> {
        let mut causes = Vec::with_capacity(names.len());
        for name in names {
            match Causes::KNOWN.into_iter().find(|cause| cause.as_str() == name) {
                Some(cause) => causes.push(cause),
                None => return refuse(format!("{place}: there is no cause named {name}")),
            }
        }
        Ok(Causes::of(&causes))
    }
}

impl Member {
    /// Of a model that stands in no pool.
    pub fn plain(target: Arc<Target>, model: Arc<str>) -> Member {
        Member { target, model, weight: 1.0, priority: 0, hash: 0 }
    }

    fn compile(
        place: &str,
        document: MemberDocument,
        targets: &HashMap<String, Arc<Target>>,
    ) -> Result<Member, SnapshotError> {
        let MemberDocument { target, model, weight, priority } = document;
        let Some(found) = targets.get(&target) else {
            return refuse(format!("{place} names the target {target}, which is not there"));
        };
        let model = match (&found.model, model) {
            (Some(own), None) => own.clone(),
            (None, Some(model)) if !model.is_empty() => model.into(),
            _ => {
                return refuse(format!(
                    "{place}: the member {target} needs a model exactly if it is a wildcard"
                ));
            }
        };
        if !(weight.is_finite() && weight > 0.0) {
            return refuse(format!("{place}: the weight of {target} is not above 0"));
        }
        // Several members may have one wildcard target.
        let hash = model.bytes().fold(found.name_hash, |hash, byte| mix(hash ^ u64::from(byte)));
        Ok(Member { target: found.clone(), model, weight, priority, hash })
    }
}

impl Policy {
    /// One target, asked once.
    pub fn plain() -> Policy {
        Policy {
            name: "".into(),
            select: Select::Priority,
            retry: Retry {
                attempts: 1,
                base: Duration::from_millis(100),
                longest: Duration::from_secs(5),
                on: Causes::of(&[Cause::RateLimit]),
            },
            fallback: Vec::new(),
            hedge: None,
            resume: Resume::Off,
            affinity: false,
            timeouts: None,
        }
    }

    /// How much is left of the pool's time for a whole request, every try included; `None` where it sets none.
    pub fn left(&self, started: Instant) -> Option<Duration> {
        self.timeouts.as_ref().map(|limits| limits.total.saturating_sub(started.elapsed()))
    }

    /// The limits of a call to a target of the pool: the tighter ones of both.
    pub fn timeouts(&self, target: &Target) -> Timeouts {
        let mut timeouts = target.timeouts;
        if let Some(limits) = &self.timeouts {
            timeouts.first_token = timeouts.first_token.min(limits.first_token);
            timeouts.total = timeouts.total.min(limits.total);
        }
        timeouts
    }
}

impl Pool {
    pub(crate) fn compile(
        document: PoolDocument,
        targets: &HashMap<String, Arc<Target>>,
        before: Option<&Pool>,
    ) -> Result<Pool, SnapshotError> {
        if document.members.is_empty() {
            return refuse(format!("pool {} has no members", document.name));
        }
        Pool::compile_agent(document, targets, before)
    }

    /// Of an agent, which may have no instance at present.
    pub(crate) fn compile_agent(
        document: PoolDocument,
        targets: &HashMap<String, Arc<Target>>,
        before: Option<&Pool>,
    ) -> Result<Pool, SnapshotError> {
        let place = format!("pool {}", document.name);
        let members = document
            .members
            .into_iter()
            .map(|member| Member::compile(&place, member, targets))
            .collect::<Result<Vec<_>, _>>()?;
        let fallback = document
            .fallback
            .into_iter()
            .map(|FallbackDocument { name, on }| {
                Ok(Fallback { name: name.into(), on: Causes::read(&place, &on)? })
            })
            .collect::<Result<Vec<_>, SnapshotError>>()?;
        let RetryDocument { attempts, base_ms, max_ms, on } = document.retry;
        if attempts == 0 {
            return refuse(format!("{place}: retry.attempts is 0, so nobody would be asked"));
        }
        let hedge = match document.hedge {
            Some(hedge) if !(hedge.spend_percent.is_finite() && hedge.spend_percent >= 0.0) => {
                return refuse(format!("{place}: hedge.spend_percent is out of range"));
            }
            hedge => hedge.map(|hedge| Hedge {
                after: (hedge.after_ms > 0).then(|| Duration::from_millis(hedge.after_ms)),
                minimum: Duration::from_millis(hedge.minimum_ms),
                in_dollars: members.iter().all(|member| member.target.input_price().is_some()),
                percent: hedge.spend_percent,
                cap: before
                    .and_then(|pool| pool.policy.hedge.as_ref())
                    .filter(|old| old.percent.total_cmp(&hedge.spend_percent).is_eq())
                    .map_or_else(|| Arc::new(SpendCap::new(hedge.spend_percent)), |old| old.cap.clone()),
            }),
        };
        let policy = Policy {
            name: document.name.into(),
            select: document.select,
            retry: Retry {
                attempts,
                base: Duration::from_millis(base_ms),
                longest: Duration::from_millis(max_ms),
                on: Causes::read(&place, &on)?,
            },
            fallback,
            hedge,
            resume: document.resume,
            affinity: document.affinity,
            timeouts: document.timeouts.map(|limits| Limits {
                first_token: Duration::from_millis(limits.first_token_ms),
                total: Duration::from_millis(limits.total_ms),
            }),
        };
        Ok(Pool { policy: Arc::new(policy), members, turns: AtomicU64::new(before.map_or(0, Pool::turn)) })
    }

    pub fn turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }
}
