//! A provider's stream, read.
//!
//! The stream says everything twice and more: deltas, then the whole part, then the whole item. Deltas are passed on as
//! they come; the wholes fill in only for servers that leave deltas out.

use std::borrow::Cow;

use super::{answer, failure, part};
use crate::conversation::{Block, Delta, Event, Failure, FailureKind};
use crate::json::Json;
use crate::shape::Object;

/// More blocks than this are never open at once in an honest stream.
const MOST_OPEN: usize = 256;

type Out<'o> = &'o mut dyn FnMut(Event<'_>);

#[derive(Default)]
pub struct StreamDecoder {
    stage: Stage,
    called: bool,
    refused: bool,
    next: u32,
    open: Vec<Open>,
    /// Items up to this one have had a block.
    highest: Option<u64>,
}

#[derive(Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Waiting,
    Telling,
    Finished,
    /// Failed, or cut off.
    Broken,
}

/// A block that has begun.
struct Open {
    /// Its place in the provider's output.
    output: u64,
    /// Of a message's content; 0 for everything else.
    content: u64,
    index: u32,
    /// Whether a delta has come.
    filled: bool,
    /// The summary's part that is being told.
    part: u64,
}

impl StreamDecoder {
    pub fn event(&mut self, data: &[u8], out: Out<'_>) -> bool {
        if self.ended() {
            return false;
        }
        // Some servers end their streams as chat completions do. The last word was said before that.
        if data.trim_ascii() == b"[DONE]" {
            self.stage = Stage::Broken;
            return false;
        }
        let read = std::str::from_utf8(data).ok().and_then(|text| Json::parse(text).ok());
        let Some(event) = read.filter(|event| matches!(event, Json::Object(_))) else {
            return self.fail("The provider sent an event that is no JSON object.", out);
        };
        let Some(kind) = event.get("type").and_then(Json::as_str) else {
            return match event.get("error") {
                Some(error) => self.failed(failure::read(error), out),
                None => self.fail("The provider sent an event without a type.", out),
            };
        };
        self.typed(kind, &event, out)
    }

    /// The stream has a last word of its own, so one that ends without it was cut off.
    pub fn end(&mut self, _out: Out<'_>) -> bool {
        if self.stage != Stage::Finished {
            self.stage = Stage::Broken;
        }
        self.stage == Stage::Finished
    }

    fn ended(&self) -> bool {
        matches!(self.stage, Stage::Finished | Stage::Broken)
    }

    fn typed(&mut self, kind: &str, event: &Json<'_>, out: Out<'_>) -> bool {
        match kind {
            "error" => {
                let error = event.get("error").filter(|error| matches!(error, Json::Object(_)));
                return self.failed(failure::read(error.unwrap_or(event)), out);
            }
            "response.failed" => {
                let error = event.get("response").and_then(|response| response.get("error"));
                return self.failed(failure::read(error.unwrap_or(&Json::Null)), out);
            }
            _ => {}
        }
        if self.stage == Stage::Waiting {
            self.stage = Stage::Telling;
            let response = event.get("response");
            let text = |key: &str| Some(Cow::Borrowed(response?.get(key)?.as_str()?));
            out(Event::Begin {
                id: text("id"),
                model: text("model"),
                created: response.and_then(answer::created),
                usage: response.and_then(|response| response.get("usage")).and_then(answer::usage),
            });
        }
        let delta = event.get("delta").and_then(Json::as_str).unwrap_or_default();
        let place = Place::of(event);
        match kind {
            "response.output_item.added" => self.item_added(place, event, out),
            "response.output_item.done" => self.item_done(place, event, out),
            "response.content_part.added" => self.part_added(place, event.get("part"), out),
            "response.content_part.done" => self.part_done(place, event.get("part"), out),
            "response.output_text.delta" => {
                self.say(place, Block::Text, Delta::Text(Cow::Borrowed(delta)), out);
                let logprobs = answer::logprobs(event.get("logprobs"));
                if !logprobs.is_empty() {
                    self.say(place, Block::Text, Delta::Logprobs(logprobs), out);
                }
            }
            "response.output_text.annotation.added" => {
                if let Some(citation) = event.get("annotation").and_then(part::citation) {
                    self.say(place, Block::Text, Delta::Citation(citation), out);
                }
            }
            "response.refusal.delta" => {
                self.refused = true;
                self.say(place, Block::Refusal, Delta::Refusal(Cow::Borrowed(delta)), out);
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.more(place.item(), Delta::Arguments(Cow::Borrowed(delta)), out);
            }
            "response.function_call_arguments.done" => self.whole_arguments(place, event, "arguments", out),
            "response.custom_tool_call_input.done" => self.whole_arguments(place, event, "input", out),
            "response.reasoning_summary_text.delta" => {
                let part = number(event, "summary_index");
                self.think(place, part, event.get("item_id"), delta, out);
            }
            "response.reasoning_text.delta" => {
                self.think(place, place.content, event.get("item_id"), delta, out);
            }
            "response.completed" | "response.incomplete" => {
                self.finish(event.get("response").unwrap_or(&Json::Null), out);
            }
            // A server's sign of life; events that say something are none.
            "keepalive" | "ping" => out(Event::Ping),
            // Progress of the answer and of the provider's own tools, and wholes of what came in deltas.
            _ => {}
        }
        !self.ended()
    }

