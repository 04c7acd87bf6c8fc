//! Reading a stream of chunks.

use std::borrow::Cow;

use serde::Deserialize;

use super::answer::finish_of;
use super::stream_calls::{CallState, Calls, Key, MOST_HELD};
use super::{error, extras};
use crate::conversation::{Block, Delta, Event, Failure, FailureKind, Finish};
use crate::json::Json;
use crate::template::Template;
use crate::usage::Usage;

/// One chunk, as far as it is read. Leaves may be anything: an odd one is left out, as in a whole answer.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<Json<'a>>,
    error: Option<Json<'a>>,
}

impl Chunk<'_> {
    /// The text of a chunk that says nothing else.
    fn only_text(&self) -> Option<&str> {
        let (None, None, Some([choice])) = (&self.usage, &self.error, self.choices.as_deref()) else {
            return None;
        };
        let delta = choice.delta.as_ref()?;
        let alone = matches!(&choice.index, Some(Json::Number(index)) if index.as_u64() == Some(0))
            && choice.logprobs.is_none()
            && choice.finish_reason.is_none()
            && delta.refusal.is_none()
            && delta.reasoning_content.is_none()
            && delta.reasoning.is_none()
            && delta.reasoning_details.is_none()
            && delta.tool_calls.is_none()
            && delta.function_call.is_none()
            && delta.annotations.is_none();
        alone.then(|| text(delta.content.as_ref())).flatten()
    }
}

/// What every chunk repeats: read from the first alone.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    id: Option<Json<'a>>,
    model: Option<Json<'a>>,
    created: Option<Json<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    index: Option<Json<'a>>,
    delta: Option<Piece<'a>>,
    logprobs: Option<Json<'a>>,
    finish_reason: Option<Json<'a>>,
}

#[derive(Deserialize)]
struct Piece<'a> {
    #[serde(borrow)]
    content: Option<Json<'a>>,
    refusal: Option<Json<'a>>,
    reasoning_content: Option<Json<'a>>,
    reasoning: Option<Json<'a>>,
    reasoning_details: Option<Json<'a>>,
    tool_calls: Option<Json<'a>>,
    function_call: Option<Json<'a>>,
    annotations: Option<Json<'a>>,
}

fn text<'j>(json: Option<&'j Json<'_>>) -> Option<&'j str> {
    json.and_then(Json::as_str).filter(|text| !text.is_empty())
}

/// Reads chunks and keeps what later ones refer to: which blocks are open, and why and with what counts it will end.
#[derive(Default)]
pub struct StreamDecoder {
    phase: Phase,
    next: u32,
    words: Option<Words>,
    calls: Calls,
    refused: bool,
    reason: Option<String>,
    usage: Option<Usage>,
    answer_id: String,
    template: Template,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Waiting,
    Begun,
    /// `Finish` is said; only `[DONE]` may follow.
    Finished,
    /// Nothing more is read.
    Over,
}

/// The block of text, refusal or thought that is open; there is one at most.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Words {
    block: u32,
    kind: WordKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WordKind {
    Text,
    Refusal,
    /// Which of the `reasoning_details`; `None` for plain `reasoning_content`.
    Thought(Option<u64>),
}

type Out<'o> = dyn FnMut(Event<'_>) + 'o;

impl StreamDecoder {
    pub fn event(&mut self, data: &[u8], out: &mut dyn FnMut(Event<'_>)) -> bool {
        if self.phase == Phase::Over {
            return false;
        }
        let data = data.trim_ascii();
        if data.is_empty() {
            return true;
        }
        if data == b"[DONE]" {
            if self.phase == Phase::Waiting && self.reason.is_none() && self.usage.is_none() {
                return self.fail(broken("The provider's stream ended before it began."), out);
            }
            self.finish(out);
            self.phase = Phase::Over;
            return false;
        }
        if self.phase == Phase::Finished {
            return true;
        }
        if self.phase == Phase::Begun
            && self.reason.is_none()
            && let Some(piece) = self.template.read(data)
        {
            let index = self.words(WordKind::Text, out);
            out(Event::Delta { index, delta: Delta::Text(piece.into()) });
            return true;
        }
        // Looking at all of it once is quicker than looking at every string by itself.
        let json = std::str::from_utf8(data).unwrap_or_default();
        let Ok(chunk) = serde_json::from_str::<Chunk<'_>>(json) else {
            return self.fail(broken("The provider sent an event that is not a chunk of an answer."), out);
        };
        if let Some(error) = chunk.error {
            let mut failure = error::of_json(&error);
            if failure.message.is_empty() {
                failure.message = "The provider failed in the middle of its answer.".into();
            }
            return self.fail(failure, out);
        }
        if let Some(piece) = chunk.only_text() {
            self.template.learn(data, piece);
        }
        if let Some(usage) = chunk.usage.as_ref().and_then(extras::usage) {
            self.usage = Some(usage);
        }
        let choices = chunk.choices.unwrap_or_default();
        if !choices.is_empty() && self.phase == Phase::Waiting {
            let head = serde_json::from_str::<Head<'_>>(json).ok();
            let id = text(head.as_ref().and_then(|head| head.id.as_ref()));
            id.unwrap_or_default().clone_into(&mut self.answer_id);
            let created = match head.as_ref().and_then(|head| head.created.as_ref()) {
                Some(Json::Number(created)) => created.as_u64(),
                _ => None,
            };
            self.begin(id, text(head.as_ref().and_then(|head| head.model.as_ref())), created, out);
        }
        for choice in &choices {
            let other = matches!(&choice.index, Some(Json::Number(index)) if index.as_u64() != Some(0));
            if other {
                continue;
            }
            if let Err(failure) = self.choice(choice, out) {
                return self.fail(failure, out);
            }
        }
        if self.reason.is_some() && self.usage.is_some() {
            self.finish(out);
        }
        true
    }

