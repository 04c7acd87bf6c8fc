//! What replicas tell each other, through a Valkey or Redis that they share: where sessions are pinned, which targets
//! rest, and how many requests each has under way.
//!
//! All of it is advice. One thread (`meseta-shared`) speaks with the server; a request hands it a question and waits no
//! longer than the configured time-out, and not at all while the server is known to be gone or slow. Then every replica
//! goes by what it knows itself, and the requests that had to are counted.
//!
//! Names in the server, all behind the configured prefix:
//!
//! | name | value | kept |
//! |---|---|---|
//! | `pin:TENANT:SESSION` | a pin (both parts are digests) | as long as it is warm |
//! | `rest:TARGET` | the replica that put the target to rest | as long as it rests |
//! | `count` | the set of replicas | a minute |
//! | `count:REPLICA` | its requests under way, in all and by tenant | [`load::KEPT`] |
//!
//! The server must be one server, or look like one: a Redis Cluster is not spoken to.

mod keeper;
pub(crate) mod load;
#[cfg(test)]
mod memory;
mod redis;
mod store;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::document;
use keeper::{Keeper, Request};
pub(crate) use load::Load;
use redis::Address;
use store::{Connect, VALUE_BYTES};

/// Questions and news that wait for the thread. What comes when it is full is dropped, and counted.
const QUEUE: usize = 1024;

/// Questions in a row that were not answered in time before nobody asks until the next sign of life.
const STRIKES: u32 = 3;

#[derive(Clone)]
pub(crate) struct SharedSettings {
    /// `redis://`, `rediss://` (TLS), `valkey://`, `valkeys://` or `redis+unix://`. It may hold a password.
    pub url: String,
    pub prefix: String,
    /// The longest that a request waits for an answer.
    pub timeout: Duration,
}

impl From<&document::SharedSettings> for SharedSettings {
    fn from(document: &document::SharedSettings) -> SharedSettings {
        SharedSettings {
            url: document.url.clone(),
            prefix: document.prefix.clone(),
            timeout: Duration::from_millis(document.timeout_ms),
        }
    }
}

/// What the thread asks of its own replica, and tells it, about once a second. Nothing here may wait. It must not keep the
/// [`SharedState`] alive, which would then never end.
pub(crate) trait Local: Send + 'static {
    /// The targets whose rests are of interest.
    fn targets(&self) -> Vec<Arc<str>>;
    /// The targets that this replica has put to rest since it was last asked, and for how long.
    fn rests(&self) -> Vec<(String, Duration)>;
    /// Another replica has put a target to rest, for so much longer. Told once, and again when the rest is renewed, so that
    /// whoever resets the target here need not do so every second.
    fn rest(&self, target: &str, left: Duration);
    /// The requests that this replica has under way.
    fn load(&self) -> Load;
    /// Those of all other replicas. None when nobody knows.
    fn others(&self, load: Load);
}

/// Why the store cannot be used at all. A server that is not there is no reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SharedError(pub String);

impl std::fmt::Display for SharedError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for SharedError {}

/// The handle that everybody has. Clones are the same; the thread ends when the last one is gone.
#[derive(Clone)]
pub(crate) struct SharedState {
    queue: mpsc::Sender<Request>,
    prefix: Arc<str>,
    timeout: Duration,
    signs: Arc<Signs>,
}

/// How it goes, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Host and port, or the socket's path.
    pub address: String,
    pub connected: bool,
    /// Connected, but not in time: nobody asks until it is better.
    pub slow: bool,
    pub gets: u64,
    pub hits: u64,
    /// Gets that were not answered in time.
    pub timeouts: u64,
    /// Gets that went without, at once, because the server was gone or slow.
    pub skipped: u64,
    pub puts: u64,
    /// Gets and puts that had no place in the queue, and puts while there was no server.
    pub dropped: u64,
    /// Values that were too large to be shared.
    pub refused: u64,
    pub errors: u64,
    pub last_error: Option<String>,
}

#[derive(Default)]
struct Signs {
    address: String,
    connected: AtomicBool,
    slow: AtomicBool,
    strikes: AtomicU32,
    gets: AtomicU64,
    hits: AtomicU64,
    timeouts: AtomicU64,
    skipped: AtomicU64,
    puts: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
    errors: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl SharedState {
    /// Starts the thread. It connects by itself, and again when the server was gone; it ends soon after the last handle.
    pub fn start(
        settings: &SharedSettings,
        local: impl Local,
    ) -> Result<(SharedState, JoinHandle<()>), SharedError> {
        let address = Address::parse(&settings.url, settings.timeout)?;
        Self::start_with(address, settings, local)
    }

    fn start_with(
        connect: impl Connect + Send + 'static,
        settings: &SharedSettings,
        local: impl Local,
    ) -> Result<(SharedState, JoinHandle<()>), SharedError> {
        let (queue, requests) = mpsc::channel(QUEUE);
        let signs = Arc::new(Signs { address: connect.address().to_owned(), ..Signs::default() });
        let state = SharedState {
            queue,
            prefix: settings.prefix.as_str().into(),
            timeout: settings.timeout,
            signs: signs.clone(),
        };
        let keeper = Keeper::new(connect, local, requests, signs, settings);
        let thread = std::thread::Builder::new()
            .name("meseta-shared".to_owned())
            .spawn(move || keeper.run())
            .map_err(|error| SharedError(format!("the thread of the shared store cannot start ({error})")))?;
        Ok((state, thread))
    }

    /// What the replicas keep under a name. `None` when there is nothing, or no answer in time.
    pub async fn get(&self, name: &str) -> Option<Vec<u8>> {
        let signs = &self.signs;
        count(&signs.gets);
        if !signs.connected.load(Ordering::Relaxed) || signs.slow.load(Ordering::Relaxed) {
            count(&signs.skipped);
            return None;
        }
        let (reply, answer) = oneshot::channel();
        if self.queue.try_send(Request::Get(self.named(name), reply)).is_err() {
            count(&signs.dropped);
            return None;
        }
        let Ok(answer) = tokio::time::timeout(self.timeout, answer).await else {
            count(&signs.timeouts);
            if signs.strikes.fetch_add(1, Ordering::Relaxed) + 1 >= STRIKES {
                signs.slow.store(true, Ordering::Relaxed);
            }
            return None;
        };
        let found = answer.ok().flatten();
        if found.is_some() {
            count(&signs.hits);
        }
        found
    }

    /// Keeps a value for a while, some time soon, or never.
    pub fn put(&self, name: &str, value: Vec<u8>, kept: Duration) {
        let signs = &self.signs;
        count(&signs.puts);
        if value.is_empty() || value.len() > VALUE_BYTES {
            return count(&signs.refused);
        }
        let gone = !signs.connected.load(Ordering::Relaxed);
        if gone || self.queue.try_send(Request::Put(self.named(name), value, kept)).is_err() {
            count(&signs.dropped);
        }
    }

    pub fn stats(&self) -> Stats {
        let signs = &self.signs;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            address: signs.address.clone(),
            connected: signs.connected.load(Ordering::Relaxed),
            slow: signs.slow.load(Ordering::Relaxed),
            gets: read(&signs.gets),
            hits: read(&signs.hits),
            timeouts: read(&signs.timeouts),
            skipped: read(&signs.skipped),
            puts: read(&signs.puts),
            dropped: read(&signs.dropped),
            refused: read(&signs.refused),
            errors: read(&signs.errors),
            last_error: signs.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// Without the URL, which may hold a password.
impl std::fmt::Debug for SharedSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SharedSettings")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SharedState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SharedState({})", self.signs.address)
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
