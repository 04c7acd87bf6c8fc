//! A streamed answer, as far as it has come.

use std::borrow::Cow;

use crate::conversation::{
    Answer, Block, Citation, Delta, Event, Finish, Part, Text, Thought, TokenLogprob, ToolCall,
};
use crate::usage::Usage;

/// Puts the events of a stream together.
pub struct Gathered {
    id: Option<String>,
    model: Option<String>,
    created: Option<u64>,
    /// By their numbers, which only grow.
    blocks: Vec<(u32, Part<'static>)>,
    logprobs: Vec<TokenLogprob<'static>>,
    finish: Finish<'static>,
    usage: Option<Usage>,
    pieces: u64,
    bytes: usize,
    limit: usize,
    too_long: bool,
}

/// What a block, a source or a token takes besides its text, as it is kept and at the least, so that empty ones are not
/// free.
const BLOCK_BYTES: usize = 24;
/// Of an answer or a model.
const LONGEST_NAME: usize = 1024;

impl Gathered {
    /// `limit` is for the bytes of what is said.
    pub fn new(limit: usize) -> Gathered {
        Gathered {
            id: None,
            model: None,
            created: None,
            blocks: Vec::new(),
            logprobs: Vec::new(),
            finish: Finish::Stop,
            usage: None,
            pieces: 0,
            bytes: 0,
            limit,
            too_long: false,
        }
    }

    /// It was longer than its limit. What came then is not there.
    pub fn is_too_long(&self) -> bool {
        self.too_long
    }

    /// How many events had a piece of the answer.
    pub fn pieces(&self) -> u64 {
        self.pieces
    }

    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    pub fn take(&mut self, event: Event<'_>) {
        self.bytes = self.bytes.saturating_add(size(&event));
        self.too_long |= self.bytes > self.limit;
        if self.too_long {
            return;
        }
        match event {
            Event::Begin { id, model, created, usage } => {
                let name = |name: Option<Cow<'_, str>>| {
                    name.filter(|name| name.len() <= LONGEST_NAME).map(Cow::into_owned)
                };
                self.id = name(id).or(self.id.take());
                self.model = name(model).or(self.model.take());
                self.created = created.or(self.created);
                self.usage = usage.or(self.usage);
            }
            Event::BlockBegin { index, block } => self.blocks.push((index, begun(block))),
            Event::Delta { delta: Delta::Logprobs(tokens), .. } => {
                self.logprobs.extend(tokens.into_iter().map(own_token));
            }
            Event::Delta { index, delta } => {
                self.pieces += u64::from(matches!(
                    delta,
                    Delta::Text(_) | Delta::Refusal(_) | Delta::Thought(_) | Delta::Arguments(_)
                ));
                if let Ok(at) = self.blocks.binary_search_by_key(&index, |(number, _)| *number)
                    && let Some((_, part)) = self.blocks.get_mut(at)
                {
                    add(part, delta);
                }
            }
            Event::Finish { finish, usage } => {
                self.finish = finish.into_owned();
                self.usage = usage.or(self.usage);
            }
            Event::BlockEnd { .. } | Event::Ping | Event::Failed(_) => {}
        }
    }

    pub fn into_parts(self) -> Vec<Part<'static>> {
        self.blocks.into_iter().map(|(_, part)| part).collect()
    }

    pub fn into_answer(mut self) -> Answer<'static> {
        for (_, part) in &mut self.blocks {
            if let Part::ToolCall(call) = part
                && call.arguments.is_empty()
                && !call.custom
            {
                // Arguments are JSON, and nothing is no JSON.
                call.arguments = Cow::Borrowed("{}");
            }
        }
        Answer {
            id: self.id.take().map(Cow::Owned),
            model: self.model.take().map(Cow::Owned),
            created: self.created,
            finish: std::mem::take(&mut self.finish),
            usage: self.usage,
            logprobs: std::mem::take(&mut self.logprobs),
            service_tier: None,
            parts: self.into_parts(),
        }
    }
}

fn size(event: &Event<'_>) -> usize {
    let length = |text: &Option<Cow<'_, str>>| text.as_ref().map_or(0, |text| text.len());
    match event {
        Event::BlockBegin { block, .. } => {
            BLOCK_BYTES
                + match block {
                    Block::RedactedThought(signature) => signature.value.len(),
                    Block::ToolCall { id, name, .. } => id.len() + name.len(),
                    Block::Text | Block::Refusal | Block::Thought { .. } => 0,
                }
        }
        Event::Delta { delta, .. } => match delta {
            Delta::Text(text) | Delta::Refusal(text) | Delta::Thought(text) | Delta::Arguments(text) => {
                text.len()
            }
            Delta::Signature(signature) => signature.value.len(),
            Delta::Citation(Citation { url, title, cited, .. }) => {
                BLOCK_BYTES + length(url) + length(title) + length(cited)
            }
            Delta::Logprobs(tokens) => tokens.iter().map(token_size).sum(),
        },
        _ => 0,
    }
}

fn token_size(token: &TokenLogprob<'_>) -> usize {
    let top: usize = token.top.iter().map(|(text, _)| BLOCK_BYTES + text.len()).sum();
    BLOCK_BYTES + token.token.len() + top
}

fn own_token(token: TokenLogprob<'_>) -> TokenLogprob<'static> {
    TokenLogprob {
        token: Cow::Owned(token.token.into_owned()),
        logprob: token.logprob,
        top: token.top.into_iter().map(|(text, logprob)| (Cow::Owned(text.into_owned()), logprob)).collect(),
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
