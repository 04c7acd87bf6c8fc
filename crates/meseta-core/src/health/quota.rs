//! What a provider's headers say of one key, obeyed before the next call.

use std::time::{Duration, Instant};

use meseta_wire::limits::{ProviderLimits, Window};

/// No header may take a key away for longer.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long a key rests that was refused without a word of when to come back; doubles with each time in a row.
const UNSAID: Duration = Duration::from_secs(1);
const UNSAID_MAX: Duration = Duration::from_secs(60);

/// What a call had seen of its key when it began. The provider's numbers in its answer are of that moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    /// Calls begun on this key up to and with this one.
    requests: u64,
    /// Tokens that they were thought to take.
    tokens: u64,
}

#[derive(Debug, Default)]
pub(super) struct Quota {
    begun: Mark,
    until: Option<Instant>,
    /// Refusals in a row that named no time.
    refusals: u32,
    /// The number of the last call that had begun when the key was refused: those before it bring no news.
    refused_at: u64,
    requests: Option<Known>,
    tokens: Option<Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    limit: Option<u64>,
    remaining: u64,
    resets: Instant,
    mark: Mark,
    /// The number of the latest call that has reported on this window.
    latest: u64,
}

impl Quota {
    pub fn begin(&mut self, tokens: u64) -> Mark {
        self.begun.requests = self.begun.requests.saturating_add(1);
        self.begun.tokens = self.begun.tokens.saturating_add(tokens);
        self.begun
    }

    /// Until when a call of so many tokens would be refused.
    pub fn limited(&self, tokens: u64, now: Instant) -> Option<Instant> {
        let exhausted = |known: &Option<Known>, need: u64, used: fn(Mark) -> u64| {
            let known = known.as_ref().filter(|known| known.resets > now)?;
            // What is larger than the whole limit would wait for ever: it may go when the window is full.
            let need = need.max(1).min(known.limit.unwrap_or(u64::MAX));
            (known.left(used(self.begun), used(known.mark)) < need).then_some(known.resets)
        };
        let refused = self.until.filter(|until| *until > now);
        let requests = exhausted(&self.requests, 1, |mark| mark.requests);
        let tokens = exhausted(&self.tokens, tokens, |mark| mark.tokens);
        refused.max(requests).max(tokens)
    }

    pub fn report(&mut self, limits: &ProviderLimits, mark: Mark, now: Instant) {
        let begun = self.begun;
        let note = |known: &mut Option<Known>, window: Option<Window>, used: fn(Mark) -> u64| {
            let Some(window) = window else { return };
            let wait = window.reset.or(limits.retry_after).unwrap_or(UNSAID).min(LONGEST);
            let mut fresh = Known {
                limit: window.limit,
                remaining: window.remaining,
                resets: now + wait,
                mark,
                latest: mark.requests,
            };
            if let Some(old) = known.as_ref().filter(|old| old.resets > now && old.latest > mark.requests) {
                // An answer to an earlier call that arrives late knows less: only its bad news is news.
                if fresh.left(used(begun), used(mark)) >= old.left(used(begun), used(old.mark)) {
                    return;
                }
                fresh.latest = old.latest;
            }
            *known = Some(fresh);
        };
        note(&mut self.requests, limits.requests, |mark| mark.requests);
        note(&mut self.tokens, limits.tokens, |mark| mark.tokens);
    }

    /// The provider has refused a call for now.
    pub fn refuse(&mut self, until: Option<Instant>, mark: Mark, now: Instant) {
        // Many calls at once are refused together: that is one refusal.
        let news = mark.requests > self.refused_at || self.until.is_none();
        let until = match until {
            Some(until) => until.min(now + LONGEST),
            None if news => {
                let wait = UNSAID.saturating_mul(1 << self.refusals.min(6)).min(UNSAID_MAX);
                self.refusals = self.refusals.saturating_add(1);
                now + wait
            }
            None => return,
        };
        self.refused_at = self.begun.requests;
        self.until = self.until.max(Some(until));
    }

    /// A call has succeeded.
    pub fn succeed(&mut self, mark: Mark) {
        if mark.requests > self.refused_at {
            self.refusals = 0;
            self.until = None;
        }
    }

    pub fn forget(&mut self) {
        *self = Quota { begun: self.begun, ..Quota::default() };
    }
}

