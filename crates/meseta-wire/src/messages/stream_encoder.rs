//! Writing a stream.
//!
//! The API has one block open at a time. Where a provider opens several, the later ones wait until the earlier one ends.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::answer::{Message, Stop};
use super::frame::{self, head, piece};
use super::held::Held;
use super::{citation, error, signed};
use crate::conversation::{Block, Delta, Event, Failure, FailureKind, Finish};
use crate::dialect::Context;
use crate::json::Json;
use crate::object;
use crate::signature::Signature;
use crate::usage::Usage;

/// How much of blocks that wait is held, and of how many.
const MOST_HELD_BYTES: usize = 4 << 20;
const MOST_HELD_BLOCKS: usize = 256;

#[derive(Debug)]
pub struct StreamEncoder {
    /// Our id of the request.
    id: String,
    request_id: String,
    model: String,
    state: State,
    /// The block that is open towards the client.
    current: Option<Current>,
    /// The client's number of the next block.
    next: u32,
    held: VecDeque<Held>,
    held_bytes: usize,
    called: bool,
    /// The provider's first ping came.
    pinged: bool,
    /// The signature of the thought that is open or ended last: a call that comes next need not repeat it.
    signed: Option<Signature<'static>>,
    losses: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Begun,
    Finished,
    /// The last word is written.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thought,
    Redacted,
    Call,
    /// Its free text becomes the one argument of an object.
    CustomCall,
}

#[derive(Debug)]
struct Current {
    source: u32,
    kind: Kind,
    index: u32,
    /// All that stands before the text of a piece.
    head: Vec<u8>,
}

impl StreamEncoder {
    pub fn new(context: Context) -> StreamEncoder {
        StreamEncoder {
            id: context.id,
            request_id: context.request_id,
            model: context.model,
            state: State::Waiting,
            current: None,
            next: 0,
            held: VecDeque::new(),
            held_bytes: 0,
            called: false,
            pinged: false,
            signed: None,
            losses: Vec::new(),
        }
    }

