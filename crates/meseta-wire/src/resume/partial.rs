//! What a client has been told of an answer when its stream breaks.

use std::borrow::Cow;

use super::plan::Unsound;
use crate::conversation::{Block, Delta, Event, Finish};
use crate::dialect::{Dialect, StreamDecoder};
use crate::eventstream::Frames;
use crate::json::Json;
use crate::signature::Signature;
use crate::sse;
use crate::usage::Usage;

/// Of an answer that is longer than this the rest cannot be asked for.
pub const MOST_BYTES: usize = 4 << 20;
/// Nor of one that has more blocks.
const MOST_BLOCKS: usize = 1_024;
/// About as many bytes of English are one token.
const BYTES_PER_TOKEN: u64 = 4;

/// An answer as far as it was told.
#[derive(Clone, Debug, Default)]
pub struct Partial {
    /// Of the answer, by the provider.
    pub id: Option<String>,
    /// The provider's name of the model.
    pub model: Option<String>,
    pub created: Option<u64>,
    /// The last that the provider said of it; rarely all of it, for counts come at the end.
    pub usage: Option<Usage>,
    /// Why the answer ended, if that was told.
    pub finish: Option<Finish<'static>>,
    pub blocks: Vec<Told>,
    /// How many pieces of text, thoughts and arguments there were.
    pub pieces: u64,
    pub(super) stage: Stage,
    /// Why nobody can go on, whatever the request says.
    pub(super) obstacle: Option<Unsound>,
    bytes: usize,
}

/// How far the stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    #[default]
    Waiting,
    Begun,
    /// It has said `Finish`, and not only why it is about to.
    Finished,
    /// It has said its last word.
    Closed,
}

/// A block as far as it was told.
#[derive(Clone, Debug)]
pub struct Told {
    /// As the events number it.
    pub index: u32,
    pub block: Block<'static>,
    /// Of whatever kind its deltas were: text, refusal, thought, arguments.
    pub text: String,
    /// `BlockEnd` was said.
    pub ended: bool,
    /// The provider has said that no more comes, though the block has not ended yet.
    pub complete: bool,
    pub(super) cited: bool,
    pub(super) signature: Option<Signature<'static>>,
}

impl Partial {
    /// Reads the events that were passed on: whole server-sent events, or whole frames of Converse. Half an event at the
    /// end, and a failure and all that follows it, is not read: it is not part of the answer.
    pub fn read(dialect: Dialect, raw: &[u8]) -> Partial {
        let mut partial = Partial::default();
        let mut decoder = StreamDecoder::new(dialect);
        let mut failed = false;
        each_event(dialect, raw, |name, data| {
            let before = partial.blocks.len();
            let open = decoder.event(name, data, &mut |event| match event {
                Event::Failed(_) => failed = true,
                event => partial.take(&event),
            });
            match dialect {
                Dialect::AnthropicMessages => partial.own_blocks(before, data),
                Dialect::OpenaiResponses => partial.whole_blocks(data),
                _ => {}
            }
            if !open && !failed {
                partial.stage = Stage::Closed;
            }
            open && !failed
        });
        if !failed && partial.stage < Stage::Finished {
            // What closes here has not been told; only the reason has, if there is one.
            decoder.end(&mut |event| {
                if let Event::Finish { finish, usage } = event {
                    partial.finish = Some(finish.into_owned());
                    partial.usage = usage.or(partial.usage);
                }
            });
        }
        partial
    }

