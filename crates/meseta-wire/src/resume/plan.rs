//! Whether an answer that broke off can be gone on with, and how.

use std::fmt;

use super::Partial;
use super::partial::{Stage, Told};
use crate::conversation::{Block, Finish, Request};

/// What the request says that decides whether somebody else can go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Each is a fact of its own.
pub struct Facts {
    /// The answer must be JSON, with or without a schema.
    pub structured: bool,
    /// Several answers were asked for.
    pub several: bool,
    pub logprobs: bool,
    /// The answer is spoken. Requests as conversations have no word for it, so the caller looks for it.
    pub audio: bool,
    /// The model may call tools, so a text that has ended need not be the end.
    pub tools: bool,
}

impl Facts {
    pub fn of(request: &Request<'_>) -> Facts {
        Facts {
            structured: request.format.is_some(),
            several: request.choices.is_some_and(|choices| choices > 1),
            logprobs: request.sampling.logprobs == Some(true)
                || request.sampling.top_logprobs.is_some_and(|top| top > 0),
            audio: false,
            tools: !request.tools.is_empty(),
        }
    }
}

/// What to do about a stream that broke.
#[derive(Clone, Debug, PartialEq)]
pub enum Resumption {
    /// The client knows nothing of the answer yet but perhaps thoughts: ask again from the start.
    Fresh,
    /// Ask for the rest of [`Partial::text`].
    Continue,
    /// The client has all it needs: end the stream with this.
    Finish(Finish<'static>),
    /// Nobody can go on: tell the client of the failure.
    Unsound(Unsound),
}

/// Why nobody can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsound {
    TooLong,
    SeveralAnswers,
    Audio,
    HalfCall,
    AfterCall,
    Structured,
    Logprobs,
    Citations,
    Refusal,
    OwnTools,
    /// The client's stream is not what its API says, so nothing can be put behind it.
    Disorder,
}

impl Unsound {
    /// For records and messages: "the stream broke, and ...".
    pub fn as_str(self) -> &'static str {
        match self {
            Unsound::TooLong => "the answer so far is too long to be sent to another target",
            Unsound::SeveralAnswers => "several answers were told at once",
            Unsound::Audio => "a spoken answer has no place to go on from",
            Unsound::HalfCall => "a tool call was told in part",
            Unsound::AfterCall => "words after a tool call were told in part",
            Unsound::Structured => "a structured answer was told in part",
            Unsound::Logprobs => "the probabilities of tokens are those of one model",
            Unsound::Citations => "the answer cites what only its own provider has found",
            Unsound::Refusal => "a refusal was told in part",
            Unsound::OwnTools => "the provider had used tools of its own",
            Unsound::Disorder => "the events so far are not in the order of their API",
        }
    }
}

impl fmt::Display for Unsound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Partial {
    pub fn plan(&self, facts: &Facts) -> Resumption {
        if let Some(finish) = &self.finish {
            return Resumption::Finish(finish.clone());
        }
        if self.stage == Stage::Waiting && self.blocks.is_empty() {
            return Resumption::Fresh;
        }
        let general = [(facts.several, Unsound::SeveralAnswers), (facts.audio, Unsound::Audio)];
        let general = general.into_iter().find(|(holds, _)| *holds).map(|(_, why)| why);
        if let Some(why) = self.obstacle.or(general) {
            return Resumption::Unsound(why);
        }
        if let Some(resumption) = self.plan_calls() {
            return resumption;
        }
        let said = |told: &&Told| matches!(told.block, Block::Text | Block::Refusal) && !told.text.is_empty();
        let Some(last) = self.blocks.iter().rfind(said) else { return Resumption::Fresh };
        let closed = (last.ended || last.complete)
            && self.blocks.last().is_some_and(|block| block.index == last.index);
        let text = self.text();
        if matches!(last.block, Block::Text) {
            // Without tools nothing follows a text that has ended, and nothing follows JSON that is whole.
            let whole = facts.structured && is_object(&text);
            if whole || closed && !facts.tools {
                return Resumption::Finish(Finish::Stop);
            }
        }
        let refused = |told: &Told| matches!(told.block, Block::Refusal) && !told.text.is_empty();
        let special = [
            (facts.structured, Unsound::Structured),
            (facts.logprobs, Unsound::Logprobs),
            (self.blocks.iter().any(|told| told.cited), Unsound::Citations),
            (self.blocks.iter().any(refused), Unsound::Refusal),
        ];
        if let Some((_, why)) = special.into_iter().find(|(holds, _)| *holds) {
            return Resumption::Unsound(why);
        }
        // Only white space: there is nothing that a model could go on from.
        if text.trim().is_empty() { Resumption::Fresh } else { Resumption::Continue }
    }

    /// Calls that were told are never told again: the stream ends with them, or cannot be gone on with.
    fn plan_calls(&self) -> Option<Resumption> {
        let calls = self.blocks.iter().filter(|told| matches!(told.block, Block::ToolCall { .. })).count();
        if calls == 0 {
            return None;
        }
        let (last, earlier) = self.blocks.split_last()?;
        let whole = earlier.iter().all(|told| told.is_whole(true)) && last.is_whole(false);
        Some(match (&last.block, whole) {
            (_, false) => Resumption::Unsound(Unsound::HalfCall),
            (Block::ToolCall { .. }, true) => Resumption::Finish(Finish::ToolCalls),
            (_, true) => Resumption::Unsound(Unsound::AfterCall),
        })
    }
}

impl Told {
    /// Whether nothing is missing. Chat does not say where a call ends, but nothing can follow a whole object, and a call
    /// without arguments, or one that takes free text, is over when another block has begun.
    fn is_whole(&self, followed: bool) -> bool {
        match &self.block {
            Block::ToolCall { custom, .. } => {
                self.ended
                    || self.complete
                    || followed && (*custom || self.text.trim().is_empty())
                    || !custom && is_object(&self.text)
            }
            // Whatever is not a call has no part that must be there.
            Block::Text | Block::Refusal | Block::Thought { .. } | Block::RedactedThought(_) => true,
        }
    }
}

fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
