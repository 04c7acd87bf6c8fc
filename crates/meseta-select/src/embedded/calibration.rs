//! From scores to probabilities, by a fixed map.

use super::algebra::scale;

// The numbers of the map were fitted on nine collections, each with the same weight, of 4 to 150 routes with 0 to 10
// examples, and with far fewer turns of no route than of some; `benches/choose` reads such collections, and the page of its
// results names them. Where a score stands for more, it is less steep.
const STEEPNESS: f32 = 14.9;
const LESS_STEEP_LEARNT: f32 = 10.0;
/// What stands for "none of them" beside the steep scores: more with what examples add to all scores, and more with many
/// routes, of which some score well by chance.
const NONE_OF_THEM: f32 = 1.2;
const HIGHER_LEARNT: f32 = 0.8;
const HIGHER_LEARNT_WELL: f32 = 0.86;
const HIGHER_WITH_ROUTES: f32 = 0.65;
const LOWER_WITH_SPREAD: f32 = 3.0;

/// Scores become the probabilities that each route is meant; what they lack to 1 is that none is. `learnt` is between 0
/// for routes without examples and 1 for many, `spread` is what scores lack because they are means over several points.
pub(super) fn calibrate(scores: &mut [f32], learnt: f32, spread: f32) {
    let steepness = STEEPNESS - LESS_STEEP_LEARNT * learnt;
    #[expect(clippy::cast_precision_loss, reason = "a logarithm needs no more")]
    let routes = (scores.len().max(1) as f32).ln();
    let none =
        NONE_OF_THEM + (HIGHER_LEARNT + HIGHER_LEARNT_WELL * learnt) * learnt + HIGHER_WITH_ROUTES * routes
            - LOWER_WITH_SPREAD * spread;
    let highest = scores.iter().map(|score| steepness * score).fold(none, f32::max);
    let mut sum = (none - highest).exp();
    for score in scores.iter_mut() {
        *score = (steepness * *score - highest).exp();
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
