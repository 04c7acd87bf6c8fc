//! The embedded chooser as a Python handle, for the evaluation: the same code that the plane runs.

use std::path::PathBuf;
use std::sync::Arc;

use meseta_select::embedded::{Chooser as Fitted, Decision, Embedder, Query};
use meseta_select::route::Route;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Chooses among described routes by static embeddings. `routes` are names, descriptions and examples.
///
/// `weights` and `tokenizer` are the two files of the embedder; a `ValueError` says why they cannot be used.
#[pyclass(frozen, module = "meseta._core")]
pub struct Chooser {
    names: Vec<String>,
    fitted: Fitted,
}

type Ranked = Vec<(String, f32)>;

#[expect(clippy::needless_pass_by_value, reason = "what comes from Python is owned")]
#[pymethods]
impl Chooser {
    #[new]
    fn new(
        py: Python<'_>,
        weights: PathBuf,
        tokenizer: PathBuf,
        routes: Vec<(String, String, Vec<String>)>,
    ) -> PyResult<Chooser> {
        let names = routes.iter().map(|(name, _, _)| name.clone()).collect();
        let routes: Vec<Route> = routes
            .into_iter()
            .map(|(name, description, examples)| Route { name, description, examples })
            .collect();
        let fitted = py.detach(|| {
            let embedder = Embedder::load(&weights, &tokenizer)?;
            Ok::<Fitted, meseta_select::embedded::LoadError>(Fitted::fit(Arc::new(embedder), &routes))
        });
        let fitted = fitted.map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Chooser { names, fitted })
    }

    /// Every route and the probability that the turn asks for it, the most probable first. `thread` is what the user said
    /// before, oldest first.
    #[pyo3(signature = (turn, thread = None))]
    fn choose(&self, py: Python<'_>, turn: &str, thread: Option<Vec<String>>) -> Ranked {
        py.detach(|| self.ranked(turn, &thread.unwrap_or_default()))
    }

    /// `choose` for many turns without threads.
    fn choose_many(&self, py: Python<'_>, turns: Vec<String>) -> Vec<Ranked> {
        py.detach(|| turns.iter().map(|turn| self.ranked(turn, &[])).collect())
    }

    /// The routes that the turn asks for, in the order in which it mentions them; none if nothing fits well enough.
    #[pyo3(signature = (turn, thread = None, threshold = 0.5, margin = 0.1))]
    fn decide(
        &self,
        py: Python<'_>,
        turn: &str,
        thread: Option<Vec<String>>,
        threshold: f32,
        margin: f32,
    ) -> Vec<String> {
        let decision = py.detach(|| self.scores(turn, &thread.unwrap_or_default()).decide(threshold, margin));
        match decision {
            Decision::Chosen(routes) => {
                routes.into_iter().filter_map(|route| self.names.get(route).cloned()).collect()
            }
            Decision::Abstained { .. } => Vec::new(),
        }
    }
}

impl Chooser {
    fn scores(&self, turn: &str, thread: &[String]) -> meseta_select::embedded::Scores {
        let thread: Vec<&str> = thread.iter().map(String::as_str).collect();
        self.fitted.score(&Query { turn, thread: &thread })
    }

    fn ranked(&self, turn: &str, thread: &[String]) -> Ranked {
        let ranked = self.scores(turn, thread).ranked.into_iter();
        ranked
            .filter_map(|(route, probability)| Some((self.names.get(route)?.clone(), probability)))
            .collect()
    }
}
