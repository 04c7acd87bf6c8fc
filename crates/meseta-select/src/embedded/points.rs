//! The points of all routes in one table, compared with a query at once.

use super::integers;
use super::prototypes::Point;

/// What 1 is as an integer. Vectors are one long, so that their products stay below the square of this.
const UNIT: f32 = 16384.0;

/// Vectors that are one long, and the route of each.
pub(super) struct Points {
    rows: Vec<i16>,
    routes: Vec<usize>,
    dimension: usize,
}

impl Points {
    pub(super) fn of(points: &[Point], dimension: usize) -> Points {
        let rows = points.iter().flat_map(|point| integers::quantised(&point.vector, UNIT)).collect();
        Points { rows, routes: points.iter().map(|point| point.route).collect(), dimension: dimension.max(1) }
    }

    pub(super) fn len(&self) -> usize {
        self.routes.len()
    }

    /// The route of each point and the cosine of its angle to a vector that is one long.
    pub(super) fn cosines(&self, vector: &[f32]) -> impl Iterator<Item = (usize, f32)> {
        let vector: Vec<i16> = integers::quantised(vector, UNIT).collect();
        let rows = self.rows.chunks_exact(self.dimension);
        self.routes.iter().copied().zip(rows.map(move |row| integers::product(row, &vector) / (UNIT * UNIT)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::algebra;
    use super::*;

    #[test]
    fn cosines_are_those_of_the_vectors() {
        let vector = |seed: usize| {
            let values =
                (0..37).map(|at| f32::from(u8::try_from((at * seed * 31 + 7) % 101).unwrap()) - 50.0);
            let mut vector: Vec<f32> = values.collect();
            algebra::normalise(&mut vector);
            vector
        };
        let point = |route, seed| Point { route, vector: vector(seed), words: Vec::new() };
        let points = Points::of(&[point(4, 1), point(2, 5)], 37);
        let query = vector(5);
        for ((route, cosine), (expected, truth)) in
            points.cosines(&query).zip([(4, algebra::dot(&vector(1), &query)), (2, 1.0)])
        {
            assert_eq!(route, expected);
            assert!((cosine - truth).abs() < 1e-3, "{cosine} is not {truth}");
        }
    }
}
