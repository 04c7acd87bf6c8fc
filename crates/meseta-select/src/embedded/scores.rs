//! What the chooser found, and what follows from it.

/// Where several routes are chosen, each must be among so many of the best for the turn as a whole.
const BEST_OF_TURN: usize = 4;

/// The probabilities that each route is what a query asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Every route and its probability, the most probable first. They add up to less than 1: it may be none.
    pub ranked: Vec<(usize, f32)>,
    /// For each clause that could be a request of its own, in order, its own best routes.
    pub(super) clauses: Vec<Vec<(usize, f32)>>,
}

/// What to do with a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// These routes, in the order in which the turn mentions them.
    Chosen(Vec<usize>),
    /// Nothing fits well enough. `best` is the most probable route if there are any.
    Abstained { best: Option<usize>, probability: f32 },
}

impl Scores {
    /// Chooses a route of at least the probability `threshold` that is `margin` more probable than the next.
    ///
    /// Where clauses of the turn each pass that by themselves with different routes, and the turn as a whole speaks of all
    /// of them, it is several.
    pub fn decide(&self, threshold: f32, margin: f32) -> Decision {
        let several = self.several(threshold, margin);
        if several.len() > 1 {
            return Decision::Chosen(several);
        }
        match (clear(&self.ranked, threshold, margin), self.ranked.first()) {
            (Some(route), _) => Decision::Chosen(vec![route]),
            (None, best) => Decision::Abstained {
                best: best.map(|(route, _)| *route),
                probability: best.map_or(0.0, |(_, probability)| *probability),
            },
        }
    }

    /// How probable a route is in the clause that asks for it most clearly, where that is what the turn was chosen by.
    pub fn of_clauses(&self, route: usize) -> Option<f32> {
        let best = self.clauses.iter().filter_map(|clause| clause.first());
        best.filter(|(of, _)| *of == route).map(|(_, probability)| *probability).max_by(f32::total_cmp)
    }

    fn several(&self, threshold: f32, margin: f32) -> Vec<usize> {
        let mut several = Vec::new();
        for route in self.clauses.iter().filter_map(|clause| clear(clause, threshold, margin)) {
            let of_turn = self.ranked.iter().take(BEST_OF_TURN).any(|(best, _)| *best == route);
            if of_turn && !several.contains(&route) {
                several.push(route);
            }
        }
        several
    }
}

/// The best route, if it is probable enough and far enough ahead.
fn clear(ranked: &[(usize, f32)], threshold: f32, margin: f32) -> Option<usize> {
    let (best, probability) = *ranked.first()?;
    let second = ranked.get(1).map_or(0.0, |(_, second)| *second);
    (probability >= threshold && probability - second >= margin).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(ranked: &[(usize, f32)], clauses: &[&[(usize, f32)]]) -> Scores {
        Scores { ranked: ranked.to_vec(), clauses: clauses.iter().map(|clause| clause.to_vec()).collect() }
    }

    #[test]
    fn one_route_needs_the_threshold_and_the_margin() {
        let one = scores(&[(3, 0.6), (1, 0.3)], &[]);
        assert_eq!(one.decide(0.5, 0.1), Decision::Chosen(vec![3]));
        let abstained = Decision::Abstained { best: Some(3), probability: 0.6 };
        assert_eq!(one.decide(0.7, 0.1), abstained);
        assert_eq!(one.decide(0.5, 0.4), abstained);
        assert_eq!(scores(&[], &[]).decide(0.0, 0.0), Decision::Abstained { best: None, probability: 0.0 });
    }

    #[test]
    fn several_are_chosen_where_each_clause_is_clear_and_the_turn_speaks_of_all() {
        let clauses: &[&[(usize, f32)]] = &[&[(2, 0.8)], &[(0, 0.2)], &[(1, 0.7), (2, 0.1)]];
        let turn = scores(&[(1, 0.4), (2, 0.4)], clauses);
        assert_eq!(turn.decide(0.5, 0.1), Decision::Chosen(vec![2, 1]));
        assert_eq!([2, 1, 3].map(|route| turn.of_clauses(route)), [Some(0.8), Some(0.7), None]);
        let elsewhere = scores(&[(1, 0.9), (3, 0.05)], clauses);
        assert_eq!(elsewhere.decide(0.5, 0.1), Decision::Chosen(vec![1]));
    }
}
