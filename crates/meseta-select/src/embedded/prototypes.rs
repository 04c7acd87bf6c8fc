//! What is known of the routes as points among the vectors, in a bounded number.

use super::algebra;
use super::embedder::Embedder;
use super::words::words;

/// The regression takes time with the third power of the points, and with their square times the routes: within these it is
/// fitted in about a second.
const MAX_FITTED: usize = 2048;
const MAX_WORK: usize = 1_000_000_000;
/// A query is compared with every point.
const MAX_POINTS: usize = 8192;

/// How many points there may be for each of so many routes, beside the one for its name.
pub(super) struct Budget {
    pub(super) examples: usize,
    /// Sentences and phrases of the description.
    pub(super) told: usize,
    /// Whether the names and the examples within the budget can be fitted.
    pub(super) fits: bool,
}

impl Budget {
    pub(super) fn of(routes: usize) -> Budget {
        let routes = routes.max(1);
        let fitted = MAX_FITTED.min((MAX_WORK / routes).isqrt()) / routes;
        let told = (MAX_POINTS / routes).max(1);
        if fitted >= 2 {
            Budget { examples: fitted - 1, told, fits: true }
        } else {
            Budget { examples: told, told, fits: false }
        }
    }
}

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
    fold(examples.iter().map(|example| Point::of(embedder, route, example)), budget.max(1))
}

fn fold(points: impl ExactSizeIterator<Item = Point>, budget: usize) -> Vec<Point> {
    let all = points.len();
    let mut kept: Vec<Point> = Vec::with_capacity(all.min(budget));
    let mut folded: Vec<Point> = Vec::new();
    for (at, point) in points.enumerate() {
        let first_of_its_part = at == 0 || at * budget / all != (at - 1) * budget / all;
        if all <= budget || first_of_its_part { kept.push(point) } else { folded.push(point) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_budget_is_folded_into_the_likest() {
        let point = |word: &str, vector: [f32; 2]| Point {
            route: 3,
            vector: vector.to_vec(),
            words: vec![word.to_owned()],
        };
        let points = [
            point("east", [1.0, 0.0]),
            point("nearly north", [0.0, 1.0]),
            point("north", [0.0, 1.0]),
            point("nearly east", [0.8, 0.6]),
        ];
        let kept = fold(points.into_iter(), 2);
        let words: Vec<Vec<String>> = kept.iter().map(|point| point.words.clone()).collect();
        assert_eq!(words, [vec!["east", "nearly east"], vec!["north", "nearly north"]]);
        assert!(kept[0].vector[1] > 0.3 && kept[1].vector[0].abs() < 1e-6);
        assert!((algebra::dot(&kept[0].vector, &kept[0].vector) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn many_routes_have_few_points_each() {
        for routes in [0, 1, 2, 150, 629, 630, 3000, usize::MAX] {
            let Budget { examples, told, fits } = Budget::of(routes);
            assert!(examples >= 1 && told >= 1);
            assert!(!fits || (examples + 1) * routes <= MAX_FITTED, "{routes}");
            assert_eq!(fits, routes < 630, "{routes}");
        }
    }

    #[test]
    fn what_is_within_the_budget_stays() {
        let point =
            |at: u8| Point { route: 0, vector: vec![f32::from(at), 1.0], words: vec![at.to_string()] };
        let kept = fold((0..5).map(point).collect::<Vec<_>>().into_iter(), 5);
        assert_eq!(kept.iter().flat_map(|point| point.words.clone()).collect::<String>(), "01234");
        assert!(fold(Vec::new().into_iter(), 1).is_empty());
    }
}
