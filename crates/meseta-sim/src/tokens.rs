//! The simulator's tokens. A token is the blanks before it and a run of word characters (letters, digits,
//! `_`) or a run of other marks, together at most sixteen characters; blanks at the end are tokens of their
//! own. The tokens of a text, joined, are the text.

/// No token has more characters than this, so that a count of tokens bounds a text.
const LONGEST: usize = 16;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Blank,
    Word,
    Mark,
}

/// Bytes of the first token; 0 only for an empty text. Always on a character boundary.
pub fn first(text: &str) -> usize {
    let mut so_far = Kind::Blank;
    for (count, (at, character)) in text.char_indices().enumerate() {
        let kind = kind(character);
        if count == LONGEST || (so_far != Kind::Blank && kind != so_far) {
            return at;
        }
        so_far = kind;
    }
    text.len()
}

/// The tokens of a text, one after the other.
pub fn all(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (token, behind) = rest.split_at(first(rest));
        rest = behind;
        (!token.is_empty()).then_some(token)
    })
}

pub fn count(text: &str) -> u64 {
    all(text).map(|_| 1).sum()
}

/// The first `limit` tokens of a text, and how many they are.
pub fn cut(text: &str, limit: u64) -> (&str, u64) {
    let (mut end, mut count) = (0, 0);
    while count < limit && end < text.len() {
        end += first(&text[end..]);
        count += 1;
    }
    (&text[..end], count)
}

/// A text of exactly `wanted` tokens, from a text repeated as often as it takes. The text must have more than blanks.
pub fn stretch(text: &str, wanted: u64) -> String {
    // A round begins with a blank, and the one before it ends without: no token spans the seam.
    let seed = text.trim_end();
    let round = if seed.starts_with(char::is_whitespace) { seed.to_owned() } else { format!(" {seed}") };
    let (begin, mut have) = cut(seed, wanted);
    let mut stretched = begin.to_owned();
    while have < wanted && !seed.is_empty() {
        let (more, count) = cut(&round, wanted - have);
        stretched.push_str(more);
        have += count;
    }
    stretched
}

fn kind(character: char) -> Kind {
    if character.is_whitespace() {
        Kind::Blank
    } else if character.is_alphanumeric() || character == '_' {
        Kind::Word
    } else {
        Kind::Mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_and_runs_of_marks_are_tokens() {
        for (text, tokens) in [
            ("", 0),
            ("hello", 1),
            ("Say hello, world!", 5),
            ("a  b", 2),
            ("end ", 2),
            ("{\"a\":1}", 5),
            ("0123456789abcdefX", 2),
        ] {
            assert_eq!(count(text), tokens, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn tokens_join_to_the_text(text in "\\PC{0,60}") {
            let (whole, counted) = cut(&text, u64::MAX);
            prop_assert_eq!(whole, text.as_str());
            prop_assert_eq!(counted, count(&text));
        }

        #[test]
        fn a_stretched_text_has_the_tokens_asked_for(text in "[ a-z,.é\n]{0,40}x[ ]{0,3}", wanted in 0_u64..200) {
            prop_assert_eq!(count(&stretch(&text, wanted)), wanted);
        }
    }
}