    fn fail(&mut self, message: &str, out: Out<'_>) -> bool {
        self.failed(
            Failure { message: Cow::Borrowed(message), kind: FailureKind::Server, code: None, param: None },
            out,
        )
    }

    fn failed(&mut self, failure: Failure<'_>, out: Out<'_>) -> bool {
        self.stage = Stage::Broken;
        self.open.clear();
        out(Event::Failed(failure));
        false
    }

    fn find(&mut self, place: Place) -> Option<&mut Open> {
        self.open.iter_mut().rev().find(|open| open.output == place.output && open.content == place.content)
    }

    /// Begins a block and remembers where it belongs; `None` once the stream has failed.
    fn begin(&mut self, place: Place, block: Block<'_>, out: Out<'_>) -> Option<&mut Open> {
        if self.open.len() >= MOST_OPEN || self.next == u32::MAX {
            self.fail("The provider began more parts of an answer than there can be.", out);
            return None;
        }
        let index = self.next;
        self.next += 1;
        self.highest = self.highest.max(Some(place.output));
        match block {
            Block::ToolCall { .. } => self.called = true,
            Block::Refusal => self.refused = true,
            _ => {}
        }
        out(Event::BlockBegin { index, block });
        self.open.push(Open { output: place.output, content: place.content, index, filled: false, part: 0 });
        self.open.last_mut()
    }

    /// A delta of a block, which begins with it if it has not begun before.
    fn say(&mut self, place: Place, block: Block<'_>, delta: Delta<'_>, out: Out<'_>) {
        if self.find(place).is_none() && self.begin(place, block, out).is_none() {
            return;
        }
        self.more(place, delta, out);
    }

    /// A delta of a block that has begun; what belongs to none is passed over.
    fn more(&mut self, place: Place, delta: Delta<'_>, out: Out<'_>) {
        if let Some(open) = self.find(place) {
            open.filled = true;
            let index = open.index;
            out(Event::Delta { index, delta });
        }
    }

    fn think(&mut self, place: Place, part: u64, id: Option<&Json<'_>>, delta: &str, out: Out<'_>) {
        let place = place.item();
        let id = || id.and_then(Json::as_str).map(Cow::Borrowed);
        if self.find(place).is_none() && self.begin(place, Block::Thought { id: id() }, out).is_none() {
            return;
        }
        if let Some(open) = self.find(place) {
            let index = open.index;
            // Parts of a summary are paragraphs.
            if open.filled && open.part != part {
                out(Event::Delta { index, delta: Delta::Thought(Cow::Borrowed("\n\n")) });
            }
            open.part = part;
        }
        self.more(place, Delta::Thought(Cow::Borrowed(delta)), out);
    }

    fn close(&mut self, within: impl Fn(&Open) -> bool, out: Out<'_>) {
        self.open.retain(|open| {
            let closing = within(open);
            if closing {
                out(Event::BlockEnd { index: open.index });
            }
            !closing
        });
    }

    fn item_added(&mut self, place: Place, event: &Json<'_>, out: Out<'_>) {
        let Some(item) = event.get("item") else { return };
        // A thought begins with its first words: without any it is redacted, which is known at its end. A message begins
        // with its parts.
        if let Some(kind @ ("function_call" | "custom_tool_call")) = item.get("type").and_then(Json::as_str) {
            self.begin_call(place.item(), item, kind == "custom_tool_call", out);
        }
    }

    fn begin_call(&mut self, place: Place, item: &Json<'_>, custom: bool, out: Out<'_>) {
        if self.find(place).is_some() {
            return;
        }
        let text = |key: &str| item.get(key).and_then(Json::as_str);
        let block = Block::ToolCall {
            id: Cow::Borrowed(text("call_id").or(text("id")).unwrap_or_default()),
            name: Cow::Borrowed(text("name").unwrap_or_default()),
            custom,
            signature: None,
        };
        self.begin(place, block, out);
        let arguments = text(if custom { "input" } else { "arguments" }).unwrap_or_default();
        if !arguments.is_empty() {
            self.more(place, Delta::Arguments(Cow::Borrowed(arguments)), out);
        }
    }

