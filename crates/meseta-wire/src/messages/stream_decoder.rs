//! Reading a stream.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::usage::Counts;
use super::{answer, citation, error, signed};
use crate::conversation::{Block, Delta, Event, Failure, FailureKind, Finish};
use crate::json::{Json, Key};
use crate::signature::{Family, Signature};
use crate::template::Template;

/// A provider that opens more blocks than this without closing any is broken.
const MOST_OPEN: usize = 256;

#[derive(Debug, Default)]
pub struct StreamDecoder {
    state: State,
    counts: Counts,
    open: Vec<Open>,
    /// Our number of the next block; the provider's own numbers also count blocks that we pass over.
    next: u32,
    finish: Option<Finish<'static>>,
    template: Template,
    /// The provider's number of the block whose pieces the template reads.
    template_block: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Waiting,
    Begun,
    Finished,
    Failed,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    theirs: u64,
    ours: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thought,
    Redacted,
    Call { arguments: Arguments },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arguments {
    NoneYet,
    InPieces,
    /// They came whole with the beginning of the block.
    Whole,
}

/// What is on every event's top level. What belongs to one kind only is read when the kind is known, so that an odd
/// field of another kind harms nothing.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Key<'a>>,
    #[serde(borrow, default)]
    index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Piece<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Key<'a>>,
    #[serde(borrow, default)]
    text: Option<Key<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Key<'a>>,
    #[serde(borrow, default)]
    partial_json: Option<Key<'a>>,
    #[serde(borrow, default)]
    signature: Option<Key<'a>>,
    #[serde(borrow, default)]
    citation: Option<Json<'a>>,
}

/// The data of an event is not what the API says.
struct Garbage;

impl From<serde_json::Error> for Garbage {
    fn from(_: serde_json::Error) -> Garbage {
        Garbage
    }
}

