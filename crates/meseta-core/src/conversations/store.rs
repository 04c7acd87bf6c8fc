//! The handle that everybody has, and the one thread that owns the file.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::conversations::shelf::Shelf;
use crate::conversations::{Caller, ChainLimits, Entry, StoreError, StoreSettings, file};

/// Requests that wait for the thread hold no more than this; further ones wait until there is room.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// What the smallest request takes of it.
const UNIT_BYTES: u64 = 1024;

/// The longest that anybody waits for the disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers that are too old are looked for this often.
const TIDY: Duration = Duration::from_secs(180);

/// Clones are the same store. The last one to go waits until all that was asked for is written.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    /// Taken to close: the thread ends when it has worked off the queue.
    queue: Mutex<Option<Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    room: Arc<Semaphore>,
    max_response_bytes: u64,
}

struct Request {
    work: Work,
    /// Given back when the work is done.
    _room: OwnedSemaphorePermit,
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Work {
    Put(Caller, Entry, Reply<()>),
    Get(Caller, String, Reply<Option<Entry>>),
    Chain(Caller, String, ChainLimits, Reply<Vec<Entry>>),
    Delete(Caller, String, Reply<bool>),
}

impl Store {
    /// Opens the file at once, so that a path that cannot be used is known before anybody asks. A damaged file is moved
    /// to `….corrupt` and a new one begun.
    pub fn open(settings: &StoreSettings) -> Result<Store, StoreError> {
        let unusable = |why: String| {
            StoreError::Failed(format!(
                "{}: {why}. Is the folder there, writable, and its disk not full?",
                settings.path
            ))
        };
        let shelf = Shelf::open(settings).map_err(|error| match error {
            StoreError::Failed(why) | StoreError::Corrupt(why) => unusable(why),
            other => other,
        })?;
        let (queue, requests) = channel();
        let mut keeper = Keeper { shelf: Some(shelf), settings: settings.clone() };
        let thread = std::thread::Builder::new()
            .name("meseta-answers".to_owned())
            .spawn(move || keeper.serve(&requests))
            .map_err(|error| unusable(format!("its thread cannot start ({error})")))?;
        Ok(Store {
            shared: Arc::new(Shared {
                queue: Mutex::new(Some(queue)),
                thread: Mutex::new(Some(thread)),
                room: Arc::new(Semaphore::new(units(QUEUE_BYTES as u64))),
                max_response_bytes: settings.max_response_bytes,
            }),
        })
    }

    /// Keeps an answer, in place of one with its id. It is in the file when this returns.
    #[cfg(test)]
    pub async fn put(&self, caller: Caller, entry: Entry) -> Result<(), StoreError> {
        let (bytes, limit) = (entry.bytes(), self.shared.max_response_bytes);
        if bytes > limit {
            return Err(StoreError::TooLarge { bytes, limit });
        }
        self.ask(bytes, |reply| Work::Put(caller, entry, reply)).await
    }

    /// Keeps an answer without waiting for the disk: it is in line when this returns, so whoever asks for it later finds
    /// it. An error says that it will not be kept.
    pub fn put_later(&self, caller: Caller, entry: Entry) -> Result<(), StoreError> {
        let (bytes, limit) = (entry.bytes(), self.shared.max_response_bytes);
        if bytes > limit {
            return Err(StoreError::TooLarge { bytes, limit });
        }
        let permits = u32::try_from(units(bytes)).unwrap_or(u32::MAX);
        let room = self.shared.room.clone().try_acquire_many_owned(permits);
        let room = room.map_err(|_| StoreError::Slow)?;
        let (reply, _) = oneshot::channel();
        self.shared.send(Request { work: Work::Put(caller, entry, reply), _room: room })
    }

    pub async fn get(&self, caller: Caller, id: &str) -> Result<Option<Entry>, StoreError> {
        self.ask(id.len() as u64, |reply| Work::Get(caller, id.to_owned(), reply)).await
    }

