//! Text to words: lower-case runs of letters and digits, contractions, and single signs.

use super::tokenizer::MAX_WORD;

/// Of a longer text, this much is read of its beginning and of its end.
const MAX_TEXT: usize = 4096;

/// Words that say how something is said rather than what of.
const FUNCTION_WORDS: &[&str] = &[
    "a", "about", "am", "an", "and", "are", "as", "at", "be", "been", "by", "can", "could", "d", "did", "do",
    "does", "for", "from", "get", "give", "had", "has", "have", "here", "how", "i", "if", "in", "is", "it",
    "its", "know", "let", "like", "ll", "m", "may", "me", "might", "my", "need", "no", "not", "of", "on",
    "or", "our", "out", "please", "re", "s", "shall", "should", "so", "t", "tell", "that", "the", "there",
    "these", "this", "those", "to", "up", "ve", "want", "was", "we", "were", "what", "when", "where",
    "which", "who", "why", "will", "with", "would", "you", "your",
];

pub(super) fn is_function_word(word: &str) -> bool {
    FUNCTION_WORDS.binary_search(&word).is_ok()
}

/// Letters and digits, or a contraction such as `'s`: what is no mere sign.
pub(super) fn is_lexical(word: &str) -> bool {
    let mut characters = word.chars();
    characters
        .next()
        .is_some_and(|first| first.is_alphanumeric() || (first == '\'' && characters.next().is_some()))
}

/// The head and the tail of a text that is too long to be read whole.
pub(super) fn bounded(text: &str) -> (&str, &str) {
    if text.len() <= 2 * MAX_TEXT {
        return (text, "");
    }
    let head = (0..=MAX_TEXT).rev().find_map(|end| text.get(..end));
    let tail = (text.len() - MAX_TEXT..).take(4).find_map(|begin| text.get(begin..));
    (head.unwrap_or_default(), tail.unwrap_or_default())
}

/// The words of a text in order, repeated ones too.
pub(super) fn words(text: &str) -> Vec<String> {
    let (head, tail) = bounded(text);
    let mut words = Vec::new();
    for part in [head, tail] {
        split(part, &mut words);
    }
    words
}

fn split(text: &str, words: &mut Vec<String>) {
    let mut word = String::new();
    let mut length = 0;
    let mut finish = |word: &mut String| {
        if !word.is_empty() {
            words.push(std::mem::take(word));
        }
    };
    for character in text.chars().flat_map(char::to_lowercase) {
        let character = if character == '\u{2019}' { '\'' } else { character };
        if character.is_alphanumeric() {
            // What is as long as this is no word; its pieces still count.
            if length == MAX_WORD {
                finish(&mut word);
                length = 0;
            }
            word.push(character);
            length += 1;
            continue;
        }
        finish(&mut word);
        length = 0;
        if !character.is_whitespace() && !character.is_control() {
            word.push(character);
            // An apostrophe waits for the letters of its contraction; any other sign stands alone.
            if character != '\'' {
                finish(&mut word);
            }
        }
    }
    finish(&mut word);
}

/// A word without the endings of its forms, so that `updates`, `updated` and `update` are one.
pub(super) fn stem(word: &str) -> &str {
    const ENDINGS: &[&str] =
        &["ations", "ation", "ings", "ing", "ies", "ers", "ed", "es", "er", "ly", "al", "s", "e", "y"];
    let stripped = ENDINGS.iter().find_map(|ending| word.strip_suffix(ending).filter(|stem| stem.len() >= 3));
    let stem = stripped.unwrap_or(word);
    match stem.as_bytes() {
        [.., before, last] if stem.len() > 3 && before == last && last.is_ascii() => {
            stem.get(..stem.len() - 1).unwrap_or(stem)
        }
        _ => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_words_are_in_the_order_that_the_search_needs() {
        assert!(FUNCTION_WORDS.is_sorted());
        assert!(is_function_word("where") && !is_function_word("card"));
    }

    #[test]
    fn words_are_runs_contractions_and_signs() {
        assert_eq!(
            words("Don\u{2019}t  STOP, it's 9am?!"),
            ["don", "'t", "stop", ",", "it", "'s", "9am", "?", "!"]
        );
        assert_eq!(words("' x"), ["'", "x"]);
        assert_eq!(words("Prüfe den Überweisungsstatus"), ["prüfe", "den", "überweisungsstatus"]);
        assert_eq!(words(&"x".repeat(130)).len(), 3);
    }

    #[test]
    fn a_long_text_keeps_its_head_and_its_tail() {
        let text = format!("begin {} end", "ü".repeat(20_000));
        let words = words(&text);
        assert_eq!(words.first().map(String::as_str), Some("begin"));
        assert_eq!(words.last().map(String::as_str), Some("end"));
        assert!(words.len() < 200);
    }

    #[test]
    fn forms_of_a_word_have_one_stem() {
        for (one, other) in
            [("update", "updates"), ("cancel", "cancelled"), ("stop", "stopping"), ("order", "orders")]
        {
            assert_eq!(stem(one), stem(other));
        }
        assert_eq!(stem("is"), "is");
        assert_eq!(stem("ée"), "ée");
    }
}
