//! Word vectors, read from their files once and shared by every chooser that uses them, across reloads.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use meseta_select::embedded::Embedder;

use crate::document::SnapshotError;

/// Those in use, by their files. A file that has changed is read again once nobody uses what it was.
#[derive(Default)]
pub(crate) struct Embedders(Mutex<HashMap<(String, String), Weak<Embedder>>>);

impl Embedders {
    pub(super) fn load(&self, weights: &str, tokenizer: &str) -> Result<Arc<Embedder>, SnapshotError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, embedder| embedder.strong_count() > 0);
        let key = (weights.to_owned(), tokenizer.to_owned());
        if let Some(embedder) = known.get(&key).and_then(Weak::upgrade) {
            return Ok(embedder);
        }
        let embedder = Embedder::load(Path::new(weights), Path::new(tokenizer))
            .map_err(|error| SnapshotError(format!("chooser.embedded: {error}")))?;
        let embedder = Arc::new(embedder);
        known.insert(key, Arc::downgrade(&embedder));
        Ok(embedder)
    }
}
