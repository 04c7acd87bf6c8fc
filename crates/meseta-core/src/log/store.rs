//! One batch of rows in one transaction, rollups included.

use std::collections::HashMap;

use meseta_wire::dialect::Dialect;
use rusqlite::{CachedStatement, Connection, params};

use crate::Code;
use crate::log::{Attempt, RequestRow, Row, schema};

/// Stores the rows and says how many. A row whose id is there already (a clock was set back while Meseta was down) is
/// left out alone: it must not take its whole batch with it.
pub(super) fn store(connection: &mut Connection, rows: &[Box<Row>]) -> Result<u64, rusqlite::Error> {
    let transaction = connection.transaction()?;
    let mut stored = 0;
    let mut rollups: HashMap<Key<'_>, Sums> = HashMap::new();
    {
        let mut insert_request = transaction.prepare_cached(schema::INSERT_REQUEST)?;
        let mut insert_attempt = transaction.prepare_cached(schema::INSERT_ATTEMPT)?;
        for row in rows {
            let cost = row.attempts.last().is_some_and(Attempt::may_have_cost);
            if insert(&mut insert_request, &row.request, row.attempts.len(), cost)? == 0 {
                continue;
            }
            for (number, attempt) in (1_u32..).zip(&row.attempts) {
                insert_attempt.execute(params![
                    row.request.id.0,
                    number,
                    &*attempt.target.name,
                    &*attempt.target.provider,
                    attempt.model,
                    attempt.started,
                    attempt.connected.map(|at| at.saturating_sub(attempt.started)),
                    attempt.first_byte.map(|at| at.saturating_sub(attempt.started)),
                    attempt.ended.map(|at| at.saturating_sub(attempt.started)),
                    attempt.status,
                    attempt.code.map(Code::as_str),
                    integer(attempt.request_bytes),
                    integer(attempt.response_bytes),
                ])?;
            }
            rollups.entry(Key::of(&row.request)).or_default().add(&row.request, cost);
            stored += 1;
        }
        let mut upsert = transaction.prepare_cached(schema::UPSERT_ROLLUP)?;
        for (key, sums) in &rollups {
            sums.upsert(&mut upsert, key)?;
        }
    }
    transaction.commit()?;
    Ok(stored)
}

fn insert(
    statement: &mut CachedStatement<'_>,
    request: &RequestRow,
    attempts: usize,
    cost: bool,
) -> Result<usize, rusqlite::Error> {
    let target = request.target.as_deref();
    let usage = request.usage;
    statement.execute(params![
        request.id.0,
        request.started_us(),
        &*request.listener,
        request.method.as_str(),
        request.path,
        request.model_requested,
        request.model,
        target.map(|target| &*target.provider),
        target.map(|target| &*target.name),
        request.stream,
        request.status,
        request.code.map(Code::as_str),
        request.code.map(|code| code.blame().as_str()),
        integer(attempts as u64),
        request.duration_us,
        request.first_byte_us,
        integer(request.request_bytes),
        integer(request.response_bytes),
        integer(request.chunks),
        usage.map(|usage| integer(usage.input)),
        usage.map(|usage| integer(usage.cached)),
        usage.map(|usage| integer(usage.output)),
        usage.map(|usage| integer(usage.reasoning)),
        cost.then_some(if usage.is_some() { "exact" } else { "missing" }),
        request.session,
        request.run,
        request.tags,
        request.trace,
        stages(request),
        &*request.snapshot,
        usage.map(|usage| integer(usage.cache_write)),
        request.translated.map(Dialect::as_str),
        request.dropped,
    ])
}

/// What a rollup sums over.
#[derive(PartialEq, Eq, Hash)]
struct Key<'a> {
    hour: i64,
    listener: &'a str,
    provider: &'a str,
    model: &'a str,
}

impl Key<'_> {
    fn of(request: &RequestRow) -> Key<'_> {
        let model = match (&request.target, &request.model) {
            // A name that nobody answered for must not make a row of its own: anybody could then fill the table.
            (Some(target), Some(_)) if target.model.is_none() && request.status >= 400 => "*",
            (_, model) => model.as_deref().unwrap_or(""),
        };
        Key {
            hour: request.started_us() / 3_600_000_000,
            listener: &request.listener,
            provider: request.target.as_ref().map_or("", |target| &target.provider),
            model,
        }
    }
}

#[derive(Default)]
struct Sums {
    requests: u64,
    errors: u64,
    usage_missing: u64,
    input: u64,
    cached: u64,
    output: u64,
    reasoning: u64,
    cache_write: u64,
    duration_us: u64,
    request_bytes: u64,
    response_bytes: u64,
}

impl Sums {
    fn add(&mut self, request: &RequestRow, cost: bool) {
        let usage = request.usage.unwrap_or_default();
        self.requests += 1;
        self.errors += u64::from(request.code.is_some() || request.status >= 400);
        self.usage_missing += u64::from(cost && request.usage.is_none());
        self.input += usage.input;
        self.cached += usage.cached;
        self.output += usage.output;
        self.reasoning += usage.reasoning;
        self.cache_write += usage.cache_write;
        self.duration_us += u64::from(request.duration_us);
        self.request_bytes += request.request_bytes;
        self.response_bytes += request.response_bytes;
    }

    fn upsert(&self, statement: &mut CachedStatement<'_>, key: &Key<'_>) -> Result<usize, rusqlite::Error> {
        statement.execute(params![
            key.hour,
            key.listener,
            key.provider,
            key.model,
            integer(self.requests),
            integer(self.errors),
            integer(self.usage_missing),
            integer(self.input),
            integer(self.cached),
            integer(self.output),
            integer(self.reasoning),
            integer(self.duration_us),
            integer(self.request_bytes),
            integer(self.response_bytes),
            integer(self.cache_write),
        ])
    }
}

/// SQLite's integers are signed. A provider may claim any number of tokens; one beyond the range is the largest.
fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn stages(request: &RequestRow) -> String {
    use std::fmt::Write;
    request.stages.iter().fold(String::with_capacity(96), |mut text, (stage, began)| {
        let gap = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{gap}{}={began}", stage.name());
        text
    })
}
