//! A table that is bounded without a search for its oldest entry: two generations of half its size. When the younger one is
//! full, the older one is forgotten.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

pub(crate) struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Generations<K, V> {
        Generations { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Eq + Hash, V> Generations<K, V> {
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.young.get_mut(key).or_else(|| self.old.get_mut(key))
    }

    /// `most` is the size of both generations together. Whether the older one was forgotten for it.
    pub fn insert(&mut self, key: K, value: V, most: usize) -> bool {
        let full = self.young.len() >= (most / 2).max(1);
        if full {
            self.age();
        }
        self.young.insert(key, value);
        full
    }

    /// The older generation is forgotten, and the younger one takes its place.
    pub fn age(&mut self) {
        self.old = std::mem::take(&mut self.young);
    }

    #[cfg(test)]
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.young.values().chain(self.old.values())
    }
}

impl<K: Copy + Eq + Hash, V: Default> Generations<K, V> {
    /// What is looked for is young again.
    pub fn entry(&mut self, key: K, most: usize) -> &mut V {
        if !self.young.contains_key(&key) {
            let before = self.old.remove(&key).unwrap_or_default();
            self.insert(key, before, most);
        }
        self.young.entry(key).or_default()
    }
}
