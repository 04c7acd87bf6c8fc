//! The one thread that writes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use crate::log::tidy::tidy;
use crate::log::{Attempt, LogError, Row, schema};
use crate::snapshot::LogSettings;

/// What `stats` says of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    pub written: u64,
    pub dropped: u64,
    pub queued: u64,
}

#[derive(Default)]
struct Counts {
    queued: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
}

/// A worker's end of the queue.
#[derive(Clone)]
pub(crate) struct LogSender {
    queue: SyncSender<Box<Row>>,
    counts: Arc<Counts>,
}

impl LogSender {
    /// Never waits: a row that finds the queue full is dropped and counted.
    pub fn append(&self, row: Box<Row>) {
        self.counts.queued.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(row).is_err() {
            self.counts.queued.fetch_sub(1, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

pub(crate) struct Writer {
    /// Given up to close: the thread ends when nobody is left who could append.
    sender: Option<LogSender>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

/// Rows that the log no longer keeps are looked for this often.
const TIDY: Duration = Duration::from_secs(60);

impl Writer {
    pub fn start(settings: &LogSettings) -> Result<Writer, LogError> {
        let open = || -> Result<Connection, Box<dyn std::error::Error>> {
            if let Some(folder) = std::path::Path::new(&settings.path).parent() {
                create_private(folder)?;
            }
            Ok(schema::open(&settings.path)?)
        };
        let connection = open().map_err(|error| {
            LogError(format!(
                "The log at {} cannot be written ({error}). Set `store: {{path: …}}` to a folder that can, or \
                 `store: off`.",
                settings.path
            ))
        })?;
        let (queue, rows) = sync_channel(settings.queue_records.max(1));
        let counts = Arc::new(Counts::default());
        let thread = {
            let counts = counts.clone();
            let settings = settings.clone();
            std::thread::Builder::new()
                .name("meseta-log".to_owned())
                .spawn(move || write(connection, &rows, &settings, &counts))
                .map_err(|error| LogError(format!("The log's thread cannot start ({error}).")))?
        };
        let sender = LogSender { queue, counts: counts.clone() };
        Ok(Writer { sender: Some(sender), counts, thread: Some(thread) })
    }

    /// A worker's end of the queue; `None` once the log is closed.
    pub fn sender(&self) -> Option<LogSender> {
        self.sender.clone()
    }

    pub fn stats(&self) -> LogStats {
        let counts = &self.counts;
        LogStats {
            written: counts.written.load(Ordering::Relaxed),
            dropped: counts.dropped.load(Ordering::Relaxed),
            queued: counts.queued.load(Ordering::Relaxed),
        }
    }

    /// Writes what is queued and ends the thread. The workers must have ended before.
    pub fn close(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(unix)]
fn create_private(folder: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn create_private(folder: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)
}

fn write(mut connection: Connection, rows: &Receiver<Box<Row>>, settings: &LogSettings, counts: &Counts) {
    let pause = Duration::from_millis(settings.commit_ms);
    let mut batch = Vec::new();
    let mut tidied = Instant::now();
    // Also at the start: a plane that never runs for long must not keep rows for ever.
    let mut untidy = true;
    loop {
        // Blocks while nothing happens, then gathers for one pause: a busy plane is woken for once a commit, not
        // once a request.
        match rows.recv_timeout(if untidy { Duration::ZERO } else { TIDY }) {
            Ok(row) => {
                batch.push(row);
                std::thread::sleep(pause);
                batch.extend(rows.try_iter());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let size = batch.len() as u64;
        if size > 0 {
            let stored = store(&mut connection, &batch);
            let count = if stored.is_ok() { &counts.written } else { &counts.dropped };
            count.fetch_add(size, Ordering::Relaxed);
            counts.queued.fetch_sub(size, Ordering::Relaxed);
            batch.clear();
        }
        if untidy || tidied.elapsed() >= TIDY {
            tidied = Instant::now();
            // A log that cannot be tidied can still be written; a later round tries again.
            untidy = tidy(&mut connection, settings).unwrap_or(false);
        }
    }
}

/// Sums of one hour, listener and model.
#[derive(Default)]
struct Sums {
    requests: u64,
    errors: u64,
    usage_missing: u64,
    input: u64,
    cached: u64,
    output: u64,
    reasoning: u64,
    duration_us: u64,
    request_bytes: u64,
    response_bytes: u64,
}

fn store(connection: &mut Connection, rows: &[Box<Row>]) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction()?;
    let mut sums: HashMap<(i64, &str, &str, &str), Sums> = HashMap::new();
    {
        let mut insert_request = transaction.prepare_cached(schema::INSERT_REQUEST)?;
        let mut insert_attempt = transaction.prepare_cached(schema::INSERT_ATTEMPT)?;
        for row in rows {
            let request = &row.request;
            let target = request.target.as_deref();
            let started_us = request.ended_us - i64::from(request.duration_us);
            let answered = row.attempts.last().is_some_and(Attempt::may_have_cost);
            let failed = request.code.is_some() || request.status >= 400;
            let usage = request.usage;
            insert_request.execute(params![
                request.id.0,
                started_us,
                &*request.listener,
                request.method.as_str(),
                request.path,
                request.model_requested,
                request.model,
                target.map(|target| &*target.provider),
                target.map(|target| &*target.name),
                request.stream,
                request.status,
                request.code.map(crate::Code::as_str),
                request.code.map(|code| code.blame().as_str()),
                row.attempts.len() as i64,
                request.duration_us,
                request.first_byte_us,
                request.request_bytes as i64,
                request.response_bytes as i64,
                request.chunks as i64,
                usage.map(|usage| usage.input as i64),
                usage.map(|usage| usage.cached as i64),
                usage.map(|usage| usage.output as i64),
                usage.map(|usage| usage.reasoning as i64),
                answered.then_some(if usage.is_some() { "exact" } else { "missing" }),
                request.session,
                request.run,
                request.tags,
                request.trace,
                stages(request),
                &*request.snapshot,
            ])?;
            for (at, attempt) in row.attempts.iter().enumerate() {
                insert_attempt.execute(params![
                    request.id.0,
                    at as i64 + 1,
                    &*attempt.target.name,
                    &*attempt.target.provider,
                    attempt.model,
                    attempt.started,
                    attempt.connected.map(|at| at.saturating_sub(attempt.started)),
                    attempt.first_byte.map(|at| at.saturating_sub(attempt.started)),
                    attempt.ended.map(|at| at.saturating_sub(attempt.started)),
                    attempt.status,
                    attempt.code.map(crate::Code::as_str),
                    attempt.request_bytes as i64,
                    attempt.response_bytes as i64,
                ])?;
            }
            let key = (
                started_us / 3_600_000_000,
                &*request.listener,
                target.map_or("", |target| &*target.provider),
                rollup_model(request),
            );
            let sum = sums.entry(key).or_default();
            sum.requests += 1;
            sum.errors += u64::from(failed);
            sum.usage_missing += u64::from(answered && usage.is_none());
            let usage = usage.unwrap_or_default();
            sum.input += usage.input;
            sum.cached += usage.cached;
            sum.output += usage.output;
            sum.reasoning += usage.reasoning;
            sum.duration_us += u64::from(request.duration_us);
            sum.request_bytes += request.request_bytes;
            sum.response_bytes += request.response_bytes;
        }
        let mut upsert = transaction.prepare_cached(schema::UPSERT_ROLLUP)?;
        for ((hour, listener, provider, model), sum) in sums {
            upsert.execute(params![
                hour,
                listener,
                provider,
                model,
                sum.requests as i64,
                sum.errors as i64,
                sum.usage_missing as i64,
                sum.input as i64,
                sum.cached as i64,
                sum.output as i64,
                sum.reasoning as i64,
                sum.duration_us as i64,
                sum.request_bytes as i64,
                sum.response_bytes as i64,
            ])?;
        }
    }
    transaction.commit()
}

/// A model that nobody answered for must not make a row of its own: anybody could then fill the table with names.
fn rollup_model(request: &crate::log::RequestRow) -> &str {
    match (&request.target, &request.model) {
        (Some(target), Some(_)) if target.model.is_none() && request.status >= 400 => "*",
        (_, model) => model.as_deref().unwrap_or(""),
    }
}

fn stages(request: &crate::log::RequestRow) -> String {
    use std::fmt::Write;
    request.stages.iter().fold(String::with_capacity(96), |mut text, (stage, began)| {
        let gap = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{gap}{}={began}", stage.name());
        text
    })
}
