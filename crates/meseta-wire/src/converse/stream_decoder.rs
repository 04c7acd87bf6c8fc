//! Reads `ConverseStream`'s events.

use serde::Deserialize;

use super::citation;
use super::error;
use super::reasoning;
use super::stop;
use super::usage;
use crate::conversation::{Block, Delta, Event, Finish};
use crate::json::{Json, Key};
use crate::signature::{Family, Signature};
use crate::usage::Usage;

/// More blocks than this are not open at once in any answer.
const MOST_OPEN: usize = 1_024;

#[derive(Debug, Default)]
pub struct StreamDecoder {
    begun: bool,
    /// Nothing more is expected: it failed, or it said everything.
    over: bool,
    open: Vec<Open>,
    next: u32,
    /// Why it ended, held back until the counts have come.
    finish: Option<Finish<'static>>,
    usage: Option<Usage>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    /// Bedrock's number of the block.
    theirs: u64,
    ours: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thought,
    Redacted,
    Call {
        has_arguments: bool,
    },
    /// Of a tool that runs at Bedrock, or unknown.
    Left,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockStart<'a> {
    content_block_index: u64,
    #[serde(borrow)]
    start: Option<Start<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start<'a> {
    #[serde(borrow)]
    tool_use: Option<ToolUseStart<'a>>,
    tool_result: Option<serde::de::IgnoredAny>,
    image: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolUseStart<'a> {
    #[serde(borrow)]
    tool_use_id: Key<'a>,
    #[serde(borrow)]
    name: Key<'a>,
    r#type: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockDelta<'a> {
    content_block_index: u64,
    #[serde(borrow)]
    delta: Change<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change<'a> {
    #[serde(borrow)]
    text: Option<Key<'a>>,
    #[serde(borrow)]
    tool_use: Option<ToolUseChange<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Reasoning<'a>>,
    #[serde(borrow)]
    citation: Option<Json<'a>>,
}

#[derive(Deserialize)]
struct ToolUseChange<'a> {
    #[serde(borrow)]
    input: Option<Key<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reasoning<'a> {
    #[serde(borrow)]
    text: Option<Key<'a>>,
    #[serde(borrow)]
    signature: Option<Key<'a>>,
    #[serde(borrow)]
    redacted_content: Option<Key<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockStop {
    content_block_index: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageStop<'a> {
    #[serde(borrow)]
    stop_reason: Option<Key<'a>>,
    #[serde(borrow)]
    additional_model_response_fields: Option<Json<'a>>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    usage: Option<Json<'a>>,
}

impl StreamDecoder {
    pub fn event(&mut self, name: &str, data: &[u8], out: &mut dyn FnMut(Event<'_>)) -> bool {
        if self.over {
            return false;
        }
        let read = match name {
            // Once it has ended, only the counts are to come.
            name if self.finish.is_some() && name != "metadata" && !is_exception(name) => Ok(()),
            "contentBlockDelta" => read(data).and_then(|delta| self.delta(delta, out)),
            "messageStart" => {
                self.begin(out);
                Ok(())
            }
            "contentBlockStart" => read(data).and_then(|start| self.block_start(&start, out)),
            "contentBlockStop" => read(data).map(|stop: BlockStop| self.block_stop(stop, out)),
            "messageStop" => read(data).map(|stop| self.message_stop(&stop, out)),
            "metadata" => read(data).map(|metadata: Metadata<'_>| {
                self.usage = metadata.usage.as_ref().and_then(usage::read).or(self.usage);
                if self.finish.is_some() {
                    self.finish(out);
                }
            }),
            name if is_exception(name) => {
                self.over = true;
                out(Event::Failed(error::decode_exception(name, data)));
                return false;
            }
            // What a later version of the API says.
            _ => Ok(()),
        };
        if let Err(what) = read {
            self.over = true;
            out(Event::Failed(error::garbage(&what)));
        }
        !self.over
    }

