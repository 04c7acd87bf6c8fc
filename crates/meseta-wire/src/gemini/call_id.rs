//! Ids of calls. Gemini often gives none, and every other dialect needs them.

use std::fmt::Write as _;

use crate::fingerprint;

/// Ids that begin so were made here, and Gemini never sees them.
const MADE: &str = "call_gemini_";

/// What ids of other providers begin with.
const FOREIGN: [&str; 6] = ["call_", "toolu_", "tooluse_", "srvtoolu_", "fc_", "chatcmpl-"];

/// OpenAI's chat completions take ids of up to 40 characters.
const LONGEST_SEED: usize = 22;

/// Makes ids for the calls of one answer. They come from the answer's id, so that the calls of two answers of one
/// conversation differ and that reading the same answer twice gives the same ids.
#[derive(Debug, Default)]
pub(super) struct CallIds {
    seed: String,
    made: u32,
}

impl CallIds {
    pub(super) fn of_answer(id: Option<&str>) -> CallIds {
        let seed = id
            .unwrap_or_default()
            .chars()
            .filter(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_'))
            .take(LONGEST_SEED)
            .collect();
        CallIds { seed, made: 0 }
    }

    /// `name` and `arguments` tell calls of different answers apart where the answers have no ids.
    pub(super) fn make(&mut self, name: &str, arguments: &str) -> String {
        let mut id = String::from(MADE);
        if self.seed.is_empty() {
            let _ = write!(id, "{:016x}", fingerprint(&[name.as_bytes(), arguments.as_bytes()]));
        } else {
            id.push_str(&self.seed);
        }
        let _ = write!(id, "_{}", self.made);
        self.made = self.made.saturating_add(1);
        id
    }
}

/// Whether Gemini gave this id itself, so that it wants it back.
pub(super) fn is_own(id: &str) -> bool {
    !id.is_empty() && !FOREIGN.iter().any(|prefix| id.starts_with(prefix))
}

/// Of several pieces: no byte of UTF-8 is 0xff, so that where one ends makes a difference.
pub(super) fn fingerprint(pieces: &[&[u8]]) -> u64 {
    fingerprint::of_bytes(pieces.iter().flat_map(|piece| piece.iter().copied().chain([0xff])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_plain_and_the_same_every_time() {
        let make = |answer: Option<&str>| CallIds::of_answer(answer).make("get_weather", "{}");
        assert_eq!(make(Some("a/b c_9")), "call_gemini_abc_9_0");
        assert_eq!(make(None), make(None));
        assert_ne!(CallIds::default().make("a", "{}"), CallIds::default().make("b", "{}"));
        assert!(make(Some(&"x".repeat(500))).len() <= 40);
        assert!(!is_own(&make(None)));
        assert!(is_own("8f2b1a3c"));
    }
}
