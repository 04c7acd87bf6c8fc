//! Turns that wait for a tool of the client's. Who called it goes on with its result, and those who had answered before that
//! are not asked a second time: they may have acted.

use std::borrow::Borrow;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::conversations::Caller;
use crate::generations::Generations;

/// A client that works on a tool for longer than this begins anew.
const KEEP: Duration = Duration::from_secs(60 * 60);
/// Of all turns together, and of what was said in one.
const MOST_TURNS: usize = 16 * 1024;
const MOST_BYTES: usize = 32 * 1024 * 1024;
const MOST_SAID: usize = 256 * 1024;
const LONGEST_ID: usize = 256;

/// A turn at the moment when an agent called a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OpenTurn {
    /// Who called it, and who is still to be asked after that.
    pub agents: Vec<Arc<str>>,
    /// What others have said before.
    pub said: Vec<(Arc<str>, String)>,
}

/// Whose turn, and where.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub caller: Caller,
    pub listener: Arc<str>,
}

#[derive(Default)]
struct Table {
    entries: Generations<(Place, Box<str>), Entry>,
    /// Of what was said in the turns of the younger generation.
    bytes: usize,
}

struct Entry {
    /// Of what the user asked: ids of calls need not be unique.
    asked: u64,
    /// `None` where two turns cannot be told apart: then neither is gone on with, for one may be another user's.
    turn: Option<Arc<OpenTurn>>,
    since: Instant,
}

#[derive(Default)]
pub(crate) struct OpenTurns {
    hasher: RandomState,
    table: Mutex<Table>,
}

impl OpenTurns {
    /// Remembers a turn by the calls that it waits for. `resumed` is the one that it goes on with itself.
    pub fn keep(
        &self,
        place: &Place,
        calls: &[impl Borrow<str>],
        asked: &str,
        mut turn: OpenTurn,
        resumed: Option<&Arc<OpenTurn>>,
        now: Instant,
    ) {
        let mut bytes: usize = turn.said.iter().map(|(_, text)| text.len()).sum();
        if bytes > MOST_SAID {
            turn.said.clear();
            bytes = 0;
        }
        let (asked, turn) = (self.hasher.hash_one(asked), Arc::new(turn));
        self.lock(|table| {
            for call in calls.iter().map(Borrow::borrow).filter(|call: &&str| call.len() <= LONGEST_ID) {
                let key = (place.clone(), Box::from(call));
                let is_own = |entry: &Entry| {
                    entry.turn.as_ref().zip(resumed).is_some_and(|(turn, own)| Arc::ptr_eq(turn, own))
                };
                let before = table.entries.get(&key).filter(|entry| entry.is_live(now));
                let twin = before.is_some_and(|entry| entry.asked == asked && !is_own(entry));
                let entry = Entry { asked, turn: (!twin).then(|| turn.clone()), since: now };
                if table.bytes + bytes > MOST_BYTES / 2 {
                    table.entries.age();
                    table.bytes = 0;
                }
                if table.entries.insert(key, entry, MOST_TURNS) {
                    table.bytes = 0;
                }
                table.bytes += std::mem::take(&mut bytes);
            }
        });
    }

    /// The turn that all of these results belong to. `asked` is `None` where the request does not repeat it.
    pub fn find(
        &self,
        place: &Place,
        results: &[&str],
        asked: Option<&str>,
        now: Instant,
    ) -> Option<Arc<OpenTurn>> {
        let asked = asked.map(|asked| self.hasher.hash_one(asked));
        self.lock(|table| {
            let mut found = results.iter().map(|id| {
                let key = (place.clone(), Box::from(*id));
                let entry = table.entries.get(&key).filter(|entry| entry.is_live(now))?;
                entry.turn.clone().filter(|_| asked.is_none_or(|asked| asked == entry.asked))
            });
            let turn = found.next().flatten()?;
            found.all(|other| other.is_some_and(|other| Arc::ptr_eq(&other, &turn))).then_some(turn)
        })
    }

    fn lock<T>(&self, work: impl FnOnce(&mut Table) -> T) -> T {
        work(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entry {
    fn is_live(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < KEEP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(tenant: &str) -> Place {
        Place { caller: Caller::Tenant(tenant.into()), listener: "agents".into() }
    }

    fn turn(agent: &str) -> OpenTurn {
        OpenTurn { agents: vec![agent.into()], said: vec![("first".into(), "It rains.".to_owned())] }
    }

    #[test]
    fn is_found_by_all_of_its_calls_its_question_and_its_caller() {
        let (turns, here, now) = (OpenTurns::default(), place("a"), Instant::now());
        turns.keep(&here, &["1", "2"], "Rain?", turn("weather"), None, now);
        let find = |place: &Place, ids: &[&str], asked| {
            turns.find(place, ids, asked, now).map(|turn| turn.agents.clone())
        };
        let weather = Some(vec![Arc::from("weather")]);
        assert_eq!(find(&here, &["2", "1"], Some("Rain?")), weather);
        assert_eq!(find(&here, &["2"], None), weather);
        assert_eq!(find(&here, &["2"], Some("Snow?")), None);
        assert_eq!(find(&here, &["2", "3"], Some("Rain?")), None);
        assert_eq!(find(&here, &[], Some("Rain?")), None);
        assert_eq!(find(&place("b"), &["1"], Some("Rain?")), None);
        assert_eq!(turns.find(&here, &["1"], None, now + KEEP), None);
    }

    #[test]
    fn turns_that_cannot_be_told_apart_are_nobodys() {
        let (turns, here, now) = (OpenTurns::default(), place("a"), Instant::now());
        turns.keep(&here, &["call_0"], "Rain?", turn("weather"), None, now);
        let first = turns.find(&here, &["call_0"], Some("Rain?"), now).expect("it is there");
        // The same conversation calls again.
        turns.keep(&here, &["call_0"], "Rain?", turn("weather"), Some(&first), now);
        assert!(turns.find(&here, &["call_0"], Some("Rain?"), now).is_some());
        // Another one that looks the same.
        turns.keep(&here, &["call_0"], "Rain?", turn("weather"), None, now);
        assert_eq!(turns.find(&here, &["call_0"], Some("Rain?"), now), None);
    }

    #[test]
    fn neither_many_nor_long_ones_fill_the_memory() {
        let (turns, here, now) = (OpenTurns::default(), place("a"), Instant::now());
        for id in 0..MOST_TURNS * 2 {
            turns.keep(&here, &[id.to_string()], "Rain?", turn("weather"), None, now);
        }
        for id in 0..400 {
            let long = OpenTurn { agents: Vec::new(), said: vec![("a".into(), "x".repeat(MOST_SAID))] };
            turns.keep(&here, &[format!("long {id}")], "Rain?", long, None, now);
        }
        turns.lock(|table| {
            assert!(table.entries.values().count() <= MOST_TURNS);
            let turns = table.entries.values().filter_map(|entry| entry.turn.as_ref());
            assert!(
                turns.flat_map(|turn| &turn.said).map(|(_, text)| text.len()).sum::<usize>() <= MOST_BYTES
            );
        });
        let too_long =
            OpenTurn { agents: vec!["b".into()], said: vec![("a".into(), "x".repeat(MOST_SAID + 1))] };
        turns.keep(&here, &["z"], "Rain?", too_long, None, now);
        assert!(turns.find(&here, &["z"], None, now).expect("it is there").said.is_empty());
    }
}
