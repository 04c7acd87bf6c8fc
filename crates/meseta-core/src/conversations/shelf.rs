//! What can be done with the file: put, get, walk back, delete, tidy. Runs on the store's own thread.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use crate::conversations::{Caller, ChainLimits, Entry, StoreError, StoreSettings};
use crate::kept_file::Contents;
use crate::kept_file::file::{self, Tables, now, used};

/// `stored` is what age is counted from: a provider's clock that runs ahead keeps nothing longer. The small columns come
/// first, so that reading them does not read the long ones.
const TABLES: Tables = Tables {
    version: 1,
    sql: "
CREATE TABLE responses (
    number   INTEGER PRIMARY KEY,
    caller   BLOB NOT NULL,
    id       TEXT NOT NULL,
    previous TEXT,
    stored   INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    target   TEXT NOT NULL,
    input    TEXT NOT NULL,
    answer   TEXT NOT NULL,
    UNIQUE (caller, id)
);
CREATE INDEX responses_stored ON responses (stored);
",
};

/// Deleted at a time when tidying, so that requests get their turn.
const TIDIED: i64 = 100;

const FIND: &str = "
SELECT number, id, previous, bytes, created, target, input, answer FROM responses
WHERE caller = ?1 AND id = ?2 AND stored > ?3";

const INSERT: &str = "
INSERT INTO responses (caller, id, previous, stored, created, bytes, target, input, answer)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

const DELETE_OLDEST: &str = "
DELETE FROM responses WHERE number =
    (SELECT number FROM responses WHERE number != ?1 ORDER BY stored, number LIMIT 1)";

const DELETE_EXPIRED: &str = "
DELETE FROM responses WHERE number IN
    (SELECT number FROM responses WHERE stored <= ?1 ORDER BY stored LIMIT ?2)";

pub(super) struct Shelf {
    pub(super) connection: Connection,
    settings: StoreSettings,
}

impl Contents for Shelf {
    type Settings = StoreSettings;
    type Error = StoreError;

    fn path(settings: &StoreSettings) -> &str {
        &settings.path
    }

    fn open_as_it_is(settings: &StoreSettings) -> Result<Shelf, StoreError> {
        let connection = file::open(&settings.path, &TABLES)?;
        let mut shelf = Shelf { connection, settings: settings.clone() };
        shelf.tidy()?;
        Ok(shelf)
    }

    fn tidy(&mut self) -> Result<bool, StoreError> {
        let border = self.border();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let expired = transaction.prepare_cached(DELETE_EXPIRED)?.execute(params![border, TIDIED])?;
        let mut evicted = 0;
        while evicted < TIDIED && used(&transaction)? > self.settings.max_bytes {
            if transaction.prepare_cached(DELETE_OLDEST)?.execute([0])? == 0 {
                break;
            }
            evicted += 1;
        }
        transaction.commit()?;
        file::sweep(&self.connection)?;
        file::drop_aside(&self.settings.path, self.settings.keep_hours);
        Ok(expired > 0 || evicted == TIDIED)
    }
}

impl Shelf {
    /// Keeps an answer, in place of one with its id.
    pub fn put(&mut self, caller: &Caller, entry: &Entry) -> Result<(), StoreError> {
        let (now, bytes) = (now(), entry.bytes());
        let created = i64::try_from(entry.created).unwrap_or(i64::MAX);
        let scope = caller.scope();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction
            .prepare_cached("DELETE FROM responses WHERE caller = ?1 AND id = ?2")?
            .execute(params![scope, entry.id])?;
        transaction.prepare_cached(INSERT)?.execute(params![
            scope,
            entry.id,
            entry.previous,
            created.min(now),
            created,
            i64::try_from(bytes).unwrap_or(i64::MAX),
            entry.target,
            entry.input,
            entry.answer,
        ])?;
        let number = transaction.last_insert_rowid();
        while used(&transaction)? > self.settings.max_bytes {
            if transaction.prepare_cached(DELETE_OLDEST)?.execute([number])? == 0 {
                return Err(StoreError::TooLarge { bytes, limit: self.settings.max_bytes });
            }
        }
        transaction.commit()?;
        Ok(())
    }

    pub fn get(&self, caller: &Caller, id: &str) -> Result<Option<Entry>, StoreError> {
        Ok(self.find(caller, id, entry)?)
    }

    /// The answer and those before it, oldest first.
    pub fn chain(&self, caller: &Caller, id: &str, limits: ChainLimits) -> Result<Vec<Entry>, StoreError> {
        let mut chain: Vec<Entry> = Vec::new();
        let mut passed = HashSet::new();
        let mut bytes = 0;
        let mut next = Some(id.to_owned());
        while let Some(id) = next.take() {
            let room = limits.bytes.saturating_sub(bytes);
            let found = self.find(caller, &id, |row| {
                let length = row.get::<_, i64>("bytes")?.unsigned_abs();
                // One that does not fit is not read at all.
                let entry = if length <= room { Some(entry(row)?) } else { None };
                Ok((row.get::<_, i64>("number")?, length, entry))
            })?;
            let Some((number, length, entry)) = found else { return Err(StoreError::NotFound { id }) };
            if !passed.insert(number) {
                return Err(StoreError::Cycle { id });
            }
            let Some(entry) = entry.filter(|_| chain.len() < limits.entries) else {
                return Err(StoreError::ChainTooLong(limits));
            };
            bytes += length;
            next.clone_from(&entry.previous);
            chain.push(entry);
        }
        chain.reverse();
        Ok(chain)
    }

    /// Takes an answer out of the file, and says whether it was there. Those that went on from it stay.
    pub fn delete(&mut self, caller: &Caller, id: &str) -> Result<bool, StoreError> {
        let deleted = self
            .connection
            .prepare_cached("DELETE FROM responses WHERE caller = ?1 AND id = ?2 AND stored > ?3")?
            .execute(params![caller.scope(), id, self.border()])?;
        if deleted > 0 {
            // It is deleted. Where another process is reading, its last traces leave with the next tidying.
            let _ = file::sweep(&self.connection);
        }
        Ok(deleted > 0)
    }

    fn find<T>(
        &self,
        caller: &Caller,
        id: &str,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        self.connection
            .prepare_cached(FIND)?
            .query_row(params![caller.scope(), id, self.border()], read)
            .optional()
    }

    fn border(&self) -> i64 {
        file::border(self.settings.keep_hours)
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        id: row.get("id")?,
        previous: row.get("previous")?,
        target: row.get("target")?,
        input: row.get("input")?,
        answer: row.get("answer")?,
        created: row.get::<_, i64>("created")?.unsigned_abs(),
    })
}
