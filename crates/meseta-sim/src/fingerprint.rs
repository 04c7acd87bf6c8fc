//! Numbers that stand for a request: the same bytes give the same number on every machine and in every release.

/// One request's number, from which its identifiers are drawn.
#[derive(Clone, Copy)]
pub struct Fingerprint(u64);

impl Fingerprint {
    pub fn of(bytes: &[u8]) -> Self {
        let mut state = mix(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            state = mix(state ^ u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        Self(mix(state ^ u64::from_le_bytes(last)))
    }

    /// A number of this request and of `index`: one per tool call, or one per coordinate.
    pub fn draw(self, index: u64) -> u64 {
        mix(self.0 ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The number in the form of a UUID.
    pub fn uuid(self) -> String {
        let (high, low) = (self.draw(u64::MAX), self.0);
        let tail = low & 0xffff_ffff_ffff;
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{tail:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 52
        )
    }

    /// Sixteen hexadecimal digits.
    pub fn hex(self) -> String {
        format!("{:016x}", self.0)
    }
}

/// The finishing step of `SplitMix64`: every bit of the input moves about half of the output's.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_more_is_another_number() {
        let numbers: std::collections::HashSet<String> =
            (0..100).map(|length| Fingerprint::of(&vec![0; length]).hex()).collect();
        assert_eq!(numbers.len(), 100);
    }
}
