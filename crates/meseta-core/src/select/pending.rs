//! Questions that a model is being asked at this moment: equal ones that come meanwhile wait for its answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::select::answers::Key;
use crate::select::decision::Reason;

/// Questions that others can wait for; those beyond are each asked alone.
const MOST: usize = 4096;

/// The places of the chosen routes, or why there are none.
pub(super) type Outcome = Result<Vec<usize>, Reason>;

#[derive(Default)]
pub(super) struct Pending(Mutex<HashMap<Key, watch::Receiver<Option<Outcome>>>>);

pub(super) enum Joined<'p> {
    /// Nobody is asking this: whoever gets it asks, and tells the others.
    Ask(Asker<'p>),
    Wait(Waiter),
}

/// Dropped before it has told anything, it leaves the question to one of those who wait.
pub(super) struct Asker<'p> {
    pending: &'p Pending,
    key: Key,
    /// `None` where nobody can wait for it.
    tell: Option<watch::Sender<Option<Outcome>>>,
}

pub(super) struct Waiter(watch::Receiver<Option<Outcome>>);

impl Pending {
    pub fn join(&self, key: Key) -> Joined<'_> {
        self.lock(|pending| {
            let full = pending.len() >= MOST;
            let tell = match pending.entry(key) {
                Entry::Occupied(entry) => return Joined::Wait(Waiter(entry.get().clone())),
                Entry::Vacant(_) if full => None,
                Entry::Vacant(entry) => {
                    let (tell, told) = watch::channel(None);
                    entry.insert(told);
                    Some(tell)
                }
            };
            Joined::Ask(Asker { pending: self, key, tell })
        })
    }

    fn lock<T>(&self, work: impl FnOnce(&mut HashMap<Key, watch::Receiver<Option<Outcome>>>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Asker<'_> {
    pub fn tell(self, outcome: &Outcome) {
        if let Some(tell) = &self.tell {
            tell.send_replace(Some(outcome.clone()));
        }
    }
}

impl Drop for Asker<'_> {
    fn drop(&mut self) {
        if self.tell.is_some() {
            self.pending.lock(|pending| pending.remove(&self.key));
        }
    }
}

impl Waiter {
    /// `None` when whoever asked has left: then the question is anybody's again.
    pub async fn heard(mut self) -> Option<Outcome> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_asks_and_all_hear_it() {
        let pending = Pending::default();
        let key = Key::new(None, b"question");
        let Joined::Ask(asker) = pending.join(key) else { panic!("nobody asks yet") };
        let (Joined::Wait(one), Joined::Wait(other)) = (pending.join(key), pending.join(key)) else {
            panic!("somebody asks")
        };
        assert!(matches!(pending.join(Key::new(None, b"another")), Joined::Ask(_)));
        asker.tell(&Ok(vec![2]));
        assert_eq!((one.heard().await, other.heard().await), (Some(Ok(vec![2])), Some(Ok(vec![2]))));
        assert!(pending.lock(|pending| pending.is_empty()));
    }

    #[tokio::test]
    async fn whoever_leaves_leaves_the_question_to_the_others() {
        let pending = Pending::default();
        let key = Key::new(None, b"question");
        let asker = pending.join(key);
        let Joined::Wait(waiter) = pending.join(key) else { panic!("somebody asks") };
        drop(asker);
        assert_eq!(waiter.heard().await, None);
        assert!(matches!(pending.join(key), Joined::Ask(_)));
    }

    #[test]
    fn what_can_be_waited_for_is_bounded() {
        let pending = Pending::default();
        let keys = (0..MOST).map(|at| Key::new(None, &at.to_be_bytes()));
        let askers: Vec<Joined<'_>> = keys.map(|key| pending.join(key)).collect();
        let key = Key::new(None, b"one more");
        let alone = [pending.join(key), pending.join(key)];
        assert!(alone.iter().all(|joined| matches!(joined, Joined::Ask(Asker { tell: None, .. }))));
        drop(alone);
        assert_eq!(pending.lock(|pending| pending.len()), MOST);
        drop(askers);
        assert!(matches!(pending.join(key), Joined::Ask(Asker { tell: Some(_), .. })));
    }
}
