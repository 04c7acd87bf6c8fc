//! Reading the log, from this process or another: WAL lets readers and the writer go side by side.

use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use crate::log::LogError;

/// A query that runs longer is stopped: the writer's checkpoints wait for readers.
const LONGEST: Duration = Duration::from_secs(30);

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::ToSqlOutput::Borrowed;
        Ok(Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Real(number) => ValueRef::Real(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// A read-only handle.
pub struct Reader {
    connection: Connection,
    longest: Duration,
}

impl Reader {
    pub fn open(path: &str) -> Result<Reader, LogError> {
        let unusable = |error: rusqlite::Error| {
            LogError(format!(
                "The log at {path} cannot be read ({error}). Has a plane with `store` on run here?"
            ))
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(unusable)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(unusable)?;
        connection.pragma_update(None, "query_only", true).map_err(unusable)?;
        // The first look at the file: a path that holds something else is refused here.
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(())).map_err(unusable)?;
        Ok(Reader { connection, longest: LONGEST })
    }

    /// Gives queries another limit of time.
    #[must_use]
    pub fn with_longest(self, longest: Duration) -> Reader {
        Reader { longest, ..self }
    }

    /// The rows of one SELECT.
    pub fn query(&mut self, sql: &str, parameters: &[Value]) -> Result<Vec<Vec<Value>>, LogError> {
        let failed = |error: rusqlite::Error| LogError(format!("The query failed ({error})."));
        let (began, longest) = (Instant::now(), self.longest);
        self.connection.progress_handler(10_000, Some(move || began.elapsed() > longest)).map_err(failed)?;
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let columns = statement.column_count();
        let mut rows = statement.query(params_from_iter(parameters)).map_err(failed)?;
        let mut read = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let cells = (0..columns).map(|at| row.get_ref(at).map(cell));
            read.push(cells.collect::<Result<_, _>>().map_err(failed)?);
        }
        Ok(read)
    }
}

fn cell(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}
