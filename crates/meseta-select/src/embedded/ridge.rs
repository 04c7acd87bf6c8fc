//! Kernel ridge regression: what tells the routes apart, learnt from their examples when a snapshot is read.

use super::algebra;
use super::lexicon::Lexicon;
use super::prototypes::Point;

/// How fast the likeness of two texts falls with the angle between their vectors.
pub(super) const SHARPNESS: f32 = 3.0;
/// How much the words themselves count beside the vectors.
const LEXICAL: f32 = 0.3;
const REGULARISATION: f32 = 0.3;

pub(super) struct Ridge {
    lexicon: Lexicon,
    /// A row for each point, a column for each route.
    coefficients: Vec<Vec<f32>>,
}

impl Ridge {
    /// Learns to answer 1 for the route of a point and 0 for every other.
    pub(super) fn fit(points: &[Point], routes: usize) -> Ridge {
        let texts: Vec<Vec<String>> = points.iter().map(|point| point.words.clone()).collect();
        let lexicon = Lexicon::of(&texts);
        let mut kernel: Vec<Vec<f32>> = Vec::with_capacity(points.len());
        let mut likeness = vec![0.0; points.len()];
        for (at, point) in points.iter().enumerate() {
            likeness.fill(0.0);
            lexicon.add_likeness(&lexicon.features(&point.words), LEXICAL, &mut likeness);
            let before = points.iter().take(at + 1).zip(&likeness);
            let mut row: Vec<f32> = before
                .map(|(other, likeness)| nearness(algebra::dot(&point.vector, &other.vector)) + likeness)
                .collect();
            if let Some(diagonal) = row.last_mut() {
                *diagonal += REGULARISATION;
            }
            kernel.push(row);
        }
        let mut coefficients: Vec<Vec<f32>> = points
            .iter()
            .map(|point| (0..routes).map(|route| if route == point.route { 1.0 } else { 0.0 }).collect())
            .collect();
        algebra::factorise(&mut kernel);
        algebra::solve(&kernel, &mut coefficients);
        Ridge { lexicon, coefficients }
    }

    /// Adds `factor` times what the regression answers to the scores of the routes. `kernel` has the nearness of the text
    /// to each point, and is used up.
    pub(super) fn add_scores(&self, words: &[String], kernel: &mut [f32], factor: f32, scores: &mut [f32]) {
        self.lexicon.add_likeness(&self.lexicon.features(words), LEXICAL, kernel);
        for (row, likeness) in self.coefficients.iter().zip(kernel) {
            algebra::add(scores, factor * *likeness, row);
        }
    }
}

/// From the cosine of two vectors to a kernel of them: 1 for the same direction.
pub(super) fn nearness(cosine: f32) -> f32 {
    (SHARPNESS * (cosine - 1.0)).exp()
}
