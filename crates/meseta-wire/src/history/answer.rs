//! The message that an answer is, read from the bytes that go to the client.

use std::borrow::Cow;
use std::fmt;

use super::Kept;
use super::stored::{Inline, write};
use crate::conversation::{Block, Delta, Event, Message, Part, Role, Text, Thought, ToolCall};
use crate::dialect::{Dialect, StreamDecoder, decode_answer};
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
    written: Written,
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
                written: Written::default(),
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
            let written = &mut self.written;
            let mut failed = false;
            let open = self.decoder.event("", &data, &mut |event| match event {
                Event::Failed(_) => failed = true,
                event => written.take(event, limit),
            });
            if failed {
                return Err(Broken::Failed);
            }
            if written.too_long {
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
            let written = &mut self.written;
            let mut failed = false;
            let whole = self.decoder.end(&mut |event| match event {
                Event::Failed(_) => failed = true,
                event => written.take(event, limit),
            });
            if failed {
                return Err(Broken::Failed);
            }
            if !whole {
                return Err(Broken::CutOff);
            }
        }
        Ok(self.written.blocks.into_iter().map(|(_, part)| part).collect())
    }
}

/// The parts of a streamed answer as far as they have come.
#[derive(Default)]
struct Written {
    blocks: Vec<(u32, Part<'static>)>,
    bytes: usize,
    too_long: bool,
}

/// What a block takes besides its text, as it is kept and at the least, so that empty ones are not free.
const BLOCK_BYTES: usize = 24;

impl Written {
    fn take(&mut self, event: Event<'_>, limit: usize) {
        let size = match &event {
            Event::BlockBegin { block: Block::RedactedThought(signature), .. } => signature.value.len(),
            Event::BlockBegin { block: Block::ToolCall { id, name, .. }, .. } => id.len() + name.len(),
            Event::BlockBegin { .. } => 0,
            Event::Delta { delta, .. } => delta_bytes(delta),
            _ => return,
        };
        let size = if matches!(event, Event::BlockBegin { .. }) { size + BLOCK_BYTES } else { size };
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > limit {
            self.too_long = true;
            return;
        }
        match event {
            Event::BlockBegin { index, block } => self.blocks.push((index, begun(block))),
            Event::Delta { index, delta } => {
                // A delta is nearly always of the newest block.
                let block = self.blocks.iter_mut().rev().find(|(number, _)| *number == index);
                if let Some((_, part)) = block {
                    add(part, delta);
                }
            }
            _ => {}
        }
    }
}

fn delta_bytes(delta: &Delta<'_>) -> usize {
    let length = |text: &Option<Cow<'_, str>>| text.as_ref().map_or(0, |text| text.len());
    match delta {
        Delta::Text(text) | Delta::Refusal(text) | Delta::Thought(text) | Delta::Arguments(text) => {
            text.len()
        }
        Delta::Signature(signature) => signature.value.len(),
        Delta::Citation(citation) => {
            BLOCK_BYTES + length(&citation.url) + length(&citation.title) + length(&citation.cited)
        }
        Delta::Logprobs(_) => 0,
    }
}

fn begun(block: Block<'_>) -> Part<'static> {
    match block.into_owned() {
        Block::Text => Part::Text(Text::default()),
        Block::Refusal => Part::Refusal(Cow::Borrowed("")),
        Block::Thought { id } => Part::Thought(Thought { id, ..Thought::default() }),
        Block::RedactedThought(signature) => {
            Part::Thought(Thought { signature: Some(signature), redacted: true, ..Thought::default() })
        }
        Block::ToolCall { id, name, custom, signature } => Part::ToolCall(ToolCall {
            id,
            name,
            arguments: Cow::Borrowed(""),
            custom,
            signature,
            cache: None,
        }),
    }
}

fn add(part: &mut Part<'static>, delta: Delta<'_>) {
    match (part, delta) {
        (Part::Text(text), Delta::Text(piece)) => text.text.to_mut().push_str(&piece),
        (Part::Text(text), Delta::Citation(citation)) => text.citations.push(citation.into_owned()),
        (Part::Refusal(text), Delta::Refusal(piece)) => text.to_mut().push_str(&piece),
        (Part::Thought(thought), Delta::Thought(piece)) => thought.text.to_mut().push_str(&piece),
        (Part::Thought(thought), Delta::Signature(signature)) => {
            thought.signature = Some(signature.into_owned());
        }
        (Part::ToolCall(call), Delta::Arguments(piece)) => call.arguments.to_mut().push_str(&piece),
        (Part::ToolCall(call), Delta::Signature(signature)) => {
            call.signature = Some(signature.into_owned());
        }
        _ => {}
    }
}
