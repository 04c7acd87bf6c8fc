//! Whether something that failed is asked again: closed, resting, on trial, slowly back.

use std::time::{Duration, Instant};

use super::Settings;
use meseta_wire::failure::Cause;

/// What a resting target or key gets of its usual share when it comes back.
const SMALLEST_SHARE: f32 = 0.1;
/// So many trials in a row must go well.
const TRIALS: u32 = 2;
/// A provider that does not accept a credential seldom changes its mind: fewer failures say enough.
const CREDENTIAL_FAILURES: u32 = 2;
/// Probes come seldom, so that fewer of them in a row say as much as failures of calls do.
const PROBE_FAILURES: u32 = 3;
/// When to look again at something that is being tried by another call.
const TRIAL_TAKES: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Breaker {
    phase: Phase,
    /// Changes with the phase: what began before the change says nothing of the time after it.
    epoch: u64,
    /// Failures in a row.
    failures: u32,
    /// Probes that failed in a row. They are not mixed with calls: a good probe hides no call's failure.
    probe_failures: u32,
    /// Ejections without a healthy window between them.
    ejections: u32,
    /// Since when it has been closed, after an ejection.
    back: Option<Instant>,
    /// The last change of the phase.
    since: Option<Instant>,
    cause: Option<Cause>,
    counts: Counts,
}

#[derive(Debug, Default, Clone, Copy)]
enum Phase {
    /// Open for all, with a growing share for `ramp` after a rest.
    #[default]
    Closed,
    Ramping {
        since: Instant,
        ramp: Duration,
    },
    /// Nobody comes before `until`; then one trial at a time.
    Open {
        until: Instant,
        trial: bool,
        successes: u32,
        /// A probe has found it broken too, so that a probe can tell when it is back.
        seen_down: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Gate {
    Open { share: f32 },
    Trial,
    Resting { until: Instant },
}

/// How a call passed the breaker; it comes back with the call's result.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    epoch: u64,
    trial: bool,
}

/// A state's name for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Closed,
    Ramping,
    Resting,
    Trial,
}

impl Breaker {
    pub fn gate(&self, now: Instant) -> Gate {
        match self.phase {
            Phase::Closed => Gate::Open { share: 1.0 },
            Phase::Ramping { since, ramp } => {
                let passed = now.saturating_duration_since(since).as_secs_f32();
                let part = if ramp.is_zero() { 1.0 } else { (passed / ramp.as_secs_f32()).clamp(0.0, 1.0) };
                Gate::Open { share: SMALLEST_SHARE + (1.0 - SMALLEST_SHARE) * part }
            }
            Phase::Open { until, .. } if now < until => Gate::Resting { until },
            Phase::Open { trial: true, .. } => Gate::Resting { until: now + TRIAL_TAKES },
            Phase::Open { .. } => Gate::Trial,
        }
    }

    /// Also for those who come although it rests, as nobody else is left: they are no trial.
    pub fn enter(&mut self, now: Instant) -> Pass {
        let on_trial = self.gate(now) == Gate::Trial;
        if let Phase::Open { trial, .. } = &mut self.phase {
            *trial |= on_trial;
        }
        Pass { epoch: self.epoch, trial: on_trial }
    }

    pub fn succeed(&mut self, pass: Pass, settings: &Settings, now: Instant) {
        if pass.epoch != self.epoch {
            return;
        }
        self.failures = 0;
        if let Phase::Open { .. } = self.phase {
            self.leave(pass);
            self.recover(settings, now);
        } else {
            self.counts.add(false, settings.window, now);
        }
    }

    /// True when this failure ejects it.
    pub fn fail(&mut self, pass: Pass, cause: Cause, settings: &Settings, random: f64, now: Instant) -> bool {
        if pass.epoch != self.epoch {
            return false;
        }
        self.cause = Some(cause);
        self.failures = self.failures.saturating_add(1);
        if let Phase::Open { .. } = self.phase {
            self.leave(pass);
            // Those who came as a last resort have found what was known: that must not prolong the rest.
            if pass.trial {
                self.eject(settings, random, now);
            }
            return pass.trial;
        }
        self.counts.add(true, settings.window, now);
        let in_a_row = match cause {
            Cause::Credential if settings.failures > 0 => settings.failures.min(CREDENTIAL_FAILURES),
            _ => settings.failures,
        };
        let (requests, errors) = self.counts.sum(now);
        let too_many = settings.error_percent > 0.0
            && requests > 0
            && requests >= settings.minimum_requests
            && f64::from(errors) * 100.0 >= settings.error_percent * f64::from(requests);
        let eject = (in_a_row > 0 && self.failures >= in_a_row) || too_many;
        if eject {
            self.eject(settings, random, now);
        }
        eject
    }

