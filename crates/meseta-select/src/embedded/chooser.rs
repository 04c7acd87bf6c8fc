//! Fits what is known of the routes, and scores queries by it.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::route::Route;

use super::algebra;
use super::associations::Associations;
use super::calibration::calibrate;
use super::clauses::clauses;
use super::description::{Description, spaced};
use super::embedder::Embedder;
use super::points::Points;
use super::prototypes::{Budget, Point, prototypes};
use super::ridge::{self, Ridge};
use super::scores::Scores;
use super::words::{is_function_word, words};

/// How much a function word of a query counts. Those of names and examples are few or typical, and count in full.
const FUNCTION_WORD: f32 = 0.6;
/// The likeness to a route is a soft maximum over its points: the sixth power of their nearness is averaged.
const SOFTNESS: f32 = 6.0 * ridge::SHARPNESS;
/// The part that the centre of all points of a route has beside the nearest of them.
const CENTRE: f32 = 0.25;
/// What the regression counts beside the likeness, with so many examples that one more changes nothing.
const REGRESSION: f32 = 3.0;
/// Of the thread, so many turns count, each half of the one after it.
const THREAD_TURNS: usize = 3;
const THREAD_DECAY: f32 = 0.5;
/// A turn whose best route has this probability is clear without the thread.
const CLEAR: f32 = 0.8;
/// The best routes that are kept of a clause.
const CLAUSE_ROUTES: usize = 2;

/// What is asked: the turn, and what the same user said before it, oldest first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<'a> {
    pub turn: &'a str,
    pub thread: &'a [&'a str],
}

/// Routes, ready to be chosen from.
pub struct Chooser {
    embedder: Arc<Embedder>,
    associations: Associations,
    /// A row for each point; those that the regression was fitted on come first.
    points: Points,
    /// By route: how many points it has, and the direction of their sum.
    counts: Vec<f32>,
    centres: Vec<f32>,
    ridge: Option<Ridge>,
    /// From 0 without examples, or too many routes to learn from them, towards 1 with many for each route.
    learnt: f32,
    /// What a score lacks, on average, because it is a mean over several points.
    spread: f32,
}

impl Chooser {
    /// Takes in the routes. Two of one name are two routes; one of which nothing is known is never probable.
    pub fn fit(embedder: Arc<Embedder>, routes: &[Route]) -> Chooser {
        let names: Vec<String> = routes.iter().map(|route| spaced(&route.name)).collect();
        let descriptions: Vec<Description> =
            routes.iter().map(|route| Description::read(&route.description)).collect();
        let told = descriptions
            .iter()
            .flat_map(|description| description.sentences.iter().chain(&description.phrases));
        let vocabulary: HashSet<String> = names.iter().chain(told).flat_map(|text| words(text)).collect();
        let associations = Associations::among(vocabulary.iter().map(String::as_str));

        let budget = Budget::of(routes.len());
        let learnt =
            if budget.fits { mean(routes.iter().map(|route| saturation(route.examples.len()))) } else { 0.0 };
        let mut points: Vec<Point> =
            names.iter().enumerate().map(|(route, name)| Point::of(&embedder, route, name)).collect();
        for (at, route) in routes.iter().enumerate() {
            points.extend(prototypes(&embedder, at, &route.examples, budget.examples));
        }
        let ridge = (learnt > 0.0).then(|| Ridge::fit(&points, routes.len()));
        for (route, description) in descriptions.iter().enumerate() {
            let told = description.sentences.iter().chain(&description.phrases);
            points.extend(told.take(budget.told).map(|text| Point::of(&embedder, route, text)));
        }

        let dimension = embedder.dimension();
        let mut counts = vec![0.0; routes.len()];
        let mut centres = vec![0.0; routes.len() * dimension];
        for point in &points {
            if let (Some(count), Some(centre)) =
                (counts.get_mut(point.route), centres.chunks_exact_mut(dimension).nth(point.route))
            {
                *count += 1.0;
                algebra::add(centre, 1.0, &point.vector);
            }
        }
        centres.chunks_exact_mut(dimension).for_each(algebra::normalise);
        let spread = mean(counts.iter().map(|count: &f32| count.max(1.0).ln())) / SOFTNESS;
        let points = Points::of(&points, dimension);
        Chooser { embedder, associations, points, counts, centres, ridge, learnt, spread }
    }

