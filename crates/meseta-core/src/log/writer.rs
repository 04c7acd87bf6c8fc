//! The one thread that writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::log::store::store;
use crate::log::tidy::tidy;
use crate::log::{LogError, Row, schema};
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
            let stored = store(&mut connection, &batch).unwrap_or(0);
            counts.written.fetch_add(stored, Ordering::Relaxed);
            counts.dropped.fetch_add(size - stored, Ordering::Relaxed);
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
