//! A client's stream, written.
//!
//! The last event repeats the whole answer, so the answer is kept while it is told. A message stays open until
//! something else than its next part begins, because texts that follow each other are one message.

use super::failure;
use super::frame::{Deltas, Kind, Writer, arguments_done, part_done, summary_begin, summary_done};
use super::output::{Content, Item, Response, State, Status, annotation, incomplete_reason, logprob, told};
use crate::conversation::{Block, Citation, Delta, Event, Failure, FailureKind, Finish, TokenLogprob};
use crate::dialect::Context;
use crate::json::Json;
use crate::object;
use crate::signature::Signature;
use crate::usage::Usage;

/// A longer answer is a failure.
const MOST_HELD: usize = 32 << 20;
/// Blocks are found by looking through those that are open.
const MOST_OPEN: usize = 1_024;
/// What a block costs besides its text.
const BLOCK_COST: usize = 512;

pub struct StreamEncoder {
    context: Context,
    /// Once the answer has begun.
    response: Option<Response>,
    writer: Writer,
    slots: Vec<Slot>,
    open: Vec<Open>,
    held: usize,
    ended: bool,
    completed: Option<Vec<u8>>,
    losses: Vec<&'static str>,
}

/// An item of the answer and how far it is.
struct Slot {
    item: Item,
    status: Status,
}

/// A block whose end has not come.
struct Open {
    index: u32,
    kind: Kind,
    place: Deltas,
    /// Bytes and characters of the text that citations have counted.
    counted: (usize, u64),
}

impl Open {
    fn new(index: u32, slot: usize, content: usize, kind: Kind, item: &Item) -> Open {
        Open { index, kind, place: Deltas::new(slot, content, kind, item), counted: (0, 0) }
    }
}

impl StreamEncoder {
    pub fn new(context: Context) -> StreamEncoder {
        StreamEncoder {
            context,
            response: None,
            writer: Writer::default(),
            slots: Vec::new(),
            open: Vec::new(),
            held: 0,
            ended: false,
            completed: None,
            losses: Vec::new(),
        }
    }

    /// Behind a stream that the provider has begun: `response` is its own and `sequence` the number of the next event.
    /// Items follow by [`StreamEncoder::take_slot`].
    pub(super) fn resumed(
        context: Context,
        response: Option<Response>,
        sequence: u64,
        ended: bool,
    ) -> StreamEncoder {
        StreamEncoder { response, writer: Writer::at(sequence), ended, ..StreamEncoder::new(context) }
    }

    /// An item that the client has seen begin.
    pub(super) fn take_slot(&mut self, item: Item, status: Status) {
        self.held = self.held.saturating_add(BLOCK_COST).saturating_add(item.size());
        self.slots.push(Slot { item, status });
    }

    /// A text that the client has seen begin, and the number that events give its block.
    pub(super) fn take_open(&mut self, index: u32, slot: usize, content: usize) {
        if let Some(Slot { item, .. }) = self.slots.get(slot) {
            self.open.push(Open::new(index, slot, content, Kind::Text, item));
        }
    }

