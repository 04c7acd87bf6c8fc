//! The calls to agents that are under way, by trace. An agent that hands on its `traceparent` but not its context is known, by
//! its token, to work for one of those that it has under way in that trace; for which of them, nobody can tell.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::log::RequestId;

/// One for the plane: calls outlive the snapshot that they began with.
#[derive(Default)]
pub(crate) struct Trails(Mutex<HashMap<Arc<str>, Vec<Step>>>);

struct Step {
    id: RequestId,
    /// Who works on it, the one that is asked at the end.
    agents: Vec<Arc<str>>,
    guessed: bool,
}

/// A call is under way as long as this lives.
pub(crate) struct Trail {
    trails: Arc<Trails>,
    trace: Arc<str>,
    id: RequestId,
}

impl Trails {
    /// `guessed` says that who is before the last of `agents` is known by the trace alone.
    pub fn enter(
        self: &Arc<Trails>,
        trace: &str,
        id: RequestId,
        agents: Vec<Arc<str>>,
        guessed: bool,
    ) -> Trail {
        let trace: Arc<str> = trace.into();
        self.steps(|steps| steps.entry(trace.clone()).or_default().push(Step { id, agents, guessed }));
        Trail { trails: self.clone(), trace, id }
    }

    /// Who is on the way to a call that `agent` has under way, the agent itself at the end: the shortest way of those that
    /// `fit`, or else the shortest of all. `None` when it has none under way in the trace.
    pub fn way(&self, trace: &str, agent: &str, fit: impl Fn(&[Arc<str>]) -> bool) -> Option<Vec<Arc<str>>> {
        self.steps(|steps| {
            let here = steps.get(trace)?.iter().filter(|step| step.asks(agent));
            here.map(|step| &step.agents).min_by_key(|way| (!fit(way), way.len())).cloned()
        })
    }

    /// How many calls to the agent are under way in the trace without anybody knowing for whom, and how many to any agent of
    /// which that is known.
    pub fn guessed_and_known(&self, trace: &str, agent: &str) -> (usize, usize) {
        self.steps(|steps| {
            let here = steps.get(trace).map(Vec::as_slice).unwrap_or_default();
            let guessed = here.iter().filter(|step| step.guessed && step.asks(agent)).count();
            (guessed, here.iter().filter(|step| !step.guessed).count())
        })
    }

    fn steps<T>(&self, with: impl FnOnce(&mut HashMap<Arc<str>, Vec<Step>>) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Step {
    fn asks(&self, agent: &str) -> bool {
        self.agents.last().is_some_and(|last| **last == *agent)
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.trails.steps(|steps| {
            let Some(here) = steps.get_mut(&self.trace) else { return };
            if let Some(at) = here.iter().position(|step| step.id == self.id) {
                here.swap_remove(at);
            }
            if here.is_empty() {
                steps.remove(&self.trace);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(text: &str) -> Vec<Arc<str>> {
        text.split(' ').map(Into::into).collect()
    }

    #[test]
    fn the_shortest_way_that_fits_is_taken_and_nothing_is_left_behind() {
        let trails = Arc::new(Trails::default());
        let fits = |agents: &[Arc<str>]| !agents.iter().any(|agent| &**agent == "a");
        assert_eq!(trails.way("t", "b", fits), None);
        let short = trails.enter("t", RequestId(1), way("a b"), false);
        assert_eq!(trails.way("t", "b", fits), Some(way("a b")));
        let long = trails.enter("t", RequestId(2), way("c d b"), true);
        assert_eq!(trails.way("t", "b", fits), Some(way("c d b")));
        assert_eq!(trails.way("t", "d", fits), None);
        assert_eq!(trails.way("another", "b", fits), None);
        assert_eq!(trails.guessed_and_known("t", "b"), (1, 1));
        assert_eq!(trails.guessed_and_known("t", "a"), (0, 1));
        drop(long);
        assert_eq!(trails.way("t", "b", fits), Some(way("a b")));
        drop(short);
        assert!(trails.steps(|steps| steps.is_empty()));
    }
}
