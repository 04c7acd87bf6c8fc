//! The tables. A change of them raises VERSION and says how an older file becomes a newer one.

use rusqlite::Connection;

const VERSION: i64 = 4;

const TABLES: &str = "
CREATE TABLE requests (
    id              INTEGER PRIMARY KEY,
    started_us      INTEGER NOT NULL,
    listener        TEXT NOT NULL,
    method          TEXT NOT NULL,
    path            TEXT NOT NULL,
    model_requested TEXT,
    model           TEXT,
    provider        TEXT,
    target          TEXT,
    stream          INTEGER NOT NULL,
    status          INTEGER NOT NULL,
    code            TEXT,
    blame           TEXT,
    attempts        INTEGER NOT NULL,
    duration_us     INTEGER NOT NULL,
    first_byte_us   INTEGER,
    request_bytes   INTEGER NOT NULL,
    response_bytes  INTEGER NOT NULL,
    chunks          INTEGER NOT NULL,
    input_tokens    INTEGER,
    cached_tokens   INTEGER,
    output_tokens   INTEGER,
    reasoning_tokens INTEGER,
    usage_source    TEXT,
    session         TEXT,
    run             TEXT,
    tags            TEXT,
    trace_id        TEXT,
    stages          TEXT NOT NULL,
    snapshot        TEXT NOT NULL,
    cache_write_tokens INTEGER,
    translated      TEXT,
    dropped         TEXT,
    tenant          TEXT,
    pool            TEXT,
    waited_us       INTEGER NOT NULL DEFAULT 0,
    resumed         INTEGER NOT NULL DEFAULT 0,
    cost_usd        REAL,
    cost_source     TEXT,
    parent          INTEGER,
    root            INTEGER,
    agent           TEXT,
    caller          TEXT,
    route           TEXT,
    agents          TEXT
);
CREATE INDEX requests_root ON requests (root) WHERE root IS NOT NULL;
CREATE TABLE decisions (
    request_id      INTEGER NOT NULL,
    number          INTEGER NOT NULL,
    step            TEXT NOT NULL,
    chosen          TEXT NOT NULL,
    why             TEXT NOT NULL,
    candidates      TEXT NOT NULL,
    passed          TEXT NOT NULL,
    duration_us     INTEGER NOT NULL,
    PRIMARY KEY (request_id, number)
) WITHOUT ROWID;
CREATE INDEX requests_session ON requests (session) WHERE session IS NOT NULL;
CREATE TABLE attempts (
    request_id      INTEGER NOT NULL,
    number          INTEGER NOT NULL,
    target          TEXT NOT NULL,
    provider        TEXT NOT NULL,
    model           TEXT NOT NULL,
    started_us      INTEGER NOT NULL,
    connect_us      INTEGER,
    first_byte_us   INTEGER,
    duration_us     INTEGER,
    status          INTEGER,
    code            TEXT,
    request_bytes   INTEGER NOT NULL,
    response_bytes  INTEGER NOT NULL,
    key             INTEGER NOT NULL DEFAULT 1,
    reason          TEXT NOT NULL DEFAULT 'first',
    cause           TEXT,
    pieces          INTEGER NOT NULL DEFAULT 0,
    input_tokens    INTEGER,
    cached_tokens   INTEGER,
    cache_write_tokens INTEGER,
    output_tokens   INTEGER,
    reasoning_tokens INTEGER,
    usage_source    TEXT,
    cost_usd        REAL,
    PRIMARY KEY (request_id, number)
) WITHOUT ROWID;
CREATE TABLE rollups (
    hour             INTEGER NOT NULL,
    listener         TEXT NOT NULL,
    provider         TEXT NOT NULL,
    model            TEXT NOT NULL,
    requests         INTEGER NOT NULL,
    errors           INTEGER NOT NULL,
    usage_missing    INTEGER NOT NULL,
    input_tokens     INTEGER NOT NULL,
    cached_tokens    INTEGER NOT NULL,
    output_tokens    INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    duration_us      INTEGER NOT NULL,
    request_bytes    INTEGER NOT NULL,
    response_bytes   INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL DEFAULT 0,
    cost_usd         REAL NOT NULL DEFAULT 0,
    unpriced         INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, listener, provider, model)
) WITHOUT ROWID;
";

/// What a file of version 1 lacks.
const FROM_1: &str = "
ALTER TABLE requests ADD COLUMN cache_write_tokens INTEGER;
ALTER TABLE requests ADD COLUMN translated TEXT;
ALTER TABLE requests ADD COLUMN dropped TEXT;
ALTER TABLE rollups ADD COLUMN cache_write_tokens INTEGER NOT NULL DEFAULT 0;
";

