//! Reads a stream: every event is a piece of a `GenerateContentResponse`. There is no last word; the answer is complete
//! when a piece said why it ended.

use std::borrow::Cow;
use std::collections::HashSet;

use super::call_id::{self, CallIds};
use super::grounding::{self, Widths};
use super::part::{self, AnswerPart, Content};
use super::{error, finish, signature, usage};
use crate::conversation::{Block, Delta, Event, Failure, FailureKind, Finish};
use crate::json::Json;
use crate::signature::Signature;
use crate::usage::Usage;

#[derive(Debug, Default)]
pub struct StreamDecoder {
    state: State,
    next: u32,
    open: Option<Open>,
    ids: CallIds,
    called: bool,
    /// The provider's word.
    finish: Option<String>,
    usage: Option<Usage>,
    citing: Box<Citing>,
    /// Of thinking that is not shown. It came with a text and is told when that text has ended.
    signature: Option<Signature<'static>>,
}

#[derive(Debug, Default)]
struct Citing {
    /// Of the open text.
    widths: Widths,
    /// Fingerprints of the citations so far: pieces repeat them.
    seen: HashSet<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    New,
    Begun,
    Failed,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    index: u32,
    thought: bool,
}

/// What the provider's filter says of a prompt; no candidate follows.
const BLOCKED: &str = "SAFETY";

