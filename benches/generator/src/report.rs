//! What one run of the client counted, and its JSON line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::histogram::Histogram;

/// A silence inside a stream that a person would notice.
const STALL: Duration = Duration::from_millis(200);

pub struct Report {
    /// Only what ends inside this window is measured.
    pub from: Instant,
    pub until: Instant,
    requests: u64,
    /// Every answer, before and after the window as well: what CPU time is divided by.
    completed: u64,
    tokens: u64,
    tokens_relayed: u64,
    bytes: u64,
    stalls: u64,
    connects: u64,
    unfinished: u64,
    held: usize,
    errors: BTreeMap<String, u64>,
    latency: Histogram,
    first_token: Histogram,
    gap: Histogram,
    delay: Histogram,
}

impl Report {
    pub fn new(from: Instant, until: Instant) -> Self {
        Self {
            from,
            until,
            requests: 0,
            completed: 0,
            tokens: 0,
            tokens_relayed: 0,
            bytes: 0,
            stalls: 0,
            connects: 0,
            unfinished: 0,
            held: 0,
            errors: BTreeMap::new(),
            latency: Histogram::new(),
            first_token: Histogram::new(),
            gap: Histogram::new(),
            delay: Histogram::new(),
        }
    }

    fn measures(&self, now: Instant) -> bool {
        self.from <= now && now < self.until
    }

    pub fn connected(&mut self) {
        self.connects += 1;
    }

    pub fn answered(&mut self, now: Instant, latency: Duration) {
        self.completed += 1;
        if self.measures(now) {
            self.requests += 1;
            self.latency.add(latency);
        }
    }

    pub fn received(&mut self, now: Instant, bytes: usize) {
        if self.measures(now) {
            self.bytes += bytes as u64;
        }
    }

    pub fn first_token(&mut self, now: Instant, wait: Duration) {
        if self.measures(now) {
            self.first_token.add(wait);
        }
    }

    /// One token; `gap` since the one before it, `delay` since the mock wrote it, where they are known.
    pub fn token(&mut self, now: Instant, gap: Option<Duration>, delay: Option<Duration>) {
        self.tokens_relayed += 1;
        if !self.measures(now) {
            return;
        }
        self.tokens += 1;
        if let Some(gap) = gap {
            self.gap.add(gap);
            self.stalls += u64::from(gap > STALL);
        }
        if let Some(delay) = delay {
            self.delay.add(delay);
        }
    }

    /// Errors count whenever they happen: a failure during the warm-up is a failure.
    pub fn failed(&mut self, kind: String) {
        *self.errors.entry(kind).or_default() += 1;
    }

    /// How many requests were open at the end of the window.
    pub fn held(&mut self, open: usize) {
        self.held = open;
    }

    /// A request that was still open when the run ended, silent for `silence` if it was a stream.
    pub fn left_open(&mut self, silence: Option<Duration>) {
        self.unfinished += 1;
        self.stalls += u64::from(silence.is_some_and(|silence| silence > STALL));
    }

    pub fn json(&self) -> String {
        let seconds = (self.until - self.from).as_secs_f64();
        #[expect(clippy::cast_precision_loss)]
        let per_second = |count: u64| count as f64 / seconds;
        let mut errors = String::new();
        for (kind, count) in &self.errors {
            let comma = if errors.is_empty() { "" } else { "," };
            // Kinds are our own words and status numbers: nothing in them needs an escape.
            let _ = write!(errors, "{comma}\"{kind}\":{count}");
        }
        format!(
            r#"{{"requests":{},"requests_per_second":{:.1},"seconds":{seconds},"completed":{},"unfinished":{},"held":{},"errors":{{{errors}}},"connects":{},"bytes":{},"latency_us":{},"tokens":{},"tokens_per_second":{:.1},"tokens_relayed":{},"stalls":{},"first_token_us":{},"token_gap_us":{},"token_delay_us":{}}}"#,
            self.requests,
            per_second(self.requests),
            self.completed,
            self.unfinished,
            self.held,
            self.connects,
            self.bytes,
            self.latency.json(),
            self.tokens,
            per_second(self.tokens),
            self.tokens_relayed,
            self.stalls,
            self.first_token.json(),
            self.gap.json(),
            self.delay.json(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_window_is_measured_but_every_error_counts() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut report = Report::new(start + second, start + 2 * second);
        report.answered(start, second);
        report.answered(start + second, second);
        report.answered(start + 2 * second, second);
        report.failed("closed".to_owned());
        report.token(start + second, Some(second), None);
        let json = report.json();
        assert!(
            json.starts_with(r#"{"requests":1,"requests_per_second":1.0,"seconds":1,"completed":3,"#),
            "{json}"
        );
        assert!(json.contains(r#""errors":{"closed":1}"#) && json.contains(r#""stalls":1"#), "{json}");
    }
}