    /// Takes an event that the client is told.
    pub fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Begin { id, model, created, usage } => {
                self.stage = self.stage.max(Stage::Begun);
                let own = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
                self.id = own(id).or(self.id.take());
                self.model = own(model).or(self.model.take());
                self.created = created.or(self.created);
                self.usage = usage.or(self.usage);
            }
            Event::BlockBegin { index, block } => {
                let size = match block {
                    Block::ToolCall { id, name, .. } => id.len().saturating_add(name.len()),
                    Block::RedactedThought(signature) => signature.value.len(),
                    Block::Text | Block::Refusal | Block::Thought { .. } => 0,
                };
                if self.blocks.len() >= MOST_BLOCKS || !self.fits(size) {
                    self.obstacle = Some(Unsound::TooLong);
                    return;
                }
                self.blocks.push(Told {
                    index: *index,
                    block: block.clone().into_owned(),
                    text: String::new(),
                    ended: false,
                    complete: false,
                    cited: false,
                    signature: None,
                });
            }
            Event::Delta { index, delta } => self.delta(*index, delta),
            Event::BlockEnd { index } => {
                if let Some(told) = self.block(*index) {
                    told.ended = true;
                }
            }
            Event::Finish { finish, usage } => {
                self.stage = self.stage.max(Stage::Finished);
                self.finish = Some(finish.clone().into_owned());
                self.usage = usage.or(self.usage);
            }
            Event::Ping | Event::Failed(_) => {}
        }
    }

    fn delta(&mut self, index: u32, delta: &Delta<'_>) {
        let size = match delta {
            Delta::Text(text) | Delta::Refusal(text) | Delta::Thought(text) | Delta::Arguments(text) => {
                self.pieces = self.pieces.saturating_add(1);
                text.len()
            }
            Delta::Signature(signature) => signature.value.len(),
            Delta::Citation(_) | Delta::Logprobs(_) => 0,
        };
        if !self.fits(size) {
            self.obstacle = Some(Unsound::TooLong);
            return;
        }
        let Some(told) = self.block(index) else { return };
        match delta {
            Delta::Text(text) | Delta::Refusal(text) | Delta::Thought(text) | Delta::Arguments(text) => {
                told.text.push_str(text);
            }
            Delta::Signature(signature) => told.signature = Some(signature.clone().into_owned()),
            Delta::Citation(_) => told.cited = true,
            // Whether a client asked for them is known from its request.
            Delta::Logprobs(_) => {}
        }
    }

    fn fits(&mut self, size: usize) -> bool {
        self.bytes = self.bytes.saturating_add(size);
        self.bytes <= MOST_BYTES
    }

    fn block(&mut self, index: u32) -> Option<&mut Told> {
        self.blocks.iter_mut().rev().find(|told| told.index == index)
    }

    /// A Messages block that the decoder passes over is one of the provider's own tools. Our numbers of the blocks are
    /// not the client's then.
    fn own_blocks(&mut self, before: usize, data: &[u8]) {
        if self.blocks.len() == before
            && memchr::memmem::find(data, b"content_block_start").is_some()
            && typed(data).as_deref() == Some("content_block_start")
        {
            self.obstacle.get_or_insert(Unsound::OwnTools);
        }
    }

    /// The Responses API says that a text or a call is whole before it ends the part or the item.
    fn whole_blocks(&mut self, data: &[u8]) {
        if memchr::memmem::find(data, b".done").is_none() {
            return;
        }
        let call = match typed(data).as_deref() {
            Some("response.output_text.done" | "response.refusal.done") => false,
            Some("response.function_call_arguments.done" | "response.custom_tool_call_input.done") => true,
            _ => return,
        };
        let last = self.blocks.iter_mut().rev().find(|told| !told.ended);
        if let Some(told) = last.filter(|told| matches!(told.block, Block::ToolCall { .. }) == call) {
            told.complete = true;
        }
    }

    /// All of the answer's text.
    pub fn text(&self) -> String {
        let texts = self.blocks.iter().filter(|told| matches!(told.block, Block::Text));
        texts.map(|told| told.text.as_str()).collect()
    }

    /// How many tokens the model has produced: what the provider said, or an estimate where that is more.
    pub fn output_tokens(&self) -> u64 {
        let bytes: u64 = self.blocks.iter().map(|told| told.text.len() as u64).sum();
        bytes.div_ceil(BYTES_PER_TOKEN).max(self.usage.map_or(0, |usage| usage.output))
    }

    /// The events that told it, with one delta for each block.
    pub fn replay(&self, out: &mut dyn FnMut(Event<'_>)) {
        if self.stage > Stage::Waiting {
            out(Event::Begin {
                id: self.id.as_deref().map(Cow::Borrowed),
                model: self.model.as_deref().map(Cow::Borrowed),
                created: self.created,
                usage: self.usage,
            });
        }
        for told in &self.blocks {
            let index = told.index;
            out(Event::BlockBegin { index, block: told.block.clone() });
            let text = Cow::Borrowed(told.text.as_str());
            let delta = match told.block {
                Block::Text => Delta::Text(text),
                Block::Refusal => Delta::Refusal(text),
                Block::Thought { .. } | Block::RedactedThought(_) => Delta::Thought(text),
                Block::ToolCall { .. } => Delta::Arguments(text),
            };
            if !told.text.is_empty() {
                out(Event::Delta { index, delta });
            }
            if let Some(signature) = &told.signature {
                out(Event::Delta { index, delta: Delta::Signature(signature.clone()) });
            }
            if told.ended {
                out(Event::BlockEnd { index });
            }
        }
        if let Some(finish) = &self.finish {
            out(Event::Finish { finish: finish.clone(), usage: self.usage });
        }
    }
}

/// The data of every whole event, and its name where the framing has one.
pub(super) fn each_event(dialect: Dialect, raw: &[u8], mut take: impl FnMut(&str, &[u8]) -> bool) {
    if dialect == Dialect::BedrockConverse {
        let mut frames = Frames::default();
        frames.push(raw);
        while let Ok(Some(frame)) = frames.next() {
            let (name, data) = frame.event();
            if !take(&name, data) {
                return;
            }
        }
        return;
    }
    let mut rest = raw;
    while let Some(end) = sse::event_end(rest) {
        let (event, behind) = rest.split_at(end);
        rest = behind;
        let data = sse::event_data(event);
        if !data.is_empty() && !take("", &data) {
            return;
        }
    }
}

/// The `type` of an event.
fn typed(data: &[u8]) -> Option<String> {
    let json = Json::parse(std::str::from_utf8(data).ok()?).ok()?;
    Some(json.get("type")?.as_str()?.to_owned())
}
