//! What was chosen for a session's last turn, for requests that are no turn of the user's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::generations::Generations;

/// An agent that works on a turn for longer than this is chosen for anew.
const KEEP: Duration = Duration::from_secs(60 * 60);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// In the order in which they are asked; none where nothing fitted, and the client's own model answers.
    pub names: Vec<Arc<str>>,
    /// The preference that the turn matched.
    pub route: Option<Arc<str>>,
}

#[derive(Default)]
pub(crate) struct Choices(Mutex<Generations<u64, (Choice, Instant)>>);

impl Choices {
    pub fn last(&self, place: u64, now: Instant) -> Option<Choice> {
        self.lock(|choices| {
            let (choice, since) = choices.get(&place)?;
            (now.saturating_duration_since(*since) < KEEP).then(|| choice.clone())
        })
    }

    pub fn keep(&self, place: u64, choice: Choice, most: usize, now: Instant) {
        self.lock(|choices| {
            choices.insert(place, (choice, now), most);
        });
    }

    fn lock<T>(&self, work: impl FnOnce(&mut Generations<u64, (Choice, Instant)>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(name: &str) -> Choice {
        Choice { names: vec![name.into()], route: None }
    }

    #[test]
    fn remembers_for_its_time_and_no_more_than_it_may() {
        let (choices, now) = (Choices::default(), Instant::now());
        choices.keep(1, choice("a"), 4, now);
        choices.keep(1, choice("b"), 4, now);
        assert_eq!(choices.last(1, now), Some(choice("b")));
        assert_eq!(choices.last(1, now + KEEP), None);
        for place in 2..100 {
            choices.keep(place, choice("c"), 4, now);
        }
        assert_eq!(choices.last(1, now), None);
        assert!(choices.last(99, now).is_some());
        assert!(choices.lock(|choices| choices.values().count()) <= 4);
    }
}