    /// The call's end says nothing of the provider.
    pub fn leave(&mut self, pass: Pass) {
        if pass.epoch == self.epoch
            && pass.trial
            && let Phase::Open { trial, .. } = &mut self.phase
        {
            *trial = false;
        }
    }

    /// An active probe's result; true when it ejects. A good one ends a rest early only if probes have seen what the rest
    /// is for: a list of models may be there while no model answers.
    pub fn probed(
        &mut self,
        outcome: Result<(), Cause>,
        settings: &Settings,
        random: f64,
        now: Instant,
    ) -> bool {
        let gate = self.gate(now);
        let Err(cause) = outcome else {
            self.probe_failures = 0;
            if let Phase::Open { seen_down, .. } = self.phase
                && (seen_down || gate == Gate::Trial)
            {
                self.recover(settings, now);
            }
            return false;
        };
        self.cause = Some(cause);
        self.probe_failures = self.probe_failures.saturating_add(1);
        let most = if cause == Cause::Credential { CREDENTIAL_FAILURES } else { PROBE_FAILURES };
        let in_a_row = if settings.failures == 0 { most } else { most.min(settings.failures) };
        let eject = match gate {
            Gate::Open { .. } => self.probe_failures >= in_a_row,
            Gate::Trial => true,
            Gate::Resting { .. } => false,
        };
        if eject {
            self.eject(settings, random, now);
        }
        if let Phase::Open { seen_down, .. } = &mut self.phase {
            *seen_down = true;
        }
        eject
    }

    /// Somebody else has found it broken. It rests, but that is no ejection of ours: it does not add to the next rest.
    pub fn rest_until(&mut self, until: Instant, now: Instant) -> bool {
        if matches!(self.phase, Phase::Open { .. }) || until <= now {
            return false;
        }
        self.change(Phase::Open { until, trial: false, successes: 0, seen_down: false }, now);
        true
    }

    fn recover(&mut self, settings: &Settings, now: Instant) {
        if let Phase::Open { successes, until, .. } = &mut self.phase {
            *successes += 1;
            // A last resort that went well ends the rest.
            *until = (*until).min(now);
            if *successes >= TRIALS {
                self.failures = 0;
                self.back = Some(now);
                self.change(Phase::Ramping { since: now, ramp: settings.ramp }, now);
            }
        }
    }

    fn eject(&mut self, settings: &Settings, random: f64, now: Instant) {
        let healthy = self.back.is_some_and(|back| now.saturating_duration_since(back) >= settings.window);
        if healthy && !matches!(self.phase, Phase::Open { .. }) {
            self.ejections = 0;
        }
        let factor = 2_u32.saturating_pow(self.ejections.min(20));
        let rest = settings.rest.saturating_mul(factor).min(settings.rest_max);
        let rest = rest.mul_f64(0.9 + 0.2 * random.clamp(0.0, 1.0)).min(settings.rest_max);
        self.ejections = self.ejections.saturating_add(1);
        let until = now.checked_add(rest).unwrap_or(now);
        self.change(Phase::Open { until, trial: false, successes: 0, seen_down: false }, now);
    }

    fn change(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.epoch += 1;
        self.since = Some(now);
        self.probe_failures = 0;
        self.counts = Counts::default();
    }

    /// True when there was something to forget.
    pub fn reset(&mut self, now: Instant) -> bool {
        let troubled = self.troubled(now) || self.failures > 0 || self.ejections > 0;
        // The epoch goes on: what is in flight began before the reset.
        *self = Breaker { epoch: self.epoch + 1, since: self.since.map(|_| now), ..Breaker::default() };
        troubled
    }

