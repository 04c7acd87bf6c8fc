//! Names made of texts: the same on every machine and in every version, which a hash of the standard library is not.
//!
//! A conversation is sent again with every turn, and the provider's prompt cache must find it unchanged.

use std::borrow::Cow;

/// FNV-1a: spreads well enough to name things. It guards nothing.
pub(crate) fn of_bytes(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

pub(crate) fn of(text: &str) -> u64 {
    of_bytes(text.bytes())
}

/// An id of a call where ids have up to `longest` bytes (OpenAI's have): the same for the same call wherever it is named.
pub(crate) fn call_id(id: &str, longest: usize) -> Cow<'_, str> {
    if (1..=longest).contains(&id.len()) {
        Cow::Borrowed(id)
    } else {
        Cow::Owned(format!("call_{:016x}", of(id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_fnv_1a() {
        assert_eq!(of(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(of("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(of("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn ids_that_fit_stay_and_others_become_short() {
        assert_eq!(call_id("call_1", 6), "call_1");
        let long = "x".repeat(41);
        assert_eq!(call_id(&long, 41), long);
        assert!(call_id(&long, 40).len() <= 40);
        assert_ne!(call_id(&long, 40), call_id(&"x".repeat(42), 40));
        assert!(!call_id("", 40).is_empty());
    }
}
