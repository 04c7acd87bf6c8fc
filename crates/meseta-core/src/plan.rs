//! Who may answer a request: who was asked already, who is left, and whether asking on makes sense.
//!
//! One name at a time: the members of the pool that the client named, then those of its fallbacks. Nothing here waits or
//! sends; `pick` takes the next one from the plan and the loop of `handle.rs` tells the plan what became of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meseta_wire::failure::Cause;

use crate::dice::Dice;
use crate::error::{Code, Error};
use crate::health::backoff::backoff;
use crate::health::{Call, Place, Standing, Ticket, select};
use crate::log::Reason;
use crate::pool::{Causes, Member, Policy};
use crate::sessions;
use crate::snapshot::{Named, Snapshot};
use crate::stages::send::{Failed, Lost};

pub(crate) struct Plan {
    snapshot: Arc<Snapshot>,
    /// Of the name that is tried now.
    pub policy: Arc<Policy>,
    candidates: Vec<Candidate>,
    turn: u64,
    /// Calls made under this name.
    asked: u32,
    /// Names still ahead, and for what.
    ahead: VecDeque<(Arc<str>, Causes)>,
    /// Names that had their turn: chains of fallbacks may meet.
    behind: Vec<Arc<str>>,
    /// Why the next call is made.
    pub reason: Reason,
    /// Places the session among the members, for `session_hash`.
    pub session: Option<u64>,
    /// The member that the session stays with while it can answer.
    pub pinned: Option<usize>,
    /// Whose cache holds the session, whatever name it is found under.
    anchor: Option<sessions::Place>,
    /// Nobody who is well is left: those that rest are asked too.
    last_resort: bool,
    /// What the client is told if nobody answers.
    best: Option<Failed>,
}

struct Candidate {
    member: Member,
    /// Credentials that have had their try, as bits.
    spent: u64,
    /// It has failed in a way that no other key would change.
    failed: bool,
}

impl Candidate {
    fn new(member: Member) -> Candidate {
        Candidate { member, spent: 0, failed: false }
    }

    fn keys(&self) -> usize {
        self.member.target.credentials.len()
    }

    fn is_left(&self) -> bool {
        let all = if self.keys() >= 64 { u64::MAX } else { (1 << self.keys()) - 1 };
        !self.failed && self.spent & all != all
    }
}

/// The next call's target.
#[derive(Clone)]
pub(crate) struct Choice {
    pub member: Member,
    /// Which of the target's credentials.
    pub key: usize,
    /// Which candidate of the plan it is.
    number: usize,
}

impl Choice {
    /// Of a call that has no plan.
    pub fn alone(member: Member) -> Choice {
        Choice { member, key: 0, number: usize::MAX }
    }
}

/// Nobody of the present name can be asked at this moment.
pub(crate) struct Nobody {
    /// Candidates that are only full, to wait for.
    pub full: Vec<usize>,
    /// When the first of those that are over a rate limit may be asked again.
    pub limited: Option<Instant>,
    resting: bool,
}

/// What becomes of a request whose call failed.
pub(crate) enum Next {
    /// Somebody else is asked, after a pause perhaps.
    After(Duration),
    GiveUp(Failed),
}

impl Plan {
    pub fn new(snapshot: Arc<Snapshot>, name: Arc<str>, named: Named) -> Plan {
        let plain = snapshot.plain();
        let mut plan = Plan {
            snapshot,
            policy: plain,
            candidates: Vec::new(),
            turn: 0,
            asked: 0,
            ahead: VecDeque::new(),
            behind: Vec::new(),
            reason: Reason::First,
            session: None,
            pinned: None,
            anchor: None,
            last_resort: false,
            best: None,
        };
        plan.enter(name, named);
        plan
    }

    fn enter(&mut self, name: Arc<str>, named: Named) {
        self.behind.push(name);
        self.asked = 0;
        self.last_resort = false;
        match named {
            Named::Pool(pool) => {
                self.turn = pool.turn();
                self.policy = pool.policy.clone();
                self.candidates = pool.members.iter().cloned().map(Candidate::new).collect();
                for next in pool.policy.fallback.iter().rev() {
                    self.ahead.push_front((next.name.clone(), next.on));
                }
            }
            Named::Model(member) => {
                self.policy = self.snapshot.plain();
                self.candidates = vec![Candidate::new(member)];
            }
        }
        self.pin();
    }

    /// The session's cache is warm there: it stays, under this name and under those of the fallbacks.
    pub fn stay_with(&mut self, place: &sessions::Place) {
        self.anchor = Some(place.clone());
        self.pin();
    }

    fn pin(&mut self) {
        let anchor = self.anchor.as_ref().filter(|_| self.policy.affinity);
        let found = anchor.and_then(|anchor| self.members().position(|member| anchor.is(member)));
        self.pinned = found;
    }

