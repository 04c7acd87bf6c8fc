//! Chance, for spreading load: fast and without a lock, and no secret ever depends on it.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

pub(crate) struct Dice(Cell<u64>);

impl Dice {
    /// A worker's own, different from those of the others.
    pub fn new() -> Dice {
        Dice(Cell::new(RandomState::new().hash_one("meseta")))
    }

    /// The next number of `SplitMix64` (Steele, Lea, Flood 2014).
    pub fn roll(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
