//! How often each step decided, and how often it passed and why.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::select::decision::{Decision, Reason, Step};

const STEPS: usize = Step::ALL.len();
/// One more for what was decided.
const OUTCOMES: usize = Reason::ALL.len() + 1;

#[derive(Debug, Default)]
pub(crate) struct Counters([[AtomicU64; OUTCOMES]; STEPS]);

impl Counters {
    pub(super) fn count(&self, decision: &Decision) {
        self.add(decision.step, Reason::ALL.len());
        for (step, reason) in &decision.passed {
            // What is off has done nothing.
            if *reason != Reason::Off {
                self.add(*step, *reason as usize);
            }
        }
    }

    fn add(&self, step: Step, outcome: usize) {
        if let Some(count) = self.0.get(step as usize).and_then(|outcomes| outcomes.get(outcome)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Steps, what became of the question there (`chosen`, or the reason why it passed), and how often; without those
    /// that never happened.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let outcomes = || Reason::ALL.iter().map(|reason| reason.as_str()).chain(["chosen"]);
        Step::ALL
            .iter()
            .zip(&self.0)
            .flat_map(move |(step, counts)| {
                outcomes()
                    .zip(counts)
                    .map(|(outcome, count)| (step.as_str(), outcome, count.load(Ordering::Relaxed)))
            })
            .filter(|(_, _, count)| *count > 0)
    }
}
