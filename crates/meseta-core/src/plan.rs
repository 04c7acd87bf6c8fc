//! Who may answer a request: who was asked already, who is left, and whether asking on makes sense.
//!
//! One name at a time: the members of the pool that the client named, then those of its fallbacks. Nothing here waits or
//! sends; `pick` takes the next one from the plan and the loop of `handle.rs` tells the plan what became of it.

mod candidate;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meseta_wire::failure::Cause;

use crate::dice::Dice;
use crate::error::{Code, Error};
use crate::health::backoff::backoff;
use crate::health::{Call, Place, Standing, Ticket, select};
use crate::log::Reason;
use crate::plan::candidate::Candidate;
pub(crate) use crate::plan::candidate::Choice;
use crate::pool::{Causes, Member, Policy, Pool};
use crate::sessions;
use crate::snapshot::{Named, Resume, Snapshot};
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
    reason: Reason,
    /// Places the session among the members, for `session_hash`.
    pub session: Option<u64>,
    /// The member that the session stays with while it can answer.
    pub pinned: Option<usize>,
    /// Whose cache holds the session, whatever name it is found under.
    anchor: Option<sessions::Place>,
    /// What the name that the client wrote says of streams that break, whoever answers.
    pub resume: Resume,
    /// The answer has begun and broken off. Whoever broke it off is not asked to go on with it.
    pub resuming: bool,
    /// Nobody who is well is left: those that rest are asked too.
    last_resort: bool,
    /// Until when the ends of rate limits are waited for under this name.
    patience: Option<Instant>,
    /// Who failed under an earlier name: a fallback may have the same targets.
    earlier: Vec<Candidate>,
    /// What the client is told if nobody answers.
    best: Option<Failed>,
    /// When the first of those that refused for a rate limit may be asked again.
    free_again: Option<Instant>,
}