    /// Whom the pool's own rule would ask now.
    pub fn favourite(&self, tokens: u64, dice: &Dice, now: Instant) -> Option<usize> {
        self.ranked((0..self.candidates.len()).collect(), tokens, dice, now).first().copied()
    }

    pub fn place(&self, number: usize) -> Option<sessions::Place> {
        self.candidates.get(number).map(|candidate| sessions::Place::of(&candidate.member))
    }

    /// Whether anybody but one target may be asked.
    pub fn has_others(&self) -> bool {
        self.candidates.len() > 1 || !self.ahead.is_empty()
    }

    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.candidates.iter().map(|candidate| &candidate.member)
    }

    /// Whether anybody could be asked if the call under way failed before its first token.
    pub fn has_alternative(&self) -> bool {
        self.has_others() || self.policy.retry.attempts > 1
    }

    /// Takes the best candidate that can be asked now.
    pub fn take(&mut self, tokens: u64, dice: &Dice, now: Instant) -> Result<(Choice, Ticket), Nobody> {
        let left: Vec<usize> =
            (0..self.candidates.len()).filter(|number| self.candidates[*number].is_left()).collect();
        let mut nobody = Nobody { full: Vec::new(), limited: None, resting: false };
        for number in self.order(left, tokens, dice, now) {
            let candidate = &self.candidates[number];
            let target = &candidate.member.target;
            let call = Call { spent: candidate.spent, tokens, last_resort: self.last_resort };
            match target.health.begin(&target.health_settings, call, now) {
                Ok(ticket) => {
                    let choice = Choice { member: candidate.member.clone(), key: ticket.key(), number };
                    return Ok((choice, ticket));
                }
                Err(Standing::Full) => nobody.full.push(number),
                Err(Standing::Limited { until }) => {
                    nobody.limited = Some(nobody.limited.map_or(until, |earliest| earliest.min(until)));
                }
                Err(_) => nobody.resting = true,
            }
        }
        Err(nobody)
    }

    /// The same beside a call that is under way: another member of the same name, if one can be asked at once.
    pub fn take_beside(
        &mut self,
        first: &Choice,
        tokens: u64,
        dice: &Dice,
        now: Instant,
    ) -> Option<(Choice, Ticket)> {
        let candidate = self.candidates.get_mut(first.number)?;
        let failed = std::mem::replace(&mut candidate.failed, true);
        let taken = self.take(tokens, dice, now).ok();
        self.candidates[first.number].failed = failed;
        taken
    }

    /// Best first, and before them the one that the session stays with.
    fn order(&self, left: Vec<usize>, tokens: u64, dice: &Dice, now: Instant) -> Vec<usize> {
        let mut order = self.ranked(left, tokens, dice, now);
        if let Some(at) = self.pinned.and_then(|pinned| order.iter().position(|number| *number == pinned)) {
            order[..=at].rotate_right(1);
        }
        order
    }

    /// Best first. A single candidate needs no comparison.
    fn ranked(&self, left: Vec<usize>, tokens: u64, dice: &Dice, now: Instant) -> Vec<usize> {
        if left.len() < 2 {
            return left;
        }
        let compared: Vec<select::Candidate> = left
            .iter()
            .map(|number| {
                let candidate = &self.candidates[*number];
                let Member { target, weight, priority, .. } = &candidate.member;
                select::Candidate {
                    weight: *weight,
                    priority: *priority,
                    standing: target.health.standing(&target.health_settings, tokens, now),
                    price: target.price.as_ref().and_then(|price| Some(price.input? + price.output?)),
                    key_hash: target.name_hash,
                }
            })
            .collect();
        select::order(self.policy.select, &compared, self.session, dice.roll(), self.turn)
            .into_iter()
            .map(|at| left[at])
            .collect()
    }

    /// What to wait with for a free place: those of `full` whose target has a queue.
    pub fn queues(&self, full: &[usize]) -> Vec<(usize, Place<'_>)> {
        full.iter()
            .filter_map(|number| {
                let candidate = self.candidates.get(*number)?;
                let target = &*candidate.member.target;
                let (target, settings) = (&target.health, &target.health_settings);
                let place = Place { target, settings, spent: candidate.spent };
                (settings.queue > 0).then_some((*number, place))
            })
            .collect()
    }

    /// Whether waiting for the end of a rate limit is better than asking somebody else or failing: it is near, and no
    /// fallback stands by.
    pub fn waits_until(&self, until: Instant) -> bool {
        let near = until.saturating_duration_since(Instant::now()) <= self.policy.retry.longest;
        let alone = !self.ahead.iter().any(|(_, on)| on.holds(Cause::RateLimit));
        near && alone && self.policy.retry.attempts > 1
    }

    pub fn choice(&self, number: usize, key: usize) -> Option<Choice> {
        self.candidates.get(number).map(|candidate| Choice { member: candidate.member.clone(), key, number })
    }

    /// A call is made.
    pub fn begin(&mut self) {
        self.asked += 1;
    }

    /// Nobody of this name can be asked: a fallback may be, then whoever rests.
    pub fn move_on(&mut self, nobody: &Nobody) -> Result<(), Failed> {
        let cause =
            if nobody.limited.is_some() || !nobody.full.is_empty() { Cause::RateLimit } else { Cause::Error };
        if self.fall_back(cause) {
            return Ok(());
        }
        if nobody.resting && !self.last_resort {
            self.last_resort = true;
            return Ok(());
        }
        let now = Instant::now();
        let error = match (nobody.limited, nobody.full.is_empty(), self.best.take()) {
            // Somebody has been asked, and that says more than that nobody else can be.
            (_, _, Some(best)) => return Err(best),
            (Some(until), _, None) => {
                let after = until.saturating_duration_since(now).max(Duration::from_secs(1));
                let message = format!(
                    "Every target that could answer is over its provider's rate limit; the first one is free again in {} s.",
                    after.as_secs()
                );
                Error::new(Code::UpstreamLimited, message).with_retry_after(Some(after))
            }
            (None, false, None) => Error::new(
                Code::UpstreamBusy,
                "Every target that could answer has as many calls under way as its limit allows.",
            )
            .with_retry_after(Some(Duration::from_secs(1))),
            (None, true, None) => {
                Error::new(Code::PlaneInternal, "The plan of targets ran out before anybody was asked.")
            }
        };
        Err(error.into())
    }

    /// What to do now that a call failed. `retry` says whether the retry budget allows one more.
    pub fn spend(
        &mut self,
        choice: &Choice,
        failed: Failed,
        may_repeat: bool,
        dice: &Dice,
        retry: impl FnOnce() -> bool,
    ) -> Next {
        let Some(cause) = failed.error.failover() else { return Next::GiveUp(failed) };
        let of_the_key = matches!(cause, Cause::RateLimit | Cause::Credential);
        if let Some(candidate) = self.candidates.get_mut(choice.number) {
            candidate.spent |= 1 << (choice.key & 63);
            candidate.failed |= !of_the_key;
        }
        let repeatable = may_repeat || !failed.may_have_acted;
        let retry_after = failed.error.retry_after;
        self.keep(failed);
        if !repeatable {
            return self.give_up();
        }
        let Policy { retry: rules, .. } = &*self.policy;
        let (base, longest) = (rules.base, rules.longest);
        let other_key = of_the_key && self.candidates.get(choice.number).is_some_and(Candidate::is_left);
        let tries_left = rules.on.holds(cause) && self.asked < rules.attempts;
        if (other_key || tries_left) && self.candidates.iter().any(Candidate::is_left) {
            if !retry() {
                return self.give_up();
            }
            self.reason = Reason::Retry;
            return Next::After(Duration::ZERO);
        }
        if self.fall_back(cause) {
            return if retry() { Next::After(Duration::ZERO) } else { self.give_up() };
        }
        if tries_left {
            // Everybody has been asked once: again from the start, after a while that is no shorter than was asked for.
            let pause = backoff(self.asked, base, longest, dice.roll());
            let pause = pause.max(retry_after.unwrap_or_default());
            if pause <= longest && retry() {
                for candidate in &mut self.candidates {
                    candidate.spent = 0;
                    candidate.failed = false;
                }
                self.reason = Reason::Retry;
                return Next::After(pause);
            }
        }
        self.give_up()
    }

    /// A call failed beside one that is still under way.
    pub fn note(&mut self, lost: Lost) {
        if let Some(candidate) = self.candidates.get_mut(lost.choice.number) {
            candidate.failed = true;
        }
        self.keep(lost.failed);
    }

    fn give_up(&mut self) -> Next {
        let nobody = || Error::new(Code::PlaneInternal, "A call failed without an error.").into();
        Next::GiveUp(self.best.take().unwrap_or_else(nobody))
    }

    /// Goes to the next name that helps against the cause.
    fn fall_back(&mut self, cause: Cause) -> bool {
        while let Some(at) = self.ahead.iter().position(|(_, on)| on.holds(cause)) {
            let Some((name, _)) = self.ahead.remove(at) else { return false };
            if self.behind.contains(&name) {
                continue;
            }
            if let Some(named) = self.snapshot.find(&name) {
                self.enter(name, named);
                self.reason = Reason::Fallback;
                return true;
            }
        }
        false
    }

    /// Of several failures the one that tells the client most: that its request is at fault, then that waiting helps,
    /// then whatever came last.
    fn keep(&mut self, failed: Failed) {
        let rank = |failed: &Failed| match failed.error.failover() {
            Some(Cause::ContextLength | Cause::ContentPolicy | Cause::Invalid) => 2,
            Some(Cause::RateLimit) => 1,
            _ => 0,
        };
        if self.best.as_ref().is_none_or(|best| rank(&failed) >= rank(best)) {
            self.best = Some(failed);
        }
    }
}
