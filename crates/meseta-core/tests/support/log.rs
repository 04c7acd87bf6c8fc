//! The log of a plane under test.

use meseta_core::Plane;
use meseta_core::log::{Reader, Value};
use serde_json::{Value as Json, json};

use super::until;

/// What a document says of a log that writes at once and deletes nothing.
pub fn settings(path: &str) -> Json {
    json!({"path": path, "queue_records": 65_536, "commit_ms": 1, "keep_hours": 168, "max_bytes": 1_u64 << 31})
}

pub fn query(path: &str, sql: &str) -> Vec<Vec<Value>> {
    let mut reader = Reader::open(path).expect("a log");
    reader.query(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Each row as one line, once everything that came is recorded.
pub fn lines(plane: &Plane, path: &str, sql: &str) -> Vec<String> {
    until("all is recorded", || {
        let stats = plane.stats();
        stats.in_flight == 0 && stats.log.queued == 0 && stats.log.written >= stats.requests
    });
    query(path, sql).iter().map(|row| row.iter().map(shown).collect::<Vec<_>>().join(" ")).collect()
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(_) => "?".to_owned(),
    }
}
