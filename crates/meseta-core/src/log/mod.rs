//! The append-only log: one row per request, one per attempt, rollups in the same transaction.
//!
//! A worker only ever puts a row into a bounded queue; one thread writes. Nobody else writes these tables, and Python
//! reads them through [`Reader`], so that one copy of SQLite has the file open in this process.

mod attempt;
mod reader;
mod row;
mod schema;
mod store;
mod tidy;
mod writer;

pub(crate) use attempt::{Attempt, Reason};
pub use reader::{Reader, Value};
pub use row::RequestId;
pub(crate) use row::{Decision, Ids, RequestRow, Row};
pub use writer::LogStats;
pub(crate) use writer::{LogSender, Writer};

/// Why the log cannot be used: where it is and what to do.
#[derive(Debug)]
pub struct LogError(pub String);

impl std::fmt::Display for LogError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for LogError {}