    pub fn end(&mut self, out: &mut dyn FnMut(Event<'_>)) -> bool {
        match self.phase {
            Phase::Over | Phase::Finished => true,
            // Some servers forget `[DONE]`; the reason tells that the answer is whole.
            Phase::Begun if self.reason.is_some() => {
                self.finish(out);
                true
            }
            Phase::Begun | Phase::Waiting => false,
        }
    }

    fn fail(&mut self, failure: Failure<'_>, out: &mut Out<'_>) -> bool {
        out(Event::Failed(failure));
        self.phase = Phase::Over;
        false
    }

    fn begin(&mut self, id: Option<&str>, model: Option<&str>, created: Option<u64>, out: &mut Out<'_>) {
        self.phase = Phase::Begun;
        out(Event::Begin {
            id: id.map(Cow::Borrowed),
            model: model.map(Cow::Borrowed),
            created,
            usage: None,
        });
    }

    fn finish(&mut self, out: &mut Out<'_>) {
        match self.phase {
            Phase::Waiting => self.begin(None, None, None, out),
            Phase::Begun => {}
            Phase::Finished | Phase::Over => return,
        }
        self.end_words(out);
        let called = self.calls.any();
        for index in self.calls.end() {
            out(Event::BlockEnd { index });
        }
        let finish: Finish<'_> = finish_of(self.reason.as_deref(), called, self.refused);
        out(Event::Finish { finish, usage: self.usage });
        self.phase = Phase::Finished;
    }

    fn choice(&mut self, choice: &Choice<'_>, out: &mut Out<'_>) -> Result<(), Failure<'static>> {
        if let Some(delta) = &choice.delta {
            self.thoughts(delta, out);
            if let Some(piece) = text(delta.content.as_ref()) {
                let index = self.words(WordKind::Text, out);
                out(Event::Delta { index, delta: Delta::Text(piece.into()) });
            }
            if let Some(annotations) = &delta.annotations {
                self.text_deltas(extras::citations(Some(annotations)).into_iter().map(Delta::Citation), out);
            }
            if let Some(piece) = text(delta.refusal.as_ref()) {
                self.refused = true;
                let index = self.words(WordKind::Refusal, out);
                out(Event::Delta { index, delta: Delta::Refusal(piece.into()) });
            }
            for call in delta.tool_calls.as_ref().and_then(Json::as_array).unwrap_or_default() {
                self.call(call, out)?;
            }
            if let Some(function) = &delta.function_call {
                self.call_piece(Some(0), None, function, false, None, out)?;
            }
        }
        if let Some(logprobs) = &choice.logprobs {
            let tokens = extras::logprobs(Some(logprobs));
            let delta = (!tokens.is_empty()).then_some(Delta::Logprobs(tokens));
            self.text_deltas(delta, out);
        }
        if let Some(reason) = text(choice.finish_reason.as_ref()) {
            if reason == "error" {
                return Err(broken("The provider failed in the middle of its answer."));
            }
            self.reason = Some(reason.chars().take(64).collect());
        }
        Ok(())
    }

