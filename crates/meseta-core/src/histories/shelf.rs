//! What can be done with the file: append, read, delete, tidy. Runs on the store's own thread.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::histories::{Appended, Caller, HistoriesDocument, HistoryError, Version};
use crate::kept_file::Contents;
use crate::kept_file::file::{self, Tables, now, used};

/// Numbers of sessions are never used again: a turn that was running while its session was deleted must not find another
/// one in its place. `position` counts a session's messages from 1 without a gap.
const TABLES: Tables = Tables {
    version: 1,
    sql: "
CREATE TABLE sessions (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    caller   BLOB NOT NULL,
    name     TEXT NOT NULL,
    created  INTEGER NOT NULL,
    used     INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    UNIQUE (caller, name)
);
CREATE INDEX sessions_used ON sessions (used);
CREATE TABLE messages (
    session      INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    instructions INTEGER NOT NULL,
    bytes        INTEGER NOT NULL,
    message      TEXT NOT NULL,
    UNIQUE (session, position)
);
",
};

const FIND: &str = "
SELECT number, created, used, messages FROM sessions WHERE caller = ?1 AND name = ?2 AND used > ?3";

const CREATE: &str = "
INSERT INTO sessions (caller, name, created, used, messages) VALUES (?1, ?2, ?3, ?3, 0)";

const ADD: &str = "
INSERT INTO messages (session, position, instructions, bytes, message) VALUES (?1, ?2, ?3, ?4, ?5)";

/// Newest first, so that reading can stop.
const NEWEST: &str = "
SELECT bytes, instructions, message FROM messages WHERE session = ?1 ORDER BY position DESC";

/// Instructions older than a position, newest first.
const INSTRUCTIONS: &str = "
SELECT position, message FROM messages WHERE session = ?1 AND position < ?2 AND instructions
ORDER BY position DESC LIMIT ?3";

const EXPIRED: &str = "SELECT number FROM sessions WHERE used <= ?1 ORDER BY used LIMIT ?2";

const OLDEST: &str = "SELECT number FROM sessions WHERE number != ?1 ORDER BY used, number LIMIT 1";

/// Sessions deleted at a time when tidying, so that requests get their turn.
const TIDIED: i64 = 20;

/// A session that is read more often than this is not marked as used each time.
const USED_SECONDS: i64 = 60;

/// Messages of instructions that are looked for before what is read.
const INSTRUCTIONS_READ: i64 = 4;

/// How much of a session is read at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub messages: usize,
    pub bytes: u64,
}

/// A message as it stands in the file.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub instructions: bool,
    pub message: String,
}

#[derive(PartialEq, Eq)]
pub(super) struct Thread {
    pub version: Version,
    /// Seconds since 1970.
    pub created: u64,
    pub used: u64,
    /// Oldest first.
    pub messages: Vec<String>,
    /// None of the older messages was left out.
    pub whole: bool,
}

pub(super) struct Shelf {
    pub(super) connection: Connection,
    settings: HistoriesDocument,
}

struct Found {
    number: i64,
    created: i64,
    used: i64,
    messages: i64,
}

impl Contents for Shelf {
    type Settings = HistoriesDocument;
    type Error = HistoryError;

    fn path(settings: &HistoriesDocument) -> &str {
        &settings.path
    }

    fn open_as_it_is(settings: &HistoriesDocument) -> Result<Shelf, HistoryError> {
        let connection = file::open(&settings.path, &TABLES)?;
        let mut shelf = Shelf { connection, settings: settings.clone() };
        shelf.tidy()?;
        Ok(shelf)
    }

    fn tidy(&mut self) -> Result<bool, HistoryError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let border = file::border(self.settings.keep_hours);
        let expired: Vec<i64> = transaction
            .prepare_cached(EXPIRED)?
            .query_map(params![border, TIDIED], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for number in &expired {
            remove(&transaction, *number)?;
        }
        let mut evicted = 0;
        while evicted < TIDIED && used(&transaction)? > self.settings.max_bytes {
            if !remove_oldest(&transaction, 0)? {
                break;
            }
            evicted += 1;
        }
        transaction.commit()?;
        file::sweep(&self.connection)?;
        file::drop_aside(&self.settings.path, self.settings.keep_hours);
        Ok(!expired.is_empty() || evicted == TIDIED)
    }
}

