//! One target's live state: its breaker, its keys, its slots and how fast it is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::breaker::{Breaker, Gate};
use super::latency::{PeakAverage, Quantiles};
use super::queue::{Granted, Queue};
use super::quota::Quota;
use super::random::{Random, mix};
use super::status::{KeyStatus, ProbeStatus, State, TargetStatus};
use super::ticket::{KeyStub, Stub, Ticket};
use super::{Settings, Standing};
use meseta_wire::failure::Cause;

/// How often a call goes by a key that has rested, while others are well.
const KEY_TRIAL: f64 = 0.1;
/// How many waiting calls that do not fit are passed over for one that does.
const PASSED_OVER: usize = 64;
/// A target without configured keys still has something that a provider can refuse.
const NO_KEY: [u64; 1] = [0];

#[derive(Debug)]
pub(crate) struct TargetHealth {
    name: String,
    state: Mutex<TargetState>,
}

/// What one call needs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Call {
    /// Estimated, in and out.
    pub tokens: u64,
    /// The keys that this request has used already, a bit each. A key from the 65th on can be used again.
    pub spent: u64,
    /// Nobody else is left: a resting target is better than none. One that is full or limited is not.
    pub last_resort: bool,
}

#[derive(Debug)]
pub(super) struct TargetState {
    pub(super) breaker: Breaker,
    pub(super) keys: Vec<Key>,
    /// How many of `keys`, from the first, the latest configuration has.
    listed: usize,
    pub(super) in_flight: u32,
    pub(super) latency: PeakAverage,
    pub(super) quantiles: Quantiles,
    pub(super) queue: Queue,
    pub(super) random: Random,
    /// Where the search for a key begins, so that equal ones take turns.
    turn: usize,
    /// The end of a rest that other replicas have not been told of.
    pub(super) untold: Option<Instant>,
    probe: Option<(Instant, Option<Cause>)>,
    /// The address that all of this was learned of.
    place: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) identity: u64,
    pub(super) breaker: Breaker,
    pub(super) quota: Quota,
    pub(super) in_flight: u32,
}

