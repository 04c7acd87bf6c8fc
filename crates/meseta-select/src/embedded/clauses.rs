//! The clauses of a turn: what may be several requests in one.

use super::description::sentences;
use super::words::{bounded, is_function_word, is_lexical, words};

const MAX_CLAUSES: usize = 8;
/// Words that may stand between two requests, longest first where one begins another.
const JOINTS: &[&str] =
    &[" and then ", ", then ", " and also ", " then ", " also ", " and ", "; ", ", plus "];

/// The clauses that could each be a request, in order; fewer than two of them where the turn is one.
pub(super) fn clauses(turn: &str) -> Vec<&str> {
    let mut clauses = Vec::new();
    for line in bounded(turn).0.lines() {
        for sentence in sentences(line) {
            split(sentence, &mut clauses);
        }
    }
    clauses.retain(|clause| is_request(clause));
    clauses.truncate(MAX_CLAUSES);
    if clauses.len() < 2 { Vec::new() } else { clauses }
}

fn split<'a>(sentence: &'a str, clauses: &mut Vec<&'a str>) {
    let mut rest = sentence;
    while clauses.len() < 4 * MAX_CLAUSES {
        // The case of a joint is as it is written inside of a sentence.
        let joint = JOINTS.iter().filter_map(|joint| rest.find(joint).map(|at| (at, joint.len())));
        let Some((at, length)) = joint.min_by_key(|(at, length)| (*at, usize::MAX - length)) else { break };
        clauses.push(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + length..).unwrap_or_default();
    }
    clauses.push(rest);
}

/// Whether there is enough in it to say what it asks for: a word of content and another word.
fn is_request(clause: &str) -> bool {
    let words = words(clause);
    let content = words.iter().filter(|word| is_lexical(word) && !is_function_word(word)).count();
    content >= 1 && words.iter().filter(|word| is_lexical(word)).count() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_found_in_order() {
        assert_eq!(
            clauses("What's the weather in Oslo? Then book a flight there and find a hotel."),
            ["What's the weather in Oslo?", " Then book a flight there", "find a hotel."]
        );
        assert_eq!(clauses("check the balance; pay the bill"), ["check the balance", "pay the bill"]);
    }

    #[test]
    fn one_request_has_no_clauses() {
        for turn in ["", "?!", "salt and pepper", "Book a flight. Please.", "hi. freeze my account"] {
            assert!(clauses(turn).is_empty(), "{turn}: {:?}", clauses(turn));
        }
    }
}