/// What the request itself says of another call.
pub(crate) struct Terms {
    /// It may arrive at a provider twice.
    pub may_repeat: bool,
    /// How much is left of its time, where that is limited.
    pub left: Option<Duration>,
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
        let mut plan = Plan::empty(snapshot);
        plan.enter(name, named);
        plan.resume = plan.policy.resume;
        plan
    }

    fn empty(snapshot: Arc<Snapshot>) -> Plan {
        let plain = snapshot.plain();
        Plan {
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
            resume: Resume::Off,
            resuming: false,
            last_resort: false,
            patience: None,
            earlier: Vec::new(),
            best: None,
            free_again: None,
        }
    }

    /// Of an agent: every instance, and the model that the client named, which is the agent's to make use of.
    pub fn of_agent(snapshot: Arc<Snapshot>, pool: &Pool, model: Option<&Arc<str>>) -> Plan {
        let mut plan = Plan::empty(snapshot);
        plan.turn = pool.turn();
        plan.policy = pool.policy.clone();
        let member = |member: &Member| match model {
            Some(model) => Member { model: model.clone(), ..member.clone() },
            None => member.clone(),
        };
        plan.candidates = pool.members.iter().map(member).map(Candidate::new).collect();
        plan
    }

    /// Why the next call is made.
    pub fn reason(&self) -> Reason {
        if self.resuming { Reason::Resume } else { self.reason }
    }

    /// The names that may be asked, in their order: the one that is tried now, and those after it.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.behind.last().into_iter().chain(self.ahead.iter().map(|(name, _)| name))
    }

    /// The name that is tried first.
    pub fn name(&self) -> &Arc<str> {
        self.behind.first().unwrap_or(&self.policy.name)
    }

    /// Further names, for whatever keeps those before them from answering.
    pub fn then(&mut self, names: impl Iterator<Item = Arc<str>>) {
        self.ahead.extend(names.map(|name| (name, Causes::all())));
    }

    fn enter(&mut self, name: Arc<str>, named: Named) {
        self.behind.push(name);
        self.asked = 0;
        self.last_resort = false;
        self.patience = None;
        let before = std::mem::take(&mut self.candidates);
        self.earlier.extend(before.into_iter().filter(|candidate| candidate.failed || candidate.spent != 0));
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
        // Who has just failed is not asked the same again under another name.
        for candidate in &mut self.candidates {
            if let Some(past) = self.earlier.iter().rfind(|past| past.is_like(candidate)) {
                let Candidate { spent, refused, failed, unfit, .. } = *past;
                (candidate.spent, candidate.refused) = (spent, refused);
                (candidate.failed, candidate.unfit) = (failed, unfit);
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
        let mut nobody = Nobody { full: Vec::new(), limited: None, resting: false };
        // One candidate is compared with nobody.
        let alone = self.candidates.len() == 1 && self.candidates[0].is_left();
        let order = if alone { Vec::new() } else { self.order(self.left(), tokens, dice, now) };
        for number in order.into_iter().chain(alone.then_some(0)) {
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
                    nobody.limited = earliest(nobody.limited, Some(until));
                }
                Err(Standing::Resting { .. }) => nobody.resting = true,
                Err(_) => {}
            }
        }
        Err(nobody)
    }

    fn left(&self) -> Vec<usize> {
        (0..self.candidates.len()).filter(|number| self.candidates[*number].is_left()).collect()
    }

    /// The same beside a call that is under way: another member of the same name, if one can be asked at once.
    pub fn take_beside(
        &mut self,
        first: &Choice,
        tokens: u64,
        dice: &Dice,
        now: Instant,
    ) -> Option<(Choice, Ticket)> {
        // It is one of the tries; but where there is only one, it comes on top.
        if self.asked >= self.policy.retry.attempts.max(2) {
            return None;
        }
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
                let Member { target, weight, priority, hash, .. } = &candidate.member;
                select::Candidate {
                    weight: *weight,
                    priority: *priority,
                    standing: target.health.standing(&target.health_settings, tokens, now),
                    price: target.price.as_ref().and_then(|price| Some(price.input? + price.output?)),
                    key_hash: *hash,
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

    /// Whether waiting for the end of a rate limit is better than asking somebody else or failing: it is near, the client
    /// waits for longer than that, and no fallback stands by. Others wait for the same end and may be served first, so
    /// there is an end to it.
    pub fn waits_until(&mut self, until: Instant, left: Option<Duration>) -> bool {
        let now = Instant::now();
        let retry = &self.policy.retry;
        let near = until <= *self.patience.get_or_insert(now + retry.longest);
        let in_time = left.is_none_or(|left| until.saturating_duration_since(now) < left);
        let alone = !self.ahead.iter().any(|(_, on)| on.holds(Cause::RateLimit));
        near && in_time && alone && retry.attempts > 1
    }

    pub fn choice(&self, number: usize, key: usize) -> Option<Choice> {
        self.candidates.get(number).map(|candidate| Choice { member: candidate.member.clone(), key, number })
    }

    /// A call is made.
    pub fn begin(&mut self) {
        self.asked += 1;
    }

    /// It was not made after all.
    pub fn unbegin(&mut self) {
        self.asked = self.asked.saturating_sub(1);
    }

    /// Nobody of this name can be asked: a fallback may be, then whoever rests.
    pub fn move_on(&mut self, nobody: &Nobody) -> Result<(), Failed> {
        let limited = nobody.limited.is_some() || !nobody.full.is_empty();
        if limited && self.fall_back(Cause::RateLimit) {
            return Ok(());
        }
        if (nobody.resting || !limited) && self.fall_back(Cause::Error) {
            return Ok(());
        }
        if nobody.resting && !self.last_resort {
            self.last_resort = true;
            return Ok(());
        }
        self.free_again = earliest(self.free_again, nobody.limited);
        // Somebody has been asked, and that says more than that nobody else can be.
        if let Some(best) = self.take_best() {
            return Err(best);
        }
        let now = Instant::now();
        let error = match (self.free_again, nobody.full.is_empty()) {
            (Some(until), _) => {
                let after = until.saturating_duration_since(now).max(Duration::from_secs(1));
                let seconds = after.as_millis().div_ceil(1_000);
                let message = format!(
                    "Every target that could answer is over its provider's rate limit; the first one is free again in {seconds} s.",
                );
                Error::new(Code::UpstreamLimited, message).with_retry_after(Some(after))
            }
            (None, false) => Error::new(
                Code::UpstreamBusy,
                "Every target that could answer has as many calls under way as its limit allows.",
            )
            .with_retry_after(Some(Duration::from_secs(1))),
            (None, true) => {
                Error::new(Code::PlaneInternal, "The plan of targets ran out before anybody was asked.")
            }
        };
        Err(error.into())
    }

    /// What to do now that a call failed. `retry` takes one retry from the budget, if it has one.
    pub fn spend(
        &mut self,
        choice: &Choice,
        failed: Failed,
        terms: &Terms,
        dice: &Dice,
        retry: impl Fn() -> bool,
    ) -> Next {
        let Some(cause) = failed.cause() else { return Next::GiveUp(failed) };
        // What cannot be said to a target was not sent to it: that was no try, and another one is no retry.
        let asked = failed.asked;
        if !asked {
            self.unbegin();
        }
        let repeatable = terms.may_repeat || !failed.may_have_acted;
        let retry_after = failed.error.retry_after;
        self.keep(choice, failed);
        if !repeatable || terms.left.is_some_and(|left| left.is_zero()) {
            return self.give_up();
        }
        let Policy { retry: rules, .. } = &*self.policy;
        let (base, longest) = (rules.base, rules.longest);
        let left = self.candidates.iter().any(Candidate::is_left);
        let other_key = matches!(cause, Cause::RateLimit | Cause::Credential)
            && self.candidates.get(choice.number).is_some_and(Candidate::is_left);
        let tries_left = asked && rules.on.holds(cause) && self.asked < rules.attempts;
        if !asked && left {
            return Next::After(Duration::ZERO);
        }
        if left && (other_key || tries_left) && retry() {
            self.reason = Reason::Retry;
            return Next::After(Duration::ZERO);
        }
        // A name is asked once for a request, so a fallback multiplies nothing and is not taken from the budget.
        if self.fall_back(cause) {
            return Next::After(Duration::ZERO);
        }
        if tries_left && !left && !self.resuming {
            // Everybody has been asked once: again from the start, after a while that is no shorter than was asked for.
            self.candidates.iter_mut().for_each(Candidate::recover);
            let pause = backoff(self.asked.saturating_sub(1), base, longest, dice.roll());
            let pause = pause.max(retry_after.unwrap_or_default());
            let in_time = pause <= longest && terms.left.is_none_or(|left| pause < left);
            if in_time && self.candidates.iter().any(Candidate::is_left) && retry() {
                self.reason = Reason::Retry;
                return Next::After(pause);
            }
        }
        self.give_up()
    }

    /// A call failed beside one that is still under way.
    pub fn note(&mut self, lost: Lost) {
        if !lost.failed.asked {
            self.unbegin();
        }
        self.keep(&lost.choice, *lost.failed);
    }

    fn give_up(&mut self) -> Next {
        let nobody = || Error::new(Code::PlaneInternal, "A call failed without an error.").into();
        Next::GiveUp(self.take_best().unwrap_or_else(nobody))
    }

    /// What the client is told: where waiting helps, until the first of all can answer again.
    fn take_best(&mut self) -> Option<Failed> {
        let mut best = self.best.take()?;
        if let (Some(Cause::RateLimit), Some(until)) = (best.error.failover(), self.free_again) {
            best.retry_after(until.saturating_duration_since(Instant::now()));
        }
        Some(best)
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

    /// Remembers who failed, and of several failures the one that tells the client most: that its request is at fault,
    /// then that waiting helps, then whatever came last; that a target could not be asked tells least.
    fn keep(&mut self, choice: &Choice, failed: Failed) {
        let cause = failed.cause();
        if let (Some(cause), Some(candidate)) = (cause, self.candidates.get_mut(choice.number)) {
            candidate.mark(choice.key, cause, failed.asked);
        }
        if let (Some(Cause::RateLimit), Some(after)) = (cause, failed.error.retry_after) {
            self.free_again = earliest(self.free_again, Instant::now().checked_add(after));
        }
        let rank = |failed: &Failed| match failed.cause() {
            _ if !failed.asked => 0,
            Some(Cause::ContextLength | Cause::ContentPolicy | Cause::Invalid) => 3,
            Some(Cause::RateLimit) => 2,
            _ => 1,
        };
        if self.best.as_ref().is_none_or(|best| rank(&failed) >= rank(best)) {
            self.best = Some(failed);
        }
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
