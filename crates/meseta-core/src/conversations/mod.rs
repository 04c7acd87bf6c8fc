//! Answers of the Responses API, kept so that a later request can go on from one of them (`previous_response_id`), read
//! it or delete it, whatever provider gave it.
//!
//! They are what people said, so they have a file of their own that only its owner can read, they are seen by nobody but
//! the caller who made them, they leave when their time is over, and deleting one takes it out of the file.

mod shelf;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::kept_file::{FileError, FileFailure};

pub use store::Store;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    pub path: String,
    /// An answer is not found any more when it is this old.
    pub keep_hours: u64,
    /// Of the file. The oldest answers make room for new ones.
    pub max_bytes: u64,
    /// Of one answer, with its input.
    pub max_response_bytes: u64,
}

/// Whose answers. Nobody finds those of another caller.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// The SHA-256 of the key that the request came with.
    Key([u8; 32]),
    /// The listener's name, where it asks for no key.
    Listener(Arc<str>),
    /// Whoever speaks for it, with whatever key.
    Tenant(Arc<str>),
}

impl Caller {
    /// The kinds can never be taken for one another, whatever somebody calls a listener.
    pub(crate) fn scope(&self) -> Vec<u8> {
        match self {
            Caller::Key(digest) => [b"k", &digest[..]].concat(),
            Caller::Listener(name) => [b"l", name.as_bytes()].concat(),
            Caller::Tenant(name) => [b"t", name.as_bytes()].concat(),
        }
    }
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Caller::Key(_) => formatter.write_str("Key(***)"),
            Caller::Listener(name) => write!(formatter, "Listener({name})"),
            Caller::Tenant(name) => write!(formatter, "Tenant({name})"),
        }
    }
}

/// One answer and what it answered.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: String,
    /// The answer that this one went on from.
    pub previous: Option<String>,
    /// The target that keeps it too, under the same id; empty where only the plane does.
    pub target: String,
    /// The request's input items, as a JSON array.
    pub input: String,
    /// The response object, as JSON.
    pub answer: String,
    /// Seconds since 1970.
    pub created: u64,
}

impl Entry {
    fn bytes(&self) -> u64 {
        let previous = self.previous.as_ref().map_or(0, String::len);
        (self.id.len() + previous + self.target.len() + self.input.len() + self.answer.len()) as u64
    }
}

/// Without what people said.
impl std::fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Entry")
            .field("id", &self.id)
            .field("previous", &self.previous)
            .field("target", &self.target)
            .field("created", &self.created)
            .finish_non_exhaustive()
    }
}

/// How much of a conversation is read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainLimits {
    pub entries: usize,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// One answer is larger than the store takes.
    TooLarge {
        bytes: u64,
        limit: u64,
    },
    /// A conversation reaches back to an answer that is not there: never made, not this caller's, deleted or too old.
    NotFound {
        id: String,
    },
    /// A conversation comes back to an answer that it has passed.
    Cycle {
        id: String,
    },
    /// A conversation is longer than its reader's limits.
    ChainTooLong(ChainLimits),
    File(FileError),
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::TooLarge { bytes, limit } => {
                write!(
                    formatter,
                    "the answer and its input are {bytes} bytes long and the store takes {limit}"
                )
            }
            StoreError::NotFound { id } => {
                write!(
                    formatter,
                    "there is no stored answer {:?}: it was deleted, is too old, or never was",
                    shown(id)
                )
            }
            StoreError::Cycle { id } => {
                write!(formatter, "the conversation goes in a circle at {:?}", shown(id))
            }
            StoreError::ChainTooLong(limits) => write!(
                formatter,
                "the conversation is longer than {} answers or {} bytes",
                limits.entries, limits.bytes
            ),
            StoreError::File(error) => error.fmt(formatter),
        }
    }
}

/// An id comes from a client, who may send one of any length.
fn shown(id: &str) -> String {
    id.chars().take(100).collect()
}

impl std::error::Error for StoreError {}

impl From<FileError> for StoreError {
    fn from(error: FileError) -> StoreError {
        StoreError::File(error)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        FileError::from(error).into()
    }
}

impl FileFailure for StoreError {
    fn file(&self) -> Option<&FileError> {
        match self {
            StoreError::File(error) => Some(error),
            _ => None,
        }
    }
}