impl TargetHealth {
    pub(super) fn new(name: &str) -> TargetHealth {
        let seed = name.bytes().fold(0, |seed, byte| mix(seed ^ u64::from(byte)));
        TargetHealth {
            name: name.to_owned(),
            state: Mutex::new(TargetState {
                breaker: Breaker::default(),
                keys: Vec::new(),
                listed: 0,
                in_flight: 0,
                latency: PeakAverage::default(),
                quantiles: Quantiles::default(),
                queue: Queue::default(),
                random: Random::new(seed),
                turn: 0,
                untold: None,
                probe: None,
                place: None,
            }),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, TargetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can be asked of it now, without asking. Keys that a request has spent are told by [`TargetHealth::begin`].
    pub fn standing(&self, settings: &Settings, tokens: u64, now: Instant) -> Standing {
        let mut state = self.lock();
        state.align(settings, now);
        state.standing(settings, Call { tokens, ..Call::default() }, now)
    }

    /// Takes a slot and the least loaded key that is well.
    pub fn begin(
        self: &Arc<Self>,
        settings: &Arc<Settings>,
        call: Call,
        now: Instant,
    ) -> Result<Ticket, Standing> {
        let mut state = self.lock();
        // Those who wait come first.
        let granted = self.serve(&mut state, now);
        state.align(settings, now);
        let taken = state.choose(settings, call, now).map(|choice| state.commit(choice, call, now));
        drop(state);
        Granted::deliver(granted);
        taken.map(|stub| Ticket::new(self.clone(), settings.clone(), stub))
    }

    /// Of the time to the first token; `None` with under twenty samples. Old ones fade.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        self.lock().quantiles.read(quantile)
    }

    /// A call was given up after so long without a first token, because somebody else was faster.
    pub fn waited(&self, at_least: Duration, now: Instant) {
        let mut state = self.lock();
        state.latency.observe(at_least, now);
        state.quantiles.observe(at_least, now);
    }

    /// The result of an active probe.
    pub fn probed(self: &Arc<Self>, settings: &Settings, outcome: Result<(), Cause>, now: Instant) {
        let mut state = self.lock();
        state.probe = Some((now, outcome.err()));
        let random = state.random.fraction();
        if state.breaker.probed(outcome, settings, random, now) {
            state.untold = state.breaker.until(now);
        }
        let granted = self.serve(&mut state, now);
        drop(state);
        Granted::deliver(granted);
    }

    /// A configuration is in force from now on: its keys are those that are shown, and another address begins anew.
    pub fn configure(self: &Arc<Self>, settings: &Settings, now: Instant) {
        let moved = {
            let mut state = self.lock();
            state.align(settings, now);
            let before = state.place.replace(settings.place);
            let moved = before.is_some_and(|before| before != settings.place);
            if moved {
                state.latency = PeakAverage::default();
                state.quantiles = Quantiles::default();
                state.probe = None;
            }
            moved
        };
        if moved {
            self.reset(now);
        }
    }

    /// True when there was something to forget.
    pub(super) fn reset(self: &Arc<Self>, now: Instant) -> bool {
        let mut state = self.lock();
        let mut troubled = state.breaker.reset(now);
        state.untold = None;
        for key in &mut state.keys {
            troubled |= key.breaker.reset(now) | key.quota.limited(0, now).is_some();
            key.quota.forget();
        }
        let granted = self.serve(&mut state, now);
        drop(state);
        Granted::deliver(granted);
        troubled
    }

    pub(super) fn rest(&self, rest: Duration, now: Instant) {
        if let Some(until) = now.checked_add(rest) {
            self.lock().breaker.rest_until(until, now);
        }
    }

    pub(super) fn take_hint(&self, now: Instant) -> Option<Duration> {
        let rest = self.lock().untold.take()?.saturating_duration_since(now);
        (!rest.is_zero()).then_some(rest)
    }

    pub(super) fn status(&self, now: Instant) -> TargetStatus {
        let state = self.lock();
        let listed = state.keys.get(..state.listed).unwrap_or(&state.keys);
        let keys: Vec<KeyStatus> =
            listed.iter().enumerate().map(|(number, key)| key.status(number, now)).collect();
        let limited = !keys.is_empty() && keys.iter().all(|key| key.state == State::Limited);
        let kind = State::of(&state.breaker, limited, now);
        let from_now = |until: Instant| until.saturating_duration_since(now);
        let until = match kind {
            State::Limited => keys.iter().filter_map(|key| key.until).min(),
            _ => state.breaker.until(now).map(from_now),
        };
        let (requests, errors) = state.breaker.counts(now);
        TargetStatus {
            name: self.name.clone(),
            state: kind,
            since: state.breaker.since().map(|since| now.saturating_duration_since(since)),
            until,
            failures: state.breaker.failures(),
            requests,
            errors,
            in_flight: state.in_flight,
            waiting: state.queue.waiting(now),
            latency: state.latency.read(now),
            p50: state.quantiles.read(0.5),
            p95: state.quantiles.read(0.95),
            cause: state.breaker.cause(),
            probe: state
                .probe
                .map(|(at, cause)| ProbeStatus { ago: now.saturating_duration_since(at), cause }),
            keys,
        }
    }

    /// Gives what is free to those who wait. The caller delivers it after the lock is let go: a ticket that nobody takes
    /// any more locks this target again.
    #[must_use]
    pub(super) fn serve(self: &Arc<Self>, state: &mut TargetState, now: Instant) -> Vec<Granted> {
        let mut granted = Vec::new();
        // Those whom their own size keeps out do not keep out smaller ones behind them.
        let mut passed_over = Vec::new();
        while let Some(entry) = state.queue.pop(now) {
            // It may have begun to wait under another configuration, and must get the number of a key in its own.
            state.align(&entry.settings, now);
            match state.choose(&entry.settings, entry.call, now) {
                Ok(choice) => {
                    if let Some(claim) = entry.waiter.claim() {
                        let stub = state.commit(choice, entry.call, now);
                        granted
                            .push(claim.grant(entry.index, Ticket::new(self.clone(), entry.settings, stub)));
                    }
                }
                Err(standing) => {
                    passed_over.push(entry);
                    let next_may_fit = matches!(standing, Standing::Limited { .. } | Standing::Spent);
                    if !next_may_fit || passed_over.len() >= PASSED_OVER {
                        break;
                    }
                }
            }
        }
        state.queue.put_back(passed_over);
        granted
    }
}

/// The key that a call would take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    key: usize,
    share: f32,
    /// Whether the call would be a trial of the target, or of the last key that it has.
    trial: bool,
}

impl TargetState {
    pub(super) fn observe(&mut self, first_token: Duration, now: Instant) {
        self.latency.observe(first_token, now);
        self.quantiles.observe(first_token, now);
    }

    /// Brings the keys into the order of the configuration. Those that it does not have any more stay while a call uses
    /// them, or while there is something to remember: an older configuration may still be in use.
    pub(super) fn align(&mut self, settings: &Settings, now: Instant) {
        let wanted = if settings.keys.is_empty() { &NO_KEY[..] } else { &settings.keys };
        self.listed = wanted.len();
        let known = self.keys.iter().map(|key| &key.identity);
        if known.take(wanted.len()).eq(wanted) {
            return;
        }
        let mut old = std::mem::take(&mut self.keys);
        for identity in wanted {
            let place = old.iter().position(|key| key.identity == *identity);
            self.keys.push(place.map_or_else(|| Key::new(*identity), |place| old.swap_remove(place)));
        }
        old.retain(|key| {
            key.in_flight > 0 || key.breaker.troubled(now) || key.quota.limited(u64::MAX, now).is_some()
        });
        self.keys.append(&mut old);
    }

