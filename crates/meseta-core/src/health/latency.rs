//! How long a target takes to its first token: one number that rises at once, and the spread of all of them.

use std::time::{Duration, Instant};

/// A better time replaces a worse one over this long.
const DECAY: f64 = 10.0;

/// An average that believes bad news at once and good news slowly (peak EWMA).
#[derive(Debug, Default)]
pub(super) struct PeakAverage {
    known: Option<(f64, Instant)>,
}

impl PeakAverage {
    pub fn observe(&mut self, sample: Duration, now: Instant) {
        let sample = sample.as_secs_f64();
        let value = match self.known {
            Some((value, at)) if sample < value => {
                let kept = (-now.saturating_duration_since(at).as_secs_f64() / DECAY).exp();
                value * kept + sample * (1.0 - kept)
            }
            _ => sample,
        };
        self.known = Some((value, now));
    }

    /// After a while without news it sinks, or a target that was slow once would never be asked again.
    pub fn read(&self, now: Instant) -> Option<Duration> {
        let (value, at) = self.known?;
        let silent = (now.saturating_duration_since(at).as_secs_f64() - DECAY).max(0.0);
        Duration::try_from_secs_f64(value * (-silent / DECAY).exp()).ok()
    }
}

/// Buckets from one millisecond on, eight to a doubling: an error of at most nine percent, up to seventeen minutes.
const BUCKETS: usize = 160;
const PER_DOUBLING: f64 = 8.0;
/// What was measured this long ago counts half.
const HALF_LIFE: Duration = Duration::from_secs(300);
/// With fewer samples a quantile says nothing.
const MINIMUM_WEIGHT: f64 = 20.0;
/// Shares of a weight, and weights that have faded, are a little more or less than what they should be.
const ROUNDING: f64 = 1e-6;

#[derive(Debug)]
pub(super) struct Quantiles {
    weights: [f64; BUCKETS],
    total: f64,
    halved: Option<Instant>,
}

impl Default for Quantiles {
    fn default() -> Quantiles {
        Quantiles { weights: [0.0; BUCKETS], total: 0.0, halved: None }
    }
}

impl Quantiles {
    pub fn observe(&mut self, sample: Duration, now: Instant) {
        let since = *self.halved.get_or_insert(now);
        let age = now.saturating_duration_since(since);
        if age >= HALF_LIFE {
            let factor = 0.5_f64.powf(age.as_secs_f64() / HALF_LIFE.as_secs_f64());
            self.weights.iter_mut().for_each(|weight| *weight *= factor);
            self.total = self.weights.iter().sum();
            self.halved = Some(now);
        }
        let milliseconds = (sample.as_secs_f64() * 1000.0).max(1.0);
        // Never negative, as nothing is under a millisecond here; the last bucket takes all that is longer.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let bucket = ((milliseconds.log2() * PER_DOUBLING) as usize).min(BUCKETS - 1);
        if let Some(weight) = self.weights.get_mut(bucket) {
            *weight += 1.0;
            self.total += 1.0;
        }
    }

    pub fn read(&self, quantile: f64) -> Option<Duration> {
        if self.total < MINIMUM_WEIGHT - ROUNDING {
            return None;
        }
        let wanted = self.total * quantile.clamp(0.0, 1.0);
        let mut below = 0.0;
        let mut lower = 1.0;
        let mut found = lower;
        for weight in self.weights {
            if weight > 0.0 {
                let share = ((wanted - below) / weight).clamp(0.0, 1.0);
                found = lower * (share / PER_DOUBLING).exp2();
                below += weight;
                if below >= wanted - ROUNDING {
                    break;
                }
            }
            lower *= (1.0 / PER_DOUBLING).exp2();
        }
        Duration::try_from_secs_f64(found / 1000.0).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn rises_at_once_and_sinks_slowly() {
        let start = Instant::now();
        let mut average = PeakAverage::default();
        assert_eq!(average.read(start), None);
        average.observe(MS(100), start);
        average.observe(MS(900), start + MS(10));
        assert_eq!(average.read(start + MS(10)), Some(MS(900)));
        average.observe(MS(100), start + MS(1010));
        let after_a_second = average.read(start + MS(1010)).unwrap();
        assert!(after_a_second > MS(800) && after_a_second < MS(850), "{after_a_second:?}");
        average.observe(MS(100), start + MS(60_000));
        assert!(average.read(start + MS(60_000)).unwrap() < MS(105));
    }

    #[test]
    fn without_news_it_sinks_too() {
        let start = Instant::now();
        let mut average = PeakAverage::default();
        average.observe(MS(1000), start);
        assert_eq!(average.read(start + MS(9_000)), Some(MS(1000)));
        assert!(average.read(start + MS(60_000)).unwrap() < MS(10));
    }

    #[test]
    fn old_hours_do_not_rule() {
        let start = Instant::now();
        let mut quantiles = Quantiles::default();
        for second in 0..3600 {
            quantiles.observe(MS(5000), start + MS(second * 1000));
        }
        for second in 3600..7200 {
            quantiles.observe(MS(100), start + MS(second * 1000));
        }
        assert!(quantiles.read(0.95).unwrap() < MS(110));
    }

    #[test]
    fn few_samples_say_nothing() {
        let now = Instant::now();
        let mut quantiles = Quantiles::default();
        for _ in 0..19 {
            quantiles.observe(MS(50), now);
        }
        assert_eq!(quantiles.read(0.5), None);
        quantiles.observe(MS(50), now);
        assert!(quantiles.read(0.5).is_some());
    }

    proptest! {
        #[test]
        fn a_quantile_is_within_a_bucket_of_the_true_one(
            mut samples in proptest::collection::vec(2_u64..900_000, 20..200),
            percent in 1_u32..100,
        ) {
            let now = Instant::now();
            let mut quantiles = Quantiles::default();
            for sample in &samples {
                quantiles.observe(MS(*sample), now);
            }
            samples.sort_unstable();
            let quantile = f64::from(percent) / 100.0;
            let rank = (samples.len() * percent as usize).div_ceil(100).max(1) - 1;
            let exact = MS(samples[rank]).as_secs_f64();
            let read = quantiles.read(quantile).unwrap().as_secs_f64();
            prop_assert!(read > exact / 1.1 && read < exact * 1.1, "{read} for {exact}");
        }

        #[test]
        fn any_sample_is_taken(seconds in any::<u64>(), quantile in any::<f64>()) {
            let now = Instant::now();
            let (mut quantiles, mut average) = (Quantiles::default(), PeakAverage::default());
            for _ in 0..25 {
                quantiles.observe(Duration::from_secs(seconds), now);
                average.observe(Duration::from_secs(seconds), now);
            }
            let _ = (quantiles.read(quantile), average.read(now));
        }
    }
}
