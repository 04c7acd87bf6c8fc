//! How soon models begin to answer, for preferences that want the fastest: what was measured, and who is to be measured.
//!
//! By model and not by target, as one target may stand for all models of a provider. One table per plane; it outlives
//! reloads. Nothing in it reads a clock.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::generations::Generations;
use crate::pool::Member;

/// Models that are known at once.
const MOST: usize = 4096;
/// The latest times of a model, whose median counts.
const SAMPLES: usize = 31;
/// Times that must have been measured before they say anything: the first call is often slow.
const ENOUGH: usize = 3;
/// What was measured longer ago is old: it still counts, and is measured again.
const OLD: Duration = Duration::from_secs(5 * 60);
/// A call that was to measure a model and has brought nothing in this time is forgotten, and another one may.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Paces {
    /// Somebody has asked for the fastest: until then nothing is kept.
    wanted: AtomicBool,
    table: Mutex<Generations<u64, Pace>>,
}

/// Which models a request may be sent to so that they are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trial {
    /// The request makes no call.
    Nobody,
    /// Those that were never measured.
    New,
    /// Those that were measured long ago besides.
    NewAndOld,
}

#[derive(Debug, Default)]
struct Pace {
    /// Seconds to the first token, the latest last.
    times: VecDeque<f64>,
    /// There were enough of them.
    known: bool,
    /// When the latest was measured.
    measured: Option<Instant>,
    /// A request was sent to measure it, and has not done so yet.
    tried: Option<Instant>,
}

impl Paces {
    /// A model has begun to answer after so long, or was not waited for any longer.
    pub fn observe(&self, member: &Member, after: Duration, now: Instant) {
        if self.wanted.load(Ordering::Relaxed) {
            self.lock(|table| {
                if let Some(pace) = table.get_mut(&place(member)) {
                    pace.observe(after, now);
                }
            });
        }
    }

    /// Half of the latest calls began sooner: seconds. Of several models the best, and `None` where none is known.
    pub fn median(&self, members: &[Member]) -> Option<f64> {
        let known = |table: &mut Generations<u64, Pace>| {
            let pace = |member| table.get(&place(member));
            members.iter().filter_map(pace).filter_map(Pace::median).min_by(f64::total_cmp)
        };
        self.lock(known)
    }

    /// Whether the request is to go to one of these models first, so that it is measured: by one call at a time.
    pub fn try_out(&self, members: &[Member], trial: Trial, now: Instant) -> bool {
        if trial == Trial::Nobody || members.is_empty() {
            return false;
        }
        self.wanted.store(true, Ordering::Relaxed);
        self.lock(|table| {
            let places: Vec<u64> = members.iter().map(place).collect();
            let pace = |place: &u64| table.get(place);
            let known: Vec<&Pace> = places.iter().filter_map(pace).filter(|pace| pace.known).collect();
            let due = match known.as_slice() {
                [] => true,
                known => trial == Trial::NewAndOld && known.iter().all(|pace| pace.is_old(now)),
            };
            let under_way = places.iter().all(|place| pace(place).is_some_and(|pace| pace.is_tried(now)));
            if !due || under_way {
                return false;
            }
            for place in places {
                table.entry(place, MOST).tried = Some(now);
            }
            true
        })
    }

    fn lock<T>(&self, work: impl FnOnce(&mut Generations<u64, Pace>) -> T) -> T {
        work(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pace {
    fn observe(&mut self, after: Duration, now: Instant) {
        if self.is_old(now) {
            // What was before the pause says nothing of now.
            self.times.clear();
        }
        if self.times.len() == SAMPLES {
            self.times.pop_front();
        }
        self.times.push_back(after.as_secs_f64());
        self.known |= self.times.len() >= ENOUGH;
        self.measured = Some(now);
        self.tried = None;
    }

    fn median(&self) -> Option<f64> {
        let mut times: Vec<f64> = self.times.iter().copied().collect();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().filter(|_| self.known)
    }

    fn is_old(&self, now: Instant) -> bool {
        self.measured.is_some_and(|measured| now.saturating_duration_since(measured) >= OLD)
    }

    fn is_tried(&self, now: Instant) -> bool {
        self.tried.is_some_and(|tried| now.saturating_duration_since(tried) < PATIENCE)
    }
}

/// The same after a reload, and another one where the target's address is another.
fn place(member: &Member) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&*member.target.name, &*member.model, member.target.health_settings.place).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn half_of_the_latest_calls_began_sooner() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for (milliseconds, expected) in [(5000, None), (100, None), (300, Some(0.3)), (100, Some(0.3))] {
            pace.observe(MS(milliseconds), now);
            assert_eq!(pace.median(), expected);
        }
        for _ in 0..SAMPLES {
            pace.observe(MS(200), now);
        }
        assert_eq!((pace.median(), pace.times.len()), (Some(0.2), SAMPLES));
        // After a pause what was before it says nothing.
        pace.observe(MS(700), now + OLD);
        assert_eq!(pace.median(), Some(0.7));
    }

    #[test]
    fn no_more_models_are_known_than_there_is_room_for() {
        let mut table = Generations::<u64, Pace>::default();
        let now = Instant::now();
        table.entry(0, MOST).observe(MS(1), now);
        for place in 1..10 * MOST as u64 {
            table.entry(place, MOST);
            // One that is looked for now and then is not forgotten.
            if place % 1000 == 0 {
                assert_eq!(table.entry(0, MOST).times.len(), 1);
            }
        }
        assert!(table.values().count() <= MOST);
    }
}