    pub(super) fn standing(&mut self, settings: &Settings, call: Call, now: Instant) -> Standing {
        match self.choose(settings, call, now) {
            Ok(Choice { trial: true, .. }) => Standing::Trial,
            Ok(Choice { share, .. }) => {
                Standing::Ready { share, in_flight: self.in_flight, latency: self.latency.read(now) }
            }
            Err(standing) => standing,
        }
    }

    /// The keys must be aligned.
    pub(super) fn choose(
        &mut self,
        settings: &Settings,
        call: Call,
        now: Instant,
    ) -> Result<Choice, Standing> {
        let (share, trial) = match self.breaker.gate(now) {
            Gate::Open { share } => (share, false),
            Gate::Trial => (1.0, true),
            Gate::Resting { until } if !call.last_resort => return Err(Standing::Resting { until }),
            Gate::Resting { .. } => (1.0, false),
        };
        let choice = self.choose_key(call, now)?;
        if settings.concurrency > 0 && self.in_flight >= settings.concurrency {
            return Err(Standing::Full);
        }
        Ok(Choice { share: share * choice.share, trial: trial || choice.trial, ..choice })
    }

    fn choose_key(&mut self, call: Call, now: Instant) -> Result<Choice, Standing> {
        let count = self.listed.min(self.keys.len()).max(1);
        let mut well: Option<(f32, usize)> = None;
        let mut share: f32 = 0.0;
        let (mut tried, mut resting) = (None, None::<(Instant, usize)>);
        let mut blocked: Option<(Instant, Standing)> = None;
        let mut block = |until: Instant, standing| {
            if blocked.is_none_or(|(earliest, _)| until < earliest) {
                blocked = Some((until, standing));
            }
        };
        for step in 0..count {
            let place = (self.turn % count + step) % count;
            let Some(key) = self.keys.get(place).filter(|_| !is_spent(call.spent, place)) else { continue };
            if let Some(until) = key.quota.limited(call.tokens, now) {
                block(until, Standing::Limited { until });
                continue;
            }
            match key.breaker.gate(now) {
                Gate::Open { share: part } => {
                    share = share.max(part);
                    // So many calls are no rounding matter.
                    #[allow(clippy::cast_precision_loss)]
                    let load = (key.in_flight + 1) as f32 / part;
                    if well.is_none_or(|(least, _)| load < least) {
                        well = Some((load, place));
                    }
                }
                Gate::Trial => tried = tried.or(Some(place)),
                Gate::Resting { until } => {
                    block(until, Standing::Resting { until });
                    if resting.is_none_or(|(earliest, _)| until < earliest) {
                        resting = Some((until, place));
                    }
                }
            }
        }
        let choice = |key, share, trial| Ok(Choice { key, share, trial });
        match (well, tried, resting) {
            (Some(_), Some(key), _) if self.random.fraction() < KEY_TRIAL => choice(key, share, false),
            (Some((_, key)), ..) => choice(key, share, false),
            (None, Some(key), _) => choice(key, 1.0, true),
            (None, None, Some((_, key))) if call.last_resort => choice(key, 1.0, false),
            _ => Err(blocked.map_or(Standing::Spent, |(_, standing)| standing)),
        }
    }

    pub(super) fn commit(&mut self, choice: Choice, call: Call, now: Instant) -> Stub {
        self.in_flight = self.in_flight.saturating_add(1);
        self.turn = self.turn.wrapping_add(1);
        let target = self.breaker.enter(now);
        let key = self.keys.get_mut(choice.key).map(|key| {
            key.in_flight = key.in_flight.saturating_add(1);
            KeyStub {
                identity: key.identity,
                pass: key.breaker.enter(now),
                mark: key.quota.begin(call.tokens),
            }
        });
        Stub { target, place: choice.key, key, began: now }
    }

    /// A key by its identity; a reload may have moved it.
    pub(super) fn key_of(&mut self, stub: &KeyStub) -> Option<&mut Key> {
        self.keys.iter_mut().find(|key| key.identity == stub.identity)
    }
}

fn is_spent(spent: u64, place: usize) -> bool {
    u32::try_from(place).ok().and_then(|place| spent.checked_shr(place)).is_some_and(|bits| bits & 1 == 1)
}

impl Key {
    fn new(identity: u64) -> Key {
        Key { identity, breaker: Breaker::default(), quota: Quota::default(), in_flight: 0 }
    }

    fn status(&self, number: usize, now: Instant) -> KeyStatus {
        let limited = self.quota.limited(0, now);
        let state = State::of(&self.breaker, limited.is_some(), now);
        let until = if state == State::Limited { limited } else { self.breaker.until(now) };
        KeyStatus {
            number: number + 1,
            state,
            until: until.map(|until| until.saturating_duration_since(now)),
            failures: self.breaker.failures(),
            in_flight: self.in_flight,
            cause: self.breaker.cause(),
        }
    }
}
