//! The rest of a text is put behind what was told, whatever the model repeats of it.

use meseta_wire::resume::{Diverged, Joiner};
use proptest::prelude::*;

fn join(told: &str, pieces: &[&str]) -> Result<String, Diverged> {
    let mut joiner = Joiner::new(told);
    let mut whole = told.to_owned();
    for piece in pieces {
        whole.push_str(&joiner.push(piece)?);
    }
    whole.push_str(&joiner.end());
    Ok(whole)
}

/// Cuts a text into pieces of the given lengths.
fn pieces<'t>(text: &'t str, lengths: &[usize]) -> Vec<&'t str> {
    let mut lengths = lengths.iter().copied().chain(std::iter::repeat(7));
    let mut rest = text;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let length = lengths.next().unwrap_or(7);
        let end = rest.char_indices().nth(length.max(1)).map_or(rest.len(), |(at, _)| at);
        pieces.push(&rest[..end]);
        rest = &rest[end..];
    }
    pieces
}

/// Words that do not repeat themselves, with white space of every kind between them.
fn text() -> impl Strategy<Value = String> {
    let word = ("[a-zé你]{2,9}", prop::sample::select(vec![" ", "  ", "\n", "\n\n", ", ", ".\n- "]));
    prop::collection::vec(word, 6..120).prop_map(|words| {
        let numbered = words.into_iter().enumerate();
        numbered.map(|(number, (word, gap))| format!("{word}{number}{gap}")).collect::<Vec<_>>().concat()
    })
}

proptest! {
    #[test]
    fn any_cut_and_any_repetition_joins_to_the_text(
        text in text(),
        at in 0.1..1.0_f64,
        back in 12_usize..150,
        lengths in prop::collection::vec(1_usize..30, 0..40),
    ) {
        let count = text.chars().count();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let at = ((count as f64 * at) as usize).max(12);
        let place = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(at, _)| at);
        let told = &text[..place(at)];
        let trimmed = told.trim_end();
        let clean = &text[trimmed.len()..];
        prop_assert_eq!(join(told, &pieces(clean, &lengths)).unwrap(), text.clone(), "clean");
        // White space that was cut in two cannot be told from white space that is repeated.
        if !text[told.len()..].starts_with(char::is_whitespace) {
        prop_assert_eq!(join(told, &pieces(&text[told.len()..], &lengths)).unwrap(), text.clone(), "without its blank");
        }
        prop_assert_eq!(join(told, &pieces(&text, &lengths)).unwrap(), text.clone(), "from the start");
        let from = trimmed.char_indices().rev().nth(back.max(16)).map_or(0, |(at, _)| at);
        let overlap = &text[from..];
        // White space before the words is no part of a repetition.
        prop_assert_eq!(join(told, &pieces(overlap.trim_start(), &lengths)).unwrap(), text.clone(), "overlap");
    }

    #[test]
    fn no_text_is_lost_but_what_was_told(told in any::<String>(), rest in any::<String>()) {
        if let Ok(joined) = join(&told, &[&rest]) {
            prop_assert!(joined.starts_with(&told));
            let added = &joined[told.len()..];
            prop_assert!(rest.ends_with(added));
        }
    }
}

#[test]
fn short_texts_are_repeated_as_words_only() {
    assert_eq!(join("Hi", &["Hi", " there"]).unwrap(), "Hi there");
    assert_eq!(join("Hi", &[" there"]).unwrap(), "Hi there");
    assert_eq!(join("1", &["0 of them"]).unwrap(), "10 of them");
    assert_eq!(join("1", &["10"]).unwrap(), "110");
    assert_eq!(join("", &["All"]).unwrap(), "All");
    assert_eq!(join(" \n", &["\nAll"]).unwrap(), " \n\nAll");
}

#[test]
fn a_line_is_known_as_a_whole() {
    assert_eq!(join("List:\n- apple", &["- apple pie\n"]).unwrap(), "List:\n- apple pie\n");
}

#[test]
fn what_repeats_itself_rightly_is_kept() {
    let row = "|----|----|----|----|";
    assert_eq!(join(row, &["----|----|----|----|\n"]).unwrap(), format!("{row}----|----|----|----|\n"));
    assert_eq!(join("0, 0, 0, 0, 0, 0, 0", &[", 0, 0, 0, 0"]).unwrap(), "0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0");
}

#[test]
fn a_common_answer_passes_after_a_few_characters() {
    let mut joiner = Joiner::new("Once upon a time there was a gateway");
    assert_eq!(joiner.push(" that").unwrap(), " that");
    assert!(joiner.passes());
}

#[test]
fn another_answer_is_refused_once_it_is_known_to_have_begun_anew() {
    let told = crate::sample::numbered(80, |number| format!("number {number} "));
    let other = format!("{}but then it differs", &told[..400]);
    assert_eq!(join(&told, &pieces(&other, &[])), Err(Diverged));
}
