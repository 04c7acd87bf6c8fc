//! From scores to probabilities, by a fixed map of four numbers.

use super::algebra::scale;

/// How much a difference of scores tells, and the score that as many texts of no route reach: each for routes without
/// examples, and what examples add to it. Fitted by `benches/choose` and checked there across data sets.
const STEEPNESS: (f32, f32) = (16.0, 0.0);
const NONE_OF_THEM: (f32, f32) = (0.5, 0.2);

/// Scores become the probabilities that each route is meant; what they lack to 1 is that none is. `learnt` is between 0
/// for routes without examples and 1 for many.
pub(super) fn calibrate(scores: &mut [f32], learnt: f32) {
    let steepness = STEEPNESS.0 + STEEPNESS.1 * learnt;
    let none = NONE_OF_THEM.0 + NONE_OF_THEM.1 * learnt;
    let highest = scores.iter().copied().fold(none, f32::max);
    let mut sum = (steepness * (none - highest)).exp();
    for score in scores.iter_mut() {
        *score = (steepness * (*score - highest)).exp();
        sum += *score;
    }
    scale(scores, 1.0 / sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_keep_the_order_and_leave_room_for_none() {
        for learnt in [0.0, 0.5, 1.0] {
            let mut scores = [0.9, 0.2, 0.9, -1.0];
            calibrate(&mut scores, learnt);
            assert!(scores[0] > scores[1] && scores[1] > scores[3] && scores[3] >= 0.0, "{scores:?}");
            assert!((scores[0] - scores[2]).abs() < 1e-6 && scores.iter().sum::<f32>() < 1.0);
            let mut scores = [-5.0, -5.0];
            calibrate(&mut scores, learnt);
            assert!(scores[0] < 1e-6);
        }
        calibrate(&mut [], 0.0);
    }
}
