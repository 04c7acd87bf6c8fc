//! The handle that everybody has.

use std::sync::Arc;

use crate::conversations::shelf::Shelf;
use crate::conversations::{Caller, ChainLimits, Entry, StoreError, StoreSettings};
use crate::kept_file::FileThread;

/// Clones are the same store. The last one to go waits until all that was asked for is written.
#[derive(Clone)]
pub struct Store {
    file: Arc<FileThread<Shelf>>,
    max_response_bytes: u64,
}

impl Store {
    /// Opens the file at once, so that a path that cannot be used is known before anybody asks. A damaged file is moved
    /// to `….corrupt` and a new one begun.
    pub fn open(settings: &StoreSettings) -> Result<Store, StoreError> {
        let file = FileThread::start(settings, "meseta-answers")?;
        Ok(Store { file: Arc::new(file), max_response_bytes: settings.max_response_bytes })
    }

    /// Keeps an answer, in place of one with its id. It is in the file when this returns.
    #[cfg(test)]
    pub async fn put(&self, caller: Caller, entry: Entry) -> Result<(), StoreError> {
        let bytes = self.fitting(&entry)?;
        self.file.write(bytes, move |shelf| shelf.put(&caller, &entry)).await
    }

    /// Keeps an answer without waiting for the disk: it is in line when this returns, so whoever asks for it later finds
    /// it. An error says that it will not be kept.
    pub fn put_later(&self, caller: Caller, entry: Entry) -> Result<(), StoreError> {
        let bytes = self.fitting(&entry)?;
        self.file.write_later(bytes, move |shelf| shelf.put(&caller, &entry))
    }

    pub async fn get(&self, caller: Caller, id: &str) -> Result<Option<Entry>, StoreError> {
        let id = id.to_owned();
        self.file.read(id.len() as u64, move |shelf| shelf.get(&caller, &id)).await
    }

    /// The answer and all that it goes on from, oldest first. One that is missing on the way is an error.
    pub async fn chain(
        &self,
        caller: Caller,
        id: &str,
        limits: ChainLimits,
    ) -> Result<Vec<Entry>, StoreError> {
        let id = id.to_owned();
        self.file.read(id.len() as u64, move |shelf| shelf.chain(&caller, &id, limits)).await
    }

    /// Takes an answer out of the file; false when it was not there.
    pub async fn delete(&self, caller: Caller, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.file.write(id.len() as u64, move |shelf| shelf.delete(&caller, &id)).await
    }

    /// Does what is queued and ends the thread; whoever asks later gets an error. Blocks: not for a worker.
    pub fn close(&self) {
        self.file.close();
    }

    fn fitting(&self, entry: &Entry) -> Result<u64, StoreError> {
        let (bytes, limit) = (entry.bytes(), self.max_response_bytes);
        if bytes > limit { Err(StoreError::TooLarge { bytes, limit }) } else { Ok(bytes) }
    }
}