    /// The probabilities of all routes for a query. Whatever the query, and whether there are routes or not.
    pub fn score(&self, query: &Query<'_>) -> Scores {
        let said = words(query.turn);
        let turn = self.sum(&said);
        let mut probabilities = self.probabilities(turn.clone(), &said);
        let clarity = probabilities.iter().copied().fold(0.0, f32::max) / CLEAR;
        if clarity < 1.0 && query.thread.iter().any(|text| !text.is_empty()) {
            let within = self.within_thread(turn, said, query.thread);
            for (probability, within) in probabilities.iter_mut().zip(within) {
                *probability = clarity * *probability + (1.0 - clarity) * within;
            }
        }
        let clauses = clauses(query.turn).into_iter().map(|clause| {
            let said = words(clause);
            let mut clause = ranked(&self.probabilities(self.sum(&said), &said));
            clause.truncate(CLAUSE_ROUTES);
            clause
        });
        Scores { ranked: ranked(&probabilities), clauses: clauses.collect() }
    }

    /// The turn together with what was said before it: the longer a turn is, the less the thread adds to it.
    fn within_thread(&self, mut sum: Vec<f32>, mut said: Vec<String>, thread: &[&str]) -> Vec<f32> {
        let mut weight = 1.0;
        for earlier in thread.iter().rev().filter(|text| !text.is_empty()).take(THREAD_TURNS) {
            weight *= THREAD_DECAY;
            let earlier = words(earlier);
            algebra::add(&mut sum, weight, &self.sum(&earlier));
            said.extend(earlier);
        }
        self.probabilities(sum, &said)
    }

    /// The sum of the vectors of what is said and of what it means without saying it.
    fn sum(&self, said: &[String]) -> Vec<f32> {
        let mut sum =
            self.embedder.sum(said, |word| if is_function_word(word) { FUNCTION_WORD } else { 1.0 });
        for (word, weight) in self.associations.unsaid(said) {
            self.embedder.add(word, weight, &mut sum);
        }
        sum
    }

    fn probabilities(&self, mut vector: Vec<f32>, said: &[String]) -> Vec<f32> {
        algebra::normalise(&mut vector);
        let mut scores = vec![0.0; self.counts.len()];
        let mut kernel = Vec::with_capacity(self.points.len());
        for (route, cosine) in self.points.cosines(&vector) {
            let nearness = ridge::nearness(cosine);
            kernel.push(nearness);
            if let Some(score) = scores.get_mut(route) {
                let square = nearness * nearness;
                *score += square * square * square;
            }
        }
        let centres = self.centres.chunks_exact(vector.len().max(1));
        for ((score, count), centre) in scores.iter_mut().zip(&self.counts).zip(centres) {
            let nearest = (*score / count.max(1.0)).max(f32::MIN_POSITIVE).ln() / SOFTNESS + 1.0;
            *score = (nearest + CENTRE * algebra::dot(centre, &vector)) / (1.0 + CENTRE);
        }
        if let Some(ridge) = &self.ridge {
            ridge.add_scores(said, &mut kernel, REGRESSION * self.learnt, &mut scores);
        }
        calibrate(&mut scores, self.learnt, self.spread);
        scores
    }
}

impl fmt::Debug for Chooser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Chooser")
            .field("routes", &self.counts.len())
            .field("points", &self.points.len())
            .finish_non_exhaustive()
    }
}

/// The share of what can be learnt from so many examples.
#[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
fn saturation(examples: usize) -> f32 {
    examples as f32 / (examples as f32 + 1.0)
}

fn mean(values: impl ExactSizeIterator<Item = f32>) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "a mean needs no more")]
    let count = values.len().max(1) as f32;
    values.sum::<f32>() / count
}

/// The most probable first; of equals, the first in the file.
fn ranked(probabilities: &[f32]) -> Vec<(usize, f32)> {
    let mut ranked: Vec<(usize, f32)> = probabilities.iter().copied().enumerate().collect();
    ranked.sort_by(|(_, left), (_, right)| right.total_cmp(left));
    ranked
}