    fn whole_arguments(&mut self, place: Place, whole: &Json<'_>, key: &str, out: Out<'_>) {
        let place = place.item();
        let arguments = whole.get(key).and_then(Json::as_str).unwrap_or_default();
        if !arguments.is_empty() && self.find(place).is_some_and(|open| !open.filled) {
            self.more(place, Delta::Arguments(Cow::Borrowed(arguments)), out);
        }
    }

    fn part_added(&mut self, place: Place, part: Option<&Json<'_>>, out: Out<'_>) {
        let block = match part.and_then(|part| part.get("type")).and_then(Json::as_str) {
            Some("output_text") => Block::Text,
            Some("refusal") => Block::Refusal,
            _ => return,
        };
        if self.find(place).is_none() {
            self.begin(place, block, out);
        }
    }

    fn part_done(&mut self, place: Place, part: Option<&Json<'_>>, out: Out<'_>) {
        let Some(part) = part else { return };
        let (block, key) = match part.get("type").and_then(Json::as_str) {
            Some("output_text") => (Block::Text, "text"),
            Some("refusal") => (Block::Refusal, "refusal"),
            _ => return,
        };
        let text = part.get(key).and_then(Json::as_str).unwrap_or_default();
        if !self.find(place).is_some_and(|open| open.filled) && !text.is_empty() {
            let delta = match block {
                Block::Refusal => Delta::Refusal(Cow::Borrowed(text)),
                _ => Delta::Text(Cow::Borrowed(text)),
            };
            self.say(place, block, delta, out);
        }
        self.close(|open| open.output == place.output && open.content == place.content, out);
    }

    fn item_done(&mut self, place: Place, event: &Json<'_>, out: Out<'_>) {
        let Some(item) = event.get("item") else { return };
        let kind = item.get("type").and_then(Json::as_str);
        let known = self.highest.is_some_and(|highest| place.output <= highest);
        match kind {
            Some("reasoning") => self.thought_done(place.item(), item, known, out),
            Some("function_call" | "custom_tool_call") => {
                let custom = kind == Some("custom_tool_call");
                if !known {
                    self.begin_call(place.item(), item, custom, out);
                }
                self.whole_arguments(place, item, if custom { "input" } else { "arguments" }, out);
            }
            Some("message") if !known => {
                let parts = item.get("content").and_then(Json::as_array).unwrap_or_default();
                for (content, part) in (0..).zip(parts) {
                    self.part_done(Place { output: place.output, content }, Some(part), out);
                }
            }
            _ => {}
        }
        self.close(|open| open.output == place.output, out);
    }

    fn thought_done(&mut self, place: Place, item: &Json<'_>, known: bool, out: Out<'_>) {
        let thought = answer::thought(item);
        if self.find(place).is_none() {
            match (&thought.signature, known) {
                (_, true) => return,
                (Some(signature), false) if thought.redacted => {
                    self.begin(place, Block::RedactedThought(signature.clone()), out);
                    return;
                }
                (None, false) if thought.redacted => return,
                _ => {
                    if self.begin(place, Block::Thought { id: thought.id.clone() }, out).is_none() {
                        return;
                    }
                }
            }
        }
        if !thought.text.is_empty() && self.find(place).is_some_and(|open| !open.filled) {
            self.more(place, Delta::Thought(thought.text), out);
        }
        if let Some(signature) = thought.signature {
            self.more(place, Delta::Signature(signature), out);
        }
    }

    fn finish(&mut self, response: &Json<'_>, out: Out<'_>) {
        self.close(|_| true, out);
        let finish = answer::finish(response, self.called, self.refused);
        out(Event::Finish { finish, usage: response.get("usage").and_then(answer::usage) });
        self.stage = Stage::Finished;
    }
}

/// Where in the provider's output an event belongs.
#[derive(Clone, Copy)]
struct Place {
    output: u64,
    content: u64,
}

impl Place {
    fn of(event: &Json<'_>) -> Place {
        Place { output: number(event, "output_index"), content: number(event, "content_index") }
    }

    /// The place of an item that has no parts of its own.
    fn item(self) -> Place {
        Place { content: 0, ..self }
    }
}

fn number(event: &Json<'_>, key: &str) -> u64 {
    Object::of(event).ok().and_then(|event| event.count(key).ok()?).unwrap_or(0)
}
