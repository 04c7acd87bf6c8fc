//! A whole answer, told as a stream.

use crate::conversation::{Answer, Block, Delta, Event, Part, Text, Thought};
use crate::feature::Losses;
use crate::usage::Usage;

/// Some clients take no longer line, and an event of a stream is one.
const PIECE: usize = 8 * 1024;

/// Hands out the events of the answer. What a stream has no word for is lost.
pub fn tell(answer: &Answer<'_>, losses: &mut Losses, each: &mut dyn FnMut(&Event<'_>)) {
    let asked = answer.usage.map(|usage| Usage { output: 0, reasoning: 0, ..usage });
    let begin = Event::Begin {
        id: answer.id.clone(),
        model: answer.model.clone(),
        created: answer.created,
        usage: asked,
    };
    each(&begin);
    // They are the whole answer's, and nearly always there is one text.
    let mut logprobs = Some(&answer.logprobs).filter(|logprobs| !logprobs.is_empty());
    let mut blocks = 0..;
    for part in &answer.parts {
        let block = match part {
            Part::Text(_) => Block::Text,
            Part::Refusal(_) => Block::Refusal,
            Part::Thought(Thought { redacted: true, signature: Some(signature), .. }) => {
                Block::RedactedThought(signature.clone())
            }
            Part::Thought(thought) => Block::Thought { id: thought.id.clone() },
            Part::ToolCall(call) => Block::ToolCall {
                id: call.id.clone(),
                name: call.name.clone(),
                custom: call.custom,
                signature: call.signature.clone(),
            },
            Part::Image(_) => {
                losses.answer("images");
                continue;
            }
            Part::File(_) => {
                losses.answer("files");
                continue;
            }
            Part::Audio(_) => {
                losses.answer("audio");
                continue;
            }
            Part::ToolResult(_) => {
                losses.answer("tool-results");
                continue;
            }
        };
        let Some(index) = blocks.next() else { return };
        let whole = matches!(block, Block::RedactedThought(_));
        each(&Event::BlockBegin { index, block });
        if !whole {
            let mut delta = |delta| each(&Event::Delta { index, delta });
            match part {
                Part::Text(text) => {
                    words(text, &mut delta);
                    if let Some(logprobs) = logprobs.take() {
                        delta(Delta::Logprobs(logprobs.clone()));
                    }
                }
                Part::Refusal(text) => pieces(text).for_each(|piece| delta(Delta::Refusal(piece.into()))),
                Part::Thought(thought) => {
                    pieces(&thought.text).for_each(|piece| delta(Delta::Thought(piece.into())));
                    if let Some(signature) = &thought.signature {
                        delta(Delta::Signature(signature.clone()));
                    }
                }
                Part::ToolCall(call) => {
                    pieces(&call.arguments).for_each(|piece| delta(Delta::Arguments(piece.into())));
                }
                _ => {}
            }
        }
        each(&Event::BlockEnd { index });
    }
    if logprobs.is_some() {
        losses.answer("logprobs");
    }
    each(&Event::Finish { finish: answer.finish.clone(), usage: answer.usage });
}

fn words<'t>(text: &'t Text<'_>, delta: &mut dyn FnMut(Delta<'t>)) {
    pieces(&text.text).for_each(|piece| delta(Delta::Text(piece.into())));
    // They count in the characters of the text, which is told by now.
    text.citations.iter().for_each(|citation| delta(Delta::Citation(citation.clone())));
}

fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = (0..=rest.len().min(PIECE)).rev().find(|end| rest.is_char_boundary(*end));
        let (piece, behind) = rest.split_at(end.unwrap_or(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}