    /// The answer and all that it goes on from, oldest first. One that is missing on the way is an error.
    pub async fn chain(
        &self,
        caller: Caller,
        id: &str,
        limits: ChainLimits,
    ) -> Result<Vec<Entry>, StoreError> {
        self.ask(id.len() as u64, |reply| Work::Chain(caller, id.to_owned(), limits, reply)).await
    }

    /// Takes an answer out of the file; false when it was not there.
    pub async fn delete(&self, caller: Caller, id: &str) -> Result<bool, StoreError> {
        self.ask(id.len() as u64, |reply| Work::Delete(caller, id.to_owned(), reply)).await
    }

    /// Does what is queued and ends the thread; whoever asks later gets an error. Blocks: not for a worker.
    pub fn close(&self) {
        self.shared.close();
    }

    async fn ask<T>(&self, bytes: u64, work: impl FnOnce(Reply<T>) -> Work) -> Result<T, StoreError> {
        let answered = async {
            let permits = u32::try_from(units(bytes)).unwrap_or(u32::MAX);
            let room = self.shared.room.clone().acquire_many_owned(permits).await;
            let room = room.map_err(|_| StoreError::Closed)?;
            let (reply, answer) = oneshot::channel();
            self.shared.send(Request { work: work(reply), _room: room })?;
            answer.await.unwrap_or(Err(StoreError::Closed))
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap_or(Err(StoreError::Slow))
    }
}

/// What a request takes of the queue. The largest one may take all of it, and has to be let in some time.
fn units(bytes: u64) -> usize {
    let units = bytes.min(QUEUE_BYTES as u64) / UNIT_BYTES;
    usize::try_from(units).unwrap_or(usize::MAX).max(1)
}

impl Shared {
    fn send(&self, request: Request) -> Result<(), StoreError> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(request).map_err(|_| StoreError::Closed)
    }

    fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the thread has.
struct Keeper {
    /// `None` while the file cannot be opened; every request tries.
    shelf: Option<Shelf>,
    settings: StoreSettings,
}

impl Keeper {
    fn serve(&mut self, requests: &Receiver<Request>) {
        let mut tidied = Instant::now();
        // One batch went when the file was opened.
        let mut untidy = true;
        loop {
            match requests.recv_timeout(if untidy { Duration::ZERO } else { TIDY }) {
                Ok(request) => self.answer(request.work),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if untidy || tidied.elapsed() >= TIDY {
                tidied = Instant::now();
                // A store that cannot be tidied can still be read; a later round tries again.
                untidy = self.with(Shelf::tidy).unwrap_or(false);
            }
        }
    }

    fn answer(&mut self, work: Work) {
        // Whoever asked may have left: what was to be read then need not be, what was to be written is.
        match work {
            Work::Put(caller, entry, reply) => {
                let _ = reply.send(self.with(|shelf| shelf.put(&caller, &entry)));
            }
            Work::Get(caller, id, reply) if !reply.is_closed() => {
                let _ = reply.send(self.with(|shelf| shelf.get(&caller, &id)));
            }
            Work::Chain(caller, id, limits, reply) if !reply.is_closed() => {
                let _ = reply.send(self.with(|shelf| shelf.chain(&caller, &id, limits)));
            }
            Work::Delete(caller, id, reply) => {
                let _ = reply.send(self.with(|shelf| shelf.delete(&caller, &id)));
            }
            Work::Get(..) | Work::Chain(..) => {}
        }
    }

    /// Does something with the file, and does it again with a new one when this one turns out to be damaged: one bad page
    /// would otherwise fail every tidying, and in the end every put.
    fn with<T>(&mut self, work: impl Fn(&mut Shelf) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if let Some(shelf) = &mut self.shelf {
            match work(shelf) {
                Err(StoreError::Corrupt(_)) => {
                    // Closes the file before it is moved.
                    self.shelf = None;
                    file::set_aside(&self.settings.path)?;
                }
                other => return other,
            }
        }
        work(self.shelf.insert(Shelf::open(&self.settings)?))
    }
}
