//! The one thread that owns a kept file, and the line of those who ask it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::kept_file::{Contents, FileError, FileFailure, file};

/// Requests that wait for the thread hold no more than this; further ones wait until there is room.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// What the smallest request takes of it.
const UNIT_BYTES: u64 = 1024;

/// The longest that anybody waits for the disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is too old is looked for this often.
const TIDY: Duration = Duration::from_secs(180);

/// The last owner to go waits until all that was asked for is written.
pub(crate) struct FileThread<C: Contents> {
    /// Taken to close: the thread ends when it has worked off the queue.
    queue: Mutex<Option<Sender<Request<C>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    room: Arc<Semaphore>,
}

type Work<C> = Box<dyn FnOnce(&mut Keeper<C>) + Send>;

struct Request<C: Contents> {
    work: Work<C>,
    /// Given back when the work is done.
    _room: OwnedSemaphorePermit,
}

impl<C: Contents> FileThread<C> {
    /// Opens the file at once, so that a path that cannot be used is known before anybody asks. A damaged file is moved
    /// to `….corrupt` and a new one begun.
    pub fn start(settings: &C::Settings, name: &str) -> Result<FileThread<C>, C::Error> {
        let unusable = |why: &str| {
            let path = C::path(settings);
            let advice = format!("{path}: {why}. Is the folder there, writable, and its disk not full?");
            C::Error::from(FileError::Failed(advice))
        };
        let contents = C::open(settings).map_err(|error| match error.file() {
            Some(FileError::Failed(why) | FileError::Corrupt(why)) => unusable(why),
            _ => error,
        })?;
        let (queue, requests) = channel();
        let mut keeper = Keeper { contents: Some(contents), settings: settings.clone() };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || keeper.serve(&requests))
            .map_err(|error| unusable(&format!("its thread cannot start ({error})")))?;
        Ok(FileThread {
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
            room: Arc::new(Semaphore::new(units(QUEUE_BYTES as u64))),
        })
    }

    /// Reads something. It is not read for somebody who has left.
    pub async fn read<T: Send + 'static>(
        &self,
        bytes: u64,
        work: impl Fn(&mut C) -> Result<T, C::Error> + Send + 'static,
    ) -> Result<T, C::Error> {
        self.ask(bytes, false, work).await
    }

    /// Writes something. It is in the file when this returns, and may be if whoever asked has left before.
    pub async fn write<T: Send + 'static>(
        &self,
        bytes: u64,
        work: impl Fn(&mut C) -> Result<T, C::Error> + Send + 'static,
    ) -> Result<T, C::Error> {
        self.ask(bytes, true, work).await
    }

    /// Writes something without waiting for the disk: it is in line when this returns. An error says that it will not
    /// be written.
    pub fn write_later(
        &self,
        bytes: u64,
        work: impl Fn(&mut C) -> Result<(), C::Error> + Send + 'static,
    ) -> Result<(), C::Error> {
        let room = self.room.clone().try_acquire_many_owned(permits(bytes)).map_err(|_| FileError::Slow)?;
        let work = move |keeper: &mut Keeper<C>| {
            // Nobody waits for the outcome.
            let _ = keeper.with(work);
        };
        self.send(Request { work: Box::new(work), _room: room })
    }

    /// Does what is queued and ends the thread; whoever asks later gets an error. Blocks: not for a worker.
    pub fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        bytes: u64,
        writes: bool,
        work: impl Fn(&mut C) -> Result<T, C::Error> + Send + 'static,
    ) -> Result<T, C::Error> {
        let answered = async {
            let room = self.room.clone().acquire_many_owned(permits(bytes)).await;
            let room = room.map_err(|_| FileError::Closed)?;
            let (reply, answer) = oneshot::channel();
            let work = move |keeper: &mut Keeper<C>| {
                if writes || !reply.is_closed() {
                    // Whoever asked may have left.
                    let _ = reply.send(keeper.with(work));
                }
            };
            self.send(Request { work: Box::new(work), _room: room })?;
            answer.await.unwrap_or_else(|_| Err(FileError::Closed.into()))
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap_or_else(|_| Err(FileError::Slow.into()))
    }

    fn send(&self, request: Request<C>) -> Result<(), C::Error> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queue.as_ref().ok_or(FileError::Closed)?;
        Ok(queue.send(request).map_err(|_| FileError::Closed)?)
    }
}

impl<C: Contents> Drop for FileThread<C> {
    fn drop(&mut self) {
        self.close();
    }
}

/// What a request takes of the queue. The largest one may take all of it, and has to be let in some time.
fn units(bytes: u64) -> usize {
    let units = bytes.min(QUEUE_BYTES as u64) / UNIT_BYTES;
    usize::try_from(units).unwrap_or(usize::MAX).max(1)
}

fn permits(bytes: u64) -> u32 {
    u32::try_from(units(bytes)).unwrap_or(u32::MAX)
}

/// What the thread has.
struct Keeper<C: Contents> {
    /// `None` while the file cannot be opened; every request tries.
    contents: Option<C>,
    settings: C::Settings,
}

impl<C: Contents> Keeper<C> {
    fn serve(&mut self, requests: &Receiver<Request<C>>) {
        let mut tidied = Instant::now();
        // One batch went when the file was opened.
        let mut untidy = true;
        loop {
            match requests.recv_timeout(if untidy { Duration::ZERO } else { TIDY }) {
                Ok(request) => (request.work)(self),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if untidy || tidied.elapsed() >= TIDY {
                tidied = Instant::now();
                // A file that cannot be tidied can still be read; a later round tries again.
                untidy = self.with(C::tidy).unwrap_or(false);
            }
        }
    }

    /// Does something with the file, and does it again with a new one when this one turns out to be damaged: one bad page
    /// would otherwise fail every tidying, and in the end every write.
    fn with<T>(&mut self, work: impl Fn(&mut C) -> Result<T, C::Error>) -> Result<T, C::Error> {
        if let Some(contents) = &mut self.contents {
            match work(contents) {
                Err(error) if error.is_damage() => {
                    // Closes the file before it is moved.
                    self.contents = None;
                    file::set_aside(C::path(&self.settings)).map_err(FileError::from)?;
                }
                other => return other,
            }
        }
        work(self.contents.insert(C::open(&self.settings)?))
    }
}
