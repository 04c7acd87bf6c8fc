//! Words to vectors, by the table and the tokenizer of two files.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use super::abbreviations;
use super::error::{self, LoadError, Problem};
use super::tokenizer::{self, Tokenizer};
use super::weights::{self, Weights};

/// Static embeddings: read once, shared by every chooser of the process.
pub struct Embedder {
    weights: Weights,
    tokenizer: Tokenizer,
}

impl Embedder {
    /// Reads a table of vectors (safetensors, one F16 matrix) and its tokenizer (JSON, byte-pair encoding).
    pub fn load(weights: &Path, tokenizer: &Path) -> Result<Embedder, LoadError> {
        let table = error::read(weights, weights::MAX_FILE).and_then(Weights::parse);
        let table = table.map_err(|problem| LoadError::new(weights, problem))?;
        let words = error::read(tokenizer, tokenizer::MAX_FILE);
        let words = words.and_then(|file| Tokenizer::parse(&file, table.rows()));
        let words = words.map_err(|problem: Problem| LoadError::new(tokenizer, problem))?;
        Ok(Embedder { weights: table, tokenizer: words })
    }

    /// How many numbers a vector has.
    pub fn dimension(&self) -> usize {
        self.weights.dimension()
    }

    /// The tokens of one word.
    pub fn tokens(&self, word: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        self.tokenizer.encode(word, &mut tokens);
        tokens
    }

    /// Adds `weight` times the vector of a word: the sum over its tokens.
    pub(super) fn add(&self, word: &str, weight: f32, sum: &mut [f32]) {
        for token in self.tokens(word) {
            self.weights.add(token, weight, sum);
        }
    }

    /// The sum over the different words of a text, each weighted: to say a thing twice is to say it once.
    pub(super) fn sum(&self, words: &[String], weight: impl Fn(&str) -> f32) -> Vec<f32> {
        let mut sum = vec![0.0; self.dimension()];
        let mut seen = HashSet::with_capacity(words.len());
        for word in words.iter().filter(|word| seen.insert(word.as_str())) {
            self.add(word, weight(word), &mut sum);
            let meant = abbreviations::words_of(word);
            for meant_word in meant.iter().filter(|meant| !words.iter().any(|word| word == *meant)) {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "an abbreviation stands for a handful of words"
                )]
                let share = abbreviations::WEIGHT / (meant.len() as f32).sqrt();
                self.add(meant_word, share, &mut sum);
            }
        }
        sum
    }
}

impl fmt::Debug for Embedder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Embedder").field("dimension", &self.dimension()).finish_non_exhaustive()
    }
}
