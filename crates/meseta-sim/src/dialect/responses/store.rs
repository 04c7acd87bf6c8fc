//! The responses that may be asked for again: the last ones, within a bound of number and of memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

const MOST: usize = 1000;
const MOST_BYTES: usize = 64 << 20;
/// One that is larger than this is not kept.
const LARGEST: usize = 4 << 20;

#[derive(Debug, Default)]
pub struct Store(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    kept: HashMap<String, Kept>,
    /// Oldest first. One that was deleted or made anew may be in it once more.
    order: VecDeque<String>,
    bytes: usize,
}

/// What is known of a response.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The object, as it was sent.
    pub object: Bytes,
    /// Tokens of the conversation up to and with it.
    pub tokens: u64,
    /// The identifiers of its calls, which the next request answers.
    pub calls: Vec<String>,
}

impl Store {
    pub fn get(&self, id: &str) -> Option<Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).kept.get(id).cloned()
    }

    pub fn delete(&self, id: &str) -> bool {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.order.retain(|other| other != id);
        shelf.remove(id)
    }

    pub fn put(&self, id: String, kept: Kept) {
        if kept.object.len() > LARGEST {
            return;
        }
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shelf.remove(&id) {
            shelf.order.retain(|other| *other != id);
        }
        shelf.bytes += kept.object.len();
        shelf.order.push_back(id.clone());
        shelf.kept.insert(id, kept);
        while shelf.order.len() > MOST || shelf.bytes > MOST_BYTES {
            let Some(oldest) = shelf.order.pop_front() else { break };
            shelf.remove(&oldest);
        }
    }
}

impl Shelf {
    fn remove(&mut self, id: &str) -> bool {
        let removed = self.kept.remove(id);
        self.bytes -= removed.as_ref().map_or(0, |kept| kept.object.len());
        removed.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_thousand_are_kept() {
        let store = Store::default();
        let object = Bytes::from_static(b"{}");
        let kept = || Kept { object: object.clone(), ..Kept::default() };
        (0..=MOST).for_each(|number| store.put(number.to_string(), kept()));
        store.put("1".to_owned(), kept());
        assert!(store.get("0").is_none() && store.get("1").is_some());
        assert!(store.delete("1") && !store.delete("1"));
        assert_eq!(store.0.lock().expect("nobody panicked").order.len(), MOST - 1);
        let large = Kept { object: Bytes::from(vec![b' '; LARGEST]), ..Kept::default() };
        (0..20).for_each(|number| store.put(format!("large {number}"), large.clone()));
        assert!(
            store.get("large 19").is_some() && store.get("large 3").is_none() && store.get("5").is_none()
        );
    }
}