    pub(super) fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// Appends what the client is to see of one event.
    pub fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        match event {
            Event::Begin { model, .. } => self.begin(model.as_deref(), out),
            // A comment keeps the connection alive, and every reader passes over it.
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
            Event::BlockBegin { index, block } => self.block_begin(*index, block, out),
            Event::Delta { index, delta } => self.delta(*index, delta, out),
            Event::BlockEnd { index } => self.block_end(*index, Status::Completed, out),
            Event::Finish { finish, usage } => self.finish(finish, *usage, out),
            Event::Failed(failure) => self.fail(failure, out),
        }
        if !self.ended && (self.held > MOST_HELD || self.open.len() > MOST_OPEN) {
            let failure = Failure {
                message:
                    "The answer is longer than 32 MiB or tells more than 1,024 parts at once. Ask for less."
                        .into(),
                kind: FailureKind::Server,
                ..Failure::default()
            };
            self.fail(&failure, out);
        }
    }

    /// A stream that ended well without saying why is complete.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if !self.ended {
            self.finish(&Finish::Stop, None, out);
        }
    }

    pub fn losses(&self) -> &[&'static str] {
        &self.losses
    }

    /// The final response object, JSON, once the stream has ended well: what a client may later read and continue.
    pub fn completed(&self) -> Option<&[u8]> {
        self.completed.as_deref()
    }

    /// Whether the last word has been said. It may be a failure of the encoder's own: an answer that is too long.
    pub fn ended(&self) -> bool {
        self.ended
    }

    fn lose(&mut self, what: &'static str) {
        if !self.losses.contains(&what) {
            self.losses.push(what);
        }
    }

    fn begin(&mut self, model: Option<&str>, out: &mut Vec<u8>) {
        if self.response.is_some() {
            return;
        }
        let response = Response::new(&self.context, model);
        let json = response.write(&State::InProgress, Vec::new(), None, None);
        self.writer.response(out, "response.created", &json);
        self.writer.response(out, "response.in_progress", &json);
        self.response = Some(response);
    }

    fn output(&self) -> Vec<Json<'_>> {
        self.slots.iter().map(|slot| slot.item.to_json(slot.status)).collect()
    }

    fn finish(&mut self, finish: &Finish<'_>, usage: Option<Usage>, out: &mut Vec<u8>) {
        self.begin(None, out);
        let finish = told(finish, self.slots.iter().map(|slot| &slot.item));
        let last = if incomplete_reason(finish).is_some() { Status::Incomplete } else { Status::Completed };
        while let Some(index) = self.open.first().map(|open| open.index) {
            self.block_end(index, last, out);
        }
        self.close_message(last, out);
        self.ended = true;
        let Some(response) = &self.response else { return };
        let state = State::Ended(finish);
        let json = response.write(&state, self.output(), usage, None);
        let kind = match last {
            Status::Incomplete => "response.incomplete",
            _ => "response.completed",
        };
        self.writer.response(out, kind, &json);
        self.completed = Some(json);
        self.slots.clear();
    }

    fn fail(&mut self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        self.begin(None, out);
        self.ended = true;
        let error = object! {
            "code" => failure::code(failure),
            "message" => &failure.message,
            "param" => failure.param.as_ref().map_or(Json::Null, Json::from),
        };
        self.writer.json(out, "error", &error);
        if let Some(response) = &self.response {
            let json = response.write(&State::Failed(failure), self.output(), None, None);
            self.writer.response(out, "response.failed", &json);
        }
        self.open.clear();
        self.slots.clear();
    }

    fn block_begin(&mut self, index: u32, block: &Block<'_>, out: &mut Vec<u8>) {
        self.begin(None, out);
        if self.open.iter().any(|open| open.index == index) {
            return;
        }
        self.held += BLOCK_COST;
        match block {
            Block::Text => self.part_begin(index, Kind::Text, Content::text(), out),
            Block::Refusal => {
                self.part_begin(index, Kind::Refusal, Content::Refusal(String::new()), out);
            }
            Block::Thought { id } => {
                let item = Item::reasoning(&self.context, self.slots.len(), id.as_deref());
                self.held += item.id().len();
                self.item_begin(item, Some((index, Kind::Thought)), out);
            }
            Block::RedactedThought(signature) => self.signed(signature, out),
            Block::ToolCall { id, name, custom, signature } => {
                if let Some(signature) = signature {
                    self.signed(signature, out);
                }
                self.held += id.len() + name.len();
                let item = Item::call(&self.context, self.slots.len(), id, name, *custom);
                self.item_begin(item, Some((index, Kind::Arguments)), out);
            }
        }
    }

    /// A reasoning item that is nothing but a signature.
    fn signed(&mut self, signature: &Signature<'_>, out: &mut Vec<u8>) {
        self.held += BLOCK_COST + signature.value.len();
        let slot = self.slots.len();
        self.item_begin(Item::signature(&self.context, slot, signature), None, out);
        self.item_done(slot, Status::Completed, out);
    }

    fn item_begin(&mut self, item: Item, block: Option<(u32, Kind)>, out: &mut Vec<u8>) {
        self.close_message(Status::Completed, out);
        let slot = self.slots.len();
        let body = object! { "output_index" => slot, "item" => item.to_json(Status::InProgress) };
        self.writer.json(out, "response.output_item.added", &body);
        if let Some((index, kind)) = block {
            self.open.push(Open::new(index, slot, 0, kind, &item));
        }
        self.slots.push(Slot { item, status: Status::InProgress });
    }

    fn part_begin(&mut self, index: u32, kind: Kind, content: Content, out: &mut Vec<u8>) {
        let goes_on = matches!(
            self.slots.last(),
            Some(Slot { item: Item::Message { .. }, status: Status::InProgress })
        );
        if !goes_on {
            let item = Item::message(&self.context, self.slots.len());
            self.item_begin(item, None, out);
        }
        let slot = self.slots.len().saturating_sub(1);
        let Some(Slot { item, .. }) = self.slots.last_mut() else { return };
        let Item::Message { id, parts } = item else { return };
        let body = object! {
            "item_id" => &*id,
            "output_index" => slot,
            "content_index" => parts.len(),
            "part" => content.to_json(),
        };
        self.writer.json(out, "response.content_part.added", &body);
        let place = parts.len();
        parts.push(content);
        self.open.push(Open::new(index, slot, place, kind, item));
    }

    fn delta(&mut self, index: u32, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let Some(at) = self.open.iter().position(|open| open.index == index) else { return };
        let Some(open) = self.open.get_mut(at) else { return };
        let Some(slot) = self.slots.get_mut(open.place.slot) else { return };
        match (delta, open.kind, &mut slot.item) {
            (Delta::Text(text), Kind::Text, Item::Message { parts, .. }) => {
                if let Some(Content::Text { text: whole, .. }) = parts.get_mut(open.place.content) {
                    whole.push_str(text);
                    self.held += text.len();
                    self.writer.delta(out, &open.place, text);
                }
            }
            (Delta::Refusal(text), Kind::Refusal, Item::Message { parts, .. }) => {
                if let Some(Content::Refusal(whole)) = parts.get_mut(open.place.content) {
                    whole.push_str(text);
                    self.held += text.len();
                    self.writer.delta(out, &open.place, text);
                }
            }
            (Delta::Arguments(text), Kind::Arguments, Item::Call { arguments, .. }) => {
                arguments.push_str(text);
                self.held += text.len();
                self.writer.delta(out, &open.place, text);
            }
            (Delta::Thought(text), Kind::Thought, Item::Reasoning { id, summary, .. }) => {
                if summary.is_none() {
                    summary_begin(&mut self.writer, id, open.place.slot, out);
                }
                summary.get_or_insert_default().push_str(text);
                self.held += text.len();
                self.writer.delta(out, &open.place, text);
            }
            (Delta::Signature(signature), Kind::Thought, item) => {
                item.sign(signature);
                self.held += signature.value.len();
            }
            // Too late to stand before the call.
            (Delta::Signature(_), _, _) => self.lose("call-signatures"),
            (Delta::Citation(citation), Kind::Text, _) => self.cite(at, citation, out),
            (Delta::Logprobs(logprobs), Kind::Text, _) => self.weigh(at, logprobs, out),
            (Delta::Citation(_), _, _) => self.lose("citations"),
            (Delta::Logprobs(_), _, _) => self.lose("logprobs"),
            _ => {}
        }
    }

    fn cite(&mut self, at: usize, citation: &Citation<'_>, out: &mut Vec<u8>) {
        let Some(open) = self.open.get_mut(at) else { return };
        let Some(Slot { item: Item::Message { id, parts }, .. }) = self.slots.get_mut(open.place.slot) else {
            return;
        };
        let Some(Content::Text { text, annotations, .. }) = parts.get_mut(open.place.content) else { return };
        let counted = &mut open.counted;
        let written = annotation(citation, || {
            let new = text.get(counted.0..).unwrap_or_default();
            *counted =
                (text.len(), counted.1.saturating_add(u64::try_from(new.chars().count()).unwrap_or(0)));
            counted.1
        });
        let Some(annotation) = written else { return self.lose("citations") };
        let body = object! {
            "item_id" => &*id,
            "output_index" => open.place.slot,
            "content_index" => open.place.content,
            "annotation_index" => annotations.len(),
            "annotation" => annotation.clone(),
        };
        self.writer.json(out, "response.output_text.annotation.added", &body);
        annotations.push(annotation);
        self.held += BLOCK_COST
            + citation.url.as_deref().map_or(0, str::len)
            + citation.title.as_deref().map_or(0, str::len);
    }

    /// The API says probabilities with their text; here they come behind it, with a delta that adds no text.
    fn weigh(&mut self, at: usize, probabilities: &[TokenLogprob<'_>], out: &mut Vec<u8>) {
        let Some(open) = self.open.get(at) else { return };
        let Some(Slot { item: Item::Message { id, parts }, .. }) = self.slots.get_mut(open.place.slot) else {
            return;
        };
        let Some(Content::Text { logprobs, .. }) = parts.get_mut(open.place.content) else { return };
        let new: Vec<Json<'static>> = probabilities.iter().map(logprob).collect();
        let body = object! {
            "item_id" => &*id,
            "output_index" => open.place.slot,
            "content_index" => open.place.content,
            "delta" => "",
            "logprobs" => new.clone(),
        };
        self.writer.json(out, "response.output_text.delta", &body);
        logprobs.extend(new);
        // Every byte of a token is a number of its own in memory.
        self.held += probabilities
            .iter()
            .map(|entry| {
                let top: usize = entry.top.iter().map(|(token, _)| 64 * (token.len() + 4)).sum();
                64 * (entry.token.len() + 4) + top
            })
            .sum::<usize>();
    }

    fn block_end(&mut self, index: u32, status: Status, out: &mut Vec<u8>) {
        let Some(at) = self.open.iter().position(|open| open.index == index) else { return };
        let open = self.open.remove(at);
        let Some(slot) = self.slots.get_mut(open.place.slot) else { return };
        let writer = &mut self.writer;
        match &mut slot.item {
            Item::Message { id, parts } => {
                if let Some(content) = parts.get(open.place.content) {
                    part_done(writer, id, &open.place, content, false, out);
                }
                // A message may go on with another part as long as it is the last item.
                let shared = self.open.iter().any(|other| other.place.slot == open.place.slot);
                if !shared && open.place.slot + 1 < self.slots.len() {
                    self.item_done(open.place.slot, status, out);
                }
                return;
            }
            Item::Reasoning { id, summary, encrypted } => {
                if summary.is_none() && encrypted.is_some() {
                    // An empty summary and none differ: without one, the thought is redacted.
                    summary_begin(writer, id, open.place.slot, out);
                    *summary = Some(String::new());
                }
                if let Some(text) = summary {
                    summary_done(writer, id, open.place.slot, text, out);
                }
            }
            Item::Call { arguments, custom, .. } => {
                if arguments.is_empty() && !*custom {
                    "{}".clone_into(arguments);
                    writer.delta(out, &open.place, arguments);
                }
                arguments_done(writer, open.place.slot, &slot.item, out);
            }
            Item::Whole { .. } => {}
        }
        self.item_done(open.place.slot, status, out);
    }

    pub(super) fn item_done(&mut self, slot: usize, status: Status, out: &mut Vec<u8>) {
        let Some(done) = self.slots.get_mut(slot) else { return };
        done.status = status;
        let body = object! { "output_index" => slot, "item" => done.item.to_json(status) };
        self.writer.json(out, "response.output_item.done", &body);
    }

    /// Ends the last item if it is a message none of whose parts is open.
    fn close_message(&mut self, status: Status, out: &mut Vec<u8>) {
        let slot = self.slots.len().saturating_sub(1);
        if let Some(Slot { item: Item::Message { .. }, status: Status::InProgress }) = self.slots.last()
            && !self.open.iter().any(|open| open.place.slot == slot)
        {
            self.item_done(slot, status, out);
        }
    }
}
