//! How much more than what was asked for may be sent: retries as a share of traffic, hedges as a share of money.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A sum over the last `SLOTS × length`, in steps of one length.
#[derive(Debug)]
struct Recent<const SLOTS: usize> {
    length: Duration,
    /// Since when the newest slot counts.
    newest: Option<Instant>,
    /// The newest is last.
    slots: VecDeque<[f64; 2]>,
}

impl<const SLOTS: usize> Recent<SLOTS> {
    fn new(length: Duration) -> Recent<SLOTS> {
        Recent { length, newest: None, slots: std::iter::repeat_n([0.0; 2], SLOTS).collect() }
    }

    fn advance(&mut self, now: Instant) {
        let newest = *self.newest.get_or_insert(now);
        let passed = now.saturating_duration_since(newest).as_nanos() / self.length.as_nanos().max(1);
        for _ in 0..passed.min(SLOTS as u128) {
            self.slots.pop_front();
            self.slots.push_back([0.0; 2]);
        }
        if passed > 0 {
            let steps = u32::try_from(passed).unwrap_or(u32::MAX);
            self.newest = newest.checked_add(self.length.saturating_mul(steps)).or(Some(now));
        }
    }

    fn add(&mut self, which: usize, amount: f64) {
        if let Some(sum) = self.slots.back_mut().and_then(|slot| slot.get_mut(which)) {
            *sum += amount;
        }
    }

    fn sum(&self, which: usize) -> f64 {
        self.slots.iter().filter_map(|slot| slot.get(which)).sum()
    }
}

const EARNED: usize = 0;
const USED: usize = 1;
const SECONDS: usize = 10;

/// Retries may be a share of the requests of the last ten seconds and a few a second on top, so that an outage is not
/// multiplied by those who retry.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    percent: f64,
    /// What may be retried in ten seconds without any traffic.
    floor: f64,
    recent: Mutex<Recent<SECONDS>>,
}

impl RetryBudget {
    pub fn new(percent: f64, minimum_per_second: u32) -> RetryBudget {
        RetryBudget {
            percent: percent.max(0.0),
            floor: f64::from(minimum_per_second) * 10.0,
            recent: Mutex::new(Recent::new(Duration::from_secs(1))),
        }
    }

    /// A request has come: not for a retry of it.
    pub fn deposit(&self, now: Instant) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.advance(now);
        recent.add(EARNED, 1.0);
    }

    /// Whether one more retry may be made. It counts as made.
    pub fn withdraw(&self, now: Instant) -> bool {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.advance(now);
        // Shares of a hundred are not exact; a whole retry earned must be one that may be made.
        let allowed = recent.sum(EARNED) * self.percent / 100.0 + self.floor + 1e-9;
        let may = recent.sum(USED) + 1.0 <= allowed;
        if may {
            recent.add(USED, 1.0);
        }
        may
    }
}

/// What a call costs: money where the target has a price, else its tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Amount {
    Dollars(f64),
    Tokens(u64),
}

impl Amount {
    /// Nothing negative, nothing infinite: one wrong price must not open or close the cap for minutes.
    fn value(self) -> f64 {
        match self {
            Amount::Dollars(dollars) if dollars.is_finite() => dollars.max(0.0),
            Amount::Dollars(_) => 0.0,
            #[allow(clippy::cast_precision_loss)]
            Amount::Tokens(tokens) => tokens as f64,
        }
    }
}

/// Five minutes of spending, in steps of half a minute.
const STEPS: usize = 10;
const STEP: Duration = Duration::from_secs(30);

/// Hedging may cost a share of what was spent without it in the last five minutes. Money and tokens are not compared:
/// each has its own account.
#[derive(Debug)]
pub(crate) struct SpendCap {
    percent: f64,
    accounts: Mutex<[Recent<STEPS>; 2]>,
}

impl SpendCap {
    pub fn new(percent: f64) -> SpendCap {
        SpendCap { percent: percent.max(0.0), accounts: Mutex::new([Recent::new(STEP), Recent::new(STEP)]) }
    }

    /// An ordinary call has cost this.
    pub fn spent(&self, amount: Amount, now: Instant) {
        self.on(amount, now, |account| account.add(EARNED, amount.value()));
    }

