//! What the runs cost that somebody watches: a budget of money holds for all calls of a run, whoever makes them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::log::RequestId;

/// Millionths of a US dollar by the root of the run.
#[derive(Default)]
pub(crate) struct Runs(Mutex<HashMap<RequestId, f64>>);

/// A run is watched as long as this lives.
pub(crate) struct Watched {
    runs: Arc<Runs>,
    root: RequestId,
    /// Whoever watched first sees to the end of it.
    first: bool,
}

impl Runs {
    pub fn watch(self: &Arc<Runs>, root: RequestId) -> Watched {
        let first =
            self.costs(|costs| costs.insert(root, costs.get(&root).copied().unwrap_or(0.0))).is_none();
        Watched { runs: self.clone(), root, first }
    }

    /// A call of the run has cost this much. Nothing happens where nobody watches.
    pub fn add(&self, root: RequestId, cost: f64) {
        self.costs(|costs| {
            if let Some(sum) = costs.get_mut(&root) {
                *sum += cost;
            }
        });
    }

    fn costs<T>(&self, with: impl FnOnce(&mut HashMap<RequestId, f64>) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Watched {
    /// Millionths of a US dollar so far.
    pub fn cost(&self) -> f64 {
        self.runs.costs(|costs| costs.get(&self.root).copied().unwrap_or(0.0))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.first {
            self.runs.costs(|costs| costs.remove(&self.root));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_while_somebody_watches() {
        let runs = Arc::new(Runs::default());
        let root = RequestId(7);
        runs.add(root, 5.0);
        let watched = runs.watch(root);
        runs.add(root, 2.0);
        let inner = runs.watch(root);
        runs.add(root, 1.0);
        drop(inner);
        assert!((watched.cost() - 3.0).abs() < 1e-9);
        drop(watched);
        assert!(runs.costs(|costs| costs.is_empty()));
    }
}