    pub fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match (event, self.state) {
            (_, State::Closed) | (Event::Ping, State::Waiting) => {}
            (Event::Failed(failure), _) => self.fail(failure, out),
            (_, State::Finished) => {}
            (Event::Begin { usage, .. }, _) => self.begin(*usage, out),
            // Ours was written in place of the provider's first.
            (Event::Ping, State::Begun) if self.next > 0 && !self.pinged => self.pinged = true,
            (Event::Ping, State::Begun) => out.extend_from_slice(frame::PING),
            (Event::BlockBegin { index, block }, _) => self.block(*index, block, out),
            (Event::Delta { index, delta }, _) => self.delta(*index, delta, out),
            (Event::BlockEnd { index }, _) => self.block_end(*index, out),
            (Event::Finish { finish, usage }, _) => self.finish(finish, *usage, out),
        }
    }

    pub fn end(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Closed {
            return;
        }
        if self.state != State::Finished {
            self.finish(&Finish::Stop, None, out);
        }
        if self.state == State::Finished {
            self.state = State::Closed;
            out.extend_from_slice(frame::MESSAGE_STOP);
        }
    }

    pub fn losses(&self) -> &[&'static str] {
        &self.losses
    }

    fn lose(&mut self, what: &'static str) {
        if !self.losses.contains(&what) {
            self.losses.push(what);
        }
    }

    fn begin(&mut self, usage: Option<Usage>, out: &mut Vec<u8>) {
        if self.state != State::Waiting {
            return;
        }
        self.state = State::Begun;
        let message = Message::new(&self.id, &self.model, Vec::new(), Stop::NOT_YET, usage);
        frame::message_start(message, out);
    }

    fn block(&mut self, source: u32, block: &Block<'_>, out: &mut Vec<u8>) {
        self.begin(None, out);
        let Some(current) = &self.current else { return self.open(source, block, out) };
        if current.source == source || self.held.iter().any(|held| held.source == source) {
            return;
        }
        let size = match block {
            Block::ToolCall { id, name, .. } => id.len().saturating_add(name.len()),
            Block::RedactedThought(signature) => signature.value.len(),
            Block::Text | Block::Refusal | Block::Thought { .. } => 0,
        };
        if self.held.len() >= MOST_HELD_BLOCKS || !self.hold(size) {
            return self.overflow(out);
        }
        self.held.push_back(Held::new(source, block));
    }

    fn delta(&mut self, source: u32, delta: &Delta<'_>, out: &mut Vec<u8>) {
        if self.current.as_ref().is_some_and(|current| current.source == source) {
            return self.write_delta(delta, out);
        }
        let Some(place) = self.held.iter().position(|held| held.source == source && !held.ended) else {
            return;
        };
        let size = match delta {
            Delta::Text(text) | Delta::Refusal(text) | Delta::Thought(text) | Delta::Arguments(text) => {
                text.len()
            }
            Delta::Signature(signature) => signature.value.len(),
            Delta::Citation(citation) => {
                let length = |text: &Option<Cow<'_, str>>| text.as_ref().map_or(0, |text| text.len());
                256 + length(&citation.url) + length(&citation.title) + length(&citation.cited)
            }
            // They are not written, so they need not be kept.
            Delta::Logprobs(_) => return self.lose("logprobs"),
        };
        if !self.hold(size) {
            return self.overflow(out);
        }
        if let Some(held) = self.held.get_mut(place) {
            held.push(delta);
        }
    }

    /// Whether so much more can be held.
    fn hold(&mut self, size: usize) -> bool {
        self.held_bytes = self.held_bytes.saturating_add(size);
        self.held_bytes <= MOST_HELD_BYTES
    }

    /// Leaving anything out of a call or a text would change it, so the stream ends here.
    fn overflow(&mut self, out: &mut Vec<u8>) {
        let failure = Failure {
            message: Cow::Borrowed(
                "The provider answers with several blocks at once, and more than 4 MiB of them would have to wait for \
                 their turn. Ask for one call of a tool at a time.",
            ),
            kind: FailureKind::Server,
            code: None,
            param: None,
        };
        self.fail(&failure, out);
    }

    fn block_end(&mut self, source: u32, out: &mut Vec<u8>) {
        if self.current.as_ref().is_some_and(|current| current.source == source) {
            self.close(out);
            self.release(out);
        } else if let Some(held) = self.held.iter_mut().find(|held| held.source == source) {
            held.ended = true;
        }
    }

    /// Writes the blocks that have waited, up to the first that is still open.
    fn release(&mut self, out: &mut Vec<u8>) {
        while self.current.is_none() {
            let Some(held) = self.held.pop_front() else {
                self.held_bytes = 0;
                return;
            };
            self.open(held.source, &held.block, out);
            for delta in &held.deltas {
                self.write_delta(delta, out);
            }
            if held.ended {
                self.close(out);
            }
        }
    }

    fn open(&mut self, source: u32, block: &Block<'_>, out: &mut Vec<u8>) {
        let signed = self.signed.take();
        let (kind, start) = match block {
            Block::Text | Block::Refusal => {
                (Kind::Text, object! { "type" => "text", "text" => "", "citations" => Json::Null })
            }
            Block::Thought { .. } => {
                (Kind::Thought, object! { "type" => "thinking", "thinking" => "", "signature" => "" })
            }
            Block::RedactedThought(signature) => {
                let data = signed::write(Some(signature));
                (Kind::Redacted, object! { "type" => "redacted_thinking", "data" => data })
            }
            Block::ToolCall { id, name, custom, signature } => {
                self.called = true;
                if let Some(signature) =
                    signed::of_call(signature.as_ref()).filter(|own| Some(*own) != signed.as_ref())
                {
                    self.open(source, &Block::Thought { id: None }, out);
                    self.write_delta(&Delta::Signature(signature.clone()), out);
                    self.close(out);
                }
                let start = object! {
                    "type" => "tool_use", "id" => id, "name" => name, "input" => Json::Object(Vec::new()),
                };
                (if *custom { Kind::CustomCall } else { Kind::Call }, start)
            }
        };
        let index = self.next;
        self.next = self.next.saturating_add(1);
        frame::block_start(index, start, out);
        // The API writes one here, before anything else has to be waited for.
        if index == 0 {
            out.extend_from_slice(frame::PING);
        }
        let head = match kind {
            Kind::Text | Kind::Redacted => head(index, "text_delta", "text"),
            Kind::Thought => head(index, "thinking_delta", "thinking"),
            Kind::Call | Kind::CustomCall => head(index, "input_json_delta", "partial_json"),
        };
        if kind == Kind::CustomCall {
            piece(&head, "{\"input\":\"", out);
        }
        self.current = Some(Current { source, kind, index, head });
    }

    fn write_delta(&mut self, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let Some(current) = &self.current else { return };
        match (delta, current.kind) {
            (Delta::Text(text) | Delta::Refusal(text), Kind::Text)
            | (Delta::Thought(text), Kind::Thought)
            | (Delta::Arguments(text), Kind::Call)
                if !text.is_empty() =>
            {
                piece(&current.head, text, out);
            }
            (Delta::Arguments(text), Kind::CustomCall) => {
                let quoted = serde_json::to_string(text).unwrap_or_default();
                let inner =
                    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
                if !inner.is_empty() {
                    piece(&current.head, inner, out);
                }
            }
            (Delta::Signature(signature), Kind::Thought) => {
                sign(current.index, Some(signature), out);
                self.signed = Some(signature.clone().into_owned());
            }
            (Delta::Citation(citation), Kind::Text) => {
                let index = current.index;
                match citation::write(citation) {
                    Some(citation) => frame::citation(index, citation, out),
                    None => self.lose("citations"),
                }
            }
            (Delta::Logprobs(_), _) => self.lose("logprobs"),
            (Delta::Signature(_), Kind::Call | Kind::CustomCall) => self.lose("signature"),
            // A piece of another kind than its block.
            _ => {}
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let Some(current) = self.current.take() else { return };
        if current.kind == Kind::CustomCall {
            piece(&current.head, "\"}", out);
        }
        if current.kind != Kind::Thought {
            self.signed = None;
        } else if self.signed.is_none() {
            sign(current.index, None, out);
        }
        frame::block_stop(current.index, out);
    }

    fn finish(&mut self, finish: &Finish<'_>, usage: Option<Usage>, out: &mut Vec<u8>) {
        self.begin(None, out);
        self.close(out);
        for held in &mut self.held {
            held.ended = true;
        }
        self.release(out);
        self.state = State::Finished;
        frame::message_delta(Stop::of(finish, self.called), usage, out);
    }

    fn fail(&mut self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        self.state = State::Closed;
        self.current = None;
        self.held.clear();
        out.extend_from_slice(b"event: error\ndata: ");
        error::write_error(failure, &self.request_id, out);
        out.extend_from_slice(b"\n\n");
    }
}

fn sign(index: u32, signature: Option<&Signature<'_>>, out: &mut Vec<u8>) {
    piece(&head(index, "signature_delta", "signature"), &signed::write(signature), out);
}
