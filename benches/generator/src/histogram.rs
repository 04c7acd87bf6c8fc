//! Durations counted in logarithmic buckets: 128 per power of two, so a reported value is within
//! 0.4 % of the true one.

use std::time::Duration;

const SUB_BITS: u32 = 7;
const SUB: u64 = 1 << SUB_BITS;

pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum: u128,
    max: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self { counts: vec![0; ((64 - SUB_BITS as usize) + 1) << SUB_BITS], total: 0, sum: 0, max: 0 }
    }

    pub fn add(&mut self, value: Duration) {
        let nanos = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.sum += u128::from(nanos);
        self.max = self.max.max(nanos);
    }

    /// The JSON object of the report, in microseconds; null when nothing was counted.
    pub fn json(&self) -> String {
        if self.total == 0 {
            return "null".to_owned();
        }
        let quantile = |q| micros(self.quantile(q));
        let mean = u64::try_from(self.sum / u128::from(self.total)).unwrap_or(u64::MAX);
        format!(
            r#"{{"count":{},"mean":{},"p50":{},"p90":{},"p99":{},"p99.9":{},"max":{}}}"#,
            self.total,
            micros(mean),
            quantile(0.5),
            quantile(0.9),
            quantile(0.99),
            quantile(0.999),
            micros(self.max),
        )
    }

    /// The smallest counted value that `q` of all values do not exceed, in nanoseconds.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
    fn quantile(&self, q: f64) -> u64 {
        let rank = ((q * self.total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return middle(index as u64).min(self.max);
            }
        }
        self.max
    }
}

fn micros(nanos: u64) -> String {
    format!("{}.{:02}", nanos / 1000, nanos % 1000 / 10)
}

/// Values under `SUB` have a bucket each; above, the leading eight bits choose it.
fn bucket(nanos: u64) -> usize {
    let exponent = u64::from((u64::BITS - nanos.leading_zeros()).saturating_sub(SUB_BITS + 1));
    usize::try_from(exponent * SUB + (nanos >> exponent)).unwrap_or(0)
}

fn middle(bucket: u64) -> u64 {
    if bucket < 2 * SUB {
        return bucket;
    }
    let exponent = bucket / SUB - 1;
    ((bucket - exponent * SUB) << exponent) + (1 << exponent) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_within_one_percent() {
        for value in (0..60).flat_map(|shift| [1_u64 << shift, (1 << shift) + (1 << shift) / 3]) {
            let error = middle(bucket(value) as u64).abs_diff(value);
            assert!(error * 200 <= value, "{value}: off by {error}");
        }
        assert!(bucket(u64::MAX) < Histogram::new().counts.len());
    }

    #[test]
    fn quantiles_of_a_ramp() {
        let mut histogram = Histogram::new();
        for micros in 1..=1000 {
            histogram.add(Duration::from_micros(micros));
        }
        assert!(histogram.quantile(0.5).abs_diff(500_000) < 5_000);
        assert!(histogram.quantile(0.99).abs_diff(990_000) < 9_900);
        assert_eq!(histogram.max, 1_000_000);
        assert!(histogram.json().starts_with(r#"{"count":1000,"mean":500.50,"#));
    }
}
