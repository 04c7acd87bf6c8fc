//! The steps that all cascades of a snapshot have in common, whatever each of them chooses from.

use std::sync::Arc;

use meseta_select::embedded::{Chooser, Decision, Embedder, Query, Scores};
use meseta_select::route::Route;

use crate::document::{SnapshotError, refuse};
use crate::select::asking::Asking;
use crate::select::embedders::Embedders;
use crate::select::settings::{ChooserDocument, EmbeddedDocument};

/// One for a snapshot: a model that fails one of its cascades rests for all of them.
#[derive(Default)]
pub(crate) struct SharedSteps {
    pub(super) embedding: Option<Embedding>,
    pub(super) asking: Option<Arc<Asking>>,
}

impl SharedSteps {
    pub fn compile(chooser: &ChooserDocument, embedders: &Embedders) -> Result<SharedSteps, SnapshotError> {
        let embedding = chooser.embedded.as_ref().map(|settings| Embedding::load(settings, embedders));
        Ok(SharedSteps {
            embedding: embedding.transpose()?,
            asking: chooser.model.clone().map(Asking::new).map(Arc::new),
        })
    }
}

/// The embedded step, before there is anything to choose from.
#[derive(Clone)]
pub(super) struct Embedding {
    embedder: Arc<Embedder>,
    threshold: f32,
    margin: f32,
}

impl Embedding {
    fn load(settings: &EmbeddedDocument, embedders: &Embedders) -> Result<Embedding, SnapshotError> {
        let share = |value: f32| (0.0..=1.0).contains(&value);
        if !share(settings.threshold) || !share(settings.margin) {
            return refuse("chooser.embedded: `threshold` and `margin` are between 0 and 1");
        }
        let embedder = embedders.load(&settings.weights, &settings.tokenizer)?;
        Ok(Embedding { embedder, threshold: settings.threshold, margin: settings.margin })
    }

    pub fn fit(&self, routes: &[Route]) -> Embedded {
        Embedded { chooser: Chooser::fit(self.embedder.clone(), routes), embedding: self.clone() }
    }
}

/// The embedded step over the routes of one cascade.
pub(super) struct Embedded {
    embedding: Embedding,
    chooser: Chooser,
}

impl Embedded {
    /// The same step over other routes.
    pub fn over(&self, routes: &[Route]) -> Embedded {
        self.embedding.fit(routes)
    }

    pub fn score(&self, query: &Query<'_>) -> Scores {
        self.chooser.score(query)
    }

    pub fn decide(&self, scores: &Scores) -> Decision {
        scores.decide(self.embedding.threshold, self.embedding.margin)
    }
}