    /// Deltas that belong to the text that is open; without one they say nothing.
    fn text_deltas<'d>(&self, deltas: impl IntoIterator<Item = Delta<'d>>, out: &mut Out<'_>) {
        if let Some(Words { block, kind: WordKind::Text }) = self.words {
            for delta in deltas {
                out(Event::Delta { index: block, delta });
            }
        }
    }

    /// The block for words of this kind: the open one, or a new one after it.
    fn words(&mut self, kind: WordKind, out: &mut Out<'_>) -> u32 {
        if let Some(words) = self.words.filter(|words| words.kind == kind) {
            return words.block;
        }
        self.words_begin(kind, None, out)
    }

    fn words_begin(&mut self, kind: WordKind, id: Option<Cow<'_, str>>, out: &mut Out<'_>) -> u32 {
        self.end_words(out);
        let index = self.next_block(out);
        self.words = Some(Words { block: index, kind });
        let block = match kind {
            WordKind::Text => Block::Text,
            WordKind::Refusal => Block::Refusal,
            WordKind::Thought(_) => Block::Thought { id },
        };
        out(Event::BlockBegin { index, block });
        index
    }

    fn end_words(&mut self, out: &mut Out<'_>) {
        if let Some(words) = self.words.take() {
            out(Event::BlockEnd { index: words.block });
        }
    }

    /// The number of a block that begins now; calls that are whole end before it.
    fn next_block(&mut self, out: &mut Out<'_>) -> u32 {
        let index = self.next;
        self.next = self.next.saturating_add(1);
        for index in self.calls.end_whole(index) {
            out(Event::BlockEnd { index });
        }
        index
    }

    fn thoughts(&mut self, delta: &Piece<'_>, out: &mut Out<'_>) {
        let details = delta.reasoning_details.as_ref().and_then(Json::as_array).unwrap_or_default();
        let mut told = false;
        for json in details {
            let Ok(Some(thought)) = extras::thought(json) else { continue };
            told = true;
            let number = match json.get("index") {
                Some(Json::Number(number)) => number.as_u64(),
                _ => None,
            };
            if thought.redacted {
                self.end_words(out);
                let index = self.next_block(out);
                if let Some(signature) = thought.signature {
                    out(Event::BlockBegin { index, block: Block::RedactedThought(signature) });
                    out(Event::BlockEnd { index });
                }
                continue;
            }
            if thought.text.is_empty() && thought.signature.is_none() {
                continue;
            }
            let kind = WordKind::Thought(number);
            let index = match self.words.filter(|words| words.kind == kind) {
                Some(words) => words.block,
                None => self.words_begin(kind, thought.id, out),
            };
            if !thought.text.is_empty() {
                out(Event::Delta { index, delta: Delta::Thought(thought.text) });
            }
            if let Some(signature) = thought.signature {
                out(Event::Delta { index, delta: Delta::Signature(signature) });
            }
        }
        if told {
            return;
        }
        let plain = text(delta.reasoning_content.as_ref()).or_else(|| text(delta.reasoning.as_ref()));
        if let Some(piece) = plain {
            let index = self.words(WordKind::Thought(None), out);
            out(Event::Delta { index, delta: Delta::Thought(piece.into()) });
        }
    }

    fn call(&mut self, json: &Json<'_>, out: &mut Out<'_>) -> Result<(), Failure<'static>> {
        let index = match json.get("index") {
            Some(Json::Number(index)) => index.as_u64(),
            _ => None,
        };
        let id = text(json.get("id"));
        match (json.get("custom"), json.get("function")) {
            (Some(custom @ Json::Object(_)), _) => self.call_piece(index, id, custom, true, Some(json), out),
            (_, Some(function)) => self.call_piece(index, id, function, false, Some(json), out),
            _ => self.call_piece(index, id, &Json::Null, false, Some(json), out),
        }
    }

    /// `inner` holds the name and the arguments, `outer` the signature.
    fn call_piece<'j>(
        &mut self,
        index: Option<u64>,
        id: Option<&str>,
        inner: &'j Json<'j>,
        custom: bool,
        outer: Option<&'j Json<'j>>,
        out: &mut Out<'_>,
    ) -> Result<(), Failure<'static>> {
        let name = text(inner.get("name"));
        let call = self.calls.of(&Key { index, id, named: name.is_some() }, custom, &self.answer_id)?;
        let signature = outer.and_then(extras::call_signature);
        let object;
        let mut arguments = match inner.get(if custom { "input" } else { "arguments" }) {
            // Some servers send the whole object instead of its text.
            Some(json @ Json::Object(_)) => {
                object = json.to_text();
                object.as_str()
            }
            other => text(other).unwrap_or_default(),
        };
        let mut held = String::new();
        let block = match &mut call.state {
            CallState::Open(block) => {
                let block = *block;
                call.arguments.read(arguments);
                if let Some(signature) = signature {
                    out(Event::Delta { index: block, delta: Delta::Signature(signature) });
                }
                block
            }
            CallState::Ended => return Ok(()),
            CallState::Held { id, arguments: earlier } => {
                let Some(name) = name else {
                    if earlier.len().saturating_add(arguments.len()) > MOST_HELD {
                        return Err(broken("The provider sent a call without the name of its tool."));
                    }
                    earlier.push_str(arguments);
                    return Ok(());
                };
                let id = std::mem::take(id);
                if !earlier.is_empty() {
                    held = std::mem::take(earlier);
                    held.push_str(arguments);
                    arguments = &held;
                }
                call.arguments.read(arguments);
                let block =
                    Block::ToolCall { id: id.into(), name: name.into(), custom: call.custom, signature };
                // What `next_block` will say; it must not end this call, which is only about to begin.
                call.state = CallState::Open(self.next);
                self.end_words(out);
                let index = self.next_block(out);
                out(Event::BlockBegin { index, block });
                index
            }
        };
        if !arguments.is_empty() {
            out(Event::Delta { index: block, delta: Delta::Arguments(arguments.into()) });
        }
        drop(held);
        Ok(())
    }
}

pub(super) fn broken(message: &'static str) -> Failure<'static> {
    Failure { message: message.into(), kind: FailureKind::Server, ..Failure::default() }
}
