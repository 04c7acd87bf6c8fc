//! Words and pairs of neighbouring words, weighted by how rare they are among the examples.

use std::collections::HashMap;

use super::words::is_lexical;

/// A text as the features it has and their weights, one long.
pub(super) type Features = Vec<(u32, f32)>;

pub(super) struct Lexicon {
    features: HashMap<u64, u32>,
    rarity: Vec<f32>,
    /// By feature, the texts that have it and its weight there.
    postings: Vec<Vec<(u32, f32)>>,
}

impl Lexicon {
    /// Of the texts, each given by its words.
    pub(super) fn of(texts: &[Vec<String>]) -> Lexicon {
        let mut lexicon = Lexicon { features: HashMap::new(), rarity: Vec::new(), postings: Vec::new() };
        let mut counted: Vec<Vec<(u32, f32)>> = Vec::with_capacity(texts.len());
        let mut texts_with: Vec<f32> = Vec::new();
        for text in texts {
            let counts = count(text, |hash| {
                let next = u32::try_from(lexicon.features.len()).ok()?;
                Some(*lexicon.features.entry(hash).or_insert(next))
            });
            texts_with.resize(lexicon.features.len(), 0.0);
            for (feature, _) in &counts {
                if let Some(texts) = texts_with.get_mut(*feature as usize) {
                    *texts += 1.0;
                }
            }
            counted.push(counts);
        }
        #[expect(clippy::cast_precision_loss, reason = "a weight needs no more")]
        let all = texts.len() as f32;
        lexicon.rarity = texts_with.iter().map(|texts| ((1.0 + all) / (1.0 + texts)).ln() + 1.0).collect();
        lexicon.postings = vec![Vec::new(); lexicon.rarity.len()];
        for (text, counts) in (0_u32..).zip(counted) {
            for (feature, weight) in lexicon.weigh(counts) {
                if let Some(postings) = lexicon.postings.get_mut(feature as usize) {
                    postings.push((text, weight));
                }
            }
        }
        lexicon
    }

    /// The features of another text; what no text of the lexicon has does not count.
    pub(super) fn features(&self, words: &[String]) -> Features {
        self.weigh(count(words, |hash| self.features.get(&hash).copied()))
    }

    /// Adds `factor` times the likeness to each text of the lexicon.
    pub(super) fn add_likeness(&self, features: &[(u32, f32)], factor: f32, likeness: &mut [f32]) {
        for (feature, weight) in features {
            for (text, other) in self.postings.get(*feature as usize).into_iter().flatten() {
                if let Some(likeness) = likeness.get_mut(*text as usize) {
                    *likeness += factor * weight * other;
                }
            }
        }
    }

    fn weigh(&self, counts: Vec<(u32, f32)>) -> Features {
        let weights = counts.into_iter().map(|(feature, count)| {
            (feature, (1.0 + count.ln()) * self.rarity.get(feature as usize).copied().unwrap_or_default())
        });
        let mut weights: Features = weights.collect();
        let length = weights.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
        if length > 0.0 {
            for (_, weight) in &mut weights {
                *weight /= length;
            }
        }
        weights
    }
}

/// How often the text has which feature, in the order in which they come.
fn count(words: &[String], mut feature: impl FnMut(u64) -> Option<u32>) -> Vec<(u32, f32)> {
    let mut counts: Vec<(u32, f32)> = Vec::new();
    let mut places: HashMap<u32, usize> = HashMap::new();
    let mut before: Option<u64> = None;
    for word in words.iter().filter(|word| is_lexical(word)) {
        let hash = digest(0, word);
        let pair = before.map(|before| digest(before, word));
        for hash in [Some(hash), pair].into_iter().flatten() {
            let Some(feature) = feature(hash) else { continue };
            let place = *places.entry(feature).or_insert_with(|| {
                counts.push((feature, 0.0));
                counts.len() - 1
            });
            if let Some((_, count)) = counts.get_mut(place) {
                *count += 1.0;
            }
        }
        before = Some(hash);
    }
    counts
}

/// FNV-1a. Two features that fall together would count as one, which nobody gains by.
fn digest(before: u64, word: &str) -> u64 {
    let seed = 0xcbf2_9ce4_8422_2325 ^ before.rotate_left(17);
    word.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::super::words::words;
    use super::*;

    #[test]
    fn likeness_sees_words_pairs_and_their_rarity() {
        let texts = ["freeze my card", "my card is lost", "play my song"].map(words);
        let lexicon = Lexicon::of(&texts);
        let mut likeness = [0.0; 3];
        lexicon.add_likeness(&lexicon.features(&words("My card, please freeze my card")), 1.0, &mut likeness);
        assert!(likeness[0] > likeness[1] && likeness[1] > likeness[2] && likeness[2] > 0.0, "{likeness:?}");
        assert!(likeness[0] <= 1.0);
        let mut likeness = [0.0; 3];
        lexicon.add_likeness(&lexicon.features(&words("?! unheard of")), 1.0, &mut likeness);
        assert_eq!(likeness.map(f32::to_bits), [0; 3]);
    }
}