impl StreamDecoder {
    pub fn event(&mut self, data: &[u8], out: &mut dyn FnMut(Event<'_>)) -> bool {
        if matches!(self.state, State::Failed | State::Ended) {
            return false;
        }
        if data.is_empty() {
            return true;
        }
        let Some(json) = std::str::from_utf8(data).ok().and_then(|text| Json::parse(text).ok()) else {
            return self.fail(no_piece(), out);
        };
        if let Some(error) = error::error_of(&json) {
            return self.fail(error::read(error, 0), out);
        }
        if !matches!(json, Json::Object(_)) {
            return self.fail(no_piece(), out);
        }
        self.piece(&json, out);
        true
    }

    pub fn end(&mut self, out: &mut dyn FnMut(Event<'_>)) -> bool {
        match self.state {
            State::Ended => return true,
            State::New | State::Failed => return false,
            State::Begun => {}
        }
        let Some(word) = self.finish.take() else { return false };
        self.close(out);
        self.state = State::Ended;
        let finish: Finish<'_> = finish::read(&word, self.called);
        out(Event::Finish { finish, usage: self.usage });
        true
    }

    fn fail(&mut self, failure: Failure<'_>, out: &mut dyn FnMut(Event<'_>)) -> bool {
        self.state = State::Failed;
        out(Event::Failed(failure));
        false
    }

    fn piece(&mut self, json: &Json<'_>, out: &mut dyn FnMut(Event<'_>)) {
        if let Some(usage) = usage::read(json.get("usageMetadata")) {
            // Every piece counts from the start again; the last one is right.
            self.usage = Some(usage);
        }
        if self.state == State::New {
            self.state = State::Begun;
            let text = |key: &str| json.get(key).and_then(Json::as_str);
            self.ids = CallIds::of_answer(text("responseId"));
            out(Event::Begin {
                id: text("responseId").map(Cow::Borrowed),
                model: text("modelVersion").map(Cow::Borrowed),
                created: None,
                usage: self.usage,
            });
        }
        let candidate = json.get("candidates").and_then(Json::as_array).and_then(<[Json<'_>]>::first);
        let Some(candidate) = candidate else {
            if json.get("promptFeedback").is_some_and(|feedback| feedback.get("blockReason").is_some()) {
                self.finish = Some(BLOCKED.to_owned());
            }
            return;
        };
        let parts =
            candidate.get("content").and_then(|content| content.get("parts")).and_then(Json::as_array);
        for part in parts.unwrap_or_default() {
            self.part(AnswerPart::read(part), out);
        }
        self.logprobs(candidate, out);
        if let Some(metadata) = candidate.get("groundingMetadata") {
            self.cite(metadata, out);
        }
        if let Some(word) = candidate.get("finishReason").and_then(Json::as_str) {
            self.finish = Some(word.chars().take(64).collect());
        }
    }

    fn part(&mut self, part: AnswerPart<'_>, out: &mut dyn FnMut(Event<'_>)) {
        match part.content {
            Content::Text(text) => {
                if !text.is_empty() {
                    let index = self.open(false, out);
                    self.citing.widths.push(text);
                    out(Event::Delta { index, delta: Delta::Text(Cow::Borrowed(text)) });
                }
                if let Some(value) = part.signature {
                    self.sign(value, out);
                }
            }
            Content::Thought(text) => {
                if text.is_empty() && part.signature.is_none() {
                    return;
                }
                let index = self.open(true, out);
                if !text.is_empty() {
                    out(Event::Delta { index, delta: Delta::Thought(Cow::Borrowed(text)) });
                }
                if let Some(value) = part.signature {
                    self.sign(value, out);
                }
            }
            Content::Call { id, name, arguments } => {
                self.close(out);
                self.called = true;
                let index = self.number();
                let id = match id {
                    Some(id) => Cow::Borrowed(id),
                    None => Cow::Owned(self.ids.make(name, &arguments)),
                };
                let signature = part.signature.map(signature::read);
                let block = Block::ToolCall { id, name: Cow::Borrowed(name), custom: false, signature };
                out(Event::BlockBegin { index, block });
                out(Event::Delta { index, delta: Delta::Arguments(Cow::Owned(arguments)) });
                out(Event::BlockEnd { index });
            }
            // A stream has no blocks for them.
            Content::Media { .. } | Content::Other => {}
        }
    }

    fn number(&mut self) -> u32 {
        let index = self.next;
        self.next = self.next.saturating_add(1);
        index
    }

    /// The block to go on with: the open one if it is of this kind, or a new one.
    fn open(&mut self, thought: bool, out: &mut dyn FnMut(Event<'_>)) -> u32 {
        if let Some(open) = self.open.filter(|open| open.thought == thought) {
            return open.index;
        }
        self.close(out);
        let index = self.number();
        self.open = Some(Open { index, thought });
        self.citing.widths = Widths::default();
        let block = if thought { Block::Thought { id: None } } else { Block::Text };
        out(Event::BlockBegin { index, block });
        index
    }

    fn close(&mut self, out: &mut dyn FnMut(Event<'_>)) {
        if let Some(open) = self.open.take() {
            out(Event::BlockEnd { index: open.index });
        }
        if let Some(signature) = self.signature.take() {
            let index = self.number();
            out(Event::BlockBegin { index, block: Block::RedactedThought(signature) });
            out(Event::BlockEnd { index });
        }
    }

    /// A thought that is open takes its signature and is complete; any other signature waits for the end of the text.
    fn sign(&mut self, value: &str, out: &mut dyn FnMut(Event<'_>)) {
        match self.open {
            Some(Open { index, thought: true }) => {
                out(Event::Delta { index, delta: Delta::Signature(signature::read(value)) });
                self.close(out);
            }
            _ => self.signature = Some(signature::read(value).into_owned()),
        }
    }

    fn open_text(&self) -> Option<u32> {
        self.open.filter(|open| !open.thought).map(|open| open.index)
    }

    fn logprobs(&mut self, candidate: &Json<'_>, out: &mut dyn FnMut(Event<'_>)) {
        let Some(index) = self.open_text() else { return };
        let tokens = part::logprobs(candidate.get("logprobsResult"));
        if !tokens.is_empty() {
            out(Event::Delta { index, delta: Delta::Logprobs(tokens) });
        }
    }

    fn cite(&mut self, metadata: &Json<'_>, out: &mut dyn FnMut(Event<'_>)) {
        let Some(index) = self.open_text() else { return };
        for placed in grounding::read(metadata) {
            let fingerprint = call_id::fingerprint(&[
                placed.url.unwrap_or_default().as_bytes(),
                placed.title.unwrap_or_default().as_bytes(),
                &placed.start.unwrap_or(u64::MAX).to_le_bytes(),
                &placed.end.unwrap_or(u64::MAX).to_le_bytes(),
            ]);
            if self.citing.seen.len() < grounding::MOST_CITATIONS && self.citing.seen.insert(fingerprint) {
                out(Event::Delta { index, delta: Delta::Citation(placed.citation(&self.citing.widths)) });
            }
        }
    }
}

fn no_piece() -> Failure<'static> {
    Failure {
        message: Cow::Borrowed("The provider sent an event that is not a GenerateContentResponse."),
        kind: FailureKind::Server,
        code: None,
        param: None,
    }
}
