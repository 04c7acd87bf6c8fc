//! What a model has answered, kept for a while: agents send a conversation again and again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use meseta_select::reply::Unreadable;
use ring::digest::{Context, SHA256};
use tokio::time::Instant;

use crate::select::pending::Pending;

/// How long it is remembered that an answer could not be read: not every request that asks the same has to hear it, and
/// the next answer may be a better one.
const UNREADABLE_KEPT: Duration = Duration::from_secs(10);

/// What a model has said: the places of the chosen routes, or nothing that could be read.
pub(super) type Said = Result<Vec<usize>, Unreadable>;

/// A question: who asked, and all that the model is shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl Key {
    /// Of a tenant's own, so that nobody can tell by the time it takes what others have said.
    pub fn new(tenant: Option<&str>, body: &[u8]) -> Key {
        let mut context = Context::new(&SHA256);
        for part in [tenant.unwrap_or_default().as_bytes(), body] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        Key(key)
    }
}

/// One table per plane; it outlives reloads, as the questions have the routes in them.
#[derive(Default)]
pub(crate) struct Answers {
    table: Mutex<Table>,
    pub(super) pending: Pending,
}

#[derive(Default)]
struct Table {
    known: HashMap<Key, (Said, Instant)>,
    /// The keys of `known`, the oldest first.
    order: VecDeque<Key>,
}

impl Answers {
    /// What was said, if that is no older than `keep`.
    pub(super) fn get(&self, key: &Key, keep: Duration, now: Instant) -> Option<Said> {
        self.lock(|table| {
            let (said, since) = table.known.get(key)?;
            let keep = if said.is_ok() { keep } else { keep.min(UNREADABLE_KEPT) };
            (now.saturating_duration_since(*since) < keep).then(|| said.clone())
        })
    }

    /// `most` is the size of the table; what is old leaves first.
    pub(super) fn put(&self, key: Key, said: Said, most: usize, now: Instant) {
        self.lock(|table| {
            if most == 0 {
                return;
            }
            if table.known.insert(key, (said, now)).is_some() {
                table.order.retain(|known| *known != key);
            }
            table.order.push_back(key);
            while table.order.len() > most {
                if let Some(oldest) = table.order.pop_front() {
                    table.known.remove(&oldest);
                }
            }
        });
    }

    fn lock<T>(&self, work: impl FnOnce(&mut Table) -> T) -> T {
        work(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Duration = Duration::from_secs(60);

    #[test]
    fn an_answer_is_kept_for_its_time_and_for_its_tenant() {
        let (answers, now) = (Answers::default(), Instant::now());
        let key = Key::new(Some("acme"), b"question");
        assert_eq!(answers.get(&key, KEEP, now), None);
        answers.put(key, Ok(vec![2, 0]), 8, now);
        assert_eq!(answers.get(&key, KEEP, now + KEEP / 2), Some(Ok(vec![2, 0])));
        assert_eq!(answers.get(&key, KEEP, now + KEEP), None);
        for other in [Key::new(Some("zeta"), b"question"), Key::new(None, b"acmequestion")] {
            assert_eq!(answers.get(&other, KEEP, now), None);
        }
    }

    #[test]
    fn what_could_not_be_read_is_kept_for_a_short_while() {
        let (answers, now) = (Answers::default(), Instant::now());
        let key = Key::new(None, b"question");
        answers.put(key, Err(Unreadable), 8, now);
        assert_eq!(answers.get(&key, KEEP, now + UNREADABLE_KEPT / 2), Some(Err(Unreadable)));
        assert_eq!(answers.get(&key, KEEP, now + UNREADABLE_KEPT), None);
        assert_eq!(answers.get(&key, Duration::ZERO, now), None);
    }

    #[test]
    fn the_oldest_leaves_a_full_table() {
        let (answers, now) = (Answers::default(), Instant::now());
        let keys: Vec<Key> = (0..4_u8).map(|at| Key::new(None, &[at])).collect();
        for (at, key) in keys.iter().enumerate().take(3) {
            answers.put(*key, Ok(vec![at]), 3, now);
        }
        // Answered once more, the first is no longer the oldest.
        answers.put(keys[0], Ok(vec![0]), 3, now);
        answers.put(keys[3], Ok(vec![3]), 3, now);
        let known: Vec<bool> = keys.iter().map(|key| answers.get(key, KEEP, now).is_some()).collect();
        assert_eq!(known, [true, false, true, true]);
        // A reload that makes the table smaller.
        answers.put(keys[1], Ok(vec![1]), 1, now);
        assert_eq!(answers.lock(|table| (table.known.len(), table.order.len())), (1, 1));
        answers.put(keys[2], Ok(vec![1]), 0, now);
        assert_eq!(answers.get(&keys[2], KEEP, now), None);
    }
}
