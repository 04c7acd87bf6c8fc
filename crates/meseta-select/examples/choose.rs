//! Scores turns from standard input, for `benches/choose`: routes in, probabilities, decisions and times out, as JSON.

use std::error::Error;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use meseta_select::embedded::{Chooser, Decision, Embedder, Query};
use meseta_select::route::Route;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Task {
    weights: PathBuf,
    tokenizer: PathBuf,
    /// Name, description and examples of each.
    routes: Vec<(String, String, Vec<String>)>,
    turns: Vec<String>,
    threshold: f32,
    margin: f32,
}

#[derive(Serialize)]
struct Outcome {
    fit_seconds: f64,
    decisions: Vec<Decided>,
}

#[derive(Serialize)]
struct Decided {
    best: usize,
    probability: f32,
    chosen: Vec<usize>,
    microseconds: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let task: Task = serde_json::from_str(&text)?;
    let embedder = Arc::new(Embedder::load(&task.weights, &task.tokenizer)?);
    let routes =
        task.routes.into_iter().map(|(name, description, examples)| Route { name, description, examples });
    let routes: Vec<Route> = routes.collect();
    let begin = Instant::now();
    let chooser = Chooser::fit(embedder, &routes);
    let fit_seconds = begin.elapsed().as_secs_f64();
    let decisions = task.turns.iter().map(|turn| {
        let begin = Instant::now();
        let scores = chooser.score(&Query { turn, thread: &[] });
        let decision = scores.decide(task.threshold, task.margin);
        let microseconds = begin.elapsed().as_secs_f64() * 1e6;
        let (best, probability) = scores.ranked.first().copied().unwrap_or_default();
        let chosen = match decision {
            Decision::Chosen(chosen) => chosen,
            Decision::Abstained { .. } => Vec::new(),
        };
        Decided { best, probability, chosen, microseconds }
    });
    let outcome = Outcome { fit_seconds, decisions: decisions.collect() };
    serde_json::to_writer(std::io::stdout().lock(), &outcome)?;
    Ok(())
}
