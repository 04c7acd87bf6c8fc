//! An answer told step by step: the same steps for every dialect, each of which puts them in its own words.

use std::borrow::Cow;
use std::collections::VecDeque;

use bytes::Bytes;

use crate::answer::{Answer, Block, FILLER};
use crate::directives::ErrorKind;
use crate::failure::Failure;
use crate::stream::{Event, Events, filler};
use crate::tokens;

/// Text of a huge answer in one step.
const FILLER_PER_STEP: u64 = 16 << 10;

/// One step. Blocks are named by their place in the answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Beat {
    Begin,
    Open(usize),
    /// The bytes of a block's text (or of a call's arguments) that are told now.
    Part {
        block: usize,
        from: usize,
        to: usize,
    },
    /// So many bytes of filler.
    Filler {
        block: usize,
        bytes: u64,
    },
    Close(usize),
    End,
}

/// How a dialect tells an answer.
pub trait Voice {
    fn tell(&mut self, beat: Beat, answer: &Answer, out: &mut Said);
    /// The error that ends the stream where it is.
    fn fail(&mut self, kind: ErrorKind, failure: &Failure) -> Bytes;
}

/// The events of the steps told so far that nobody has taken yet.
#[derive(Default)]
pub struct Said {
    events: VecDeque<Event>,
    /// Tokens of steps that are not in an event yet.
    tokens: u64,
}

pub struct Telling<V> {
    voice: V,
    answer: Answer,
    at: Place,
    said: Said,
}

#[derive(Clone, Copy)]
enum Place {
    Begin,
    Open(usize),
    Inside { block: usize, byte: u64 },
    End,
    Over,
}

impl Said {
    /// An event with all tokens that are due.
    pub fn event(&mut self, bytes: Vec<u8>) {
        let tokens = std::mem::take(&mut self.tokens);
        self.events.push_back(Event { bytes: Bytes::from(bytes), tokens });
    }

    /// The tokens that are due, for a voice that counts them itself.
    pub fn due(&mut self) -> u64 {
        std::mem::take(&mut self.tokens)
    }

    pub fn counted(&mut self, bytes: Vec<u8>, tokens: u64) {
        self.events.push_back(Event { bytes: Bytes::from(bytes), tokens });
    }
}

impl Block {
    /// What of it is told in parts.
    pub fn told(&self) -> &str {
        match self {
            Self::Text(text) | Self::Refusal(text) => text,
            Self::Thinking(thinking) if !thinking.redacted => &thinking.text,
            Self::Call(call) => &call.arguments,
            Self::Thinking(_) | Self::Filler(_) => "",
        }
    }
}

impl Beat {
    /// The text of a step that tells a part of one.
    pub fn text(self, answer: &Answer) -> Cow<'_, str> {
        match self {
            Self::Part { block, from, to } => {
                let told = answer.blocks.get(block).map_or("", Block::told);
                Cow::Borrowed(told.get(from..to).unwrap_or_default())
            }
            Self::Filler { bytes, .. } => Cow::Owned(filler_text(bytes)),
            _ => Cow::Borrowed(""),
        }
    }
}

/// So much filler in memory.
pub fn filler_text(bytes: u64) -> String {
    filler(bytes).map(|part| String::from_utf8_lossy(&part).into_owned()).collect()
}

impl<V: Voice> Telling<V> {
    pub fn new(voice: V, answer: Answer) -> Self {
        Self { voice, answer, at: Place::Begin, said: Said::default() }
    }

    /// The next step, how many tokens the client gets with it, and where it leaves off.
    fn step(&self) -> Option<(Beat, u64, Place)> {
        let blocks = &self.answer.blocks;
        let opening = |block: usize| if block < blocks.len() { Place::Open(block) } else { Place::End };
        Some(match self.at {
            Place::Begin => (Beat::Begin, 0, opening(0)),
            Place::Open(block) => {
                let named = match blocks.get(block) {
                    Some(Block::Call(call)) => tokens::count(&call.name),
                    _ => 0,
                };
                (Beat::Open(block), named, Place::Inside { block, byte: 0 })
            }
            Place::Inside { block, byte } => {
                let now = blocks.get(block)?;
                if let Block::Filler(bytes) = now {
                    let length = bytes.saturating_sub(byte).min(FILLER_PER_STEP);
                    if length > 0 {
                        let after = Place::Inside { block, byte: byte + length };
                        let tokens = length.div_ceil(FILLER.len() as u64);
                        return Some((Beat::Filler { block, bytes: length }, tokens, after));
                    }
                }
                let from = usize::try_from(byte).unwrap_or(usize::MAX);
                let rest = now.told().get(from..).unwrap_or_default();
                if rest.is_empty() {
                    (Beat::Close(block), 0, opening(block + 1))
                } else {
                    let to = from + tokens::first(rest);
                    (Beat::Part { block, from, to }, 1, Place::Inside { block, byte: to as u64 })
                }
            }
            Place::End => (Beat::End, 0, Place::Over),
            Place::Over => return None,
        })
    }

    fn take(&mut self, (beat, tokens, after): (Beat, u64, Place)) {
        self.at = after;
        self.said.tokens += tokens;
        self.voice.tell(beat, &self.answer, &mut self.said);
    }
}

impl<V: Voice> Iterator for Telling<V> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.said.events.pop_front() {
                return Some(event);
            }
            let step = self.step()?;
            self.take(step);
        }
    }
}

impl<V: Voice + Send> Events for Telling<V> {
    /// Steps without a token are taken to find out; the one with the next token is not, so that an error in its place
    /// has its number.
    fn speaks(&mut self) -> bool {
        loop {
            if let Some(event) = self.said.events.front() {
                return event.tokens > 0;
            }
            match self.step() {
                None => return false,
                Some((_, tokens, _)) if tokens + self.said.tokens > 0 => return true,
                Some(step) => self.take(step),
            }
        }
    }

    fn fail(&mut self, kind: ErrorKind, failure: &Failure) -> Bytes {
        self.voice.fail(kind, failure)
    }
}
