//! Words to the tokens of the table: byte-pair encoding in the order of its merges, with single bytes for what it lacks.
//!
//! Written here rather than taken from the `tokenizers` crate: a word at a time needs no normaliser, pre-tokenizer or
//! post-processor. The tables come to 4 MB where the crate keeps the vocabulary, the merges and the strings of both, and
//! its regular expressions and parallelism would build for longer than all of this crate. The test of the vectors in
//! `tests/tokens.json`, which that package made, holds it to the same answers.

use std::collections::HashMap;

use serde::Deserialize;

use super::error::Problem;

/// The mark of the beginning of a word.
const START: char = '\u{2581}';
pub(super) const MAX_FILE: u64 = 16 << 20;
/// Joining looks through a whole word for each merge, so a word is bounded.
pub(super) const MAX_WORD: usize = 64;

pub(super) struct Tokenizer {
    characters: HashMap<char, u32>,
    bytes: Vec<u32>,
    /// By the tokens left and right: the rank of their merge, lower first, and what they become.
    merges: HashMap<(u32, u32), (u32, u32)>,
    start: u32,
}

#[derive(Deserialize)]
struct File {
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: String,
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Line(String),
    Pair(String, String),
}

impl Merge {
    fn pair(&self) -> Option<(&str, &str)> {
        match self {
            Merge::Line(line) => line.split_once(' '),
            Merge::Pair(left, right) => Some((left, right)),
        }
    }
}

impl Tokenizer {
    /// Every token must be one of the `rows` of the table.
    pub(super) fn parse(file: &[u8], rows: usize) -> Result<Tokenizer, Problem> {
        let File { model } = serde_json::from_slice(file)
            .map_err(|error| Problem::malformed(format!("it does not describe a tokenizer: {error}")))?;
        if model.kind != "BPE" {
            return Err(Problem::malformed(format!(
                "its tokenizer is of the kind {:?} and not BPE",
                model.kind
            )));
        }
        if model.vocab.values().any(|token| usize::try_from(*token).is_ok_and(|token| token >= rows)) {
            return Err(Problem::malformed("it has tokens that the table of vectors lacks"));
        }
        let token = |text: &str| model.vocab.get(text).copied();
        let start = token("\u{2581}")
            .ok_or_else(|| Problem::malformed("it has no mark for the beginning of a word"))?;
        let bytes: Option<Vec<u32>> = (0..=255).map(|byte: u8| token(&format!("<0x{byte:02X}>"))).collect();
        let bytes = bytes.ok_or_else(|| Problem::malformed("it lacks tokens for single bytes"))?;
        let mut merges = HashMap::with_capacity(model.merges.len());
        for (rank, merge) in (0_u32..).zip(&model.merges) {
            let known = merge.pair().and_then(|(left, right)| {
                Some(((token(left)?, token(right)?), token(&format!("{left}{right}"))?))
            });
            let (pair, whole) =
                known.ok_or_else(|| Problem::malformed(format!("merge {rank} is of unknown tokens")))?;
            merges.entry(pair).or_insert((rank, whole));
        }
        let characters = model.vocab.iter().filter_map(|(text, token)| {
            let mut characters = text.chars();
            characters.next().filter(|_| characters.next().is_none()).map(|character| (character, *token))
        });
        Ok(Tokenizer { characters: characters.collect(), bytes, merges, start })
    }

    /// The tokens of one word, which begins after a space or a text. A lone mark of the beginning is left out.
    pub(super) fn encode(&self, word: &str, tokens: &mut Vec<u32>) {
        tokens.clear();
        tokens.push(self.start);
        for character in
            word.chars().take(MAX_WORD).map(|character| if character == ' ' { START } else { character })
        {
            if let Some(token) = self.characters.get(&character) {
                tokens.push(*token);
            } else {
                let mut buffer = [0; 4];
                let bytes = character.encode_utf8(&mut buffer).bytes();
                tokens.extend(bytes.filter_map(|byte| self.bytes.get(usize::from(byte))));
            }
        }
        self.join(tokens);
        tokens.retain(|token| *token != self.start);
    }

    /// Applies the merge of the lowest rank, the leftmost of them, until none applies.
    fn join(&self, tokens: &mut Vec<u32>) {
        let merge = |left: u32, right: u32| self.merges.get(&(left, right)).copied();
        let mut merges: Vec<Option<(u32, u32)>> =
            tokens.iter().zip(tokens.iter().skip(1)).map(|(left, right)| merge(*left, *right)).collect();
        let first = |merges: &[Option<(u32, u32)>]| {
            let candidates =
                merges.iter().enumerate().filter_map(|(at, merge)| merge.map(|merge| (merge, at)));
            candidates.min_by_key(|((rank, _), at)| (*rank, *at))
        };
        while let Some(((_, whole), at)) = first(&merges) {
            tokens.remove(at + 1);
            merges.remove(at);
            if let Some(token) = tokens.get_mut(at) {
                *token = whole;
            }
            let right = tokens.get(at + 1).and_then(|right| merge(whole, *right));
            if let Some(entry) = merges.get_mut(at) {
                *entry = right;
            }
            let before = at.checked_sub(1);
            let left = before.and_then(|before| tokens.get(before)).and_then(|left| merge(*left, whole));
            if let Some(entry) = before.and_then(|before| merges.get_mut(before)) {
                *entry = left;
            }
        }
    }
}
