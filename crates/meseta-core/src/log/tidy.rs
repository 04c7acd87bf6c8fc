//! What the log no longer keeps: rows that are too old, and the oldest ones of a file that is too large. Rollups stay.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension};

use crate::log::RequestId;
use crate::snapshot::LogSettings;

/// Deleted at a time, so that readers and the next commit get their turn. A log of no more rows than this is never too
/// large.
const ROWS: i64 = 1_000;

/// Deletes one batch; says whether there may be another one.
pub(super) fn tidy(connection: &mut Connection, settings: &LogSettings) -> Result<bool, rusqlite::Error> {
    let oldest = oldest(settings.keep_hours).0;
    let edge = connection
        .query_row("SELECT id FROM requests ORDER BY id LIMIT 1 OFFSET ?1", [ROWS], |row| {
            row.get::<_, i64>(0)
        })
        .optional()?;
    let border = match edge {
        Some(edge) if used(connection)? > settings.max_bytes => edge,
        Some(edge) => edge.min(oldest),
        None => oldest,
    };
    let transaction = connection.transaction()?;
    let deleted = transaction.execute("DELETE FROM requests WHERE id < ?1", [border])?;
    transaction.execute("DELETE FROM attempts WHERE request_id < ?1", [border])?;
    transaction.execute("DELETE FROM decisions WHERE request_id < ?1", [border])?;
    transaction.commit()?;
    if deleted > 0 {
        // Gives back one page a step.
        let mut vacuum = connection.prepare("PRAGMA incremental_vacuum")?;
        let mut steps = vacuum.query([])?;
        while steps.next()?.is_some() {}
    }
    Ok(deleted > 0)
}

/// The first id that a log of so many hours keeps.
fn oldest(keep_hours: u64) -> RequestId {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let kept = u128::from(keep_hours) * 3_600_000;
    RequestId::first_of(i64::try_from(now.saturating_sub(kept)).unwrap_or(0))
}

/// Bytes of the file that hold something.
fn used(connection: &Connection) -> Result<u64, rusqlite::Error> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok(((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_hours_reaches_into_the_future() {
        let now = oldest(0).0;
        assert!(oldest(1).0 < now);
        for hours in [1_000_000, 10_000_000, u64::MAX] {
            assert_eq!(oldest(hours).0, 0);
        }
    }
}
