//! One batch of rows in one transaction, rollups included.

use std::collections::HashMap;

use meseta_wire::dialect::Dialect;
use meseta_wire::failure::Cause;
use meseta_wire::usage::Usage;
use rusqlite::{CachedStatement, Connection, params};

use crate::Code;
use crate::log::{Attempt, Decision, RequestRow, Row, schema};

/// So many rows are stored at a stretch, about a tenth of a millisecond: on a machine whose processors all have work, the
/// worker that waits for this one is let in before a request could notice.
const STRETCH: usize = 8;
/// A batch of more rows is not interrupted: the log is behind, and rows that find no place in the queue are lost.
const BEHIND: usize = 2048;

/// Stores the rows and says how many. A row whose id is there already (a clock was set back while Meseta was down) is
/// left out alone: it must not take its whole batch with it.
pub(super) fn store(connection: &mut Connection, rows: &[Box<Row>]) -> Result<u64, rusqlite::Error> {
    let transaction = connection.transaction()?;
    let mut stored = 0;
    let mut rollups: HashMap<Key<'_>, Sums> = HashMap::new();
    {
        let mut insert_request = transaction.prepare_cached(schema::INSERT_REQUEST)?;
        let mut insert_decision = transaction.prepare_cached(schema::INSERT_DECISION)?;
        let mut insert_attempt = transaction.prepare_cached(schema::INSERT_ATTEMPT)?;
        for (number, row) in rows.iter().enumerate() {
            if number % STRETCH == 0 && rows.len() <= BEHIND {
                std::thread::yield_now();
            }
            let account = Account::of(&row.attempts);
            if insert(&mut insert_request, &row.request, row.attempts.len(), &account)? == 0 {
                continue;
            }
            for (number, attempt) in (1_u32..).zip(&row.attempts) {
                insert_attempt.execute(params![
                    row.request.id.0,
                    number,
                    &*attempt.target.name,
                    &*attempt.target.provider,
                    &*attempt.model,
                    attempt.started,
                    attempt.connected.map(|at| at.saturating_sub(attempt.started)),
                    attempt.first_byte.map(|at| at.saturating_sub(attempt.started)),
                    attempt.ended.map(|at| at.saturating_sub(attempt.started)),
                    attempt.status,
                    attempt.code.map(Code::as_str),
                    integer(attempt.request_bytes),
                    integer(attempt.response_bytes),
                    integer(attempt.key as u64 + 1),
                    attempt.reason.as_str(),
                    attempt.cause.map(Cause::as_str),
                    integer(attempt.pieces),
                    attempt.usage.map(|usage| integer(usage.input)),
                    attempt.usage.map(|usage| integer(usage.cached)),
                    attempt.usage.map(|usage| integer(usage.cache_write)),
                    attempt.usage.map(|usage| integer(usage.output)),
                    attempt.usage.map(|usage| integer(usage.reasoning)),
                    attempt.usage.map(|_| if attempt.estimated { "estimated" } else { "exact" }),
                    attempt.cost.map(dollars),
                ])?;
            }
            for (number, decision) in (1_u32..).zip(&row.decisions) {
                insert_decision.execute(params![
                    row.request.id.0,
                    number,
                    decision.step,
                    decision.chosen.join(","),
                    decision.why,
                    candidates(decision),
                    passed(decision),
                    decision.micros,
                ])?;
            }
            rollups.entry(Key::of(&row.request)).or_default().add(&row.request, &account);
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
    account: &Account,
) -> Result<usize, rusqlite::Error> {
    let target = request.target.as_deref();
    let usage = account.usage;
    statement.execute(params![
        request.id.0,
        request.started_us(),
        &*request.listener,
        request.method.as_str(),
        request.path,
        request.model_requested,
        request.model.as_deref(),
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
        account.usage_source(),
        request.session,
        request.run,
        request.tags,
        request.trace,
        stages(request),
        &*request.snapshot,
        usage.map(|usage| integer(usage.cache_write)),
        request.translated.map(Dialect::as_str),
        request.dropped,
        request.tenant.as_deref(),
        request.pool.as_deref(),
        request.waited_us,
        request.resumed,
        account.cost.map(dollars),
        account.cost_source(),
        request.parent.map(|id| id.0),
        request.root.map(|id| id.0),
        request.agent.as_deref(),
        request.caller.as_deref(),
        request.route.as_deref(),
        (!request.agents.is_empty()).then(|| request.agents.join(",")),
    ])
}

/// What all calls of a request used and cost: each of them once.
#[derive(Default)]
struct Account {
    usage: Option<Usage>,
    cost: Option<f64>,
    /// A part of it was reckoned, not reported.
    estimated: bool,
    /// A call that used something has no price.
    unpriced: bool,
}

impl Account {
    fn of(attempts: &[Attempt]) -> Account {
        let mut account = Account::default();
        for attempt in attempts {
            let Some(usage) = attempt.usage else { continue };
            let sum = account.usage.get_or_insert_default();
            sum.input = sum.input.saturating_add(usage.input);
            sum.cached = sum.cached.saturating_add(usage.cached);
            sum.cache_write = sum.cache_write.saturating_add(usage.cache_write);
            sum.output = sum.output.saturating_add(usage.output);
            sum.reasoning = sum.reasoning.saturating_add(usage.reasoning);
            account.estimated |= attempt.estimated;
            match attempt.cost {
                Some(cost) => *account.cost.get_or_insert(0.0) += cost,
                None => account.unpriced = true,
            }
        }
        account
    }

    fn usage_source(&self) -> Option<&'static str> {
        self.usage.map(|_| if self.estimated { "estimated" } else { "exact" })
    }

    /// Never silently zero: what has no price says so.
    fn cost_source(&self) -> Option<&'static str> {
        if self.unpriced { Some("unpriced") } else { self.usage_source() }
    }
}

/// The log's unit. What a call costs is reckoned in millionths.
fn dollars(millionths: f64) -> f64 {
    millionths / 1e6
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
    cost: f64,
    unpriced: u64,
}

impl Sums {
    fn add(&mut self, request: &RequestRow, account: &Account) {
        let usage = account.usage.unwrap_or_default();
        self.requests += 1;
        self.errors += u64::from(request.code.is_some() || request.status >= 400);
        self.usage_missing += u64::from(account.estimated);
        self.cost += account.cost.unwrap_or_default();
        self.unpriced += u64::from(account.unpriced);
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
            dollars(self.cost),
            integer(self.unpriced),
        ])
    }
}

/// SQLite's integers are signed. A provider may claim any number of tokens; one beyond the range is the largest.
fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// `name=probability` for each, the likeliest first.
fn candidates(decision: &Decision) -> String {
    let each = |(name, probability): &(_, f32)| format!("{name}={probability:.3}");
    decision.candidates.iter().map(each).collect::<Vec<String>>().join(" ")
}

/// `step=why` for each step that handed on.
fn passed(decision: &Decision) -> String {
    decision.passed.iter().map(|(step, why)| format!("{step}={why}")).collect::<Vec<_>>().join(" ")
}

fn stages(request: &RequestRow) -> String {
    // Every row has ten of them or so: `write!` would take a tenth of the time that storing a row takes.
    request.stages.iter().fold(String::with_capacity(160), |mut text, (stage, began)| {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(stage.name());
        text.push('=');
        text.push_str(&began.to_string());
        text
    })
}
