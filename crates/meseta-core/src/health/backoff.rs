//! How long to wait before a retry.

use std::time::Duration;

use super::random::fraction;

/// Full jitter: anything between nothing and a ceiling that doubles with each retry (`attempt` 0 is the first one), so
/// that requests which failed together do not come back together.
pub(crate) fn backoff(attempt: u32, base: Duration, max: Duration, random: u64) -> Duration {
    let ceiling = 2u32.checked_pow(attempt).map_or(max, |factor| base.saturating_mul(factor)).min(max);
    ceiling.mul_f64(fraction(random))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::health::random::Random;

    #[test]
    fn the_mean_doubles_with_each_retry_up_to_the_ceiling() {
        let mut random = Random::new(7);
        let (base, max) = (Duration::from_millis(100), Duration::from_millis(500));
        for (attempt, ceiling) in [(0, 100.0), (1, 200.0), (2, 400.0), (3, 500.0), (4000, 500.0)] {
            let total: f64 =
                (0..4000).map(|_| backoff(attempt, base, max, random.next()).as_secs_f64() * 1000.0).sum();
            let mean = total / 4000.0;
            assert!((mean - ceiling / 2.0).abs() < ceiling * 0.03, "attempt {attempt}: {mean} ms");
        }
    }

    proptest! {
        #[test]
        fn never_longer_than_allowed(attempt: u32, base: u32, max: u32, random: u64) {
            let max = Duration::from_millis(u64::from(max));
            prop_assert!(backoff(attempt, Duration::from_millis(u64::from(base)), max, random) <= max);
        }
    }
}
