//! Prose that brings a body to its size.

const PROSE: &str = "lorem ipsum ";
/// What every filled body holds: an answer without it has lost its text on the way.
pub const WORD: &[u8] = b"lorem";

/// Fills the prose into what is around it, so that the body has `bytes` bytes, or more if it would not hold the
/// first word.
pub fn fill(bytes: usize, around: impl Fn(&str) -> String) -> String {
    let length = bytes.saturating_sub(around("").len()).max(WORD.len());
    around(&PROSE.chars().cycle().take(length).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_the_size_that_was_asked_and_always_a_word() {
        let around = |content: &str| format!("<{content}>");
        assert_eq!(fill(1024, around).len(), 1024);
        assert_eq!(fill(1, around), "<lorem>");
    }
}
