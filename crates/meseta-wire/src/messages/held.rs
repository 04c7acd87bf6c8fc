//! Blocks of a stream that wait until the block before them ends.

use std::borrow::Cow;

use crate::conversation::{Block, Delta};

#[derive(Debug)]
pub(super) struct Held {
    pub source: u32,
    pub block: Block<'static>,
    pub deltas: Vec<Delta<'static>>,
    pub ended: bool,
}

impl Held {
    pub fn new(source: u32, block: &Block<'_>) -> Held {
        let block = match block {
            // The id of a thought has no place in this dialect.
            Block::Thought { .. } => Block::Thought { id: None },
            block => block.clone().into_owned(),
        };
        Held { source, block, deltas: Vec::new(), ended: false }
    }

    /// Pieces of one text are kept as one.
    pub fn push(&mut self, delta: &Delta<'_>) {
        match (self.deltas.last_mut(), delta) {
            (Some(Delta::Text(held)), Delta::Text(text) | Delta::Refusal(text))
            | (Some(Delta::Thought(held)), Delta::Thought(text))
            | (Some(Delta::Arguments(held)), Delta::Arguments(text)) => held.to_mut().push_str(text),
            (_, delta) => self.deltas.extend(own_delta(delta)),
        }
    }
}

fn own(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}

fn own_delta(delta: &Delta<'_>) -> Option<Delta<'static>> {
    Some(match delta {
        Delta::Text(text) | Delta::Refusal(text) => Delta::Text(own(text)),
        Delta::Thought(text) => Delta::Thought(own(text)),
        Delta::Arguments(text) => Delta::Arguments(own(text)),
        Delta::Signature(signature) => Delta::Signature(signature.clone().into_owned()),
        Delta::Citation(citation) => Delta::Citation(citation.clone().into_owned()),
        Delta::Logprobs(_) => return None,
    })
}
