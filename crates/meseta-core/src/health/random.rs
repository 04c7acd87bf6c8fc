//! Small, seeded randomness: for spreading load and timing, never for secrets.

/// The finaliser of `SplitMix64`: neighbouring numbers in, unrelated numbers out.
pub(crate) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A number between 0 and 1, never either of them, so that its logarithm is finite and not zero.
pub(crate) fn fraction(number: u64) -> f64 {
    // The upper 32 bits fit a double exactly.
    (f64::from(u32::try_from(number >> 32).unwrap_or(u32::MAX)) + 0.5) / (f64::from(u32::MAX) + 1.0)
}

/// A sequence of numbers that its seed decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    pub fn fraction(&mut self) -> f64 {
        fraction(self.next())
    }
}
