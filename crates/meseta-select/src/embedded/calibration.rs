//! From scores to probabilities, by a fixed map.

use super::algebra::scale;

// The four numbers of the map were fitted on sets of 10 to 150 routes with 0 to 10 examples; `benches/choose` has the sets
// and the figures. Where a score stands for more, it is less steep.
const STEEPNESS: f32 = 15.5;
const LESS_STEEP_LEARNT: f32 = 8.0;
/// The score that a text of no route reaches, and how much higher it is with what examples add to all scores.
const NONE_OF_THEM: f32 = 0.38;
const HIGHER_LEARNT: f32 = 0.58;

/// Scores become the probabilities that each route is meant; what they lack to 1 is that none is. `learnt` is between 0
/// for routes without examples and 1 for many, `spread` is what scores lack because they are means over several points.
pub(super) fn calibrate(scores: &mut [f32], learnt: f32, spread: f32) {
    let steepness = STEEPNESS - LESS_STEEP_LEARNT * learnt;
    let none = NONE_OF_THEM + HIGHER_LEARNT * learnt * learnt - spread;
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
            calibrate(&mut scores, learnt, 0.1);
            assert!(scores[0] > scores[1] && scores[1] > scores[3] && scores[3] >= 0.0, "{scores:?}");
            assert!((scores[0] - scores[2]).abs() < 1e-6 && scores.iter().sum::<f32>() < 1.0);
            let mut scores = [-5.0, -5.0];
            calibrate(&mut scores, learnt, 0.1);
            assert!(scores[0] < 1e-6);
        }
        calibrate(&mut [], 0.0, 0.0);
    }
}