impl Known {
    fn left(&self, used: u64, used_then: u64) -> u64 {
        self.remaining.saturating_sub(used.saturating_sub(used_then))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn window(remaining: u64, reset: u64) -> Window {
        Window { limit: None, remaining, reset: Some(S(reset)) }
    }

    fn requests(remaining: u64, reset: u64) -> ProviderLimits {
        ProviderLimits { requests: Some(window(remaining, reset)), ..ProviderLimits::default() }
    }

    fn tokens(remaining: u64, reset: u64) -> ProviderLimits {
        ProviderLimits { tokens: Some(window(remaining, reset)), ..ProviderLimits::default() }
    }

    #[test]
    fn nothing_left_is_obeyed_before_the_next_call() {
        let now = Instant::now();
        let mut quota = Quota::default();
        let first = quota.begin(10);
        assert_eq!(quota.limited(10, now), None);
        quota.report(&requests(0, 20), first, now);
        assert_eq!(quota.limited(0, now), Some(now + S(20)));
        assert_eq!(quota.limited(0, now + S(20)), None);
    }

    #[test]
    fn calls_begun_since_count_against_what_is_left() {
        let now = Instant::now();
        let mut quota = Quota::default();
        let first = quota.begin(10);
        quota.begin(10);
        quota.report(&requests(2, 20), first, now);
        assert_eq!(quota.limited(0, now), None);
        quota.begin(10);
        assert_eq!(quota.limited(0, now), Some(now + S(20)));
    }

    #[test]
    fn tokens_are_compared_with_what_the_call_needs() {
        let now = Instant::now();
        let mut quota = Quota::default();
        let first = quota.begin(100);
        quota.report(&tokens(1000, 6), first, now);
        assert_eq!(quota.limited(1000, now), None);
        assert_eq!(quota.limited(1001, now), Some(now + S(6)));
        quota.begin(600);
        assert_eq!(quota.limited(401, now), Some(now + S(6)));
    }

    #[test]
    fn what_is_larger_than_the_limit_may_go_when_the_window_is_full() {
        let now = Instant::now();
        let mut quota = Quota::default();
        let first = quota.begin(1);
        let full = Window { limit: Some(1000), remaining: 1000, reset: Some(S(6)) };
        quota.report(&ProviderLimits { tokens: Some(full), ..ProviderLimits::default() }, first, now);
        assert_eq!(quota.limited(50_000, now), None);
        quota.begin(1);
        assert_eq!(quota.limited(50_000, now), Some(now + S(6)));
    }

    #[test]
    fn a_late_answer_to_an_early_call_brings_only_bad_news() {
        let now = Instant::now();
        let mut quota = Quota::default();
        let early = quota.begin(0);
        let late = quota.begin(0);
        quota.report(&requests(0, 20), late, now);
        quota.report(&requests(5, 20), early, now);
        assert_eq!(quota.limited(0, now), Some(now + S(20)));
        // But after the window it does count.
        quota.report(&requests(5, 20), early, now + S(30));
        assert_eq!(quota.limited(0, now + S(30)), None);
        quota.report(&requests(9, 20), late, now + S(30));
        quota.report(&requests(0, 20), early, now + S(30));
        assert_eq!(quota.limited(0, now + S(31)), Some(now + S(50)));
    }

    #[test]
    fn no_header_takes_a_key_away_for_longer_than_an_hour() {
        let now = Instant::now();
        let mut quota = Quota::default();
        let call = quota.begin(0);
        quota.report(&requests(0, u64::MAX), call, now);
        quota.refuse(Some(now + S(86_400)), call, now);
        assert_eq!(quota.limited(0, now), Some(now + S(3600)));
    }

    #[test]
    fn refusals_without_a_time_double_and_a_success_ends_them() {
        let mut now = Instant::now();
        let mut quota = Quota::default();
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            let call = quota.begin(0);
            let companion = quota.begin(0);
            quota.refuse(None, call, now);
            // Refused together with the first: no second refusal.
            quota.refuse(None, companion, now);
            assert_eq!(quota.limited(0, now), Some(now + S(wait)));
            quota.succeed(companion);
            assert_eq!(quota.limited(0, now), Some(now + S(wait)), "it began before the refusal");
            now += S(wait);
        }
        let call = quota.begin(0);
        quota.succeed(call);
        let call = quota.begin(0);
        quota.refuse(None, call, now);
        assert_eq!(quota.limited(0, now), Some(now + S(1)));
    }

    proptest! {
        #[test]
        fn no_numbers_break_it(
            steps in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), 0_u8..4), 1..50),
        ) {
            let mut now = Instant::now();
            let mut quota = Quota::default();
            for (first, second, third, kind) in steps {
                now += S(first % 100);
                let mark = quota.begin(second);
                let window = Some(Window { limit: Some(first), remaining: second, reset: Some(S(third)) });
                match kind {
                    0 => quota.report(&ProviderLimits { requests: window, tokens: window, ..ProviderLimits::default() }, mark, now),
                    1 => quota.refuse(None, mark, now),
                    2 => quota.refuse(now.checked_add(S(third)), mark, now),
                    _ => quota.succeed(mark),
                }
                if let Some(until) = quota.limited(third, now) {
                    prop_assert!(until > now && until <= now + LONGEST);
                }
            }
        }
    }
}
