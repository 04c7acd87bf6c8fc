//! Conversations that the plane keeps for agent listeners: a client says only what is new, and the agent is told all of
//! it, however often agent and plane were restarted in between.
//!
//! A session is a list of messages that only grows ([`meseta_wire::history`] has their form). It belongs to its caller,
//! leaves when nobody has used it for its time, and can be deleted, which takes it out of the file. A turn is read with
//! [`Histories::read`], joined to the request, and kept with its answer by a [`Tap`].

mod body;
mod shelf;
mod store;
mod tap;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use crate::conversations::Caller;
pub use crate::kept_file::FileError;
use crate::kept_file::FileFailure;
pub use body::KeptBody;
pub use store::Histories;
pub use tap::{Tap, Turn, Unkept};

/// Where kept conversations are.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HistoriesDocument {
    pub path: String,
    /// A session leaves when nobody has used it for so long.
    pub keep_hours: u64,
    /// Of the file. The sessions that were used the longest ago make room for new words.
    pub max_bytes: u64,
    /// Of one message. Of one that is larger the media are left out; larger words are refused.
    pub max_message_bytes: u64,
}

/// How far a session had come when it was read. What is appended later says so, and finds out what came in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Of the session itself, which is another one after it was deleted; 0 where there is none yet.
    session: i64,
    /// The number of its messages.
    messages: i64,
}

/// What came of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The messages stand at the end of the session, in one piece. `behind` counts those that other turns put there since
    /// it was read.
    Done { version: Version, behind: u64 },
    /// The session was deleted, or left, since it was read; nothing was kept.
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryError {
    /// A message, or all that a session holds, is larger than the file takes.
    TooLarge {
        bytes: u64,
        limit: u64,
    },
    /// A name that no session may have.
    Name,
    File(FileError),
}

impl std::fmt::Display for HistoryError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HistoryError::TooLarge { bytes, limit } => write!(
                formatter,
                "what is to be kept is {bytes} bytes long, and the store of sessions takes {limit}"
            ),
            HistoryError::Name => write!(
                formatter,
                "the name of a session has 1 to {LONGEST_NAME} bytes and no control characters"
            ),
            HistoryError::File(error) => write!(formatter, "the store of sessions: {error}"),
        }
    }
}

impl std::error::Error for HistoryError {}

impl From<FileError> for HistoryError {
    fn from(error: FileError) -> HistoryError {
        HistoryError::File(error)
    }
}

impl From<rusqlite::Error> for HistoryError {
    fn from(error: rusqlite::Error) -> HistoryError {
        FileError::from(error).into()
    }
}

impl FileFailure for HistoryError {
    fn file(&self) -> Option<&FileError> {
        match self {
            HistoryError::File(error) => Some(error),
            _ => None,
        }
    }
}

const LONGEST_NAME: usize = 256;

/// Whether a client may call a session so.
pub fn is_session_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}