    /// Whether it is anything but wide open.
    pub fn troubled(&self, now: Instant) -> bool {
        self.mode(now) != Mode::Closed
    }

    pub fn mode(&self, now: Instant) -> Mode {
        match (self.phase, self.gate(now)) {
            (Phase::Open { until, .. }, _) if now < until => Mode::Resting,
            (Phase::Open { .. }, _) => Mode::Trial,
            (_, Gate::Open { share }) if share < 1.0 => Mode::Ramping,
            _ => Mode::Closed,
        }
    }

    pub fn until(&self, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Open { until, .. } => Some(until),
            Phase::Ramping { since, ramp } => since.checked_add(ramp),
            Phase::Closed => None,
        }
        .filter(|until| *until > now)
    }

    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    pub fn failures(&self) -> u32 {
        self.failures
    }

    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// Requests and errors in the window.
    pub fn counts(&self, now: Instant) -> (u32, u32) {
        self.counts.sum(now)
    }
}

const CELLS: usize = 10;

/// Requests and errors of the last window, in tenths of it.
#[derive(Debug, Default)]
struct Counts {
    cells: [Cell; CELLS],
    /// Where tenths are counted from, and how long one is.
    origin: Option<(Instant, Duration)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    /// Which tenth since the origin.
    number: u128,
    requests: u32,
    errors: u32,
}

impl Counts {
    fn add(&mut self, error: bool, window: Duration, now: Instant) {
        let length = (window / 10).max(Duration::from_millis(1));
        if self.origin.is_none_or(|(_, known)| known != length) {
            *self = Counts { origin: Some((now, length)), ..Counts::default() };
        }
        let number = self.number(now);
        // The remainder is below CELLS.
        #[allow(clippy::cast_possible_truncation)]
        if let Some(cell) = self.cells.get_mut((number % CELLS as u128) as usize) {
            if cell.number != number {
                *cell = Cell { number, ..Cell::default() };
            }
            cell.requests = cell.requests.saturating_add(1);
            cell.errors = cell.errors.saturating_add(u32::from(error));
        }
    }

    fn number(&self, now: Instant) -> u128 {
        self.origin.map_or(0, |(origin, length)| {
            now.saturating_duration_since(origin).as_nanos() / length.as_nanos().max(1)
        })
    }

