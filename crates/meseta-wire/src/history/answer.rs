//! The message that an answer is, read from the bytes that go to the client.

use std::fmt;

use super::Kept;
use super::stored::{Inline, write};
use crate::conversation::{Delta, Event, Message, Part, Role};
use crate::dialect::{Dialect, StreamDecoder, decode_answer};
use crate::form::Gathered;
use crate::json::Json;
use crate::sse::{self, Cursor};

/// What may stand around an answer in its document, or in one event of its stream: some APIs repeat the instructions and
/// the tools of the request there.
const WRAPPING: usize = 4 << 20;

/// Why an answer is none that can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The stream says that it failed, or the body is an error or not what the API says.
    Failed,
    /// The stream ended before its last word.
    CutOff,
    /// It is longer than its reader takes.
    TooLong,
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Broken::Failed => "the answer says that it failed, or is not what its API says",
            Broken::CutOff => "the answer broke off before its end",
            Broken::TooLong => "the answer is too long to be kept",
        })
    }
}

impl std::error::Error for Broken {}

/// Reads an answer whose bytes are all there. `streamed` says that they are server-sent events.
pub fn answer(
    dialect: Dialect,
    streamed: bool,
    bytes: &[u8],
    limit: usize,
) -> Result<Message<'static>, Broken> {
    let mut reader = AnswerReader::new(dialect, streamed, limit);
    reader.feed(bytes);
    reader.finish()
}

/// Reads an answer piece by piece, as the network cuts it.
pub struct AnswerReader {
    dialect: Dialect,
    form: Form,
    limit: usize,
    broken: Option<Broken>,
}

enum Form {
    Whole(Vec<u8>),
    Stream(Box<Stream>),
}

struct Stream {
    /// The beginning of an event.
    held: Vec<u8>,
    cursor: Cursor,
    decoder: StreamDecoder,
    gathered: Gathered,
    /// The last word has been said.
    closed: bool,
}

impl AnswerReader {
    /// `limit` is for the bytes of the answer itself as it is kept, without what its API wraps around it.
    pub fn new(dialect: Dialect, streamed: bool, limit: usize) -> AnswerReader {
        let form = if streamed {
            Form::Stream(Box::new(Stream {
                held: Vec::new(),
                cursor: Cursor::default(),
                decoder: StreamDecoder::new(dialect),
                gathered: Gathered::new(limit),
                closed: false,
            }))
        } else {
            Form::Whole(Vec::new())
        };
        AnswerReader { dialect, form, limit, broken: None }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        let read = match &mut self.form {
            Form::Whole(body) if body.len().saturating_add(bytes.len()) > room(self.limit) => {
                Err(Broken::TooLong)
            }
            Form::Whole(body) => {
                body.extend_from_slice(bytes);
                Ok(())
            }
            Form::Stream(stream) => stream.feed(bytes, self.limit),
        };
        if let Err(broken) = read {
            self.broken = Some(broken);
            // Nobody asks for the rest.
            self.form = Form::Whole(Vec::new());
        }
    }

    /// Whether a stream has said its last word. Of an answer that is one document only the end of the body tells.
    pub fn is_closed(&self) -> bool {
        matches!(&self.form, Form::Stream(stream) if stream.closed)
    }

    /// The answer, if it is whole. One that says nothing has no parts.
    pub fn finish(self) -> Result<Message<'static>, Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let parts = match self.form {
            Form::Whole(body) => {
                let text = std::str::from_utf8(&body).map_err(|_| Broken::Failed)?;
                let json = Json::parse(text).map_err(|_| Broken::Failed)?;
                let answer = decode_answer(self.dialect, &json).map_err(|_| Broken::Failed)?;
                answer.parts.into_iter().map(Part::into_owned).collect()
            }
            Form::Stream(stream) => stream.finish(self.limit)?,
        };
        let says = |part: &Part<'_>| !matches!(part, Part::Text(text) if text.text.is_empty());
        let parts = parts.into_iter().filter(says).collect();
        let message = Message { role: Role::Assistant, name: None, parts };
        let kept = Kept { instructions: false, message };
        if write(&kept, Inline(usize::MAX)).len() > self.limit {
            return Err(Broken::TooLong);
        }
        Ok(kept.message)
    }
}

fn room(limit: usize) -> usize {
    limit.saturating_add(WRAPPING)
}

impl Stream {
    fn feed(&mut self, bytes: &[u8], limit: usize) -> Result<(), Broken> {
        if self.closed {
            return Ok(());
        }
        self.held.extend_from_slice(bytes);
        let mut read = 0;
        while !self.closed {
            let rest = self.held.get(read..).unwrap_or_default();
            let Some(end) = self.cursor.event_end(rest) else { break };
            self.cursor = Cursor::default();
            let event = rest.get(..end).unwrap_or_default();
            let data = sse::event_data(event);
            read += end;
            if data.is_empty() {
                continue;
            }
            let gathered = &mut self.gathered;
            let mut failed = false;
            let open = self.decoder.event("", &data, &mut |event| match event {
                Event::Failed(_) => failed = true,
                // They are not kept.
                Event::Delta { delta: Delta::Logprobs(_), .. } => {}
                event => gathered.take(event),
            });
            if failed {
                return Err(Broken::Failed);
            }
            if gathered.is_too_long() {
                return Err(Broken::TooLong);
            }
            self.closed = !open;
        }
        self.held.drain(..read);
        if self.held.len() > room(limit) { Err(Broken::TooLong) } else { Ok(()) }
    }

    fn finish(mut self, limit: usize) -> Result<Vec<Part<'static>>, Broken> {
        // Some servers leave out the blank line behind their last event.
        if !self.closed && !self.held.is_empty() {
            self.feed(b"\n\n", limit).map_err(|broken| match broken {
                // Half an event says nothing.
                Broken::Failed => Broken::CutOff,
                other => other,
            })?;
        }
        if !self.closed {
            let gathered = &mut self.gathered;
            let mut failed = false;
            let whole = self.decoder.end(&mut |event| match event {
                Event::Failed(_) => failed = true,
                // They are not kept.
                Event::Delta { delta: Delta::Logprobs(_), .. } => {}
                event => gathered.take(event),
            });
            if failed {
                return Err(Broken::Failed);
            }
            if !whole {
                return Err(Broken::CutOff);
            }
        }
        Ok(self.gathered.into_parts())
    }
}