impl Shelf {
    /// Puts messages behind those of the session, all of them or none. They are in the file when this returns.
    pub fn append(
        &mut self,
        caller: &Caller,
        name: &str,
        seen: Version,
        messages: &[Line],
    ) -> Result<Appended, HistoryError> {
        let border = file::border(self.settings.keep_hours);
        let now = now();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found = find(&transaction, caller, name, border)?;
        let (number, before) = match found {
            Some(found) if seen.session == 0 || seen.session == found.number => {
                (found.number, found.messages)
            }
            None if seen.session == 0 => {
                // One that is too old and not tidied away yet has the same name.
                remove_named(&transaction, caller, name)?;
                transaction.prepare_cached(CREATE)?.execute(params![caller.scope(), name, now])?;
                (transaction.last_insert_rowid(), 0)
            }
            _ => return Ok(Appended::Gone),
        };
        let mut position = before;
        let mut bytes = 0_u64;
        for line in messages {
            position += 1;
            bytes = bytes.saturating_add(line.message.len() as u64);
            let length = i64::try_from(line.message.len()).unwrap_or(i64::MAX);
            let values = params![number, position, line.instructions, length, line.message];
            transaction.prepare_cached(ADD)?.execute(values)?;
        }
        transaction
            .prepare_cached("UPDATE sessions SET messages = ?2, used = max(used, ?3) WHERE number = ?1")?
            .execute(params![number, position, now])?;
        while used(&transaction)? > self.settings.max_bytes {
            if !remove_oldest(&transaction, number)? {
                return Err(HistoryError::TooLarge { bytes, limit: self.settings.max_bytes });
            }
        }
        transaction.commit()?;
        Ok(Appended::Done {
            version: Version { session: number, messages: position },
            behind: before.saturating_sub(seen.messages).unsigned_abs(),
        })
    }

    /// The newest messages of a session that fit, and the instructions that hold. `uses` says that somebody goes on with
    /// it, so that it stays.
    pub fn read(
        &mut self,
        caller: &Caller,
        name: &str,
        limits: Limits,
        uses: bool,
    ) -> Result<Option<Thread>, HistoryError> {
        let border = file::border(self.settings.keep_hours);
        let Some(found) = find(&self.connection, caller, name, border)? else { return Ok(None) };
        let now = now();
        if uses && now.saturating_sub(found.used) >= USED_SECONDS {
            self.connection
                .prepare_cached("UPDATE sessions SET used = ?2 WHERE number = ?1")?
                .execute(params![found.number, now])?;
        }
        let mut statement = self.connection.prepare_cached(NEWEST)?;
        let mut rows = statement.query([found.number])?;
        let (mut messages, mut bytes) = (Vec::new(), 0_u64);
        let (mut instructed, mut whole) = (false, true);
        while let Some(row) = rows.next()? {
            bytes = bytes.saturating_add(row.get::<_, i64>("bytes")?.unsigned_abs());
            if bytes > limits.bytes || messages.len() >= limits.messages {
                whole = false;
                break;
            }
            instructed |= row.get::<_, bool>("instructions")?;
            messages.push(row.get("message")?);
        }
        if !whole && !instructed {
            let first = found.messages.saturating_sub(i64::try_from(messages.len()).unwrap_or(i64::MAX));
            messages.extend(self.instructions(found.number, first + 1)?);
        }
        messages.reverse();
        Ok(Some(Thread {
            version: Version { session: found.number, messages: found.messages },
            created: found.created.unsigned_abs(),
            used: found.used.unsigned_abs(),
            messages,
            whole,
        }))
    }

    /// The instructions that held at a position, last first.
    fn instructions(&self, number: i64, position: i64) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.connection.prepare_cached(INSTRUCTIONS)?;
        let mut rows = statement.query(params![number, position, INSTRUCTIONS_READ])?;
        let (mut found, mut below) = (Vec::new(), None);
        while let Some(row) = rows.next()? {
            let position: i64 = row.get("position")?;
            if below.is_some_and(|below| position != below) {
                break;
            }
            below = Some(position - 1);
            found.push(row.get("message")?);
        }
        Ok(found)
    }

    /// Takes a session out of the file, and says whether it was there.
    pub fn delete(&mut self, caller: &Caller, name: &str) -> Result<bool, HistoryError> {
        let border = file::border(self.settings.keep_hours);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found = find(&transaction, caller, name, border)?;
        if let Some(found) = &found {
            remove(&transaction, found.number)?;
        }
        transaction.commit()?;
        if found.is_some() {
            // It is deleted. Where another process is reading, its last traces leave with the next tidying.
            let _ = file::sweep(&self.connection);
        }
        Ok(found.is_some())
    }
}

fn find(
    connection: &Connection,
    caller: &Caller,
    name: &str,
    border: i64,
) -> rusqlite::Result<Option<Found>> {
    let read = |row: &Row<'_>| {
        Ok(Found {
            number: row.get("number")?,
            created: row.get("created")?,
            used: row.get("used")?,
            messages: row.get("messages")?,
        })
    };
    connection.prepare_cached(FIND)?.query_row(params![caller.scope(), name, border], read).optional()
}

fn remove(transaction: &Transaction<'_>, number: i64) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM messages WHERE session = ?1")?.execute([number])?;
    transaction.prepare_cached("DELETE FROM sessions WHERE number = ?1")?.execute([number])?;
    Ok(())
}

fn remove_named(transaction: &Transaction<'_>, caller: &Caller, name: &str) -> rusqlite::Result<()> {
    // Whatever its age.
    match find(transaction, caller, name, i64::MIN)? {
        Some(found) => remove(transaction, found.number),
        None => Ok(()),
    }
}

/// Removes the session that was used the longest ago, but for one; false where there is no other.
fn remove_oldest(transaction: &Transaction<'_>, but: i64) -> rusqlite::Result<bool> {
    let oldest: Option<i64> =
        transaction.prepare_cached(OLDEST)?.query_row([but], |row| row.get(0)).optional()?;
    match oldest {
        Some(number) => remove(transaction, number).map(|()| true),
        None => Ok(false),
    }
}