impl StreamDecoder {
    pub fn event(&mut self, data: &[u8], out: &mut dyn FnMut(Event<'_>)) -> bool {
        if matches!(self.state, State::Finished | State::Failed) {
            return false;
        }
        // Comments have no data; some servers end as OpenAI does.
        if data.is_empty() || data == b"[DONE]" {
            return true;
        }
        self.read(data, out).unwrap_or_else(|Garbage| {
            let failure = Failure {
                message: Cow::Borrowed("The provider sent an event that is not of the Messages API."),
                kind: FailureKind::Server,
                code: None,
                param: None,
            };
            self.fail(failure, out);
            false
        })
    }

    pub fn end(&mut self, out: &mut dyn FnMut(Event<'_>)) -> bool {
        match self.state {
            State::Finished => true,
            // All was said but `message_stop`, which says nothing new.
            State::Begun if self.finish.is_some() => {
                self.finish(out);
                true
            }
            State::Waiting | State::Begun | State::Failed => false,
        }
    }

    fn read(&mut self, data: &[u8], out: &mut dyn FnMut(Event<'_>)) -> Result<bool, Garbage> {
        if let Some(text) = self.template.read(data)
            && let Some(open) = self.open.iter().find(|open| Some(open.theirs) == self.template_block)
            && open.kind == Kind::Text
        {
            out(Event::Delta { index: open.ours, delta: Delta::Text(Cow::Borrowed(text)) });
            return Ok(true);
        }
        let line: Line<'_> = serde_json::from_slice(data)?;
        let index = line.index.and_then(|index| index.get().parse::<u64>().ok());
        match line.kind.as_ref().map_or("", |kind| &kind.0) {
            "content_block_delta" => {
                let delta = line.delta.ok_or(Garbage)?;
                if let Some(text) = self.delta(index, delta, out)? {
                    self.template.learn(data, text);
                    self.template_block = index;
                }
            }
            "content_block_start" => {
                self.begin(out);
                self.block(index.ok_or(Garbage)?, line.content_block.ok_or(Garbage)?, out)?;
            }
            "content_block_stop" => {
                if let Some(place) = self.open.iter().position(|open| Some(open.theirs) == index) {
                    let open = self.open.remove(place);
                    end_block(open, out);
                }
            }
            "message_start" => self.message(line.message.ok_or(Garbage)?, out)?,
            "message_delta" => {
                self.begin(out);
                if let Some(usage) = line.usage {
                    self.counts.merge(&Json::parse(usage.get())?);
                }
                let delta = Json::parse(line.delta.ok_or(Garbage)?.get())?;
                let text = |key| delta.get(key).and_then(Json::as_str);
                if let Some(reason) = text("stop_reason") {
                    let finish = answer::read_finish(Some(reason), text("stop_sequence"));
                    self.finish = Some(finish.into_owned());
                }
            }
            "message_stop" => {
                self.begin(out);
                self.finish(out);
                return Ok(false);
            }
            "ping" if self.state == State::Begun => out(Event::Ping),
            "error" => {
                let error = line.error.map(|error| Json::parse(error.get())).transpose()?;
                self.fail(error::from_event(error.as_ref()), out);
                return Ok(false);
            }
            "" => return Err(Garbage),
            // The API adds kinds of events and asks clients to pass over those that they do not know.
            _ => {}
        }
        Ok(true)
    }

    fn message(&mut self, message: &RawValue, out: &mut dyn FnMut(Event<'_>)) -> Result<(), Garbage> {
        let message = Json::parse(message.get())?;
        if self.state != State::Waiting {
            return Ok(());
        }
        if let Some(usage) = message.get("usage") {
            self.counts.merge(usage);
        }
        self.state = State::Begun;
        let text = |key| message.get(key).and_then(Json::as_str).map(Cow::Borrowed);
        out(Event::Begin { id: text("id"), model: text("model"), created: None, usage: self.counts.usage() });
        Ok(())
    }

    /// `Begin` is the first event even where the provider forgets its own.
    fn begin(&mut self, out: &mut dyn FnMut(Event<'_>)) {
        if self.state == State::Waiting {
            self.state = State::Begun;
            out(Event::Begin { id: None, model: None, created: None, usage: None });
        }
    }

    fn block(
        &mut self,
        theirs: u64,
        block: &RawValue,
        out: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Garbage> {
        let json = Json::parse(block.get())?;
        let text = |key| json.get(key).and_then(Json::as_str).filter(|text| !text.is_empty());
        if let Some(place) = self.open.iter().position(|open| open.theirs == theirs) {
            let open = self.open.remove(place);
            end_block(open, out);
        }
        if self.open.len() >= MOST_OPEN {
            return Err(Garbage);
        }
        let ours = self.next;
        let (kind, block) = match text("type") {
            Some("text") => (Kind::Text, Block::Text),
            Some("thinking") => (Kind::Thought, Block::Thought { id: None }),
            Some("redacted_thinking") => {
                let data = text("data").unwrap_or_default();
                (Kind::Redacted, Block::RedactedThought(Signature::read(data, Family::Anthropic)))
            }
            Some("tool_use") => {
                let block = Block::ToolCall {
                    id: Cow::Borrowed(text("id").unwrap_or_default()),
                    name: Cow::Borrowed(text("name").unwrap_or_default()),
                    custom: false,
                    signature: None,
                };
                let whole = matches!(json.get("input"), Some(Json::Object(fields)) if !fields.is_empty());
                let arguments = if whole { Arguments::Whole } else { Arguments::NoneYet };
                (Kind::Call { arguments }, block)
            }
            Some(_) => return Ok(()),
            None => return Err(Garbage),
        };
        self.next = self.next.saturating_add(1);
        self.open.push(Open { theirs, ours, kind });
        out(Event::BlockBegin { index: ours, block });
        // Blocks begin empty at Anthropic; others that speak the dialect put a first piece, or all, into the beginning.
        let mut say = |delta| out(Event::Delta { index: ours, delta });
        match kind {
            Kind::Text => {
                if let Some(text) = text("text") {
                    say(Delta::Text(Cow::Borrowed(text)));
                }
            }
            Kind::Thought => {
                if let Some(text) = text("thinking") {
                    say(Delta::Thought(Cow::Borrowed(text)));
                }
                if let Some(signature) = text("signature").and_then(signed::read) {
                    say(Delta::Signature(signature));
                }
            }
            Kind::Call { arguments: Arguments::Whole } => {
                if let Some(input) = json.get("input") {
                    say(Delta::Arguments(Cow::Owned(input.to_text())));
                }
            }
            Kind::Call { .. } | Kind::Redacted => {}
        }
        Ok(())
    }

    /// Says the text where there is nothing else in the delta, and it stands in it as it is.
    fn delta<'d>(
        &mut self,
        theirs: Option<u64>,
        delta: &'d RawValue,
        out: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<&'d str>, Garbage> {
        let piece: Piece<'_> = serde_json::from_str(delta.get())?;
        // Blocks that were passed over have pieces, too.
        let Some(open) = self.open.iter_mut().find(|open| Some(open.theirs) == theirs) else {
            return Ok(None);
        };
        let piece_kind = piece.kind.as_ref().map_or("", |kind| &kind.0);
        let delta = match (piece_kind, open.kind) {
            ("text_delta", Kind::Text) => {
                let text = piece.text.ok_or(Garbage)?.0;
                if let Cow::Borrowed(text) = text
                    && !text.is_empty()
                {
                    out(Event::Delta { index: open.ours, delta: Delta::Text(Cow::Borrowed(text)) });
                    return Ok(Some(text));
                }
                Delta::Text(text)
            }
            ("thinking_delta", Kind::Thought) => Delta::Thought(piece.thinking.ok_or(Garbage)?.0),
            ("input_json_delta", Kind::Call { arguments }) if arguments != Arguments::Whole => {
                let text = piece.partial_json.ok_or(Garbage)?.0;
                if !text.is_empty() {
                    open.kind = Kind::Call { arguments: Arguments::InPieces };
                }
                Delta::Arguments(text)
            }
            ("signature_delta", Kind::Thought) => {
                let text = piece.signature.ok_or(Garbage)?.0;
                if let Some(signature) = signed::read(&text) {
                    out(Event::Delta { index: open.ours, delta: Delta::Signature(signature) });
                }
                return Ok(None);
            }
            ("citations_delta", Kind::Text) => {
                let json = piece.citation.ok_or(Garbage)?;
                if let Some(citation) = citation::read(&json) {
                    out(Event::Delta { index: open.ours, delta: Delta::Citation(citation) });
                }
                return Ok(None);
            }
            _ => return Ok(None),
        };
        let is_empty = matches!(&delta, Delta::Text(text) | Delta::Thought(text) | Delta::Arguments(text) if text.is_empty());
        if !is_empty {
            out(Event::Delta { index: open.ours, delta });
        }
        Ok(None)
    }

    fn close(&mut self, out: &mut dyn FnMut(Event<'_>)) {
        for open in self.open.drain(..) {
            end_block(open, out);
        }
    }

    fn finish(&mut self, out: &mut dyn FnMut(Event<'_>)) {
        self.close(out);
        self.state = State::Finished;
        out(Event::Finish { finish: self.finish.take().unwrap_or_default(), usage: self.counts.usage() });
    }

    fn fail(&mut self, failure: Failure<'_>, out: &mut dyn FnMut(Event<'_>)) {
        // Without a `Begin` where none came: nothing was answered yet, and another provider may be asked.
        self.state = State::Failed;
        out(Event::Failed(failure));
    }
}

fn end_block(open: Open, out: &mut dyn FnMut(Event<'_>)) {
    // A call without arguments has no piece, but its arguments are JSON all the same.
    if open.kind == (Kind::Call { arguments: Arguments::NoneYet }) {
        out(Event::Delta { index: open.ours, delta: Delta::Arguments(Cow::Borrowed("{}")) });
    }
    out(Event::BlockEnd { index: open.ours });
}