    fn sum(&self, now: Instant) -> (u32, u32) {
        let number = self.number(now);
        self.cells.iter().filter(|cell| number.saturating_sub(cell.number) < CELLS as u128).fold(
            (0, 0),
            |(requests, errors), cell| {
                (requests.saturating_add(cell.requests), errors.saturating_add(cell.errors))
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::health::tests::settings;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const CENTRE: f64 = 0.5;

    fn fail(breaker: &mut Breaker, settings: &Settings, now: Instant) -> bool {
        let pass = breaker.enter(now);
        breaker.fail(pass, Cause::Error, settings, CENTRE, now)
    }

    fn succeed(breaker: &mut Breaker, settings: &Settings, now: Instant) {
        let pass = breaker.enter(now);
        breaker.succeed(pass, settings, now);
    }

    fn ejected(settings: &Settings, now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 1..settings.failures {
            assert!(!fail(&mut breaker, settings, now));
        }
        assert!(fail(&mut breaker, settings, now));
        breaker
    }

    #[test]
    fn rests_is_tried_and_comes_back_slowly() {
        let (settings, now) = (settings(), Instant::now());
        let mut breaker = ejected(&settings, now);
        assert_eq!(breaker.gate(now + S(9)), Gate::Resting { until: now + S(10) });
        let later = now + S(10);
        assert_eq!(breaker.gate(later), Gate::Trial);
        let trial = breaker.enter(later);
        assert!(matches!(breaker.gate(later), Gate::Resting { .. }), "one trial at a time");
        breaker.succeed(trial, &settings, later);
        assert_eq!(breaker.gate(later), Gate::Trial);
        succeed(&mut breaker, &settings, later);
        assert_eq!(breaker.gate(later), Gate::Open { share: 0.1 });
        assert_eq!(breaker.mode(later), Mode::Ramping);
        assert_eq!(breaker.gate(later + settings.ramp / 2), Gate::Open { share: 0.55 });
        assert_eq!(breaker.gate(later + settings.ramp), Gate::Open { share: 1.0 });
        assert_eq!(breaker.mode(later + settings.ramp), Mode::Closed);
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let (settings, now) = (Settings { minimum_requests: 1000, ..settings() }, Instant::now());
        let mut breaker = Breaker::default();
        for _ in 0..50 {
            for _ in 1..settings.failures {
                assert!(!fail(&mut breaker, &settings, now));
            }
            succeed(&mut breaker, &settings, now);
        }
    }

    #[test]
    fn too_large_a_share_of_errors_ejects_within_the_window_only() {
        let (settings, now) = (settings(), Instant::now());
        let mut breaker = Breaker::default();
        for _ in 0..9 {
            succeed(&mut breaker, &settings, now);
            assert!(!fail(&mut breaker, &settings, now));
        }
        let mut old = breaker;
        assert_eq!(old.counts(now + S(29)), (18, 9));
        assert_eq!(old.counts(now + S(30)), (0, 0));
        succeed(&mut old, &settings, now + S(30));
        assert!(!fail(&mut old, &settings, now + S(30)));
        let mut breaker = Breaker::default();
        for _ in 0..9 {
            succeed(&mut breaker, &settings, now);
            fail(&mut breaker, &settings, now);
        }
        succeed(&mut breaker, &settings, now);
        assert!(fail(&mut breaker, &settings, now), "ten of twenty");
    }

    #[test]
    fn rests_double_and_a_healthy_window_forgets_them() {
        let settings = settings();
        let mut now = Instant::now();
        let mut breaker = ejected(&settings, now);
        for rest in [10, 20, 40, 80, 160, 300, 300] {
            assert_eq!(breaker.gate(now), Gate::Resting { until: now + S(rest) });
            now += S(rest);
            assert!(fail(&mut breaker, &settings, now), "the trial fails");
        }
        now += S(300);
        succeed(&mut breaker, &settings, now);
        succeed(&mut breaker, &settings, now);
        now += settings.window;
        for _ in 0..settings.failures {
            fail(&mut breaker, &settings, now);
        }
        assert_eq!(breaker.gate(now), Gate::Resting { until: now + S(10) });
    }

    #[test]
    fn a_trial_that_says_nothing_makes_room_for_the_next() {
        let (settings, now) = (settings(), Instant::now());
        let mut breaker = ejected(&settings, now);
        let later = now + S(10);
        let trial = breaker.enter(later);
        breaker.leave(trial);
        assert_eq!(breaker.gate(later), Gate::Trial);
    }

    #[test]
    fn what_began_before_the_ejection_changes_nothing() {
        let (settings, now) = (settings(), Instant::now());
        let mut breaker = Breaker::default();
        let early = breaker.enter(now);
        for _ in 0..settings.failures {
            fail(&mut breaker, &settings, now);
        }
        assert!(!breaker.fail(early, Cause::Error, &settings, CENTRE, now + S(10)));
        breaker.succeed(early, &settings, now + S(10));
        breaker.succeed(early, &settings, now + S(10));
        assert_eq!(breaker.gate(now + S(10)), Gate::Trial);
    }

    #[test]
    fn a_last_resort_can_end_a_rest_but_not_prolong_it() {
        let (settings, now) = (settings(), Instant::now());
        let mut breaker = ejected(&settings, now);
        assert!(!fail(&mut breaker, &settings, now + S(1)));
        assert_eq!(breaker.gate(now + S(1)), Gate::Resting { until: now + S(10) });
        succeed(&mut breaker, &settings, now + S(1));
        assert_eq!(breaker.gate(now + S(1)), Gate::Trial);
    }

    #[test]
    fn a_rejected_credential_needs_two_failures() {
        let (settings, now) = (settings(), Instant::now());
        let mut breaker = Breaker::default();
        let pass = breaker.enter(now);
        assert!(!breaker.fail(pass, Cause::Credential, &settings, CENTRE, now));
        assert!(breaker.fail(pass, Cause::Credential, &settings, CENTRE, now));
    }

    #[test]
    fn probes_bring_it_back_but_hide_no_failure() {
        let (settings, now) = (settings(), Instant::now());
        let mut breaker = ejected(&settings, now);
        breaker.probed(Ok(()), &settings, CENTRE, now + S(5));
        assert_eq!(breaker.gate(now + S(5)), Gate::Resting { until: now + S(10) });
        breaker.probed(Ok(()), &settings, CENTRE, now + S(10));
        breaker.probed(Ok(()), &settings, CENTRE, now + S(10));
        assert_eq!(breaker.gate(now + S(10)), Gate::Open { share: 0.1 });
        for _ in 1..settings.failures {
            assert!(!fail(&mut breaker, &settings, now + S(10)));
            breaker.probed(Ok(()), &settings, CENTRE, now + S(10));
        }
        assert!(fail(&mut breaker, &settings, now + S(10)));
    }

    #[test]
    fn what_probes_have_seen_go_they_see_come_back() {
        let (settings, now) = (settings(), Instant::now());
        let mut breaker = ejected(&settings, now);
        assert!(!breaker.probed(Err(Cause::Error), &settings, CENTRE, now + S(1)));
        assert!(matches!(breaker.gate(now + S(1)), Gate::Resting { .. }));
        breaker.probed(Ok(()), &settings, CENTRE, now + S(2));
        assert_eq!(breaker.gate(now + S(2)), Gate::Trial);
        breaker.probed(Ok(()), &settings, CENTRE, now + S(3));
        assert_eq!(breaker.gate(now + S(3)), Gate::Open { share: 0.1 });
    }

    #[test]
    fn probes_eject_when_several_in_a_row_fail() {
        let (settings, now) = (settings(), Instant::now());
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            for _ in 1..PROBE_FAILURES {
                assert!(!breaker.probed(Err(Cause::Timeout), &settings, CENTRE, now));
            }
            breaker.probed(Ok(()), &settings, CENTRE, now);
        }
        assert_eq!((breaker.gate(now), breaker.failures()), (Gate::Open { share: 1.0 }, 0));
        for _ in 1..PROBE_FAILURES {
            breaker.probed(Err(Cause::Timeout), &settings, CENTRE, now);
        }
        assert!(breaker.probed(Err(Cause::Timeout), &settings, CENTRE, now));
        // A rest that probes have begun, a probe that fails at its end begins again.
        assert!(breaker.probed(Err(Cause::Timeout), &settings, CENTRE, now + S(10)));
        let never = Settings { failures: 0, ..settings };
        let mut breaker = Breaker::default();
        assert!(!breaker.probed(Err(Cause::Credential), &never, CENTRE, now));
        assert!(breaker.probed(Err(Cause::Credential), &never, CENTRE, now));
    }

    proptest! {
        #[test]
        fn never_two_trials_and_never_a_longer_rest_than_allowed(
            steps in proptest::collection::vec((0_u8..5, 0_u64..20_000, any::<prop::sample::Index>(), 0.0..1.0_f64), 1..200),
        ) {
            let settings = settings();
            let mut now = Instant::now();
            let mut breaker = Breaker::default();
            let mut flying: Vec<Pass> = Vec::new();
            for (kind, wait, index, random) in steps {
                now += Duration::from_millis(wait);
                let pass = if flying.is_empty() { None } else { Some(flying.remove(index.index(flying.len()))) };
                match (kind, pass) {
                    (0, Some(pass)) => breaker.succeed(pass, &settings, now),
                    (1, Some(pass)) => { breaker.fail(pass, Cause::Error, &settings, random, now); }
                    (2, Some(pass)) => breaker.leave(pass),
                    (_, pass) => {
                        flying.extend(pass);
                        flying.push(breaker.enter(now));
                    }
                }
                let trials = flying.iter().filter(|pass| pass.trial && pass.epoch == breaker.epoch).count();
                prop_assert!(trials <= 1);
                match breaker.gate(now) {
                    Gate::Open { share } => prop_assert!((0.1..=1.0).contains(&share)),
                    Gate::Resting { until } => prop_assert!(until > now && until <= now + settings.rest_max),
                    Gate::Trial => prop_assert_eq!(trials, 0),
                }
            }
        }
    }
}
