//! An answer on its way to the client, read so that it can be kept.

use std::borrow::Cow;
use std::mem;

use bytes::{Bytes, BytesMut};
use meseta_wire::dialect::Dialect;
use meseta_wire::history::{AnswerReader, Broken, Kept};

use crate::histories::{Appended, Caller, Histories, HistoryError, Version};

/// What may come behind a stream's last word and is held back with it.
const LONGEST_TAIL: usize = 64 * 1024;

/// Reads an answer that passes, and keeps the turn when the answer is whole.
///
/// The last of its bytes is held back until the turn is kept: a client that has the whole answer can rely on its next turn
/// being joined to it, whatever is killed in between. An answer that failed, broke off, or whose client left is not
/// kept, and neither is what the client said then: asked again, it would stand there twice.
pub struct Tap {
    histories: Histories,
    turn: Turn,
    streamed: bool,
    reader: AnswerReader,
    held: Vec<Bytes>,
    held_bytes: usize,
}

/// A turn that is being answered.
pub struct Turn {
    pub caller: Caller,
    pub session: String,
    /// As the session was read for it.
    pub seen: Version,
    /// What is new in the request, as [`meseta_wire::history::join`] found it. Answers that other agents gave on the way
    /// may follow it.
    pub new: Vec<Kept<'static>>,
    /// Whose answer it is, where that is to be kept with it.
    pub agent: Option<String>,
}

/// Why a turn was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unkept {
    Answer(Broken),
    Store(HistoryError),
}

impl std::fmt::Display for Unkept {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unkept::Answer(broken) => broken.fmt(formatter),
            Unkept::Store(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for Unkept {}

impl Tap {
    /// For a successful answer in the client's `dialect`, as its plain bytes; `streamed` says that they are server-sent
    /// events.
    pub fn new(histories: Histories, turn: Turn, dialect: Dialect, streamed: bool) -> Tap {
        let limit = usize::try_from(histories.max_message_bytes()).unwrap_or(usize::MAX);
        let reader = AnswerReader::new(dialect, streamed, limit);
        Tap { histories, turn, streamed, reader, held: Vec::new(), held_bytes: 0 }
    }

    /// Takes a piece of the answer and gives back what may go to the client now.
    pub fn feed(&mut self, piece: Bytes) -> Option<Bytes> {
        if piece.is_empty() {
            return None;
        }
        self.reader.feed(&piece);
        if self.streamed {
            if !self.reader.is_closed() {
                return Some(piece);
            }
            self.hold(piece);
            return (self.held_bytes > LONGEST_TAIL).then(|| self.release()).flatten();
        }
        // Any piece of a document may be its last.
        let before = self.release();
        self.hold(piece);
        before
    }

    /// Whether a stream has said its last word, so that nothing need be waited for before [`Tap::finish`].
    pub fn is_complete(&self) -> bool {
        self.reader.is_closed()
    }

    pub(super) fn holds_nothing(&self) -> bool {
        self.held.is_empty()
    }

    /// The body has ended well: keeps the turn. What was held back goes to the client whatever came of it.
    pub async fn finish(mut self) -> (Option<Bytes>, Result<Appended, Unkept>) {
        let held = self.release();
        (held, self.keep().await)
    }

    /// The body broke off: nothing is kept, and what was held back goes to the client.
    pub fn give_up(mut self) -> Option<Bytes> {
        self.release()
    }

    async fn keep(self) -> Result<Appended, Unkept> {
        let mut answer = self.reader.finish().map_err(Unkept::Answer)?;
        let Turn { caller, session, seen, new: mut messages, agent } = self.turn;
        if !answer.parts.is_empty() {
            answer.name = agent.map(Cow::Owned);
            messages.push(Kept { instructions: false, message: answer });
        }
        self.histories.append(caller, &session, seen, &messages).await.map_err(Unkept::Store)
    }

    fn hold(&mut self, piece: Bytes) {
        self.held_bytes += piece.len();
        self.held.push(piece);
    }

    fn release(&mut self) -> Option<Bytes> {
        self.held_bytes = 0;
        let mut held = mem::take(&mut self.held);
        if held.len() > 1 {
            let mut joined = BytesMut::new();
            for piece in &held {
                joined.extend_from_slice(piece);
            }
            return Some(joined.freeze());
        }
        held.pop()
    }
}
