//! The file on disk: private, of one version, swept of what was deleted, set aside when it is damaged.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use crate::kept_file::FileError;

/// The tables of a file.
pub(crate) struct Tables {
    /// A change of the tables raises it and says how an older file becomes a newer one.
    pub version: i64,
    pub sql: &'static str,
}

/// What a WAL may keep of the disk once it has been copied into the file.
const WAL_BYTES: i64 = 4 * 1024 * 1024;

/// Opens the file, with the tables in it.
pub(crate) fn open(path: &str, tables: &Tables) -> Result<Connection, FileError> {
    make_private(Path::new(path))?;
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A killed process loses nothing that was acknowledged; only a machine that loses its power may.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    connection.pragma_update(None, "cache_size", -2048)?;
    // What is deleted is overwritten with zeros.
    connection.pragma_update(None, "secure_delete", "ON")?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let Tables { version: own, sql } = tables;
    if version == 0 {
        connection.execute_batch(&format!("BEGIN; {sql} PRAGMA user_version = {own}; COMMIT;"))?;
    } else if version != *own {
        return Err(FileError::Failed(format!(
            "its tables are of version {version}, this Meseta writes version {own}"
        )));
    }
    Ok(connection)
}

/// Moves a damaged file out of the way, in place of one that was damaged earlier.
pub(crate) fn set_aside(path: &str) -> io::Result<()> {
    // The WAL goes first: SQLite would play one that is left behind into the new file.
    rename(&format!("{path}-wal"), &format!("{}-wal", aside(path)))?;
    remove(&format!("{path}-shm"))?;
    rename(path, &aside(path))
}

/// Deletes what was set aside so long ago that the newest words in it are too old.
pub(crate) fn drop_aside(path: &str, keep_hours: u64) {
    let kept = Duration::from_secs(keep_hours.saturating_mul(3600));
    for path in [aside(path), format!("{}-wal", aside(path))] {
        let age = fs::metadata(&path)
            .and_then(|file| file.modified())
            .ok()
            .and_then(|written| SystemTime::now().duration_since(written).ok());
        if age.is_some_and(|age| age > kept) {
            // Next time, if not now.
            let _ = remove(&path);
        }
    }
}

/// Gives free pages back and empties the WAL, which still holds what was deleted as it was before.
pub(crate) fn sweep(connection: &Connection) -> rusqlite::Result<()> {
    let mut vacuum = connection.prepare_cached("PRAGMA incremental_vacuum")?;
    let mut steps = vacuum.query([])?;
    while steps.next()?.is_some() {}
    drop(steps);
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Bytes of the file that hold something.
pub(crate) fn used(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok(((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?).unsigned_abs())
}

/// What was last used at this second or before is too old. Seconds since 1970.
pub(crate) fn border(keep_hours: u64) -> i64 {
    let kept = i64::try_from(keep_hours.saturating_mul(3600)).unwrap_or(i64::MAX);
    now().saturating_sub(kept)
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn aside(path: &str) -> String {
    format!("{path}.corrupt")
}

fn rename(from: &str, to: &str) -> io::Result<()> {
    unless_missing(fs::rename(from, to))
}

fn remove(path: &str) -> io::Result<()> {
    unless_missing(fs::remove_file(path))
}

fn unless_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes the file before SQLite does, which would let others read it. Its WAL gets the same rights.
#[cfg(unix)]
fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_private(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}
