//! The request for the rest of an answer.

use std::borrow::Cow;

use super::Partial;
use crate::conversation::{Message, Part, Request, Role, Text};
use crate::dialect::Dialect;
use crate::{converse, messages};

/// Asks a model for the rest where it would not go on by itself.
pub const INSTRUCTION: &str = "Your answer was cut off. Write the rest of it: begin with the very next character after your \
    last one, be it a space or the middle of a word, do not repeat anything, and say nothing about the interruption.";

/// No provider takes a smaller limit than OpenAI's Responses API.
const LEAST_TOKENS: u64 = 16;

/// How a model is made to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefill {
    /// It continues a last message that is its own.
    Native,
    /// It is told to, by [`INSTRUCTION`].
    Instructed,
}

impl Prefill {
    /// Native where the provider documents it, which is Claude before 4.6, unless it thinks. Mistral and DeepSeek need a
    /// field that chat completions do not have; everybody can be told.
    pub fn of(dialect: Dialect, model: &str, request: &Request<'_>) -> Prefill {
        let thinks = request.thinking.is_some_and(|thinking| thinking.tokens().is_some());
        let native = match dialect {
            Dialect::AnthropicMessages => messages::continues_itself(model),
            Dialect::BedrockConverse => converse::continues_itself(model),
            Dialect::OpenaiChat | Dialect::OpenaiResponses | Dialect::GeminiGenerateContent => false,
        };
        if native && !thinks { Prefill::Native } else { Prefill::Instructed }
    }
}

/// The conversation with the answer as far as it goes. Thoughts are left out: another provider refuses them. The text
/// loses the white space at its end, which Anthropic refuses and [`super::Joiner`] expects again.
pub fn continuation<'r>(request: &Request<'r>, partial: &Partial, prefill: Prefill) -> Request<'r> {
    let mut request = request.clone();
    let text = partial.text();
    let text = text.trim_end();
    match request.messages.last_mut() {
        // The client has begun the answer itself.
        Some(Message { role: Role::Assistant, parts, .. }) => match parts.last_mut() {
            Some(Part::Text(begun)) => begun.text.to_mut().push_str(text),
            _ => parts.push(said(text)),
        },
        _ => request.messages.push(message(Role::Assistant, text)),
    }
    if prefill == Prefill::Instructed {
        request.messages.push(message(Role::User, INSTRUCTION));
    }
    request.max_tokens = request
        .max_tokens
        .map(|most| most.saturating_sub(partial.output_tokens()).max(LEAST_TOKENS).min(most));
    request
}

fn said(text: &str) -> Part<'static> {
    Part::Text(Text { text: Cow::Owned(text.to_owned()), ..Text::default() })
}

fn message(role: Role, text: &str) -> Message<'static> {
    Message { role, name: None, parts: vec![said(text)] }
}
