//! The items of a request's input, read into turns.

use std::borrow::Cow;
use std::collections::HashMap;

use super::OWN_REASONING;
use super::part::parts;
use crate::conversation::{Message, Part, Role, Text, Thought, ToolCall, ToolResult};
use crate::feature::{Feature, Losses};
use crate::json::Json;
use crate::shape::{Malformed, Object};
use crate::signature::{Family, Signature};

/// The conversation so far: instructions first, then the input.
pub(super) fn messages<'j>(request: Object<'j>, losses: &mut Losses) -> Result<Vec<Message<'j>>, Malformed> {
    let mut turns = Turns::default();
    if let Some(instructions) = request.text("instructions")? {
        turns.push(Role::System, text(instructions));
    }
    match request.get("input") {
        // A continued answer may need no new words.
        None if request.get("previous_response_id").is_some() => {}
        None => return Err(Malformed::at("input", "is missing")),
        Some(Json::String(input)) => turns.push(Role::User, text(input)),
        Some(Json::Array(_)) => {
            request.each("input", |item| turns.item(Object::of(item)?, losses))?;
        }
        Some(other) => {
            return Err(Malformed::at(
                "input",
                format!("must be a string or an array of items, not {}", other.kind()),
            ));
        }
    }
    Ok(turns.messages)
}

fn text(text: &str) -> Part<'_> {
    Part::Text(Text { text: Cow::Borrowed(text), ..Text::default() })
}

#[derive(Default)]
struct Turns<'j> {
    messages: Vec<Message<'j>>,
    /// Names of the tools that were called, by the call's id.
    called: HashMap<&'j str, &'j str>,
    /// A signature of Gemini's that belongs to the call that follows; see [`super::output`].
    call_signature: Option<Signature<'j>>,
}

impl<'j> Turns<'j> {
    fn push(&mut self, role: Role, part: Part<'j>) {
        match self.messages.last_mut() {
            Some(last) if last.role == role => last.parts.push(part),
            _ => self.messages.push(Message { role, name: None, parts: vec![part] }),
        }
    }

    /// A result stands before what the user says in the same turn, even if it was written behind it.
    fn push_result(&mut self, part: Part<'j>) {
        if !self.messages.last().is_some_and(|last| last.role == Role::User) {
            return self.push(Role::Tool, part);
        }
        let user = self.messages.len() - 1;
        match user.checked_sub(1).and_then(|before| self.messages.get_mut(before)) {
            Some(before) if before.role == Role::Tool => before.parts.push(part),
            _ => self.messages.insert(user, Message { role: Role::Tool, name: None, parts: vec![part] }),
        }
    }

    fn item(&mut self, item: Object<'j>, losses: &mut Losses) -> Result<(), Malformed> {
        let signature = self.call_signature.take();
        match item.text("type")? {
            Some("message") => self.message(item, losses),
            None if item.get("role").is_some() => self.message(item, losses),
            Some("function_call") => self.call(item, "arguments", signature),
            Some("custom_tool_call") => self.call(item, "input", signature),
            Some("function_call_output") => self.result(item, false, losses),
            Some("custom_tool_call_output") => self.result(item, true, losses),
            Some("reasoning") => self.reasoning(item),
            None if item.get("id").is_none() => Err(Malformed::at("type", "is missing")),
            // Items of tools that run at OpenAI, and references to items that only OpenAI holds.
            _ => {
                losses.drop_feature(Feature::NativeParts);
                Ok(())
            }
        }
    }

    fn message(&mut self, item: Object<'j>, losses: &mut Losses) -> Result<(), Malformed> {
        let role = match item.need_text("role")? {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            "developer" => Role::Developer,
            _ => {
                return Err(Malformed::at("role", "must be one of user, assistant, system and developer"));
            }
        };
        for part in parts(item, "content", losses)? {
            self.push(role, part);
        }
        Ok(())
    }

    fn call(
        &mut self,
        item: Object<'j>,
        arguments: &str,
        signature: Option<Signature<'j>>,
    ) -> Result<(), Malformed> {
        let custom = arguments == "input";
        let (id, name) = (item.need_text("call_id")?, item.need_text("name")?);
        let arguments = match item.need_text(arguments)? {
            "" if !custom => "{}",
            arguments => arguments,
        };
        self.called.insert(id, name);
        self.push(
            Role::Assistant,
            Part::ToolCall(ToolCall {
                id: Cow::Borrowed(id),
                name: Cow::Borrowed(name),
                arguments: Cow::Borrowed(arguments),
                custom,
                signature,
                cache: None,
            }),
        );
        Ok(())
    }

    fn result(&mut self, item: Object<'j>, custom: bool, losses: &mut Losses) -> Result<(), Malformed> {
        let id = item.need_text("call_id")?;
        let name = item.text("name")?.or_else(|| self.called.get(id).copied());
        let parts = parts(item, "output", losses)?;
        self.push_result(Part::ToolResult(ToolResult {
            id: Cow::Borrowed(id),
            name: name.map(Cow::Borrowed),
            parts,
            error: false,
            custom,
            cache: None,
        }));
        Ok(())
    }

    fn reasoning(&mut self, item: Object<'j>) -> Result<(), Malformed> {
        let mut pieces = texts(item, "summary")?;
        let summarised = !pieces.is_empty();
        if !summarised {
            pieces = texts(item, "content")?;
        }
        let text = match pieces.as_slice() {
            [one] => Cow::Borrowed(*one),
            pieces => Cow::Owned(pieces.join("\n\n")),
        };
        let signature =
            item.text("encrypted_content")?.map(|content| Signature::read(content, Family::OpenAi));
        // Gemini has no redacted thoughts: a signature of its own without a summary was a call's.
        if pieces.is_empty() && signature.as_ref().is_some_and(|signature| signature.family == Family::Gemini)
        {
            self.call_signature = signature;
            return Ok(());
        }
        if text.is_empty() && signature.is_none() {
            return Ok(());
        }
        let redacted = pieces.is_empty();
        let id = item.text("id")?.filter(|id| !id.is_empty() && !id.starts_with(OWN_REASONING));
        self.push(
            Role::Assistant,
            Part::Thought(Thought { id: id.map(Cow::Borrowed), text, signature, redacted }),
        );
        Ok(())
    }
}

/// The texts of a list such as a reasoning item's summary.
fn texts<'j>(item: Object<'j>, key: &str) -> Result<Vec<&'j str>, Malformed> {
    let mut texts = Vec::new();
    item.each(key, |piece| {
        texts.push(Object::of(piece)?.need_text("text")?);
        Ok(())
    })?;
    Ok(texts)
}
