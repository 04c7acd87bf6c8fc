//! What a description says: sentences, and lists of short phrases after words such as `Handles:`.

use super::words::bounded;

/// Of one route, at most this many sentences and as many phrases.
const MAX_PARTS: usize = 256;
const LISTS: &[&str] =
    &["handles", "covers", "includes", "including", "examples", "topics", "intents", "such as", "e.g."];
/// A sentence with one of these tells what the route is not for.
const NEGATIONS: &[&str] = &["not", "never", "except", "don't", "doesn't", "cannot", "without", "excluding"];

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) sentences: Vec<String>,
    pub(super) phrases: Vec<String>,
}

impl Description {
    pub(super) fn read(text: &str) -> Description {
        let mut description = Description::default();
        let (head, tail) = bounded(text);
        for line in head.lines().chain(tail.lines()) {
            let line = line.trim();
            let item = line.strip_prefix(['-', '*', '\u{2022}']).map(str::trim_start);
            match item {
                Some(item) if list(item).is_none() => description.phrase(item),
                _ => description.line(item.unwrap_or(line)),
            }
        }
        description.sentences.truncate(MAX_PARTS);
        description.phrases.truncate(MAX_PARTS);
        description
    }

    fn line(&mut self, line: &str) {
        for sentence in sentences(line) {
            let Some((before, items)) = list(sentence) else {
                self.sentence(sentence);
                continue;
            };
            self.sentence(before);
            for item in items.split([',', ';', '|']) {
                let item = item.trim();
                self.phrase(item.strip_prefix("and ").or_else(|| item.strip_prefix("or ")).unwrap_or(item));
            }
        }
    }

    fn sentence(&mut self, sentence: &str) {
        let lower = sentence.to_lowercase();
        let negated = lower.split_whitespace().any(|word| NEGATIONS.contains(&word));
        if !negated && sentence.chars().any(char::is_alphanumeric) {
            self.sentences.push(sentence.trim().to_owned());
        }
    }

    fn phrase(&mut self, phrase: &str) {
        if phrase.chars().any(char::is_alphanumeric) {
            self.phrases.push(spaced(phrase));
        }
    }
}

/// What stands before the word of a list, and its items.
fn list(sentence: &str) -> Option<(&str, &str)> {
    let (before, items) = sentence.split_once(':')?;
    let lower = before.to_lowercase();
    let word = LISTS.iter().find(|word| lower.trim_end().ends_with(*word))?;
    // The word is ASCII, so that it has the same length before it was made lower case.
    let before = before.trim_end();
    let before = before.get(..before.len().saturating_sub(word.len())).unwrap_or_default();
    Some((before, items))
}

/// The sentences of a line: they end at a sign that a space or the end follows.
pub(super) fn sentences(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut characters = rest.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            let ends = matches!(character, '.' | '!' | '?' | '\u{3002}' | '\u{ff1f}' | '\u{ff01}');
            let follows = characters.peek().is_none_or(|(_, next)| next.is_whitespace());
            if ends && (follows || !character.is_ascii()) {
                let (sentence, after) = rest.split_at(at + character.len_utf8());
                rest = after;
                return Some(sentence);
            }
        }
        Some(std::mem::take(&mut rest))
    })
}

/// A name as words: `freeze_account`, `hotelBooking` and `HTTPError-pages` have two, two and three.
pub(super) fn spaced(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 8);
    let mut before: Option<char> = None;
    let mut characters = bounded(name).0.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '_' || character == '-' || character == '/' {
            words.push(' ');
            before = None;
            continue;
        }
        let lower_next = characters.peek().is_some_and(|next| next.is_lowercase());
        let begins = before.is_some_and(|before| {
            character.is_uppercase() && (before.is_lowercase() || (before.is_uppercase() && lower_next))
        });
        if begins {
            words.push(' ');
        }
        words.push(character);
        before = Some(character);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words() {
        assert_eq!(spaced("freeze_account"), "freeze account");
        assert_eq!(spaced("hotelBooking"), "hotel Booking");
        assert_eq!(spaced("HTTPError-pages"), "HTTP Error pages");
        assert_eq!(spaced("w2"), "w2");
        assert_eq!(spaced(""), "");
    }

    #[test]
    fn lists_are_phrases_and_prose_is_sentences() {
        let text = "Forecasts for any city. Handles: rain_today, wind, and next week's sun. It does not book trips.\n\
                    - storm warnings\n\nSee 3.5 maps";
        assert_eq!(
            Description::read(text),
            Description {
                sentences: vec!["Forecasts for any city.".into(), "See 3.5 maps".into()],
                phrases: vec![
                    "rain today".into(),
                    "wind".into(),
                    "next week's sun.".into(),
                    "storm warnings".into()
                ],
            }
        );
    }

    #[test]
    fn a_word_before_the_list_is_prose() {
        let description = Description::read("Weather in cities; HANDLES: sun");
        assert_eq!(description.sentences, ["Weather in cities;"]);
        assert_eq!(description.phrases, ["sun"]);
        assert_eq!(Description::read("Note: all of it").sentences, ["Note: all of it"]);
        assert_eq!(Description::read("İ handles: x").phrases, ["x"]);
    }
}
