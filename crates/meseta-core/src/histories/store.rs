//! The handle that everybody has.

use std::sync::Arc;

use meseta_wire::history::{self, Inline, Kept};
use meseta_wire::json::Json;
use meseta_wire::object;

use crate::histories::shelf::{Limits, Line, Shelf, Thread};
use crate::histories::{Appended, Caller, HistoriesDocument, HistoryError, Version, is_session_name};
use crate::kept_file::FileThread;

/// How much of a session is read for a turn, and shown to people. Older messages stay in the file.
const LIMITS: Limits = Limits { messages: 10_000, bytes: 32 * 1024 * 1024 };

/// Clones are the same store. The last one to go waits until all that was asked for is written.
#[derive(Clone)]
pub struct Histories {
    file: Arc<FileThread<Shelf>>,
    max_message_bytes: u64,
}

/// A session as it is read for a turn. One that does not exist yet is empty.
#[derive(Default)]
pub struct Session {
    pub version: Version,
    /// Oldest first.
    pub messages: Vec<Kept<'static>>,
    /// Messages in the file that say nothing to this Meseta; the others are used without them.
    pub unreadable: usize,
}

/// Without what people said.
impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Session")
            .field("version", &self.version)
            .field("messages", &self.messages.len())
            .field("unreadable", &self.unreadable)
            .finish()
    }
}

impl Histories {
    /// Opens the file at once, so that a path that cannot be used is known before anybody asks. A damaged file is moved
    /// to `….corrupt` and a new one begun.
    pub fn open(settings: &HistoriesDocument) -> Result<Histories, HistoryError> {
        let file = FileThread::start(settings, "meseta-sessions")?;
        Ok(Histories { file: Arc::new(file), max_message_bytes: settings.max_message_bytes })
    }

    /// The session that a turn goes on with.
    pub async fn read(&self, caller: Caller, name: &str) -> Result<Session, HistoryError> {
        let Some(thread) = self.thread(caller, name, true).await? else { return Ok(Session::default()) };
        let mut session = Session { version: thread.version, ..Session::default() };
        for message in &thread.messages {
            match history::read(message) {
                Ok(kept) => session.messages.push(kept),
                Err(_) => session.unreadable += 1,
            }
        }
        Ok(session)
    }

    /// Puts messages behind those of the session, all of them or none. They are in the file when this returns, and a
    /// killed process does not lose them.
    ///
    /// Of two turns at once in one session the one that ends first comes first, and the other whole behind it, though
    /// each was answered without the other.
    pub async fn append(
        &self,
        caller: Caller,
        name: &str,
        seen: Version,
        messages: &[Kept<'_>],
    ) -> Result<Appended, HistoryError> {
        if !is_session_name(name) {
            return Err(HistoryError::Name);
        }
        let lines = messages.iter().map(|kept| self.line(kept)).collect::<Result<Vec<_>, _>>()?;
        let bytes: usize = lines.iter().map(|line| line.message.len()).sum();
        let name = name.to_owned();
        self.file.write(bytes as u64, move |shelf| shelf.append(&caller, &name, seen, &lines)).await
    }

    /// What the file keeps of a session, as JSON for people; `None` where there is none of that name.
    pub async fn show(&self, caller: Caller, name: &str) -> Result<Option<Vec<u8>>, HistoryError> {
        let thread = self.thread(caller, name, false).await?;
        Ok(thread.map(|thread| {
            let messages: Vec<Json<'_>> =
                thread.messages.into_iter().map(|message| Json::Raw(message.into())).collect();
            object! {
                "id" => name,
                "object" => "session",
                "created" => thread.created,
                "used" => thread.used,
                "complete" => thread.whole,
                "messages" => messages,
            }
            .to_vec()
        }))
    }

    /// Takes a session out of the file; false when it was not there. A turn that is running in it then keeps nothing.
    pub async fn delete(&self, caller: Caller, name: &str) -> Result<bool, HistoryError> {
        if !is_session_name(name) {
            return Ok(false);
        }
        let name = name.to_owned();
        self.file.write(name.len() as u64, move |shelf| shelf.delete(&caller, &name)).await
    }

    /// Does what is queued and ends the thread; whoever asks later gets an error. Blocks: not for a worker.
    pub fn close(&self) {
        self.file.close();
    }

    pub(super) fn max_message_bytes(&self) -> u64 {
        self.max_message_bytes
    }

    async fn thread(&self, caller: Caller, name: &str, uses: bool) -> Result<Option<Thread>, HistoryError> {
        if !is_session_name(name) {
            return Err(HistoryError::Name);
        }
        let name = name.to_owned();
        self.file.read(name.len() as u64, move |shelf| shelf.read(&caller, &name, LIMITS, uses)).await
    }

    /// A message as it will stand in the file. Media leave it, the largest first, until it fits.
    fn line(&self, kept: &Kept<'_>) -> Result<Line, HistoryError> {
        let limit = self.max_message_bytes;
        let room = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut bytes = 0;
        for inline in [room, room / 4, room / 16, 0] {
            let message = history::write(kept, Inline(inline));
            bytes = message.len() as u64;
            if bytes <= limit {
                return Ok(Line { instructions: kept.instructions, message });
            }
        }
        Err(HistoryError::TooLarge { bytes, limit })
    }
}