/// What a file of version 2 lacks.
const FROM_2: &str = "
ALTER TABLE requests ADD COLUMN tenant TEXT;
ALTER TABLE requests ADD COLUMN pool TEXT;
ALTER TABLE requests ADD COLUMN waited_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN resumed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN cost_usd REAL;
ALTER TABLE requests ADD COLUMN cost_source TEXT;
ALTER TABLE attempts ADD COLUMN key INTEGER NOT NULL DEFAULT 1;
ALTER TABLE attempts ADD COLUMN reason TEXT NOT NULL DEFAULT 'first';
ALTER TABLE attempts ADD COLUMN cause TEXT;
ALTER TABLE attempts ADD COLUMN pieces INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN input_tokens INTEGER;
ALTER TABLE attempts ADD COLUMN cached_tokens INTEGER;
ALTER TABLE attempts ADD COLUMN cache_write_tokens INTEGER;
ALTER TABLE attempts ADD COLUMN output_tokens INTEGER;
ALTER TABLE attempts ADD COLUMN reasoning_tokens INTEGER;
ALTER TABLE attempts ADD COLUMN usage_source TEXT;
ALTER TABLE attempts ADD COLUMN cost_usd REAL;
ALTER TABLE rollups ADD COLUMN cost_usd REAL NOT NULL DEFAULT 0;
ALTER TABLE rollups ADD COLUMN unpriced INTEGER NOT NULL DEFAULT 0;
";

/// What a file of version 3 lacks.
const FROM_3: &str = "
ALTER TABLE requests ADD COLUMN parent INTEGER;
ALTER TABLE requests ADD COLUMN root INTEGER;
ALTER TABLE requests ADD COLUMN agent TEXT;
ALTER TABLE requests ADD COLUMN caller TEXT;
ALTER TABLE requests ADD COLUMN route TEXT;
ALTER TABLE requests ADD COLUMN agents TEXT;
CREATE INDEX requests_root ON requests (root) WHERE root IS NOT NULL;
CREATE TABLE decisions (
    request_id      INTEGER NOT NULL,
    number          INTEGER NOT NULL,
    step            TEXT NOT NULL,
    chosen          TEXT NOT NULL,
    why             TEXT NOT NULL,
    candidates      TEXT NOT NULL,
    passed          TEXT NOT NULL,
    duration_us     INTEGER NOT NULL,
    PRIMARY KEY (request_id, number)
) WITHOUT ROWID;
";

pub(super) const INSERT_REQUEST: &str = "
INSERT OR IGNORE INTO requests (id, started_us, listener, method, path, model_requested, model, provider, target, stream, status,
    code, blame, attempts, duration_us, first_byte_us, request_bytes, response_bytes, chunks, input_tokens,
    cached_tokens, output_tokens, reasoning_tokens, usage_source, session, run, tags, trace_id, stages, snapshot,
    cache_write_tokens, translated, dropped, tenant, pool, waited_us, resumed, cost_usd, cost_source,
    parent, root, agent, caller, route, agents)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24,
    ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36, ?37, ?38, ?39, ?40, ?41, ?42, ?43, ?44, ?45)";

pub(super) const INSERT_ATTEMPT: &str = "
INSERT INTO attempts (request_id, number, target, provider, model, started_us, connect_us, first_byte_us, duration_us,
    status, code, request_bytes, response_bytes, key, reason, cause, pieces, input_tokens, cached_tokens,
    cache_write_tokens, output_tokens, reasoning_tokens, usage_source, cost_usd)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)";

pub(super) const INSERT_DECISION: &str = "
INSERT INTO decisions (request_id, number, step, chosen, why, candidates, passed, duration_us)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

pub(super) const UPSERT_ROLLUP: &str = "
INSERT INTO rollups VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
ON CONFLICT DO UPDATE SET requests = requests + excluded.requests, errors = errors + excluded.errors,
    usage_missing = usage_missing + excluded.usage_missing,
    input_tokens = input_tokens + excluded.input_tokens, cached_tokens = cached_tokens + excluded.cached_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
    cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
    cost_usd = cost_usd + excluded.cost_usd, unpriced = unpriced + excluded.unpriced,
    duration_us = duration_us + excluded.duration_us, request_bytes = request_bytes + excluded.request_bytes,
    response_bytes = response_bytes + excluded.response_bytes";

/// Opens the file for writing, with the tables in it.
pub(super) fn open(path: &str) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A killed process loses nothing committed; only a machine that loses its power may lose the last commits.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -2048)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let missing: &[&str] = match version {
        0 => &[TABLES],
        1 => &[FROM_1, FROM_2, FROM_3],
        2 => &[FROM_2, FROM_3],
        3 => &[FROM_3],
        VERSION => &[],
        newer => {
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_MISMATCH),
                Some(format!("its tables are of version {newer}, this Meseta writes version {VERSION}")),
            ));
        }
    };
    if !missing.is_empty() {
        let changes = missing.concat();
        connection.execute_batch(&format!("BEGIN; {changes} PRAGMA user_version = {VERSION}; COMMIT;"))?;
    }
    Ok(connection)
}