    /// Whether a hedge that is thought to cost this may be sent. It counts as spent.
    pub fn reserve(&self, amount: Amount, now: Instant) -> bool {
        self.on(amount, now, |account| {
            let cost = amount.value();
            let may = account.sum(USED) + cost <= account.sum(EARNED) * self.percent / 100.0 + 1e-12;
            if may {
                account.add(USED, cost);
            }
            may
        })
    }

    fn on<T>(&self, amount: Amount, now: Instant, act: impl FnOnce(&mut Recent<STEPS>) -> T) -> T {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let [dollars, tokens] = &mut *accounts;
        let account = match amount {
            Amount::Dollars(_) => dollars,
            Amount::Tokens(_) => tokens,
        };
        account.advance(now);
        act(account)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn withdrawn(budget: &RetryBudget, now: Instant) -> usize {
        std::iter::repeat_with(|| budget.withdraw(now)).take_while(|may| *may).count()
    }

    #[test]
    fn without_traffic_there_is_the_floor() {
        let now = Instant::now();
        let budget = RetryBudget::new(20.0, 10);
        assert_eq!(withdrawn(&budget, now), 100);
        assert_eq!(withdrawn(&budget, now + MS(9_999)), 0);
        assert_eq!(withdrawn(&budget, now + MS(10_000)), 100);
    }

    #[test]
    fn traffic_earns_its_share_and_loses_it_with_time() {
        let now = Instant::now();
        let budget = RetryBudget::new(20.0, 0);
        assert!(!budget.withdraw(now));
        for _ in 0..100 {
            budget.deposit(now);
        }
        assert_eq!(withdrawn(&budget, now + MS(5_000)), 20);
        assert!(!budget.withdraw(now + MS(20_000)));
    }

    #[test]
    fn hedges_stay_under_their_share_of_money() {
        let now = Instant::now();
        let cap = SpendCap::new(5.0);
        assert!(!cap.reserve(Amount::Dollars(0.01), now));
        cap.spent(Amount::Dollars(1.0), now);
        assert!(cap.reserve(Amount::Dollars(0.04), now));
        assert!(!cap.reserve(Amount::Dollars(0.02), now));
        assert!(cap.reserve(Amount::Dollars(0.01), now));
        assert!(!cap.reserve(Amount::Tokens(1), now), "tokens have earned nothing");
        cap.spent(Amount::Tokens(1000), now);
        assert!(cap.reserve(Amount::Tokens(50), now));
        assert!(!cap.reserve(Amount::Tokens(1), now));
        assert!(!cap.reserve(Amount::Dollars(0.01), now + MS(400_000)), "what was spent is forgotten");
    }

    #[test]
    fn a_price_that_is_no_number_changes_nothing() {
        let now = Instant::now();
        let cap = SpendCap::new(5.0);
        cap.spent(Amount::Dollars(f64::NAN), now);
        cap.spent(Amount::Dollars(f64::INFINITY), now);
        assert!(!cap.reserve(Amount::Dollars(0.01), now));
    }

    proptest! {
        #[test]
        fn retries_never_exceed_share_and_floor(
            percent in 0_u32..100,
            floor in 0_u32..5,
            steps in proptest::collection::vec((0_u64..700, any::<bool>()), 1..300),
        ) {
            let budget = RetryBudget::new(f64::from(percent), floor);
            let mut now = Instant::now();
            let (mut deposits, mut made) = (Vec::new(), Vec::new());
            for (wait, retry) in steps {
                now += MS(wait);
                if !retry {
                    budget.deposit(now);
                    deposits.push(now);
                } else if budget.withdraw(now) {
                    made.push(now);
                    // Slots have edges: what is counted is at least nine and at most ten seconds old.
                    let lately = |times: &[Instant], seconds| {
                        times.iter().filter(|at| now.duration_since(**at) <= Duration::from_secs(seconds)).count()
                    };
                    let allowed = u32::try_from(lately(&deposits, 10) * percent as usize).unwrap() / 100 + floor * 10;
                    prop_assert!(lately(&made, 8) <= allowed as usize);
                }
            }
        }
    }
}
