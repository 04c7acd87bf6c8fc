//! Kernel ridge regression: what tells the routes apart, learnt from their examples when a snapshot is read.

use super::algebra;
use super::integers;
use super::lexicon::Lexicon;
use super::prototypes::Point;

/// How fast the likeness of two texts falls with the angle between their vectors.
pub(super) const SHARPNESS: f32 = 3.0;
/// How much the words themselves count beside the vectors.
const LEXICAL: f32 = 0.3;
const REGULARISATION: f32 = 0.2;
/// The most that a kernel of two texts comes to, with something for rounding, and what 1 of it is as an integer.
const MAX_KERNEL: f32 = 1.5;
const KERNEL_UNIT: f32 = 4096.0;
/// Half of what 32 bits hold.
const MAX_PRODUCT: f32 = 1_073_741_824.0;

pub(super) struct Ridge {
    lexicon: Lexicon,
    points: usize,
    /// A row for each route, with a coefficient for each point, in units of the route.
    coefficients: Vec<i16>,
    units: Vec<f32>,
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
        let mut ridge = Ridge { lexicon, points: points.len(), coefficients: Vec::new(), units: Vec::new() };
        for route in 0..routes {
            let column: Vec<f32> =
                coefficients.iter().map(|row| row.get(route).copied().unwrap_or_default()).collect();
            let largest = column.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
            let all = column.iter().fold(f32::MIN_POSITIVE, |sum, value| sum + value.abs());
            // As fine as 16 bits allow, and never so fine that a product with kernels of the largest value overflows.
            let scale = (f32::from(i16::MAX) / largest).min(MAX_PRODUCT / (MAX_KERNEL * KERNEL_UNIT * all));
            ridge.coefficients.extend(integers::quantised(&column, scale));
            ridge.units.push(1.0 / (scale * KERNEL_UNIT));
        }
        ridge
    }

    /// Adds `factor` times what the regression answers to the scores of the routes. `kernel` has the nearness of the text
    /// to each point, and is used up.
    pub(super) fn add_scores(&self, words: &[String], kernel: &mut [f32], factor: f32, scores: &mut [f32]) {
        self.lexicon.add_likeness(&self.lexicon.features(words), LEXICAL, kernel);
        for likeness in kernel.iter_mut() {
            *likeness = likeness.min(MAX_KERNEL);
        }
        let kernel: Vec<i16> = integers::quantised(kernel, KERNEL_UNIT).take(self.points).collect();
        let rows = self.coefficients.chunks_exact(self.points.max(1)).zip(&self.units);
        for (score, (row, unit)) in scores.iter_mut().zip(rows) {
            *score += factor * unit * integers::product(row, &kernel);
        }
    }
}

/// From the cosine of two vectors to a kernel of them: 1 for the same direction.
pub(super) fn nearness(cosine: f32) -> f32 {
    (SHARPNESS * (cosine - 1.0)).exp()
}