    pub fn end(&mut self, out: &mut dyn FnMut(Event<'_>)) -> bool {
        // The counts are worth waiting for, but without them the answer is whole.
        if !self.over && self.finish.is_some() {
            self.finish(out);
        }
        self.over && self.finish.is_some()
    }

    fn begin(&mut self, out: &mut dyn FnMut(Event<'_>)) {
        if !self.begun {
            self.begun = true;
            out(Event::Begin { id: None, model: None, created: None, usage: None });
        }
    }

    fn finish(&mut self, out: &mut dyn FnMut(Event<'_>)) {
        self.over = true;
        if let Some(finish) = &self.finish {
            out(Event::Finish { finish: finish.clone(), usage: self.usage });
        }
    }

    fn position(&self, theirs: u64) -> Option<usize> {
        self.open.iter().rposition(|open| open.theirs == theirs)
    }

    /// Opens a block; one of the same number that is still open is over.
    fn open(
        &mut self,
        theirs: u64,
        kind: Kind,
        block: Option<Block<'_>>,
        out: &mut dyn FnMut(Event<'_>),
    ) -> Result<u32, String> {
        self.begin(out);
        self.block_stop(BlockStop { content_block_index: theirs }, out);
        if self.open.len() == MOST_OPEN {
            return Err("it opens more blocks than it ends".to_owned());
        }
        let ours = self.next;
        if let Some(block) = block {
            self.next = self.next.saturating_add(1);
            out(Event::BlockBegin { index: ours, block });
        }
        self.open.push(Open { theirs, ours, kind });
        Ok(ours)
    }

    fn block_start(&mut self, start: &BlockStart<'_>, out: &mut dyn FnMut(Event<'_>)) -> Result<(), String> {
        let theirs = start.content_block_index;
        match &start.start {
            Some(Start { tool_use: Some(call), .. }) if call.r#type.is_none() => {
                let block = Block::ToolCall {
                    id: (&*call.tool_use_id.0).into(),
                    name: (&*call.name.0).into(),
                    custom: false,
                    signature: None,
                };
                self.open(theirs, Kind::Call { has_arguments: false }, Some(block), out)?;
            }
            Some(Start { tool_use: None, tool_result: None, image: None }) | None => {
                // A text or a thought, which says by its first delta what it is.
            }
            Some(_) => {
                self.open(theirs, Kind::Left, None, out)?;
            }
        }
        Ok(())
    }

    /// The open block of this number if it is of this kind, or a new one.
    fn block(
        &mut self,
        theirs: u64,
        kind: Kind,
        out: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<u32>, String> {
        if let Some(open) = self.position(theirs).and_then(|position| self.open.get(position)) {
            if open.kind == Kind::Left {
                return Ok(None);
            }
            if open.kind == kind {
                return Ok(Some(open.ours));
            }
        }
        let block = match kind {
            Kind::Thought => Block::Thought { id: None },
            _ => Block::Text,
        };
        self.open(theirs, kind, Some(block), out).map(Some)
    }

    fn delta(&mut self, delta: BlockDelta<'_>, out: &mut dyn FnMut(Event<'_>)) -> Result<(), String> {
        let theirs = delta.content_block_index;
        let change = delta.delta;
        if let Some(Key(text)) = change.text.filter(|Key(text)| !text.is_empty())
            && let Some(index) = self.block(theirs, Kind::Text, out)?
        {
            out(Event::Delta { index, delta: Delta::Text(text) });
        }
        if let Some(Key(input)) = change.tool_use.and_then(|change| change.input) {
            let open = self.position(theirs).and_then(|position| self.open.get_mut(position));
            if let Some(Open { ours, kind: Kind::Call { has_arguments }, .. }) = open
                && !input.is_empty()
            {
                *has_arguments = true;
                out(Event::Delta { index: *ours, delta: Delta::Arguments(input) });
            }
        }
        if let Some(reasoning) = change.reasoning_content {
            self.reasoning(theirs, reasoning, out)?;
        }
        if let Some(citation) = change.citation
            && let Some(index) = self.block(theirs, Kind::Text, out)?
        {
            let citation = citation::citation(&citation).map_err(|error| error.to_string())?;
            out(Event::Delta { index, delta: Delta::Citation(citation) });
        }
        Ok(())
    }

    fn reasoning(
        &mut self,
        theirs: u64,
        reasoning: Reasoning<'_>,
        out: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), String> {
        if let Some(Key(text)) = reasoning.text.filter(|Key(text)| !text.is_empty())
            && let Some(index) = self.block(theirs, Kind::Thought, out)?
        {
            out(Event::Delta { index, delta: Delta::Thought(text) });
        }
        if let Some(Key(signature)) = reasoning.signature.filter(|Key(signature)| !signature.is_empty())
            && let Some(index) = self.block(theirs, Kind::Thought, out)?
        {
            let signature = Signature::read(&signature, Family::Anthropic);
            out(Event::Delta { index, delta: Delta::Signature(signature) });
        }
        if let Some(Key(data)) = reasoning.redacted_content.filter(|Key(data)| !data.is_empty()) {
            let block = Block::RedactedThought(reasoning::redacted_signature(&data));
            self.open(theirs, Kind::Redacted, Some(block), out)?;
        }
        Ok(())
    }

    #[allow(clippy::needless_pass_by_value)] // An event is read once.
    fn block_stop(&mut self, stop: BlockStop, out: &mut dyn FnMut(Event<'_>)) {
        if let Some(position) = self.position(stop.content_block_index) {
            close(self.open.remove(position), out);
        }
    }

    fn message_stop(&mut self, stop: &MessageStop<'_>, out: &mut dyn FnMut(Event<'_>)) {
        self.begin(out);
        for open in std::mem::take(&mut self.open) {
            close(open, out);
        }
        let sequence = stop.additional_model_response_fields.as_ref();
        let sequence = sequence.and_then(|fields| fields.get("stop_sequence")).and_then(Json::as_str);
        let reason = stop.stop_reason.as_ref().map_or("end_turn", |Key(reason)| reason);
        self.finish = Some(stop::decode(cut(reason), sequence.map(cut)).into_owned());
        if self.usage.is_some() {
            self.finish(out);
        }
    }
}

fn is_exception(name: &str) -> bool {
    name.ends_with("Exception")
}

fn close(open: Open, out: &mut dyn FnMut(Event<'_>)) {
    match open.kind {
        Kind::Left => return,
        Kind::Call { has_arguments: false } => {
            out(Event::Delta { index: open.ours, delta: Delta::Arguments("{}".into()) });
        }
        _ => {}
    }
    out(Event::BlockEnd { index: open.ours });
}

/// Of a word that is kept, what is worth keeping.
fn cut(word: &str) -> &str {
    word.char_indices().nth(256).map_or(word, |(at, _)| word.split_at(at).0)
}

fn read<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(data).map_err(|error| error.to_string())
}
