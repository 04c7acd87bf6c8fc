//! What is known of the routes as points among the vectors, in a bounded number.

use super::algebra;
use super::embedder::Embedder;
use super::words::words;

/// The regression over the points takes time with the third power of their number: this many are fitted within a second.
pub(super) const MAX_POINTS: usize = 2048;

/// A text, or several like ones of the same route.
pub(super) struct Point {
    pub(super) route: usize,
    pub(super) vector: Vec<f32>,
    pub(super) words: Vec<String>,
}

impl Point {
    pub(super) fn of(embedder: &Embedder, route: usize, text: &str) -> Point {
        let words = words(text);
        let mut vector = embedder.sum(&words, |_| 1.0);
        algebra::normalise(&mut vector);
        Point { route, vector, words }
    }
}

/// At most `budget` points for the examples of one route: some of them, evenly chosen, with the others folded into whichever
/// they are most like. No example is without effect.
pub(super) fn prototypes(
    embedder: &Embedder,
    route: usize,
    examples: &[String],
    budget: usize,
) -> Vec<Point> {
    let budget = budget.max(1);
    let mut kept: Vec<Point> = Vec::with_capacity(examples.len().min(budget));
    let mut folded: Vec<Point> = Vec::new();
    for (at, example) in examples.iter().enumerate() {
        let point = Point::of(embedder, route, example);
        let first_of_its_part = at == 0 || at * budget / examples.len() != (at - 1) * budget / examples.len();
        if examples.len() <= budget || first_of_its_part { kept.push(point) } else { folded.push(point) }
    }
    let likest = |point: &Point| {
        let likeness = kept.iter().map(|other| algebra::dot(&point.vector, &other.vector)).enumerate();
        likeness.max_by(|(_, left), (_, right)| left.total_cmp(right)).map(|(at, _)| at)
    };
    let places: Vec<Option<usize>> = folded.iter().map(likest).collect();
    for (point, place) in folded.into_iter().zip(places) {
        if let Some(prototype) = place.and_then(|place| kept.get_mut(place)) {
            algebra::add(&mut prototype.vector, 1.0, &point.vector);
            prototype.words.extend(point.words);
        }
    }
    for prototype in &mut kept {
        algebra::normalise(&mut prototype.vector);
    }
    kept
}
