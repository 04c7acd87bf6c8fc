//! Reading the messages of a request into turns.

use std::borrow::Cow;
use std::collections::HashMap;

use super::content;
use super::extras::{call_signature, thoughts};
use crate::conversation::{Message, Part, Role, ToolCall, ToolResult};
use crate::feature::{Feature, Losses};
use crate::json::Json;
use crate::shape::{Malformed, Object};

pub(super) fn decode<'j>(request: &Object<'j>, losses: &mut Losses) -> Result<Vec<Message<'j>>, Malformed> {
    if request.need_array("messages")?.is_empty() {
        return Err(Malformed::at("messages", "must have at least one message"));
    }
    let mut turns =
        Turns { messages: Vec::new(), calls: HashMap::new(), unnamed: HashMap::new(), read: 0, losses };
    request.each("messages", |message| turns.message(&Object::of(message)?))?;
    if turns.messages.is_empty() {
        return Err(Malformed::at("messages", "must say something"));
    }
    Ok(turns.messages)
}

struct Turns<'j, 'l> {
    messages: Vec<Message<'j>>,
    /// Tool and kind of every call by its id: results do not say it.
    calls: HashMap<Cow<'j, str>, (Cow<'j, str>, bool)>,
    /// The invented id of the last `function_call` by the name of its function: such calls have no ids.
    unnamed: HashMap<&'j str, String>,
    read: usize,
    losses: &'l mut Losses,
}

impl<'j> Turns<'j, '_> {
    fn message(&mut self, message: &Object<'j>) -> Result<(), Malformed> {
        self.read += 1;
        let role = match message.need_text("role")? {
            "system" => Role::System,
            "developer" => Role::Developer,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "tool" | "function" => Role::Tool,
            _ => {
                return Err(Malformed::at(
                    "role",
                    "must be system, developer, user, assistant, tool or function",
                ));
            }
        };
        let mut parts = Vec::new();
        if role == Role::Assistant {
            parts.extend(thoughts(message)?.into_iter().map(Part::Thought));
        }
        let content = message.inside("content", |json| content::decode(json, role, self.losses))?;
        match (content, role) {
            (Some(mut content), _) => {
                if let Some(mark) = content::cache_mark(message)? {
                    mark_last(&mut content, mark);
                }
                // An assistant that only called tools often says an empty text beside them.
                let silent = |part: &Part<'_>| matches!(part, Part::Text(text) if text.text.is_empty());
                parts.extend(content.into_iter().filter(|part| role != Role::Assistant || !silent(part)));
            }
            (None, Role::Assistant | Role::Tool) => {}
            (None, _) => return Err(Malformed::at("content", "is missing")),
        }
        match role {
            Role::Tool => {
                let result = self.result(message, parts)?;
                self.push(role, None, vec![Part::ToolResult(result)]);
            }
            Role::Assistant => {
                if let Some(refusal) = message.text("refusal")?.filter(|refusal| !refusal.is_empty()) {
                    parts.push(Part::Refusal(refusal.into()));
                }
                if message.get("audio").is_some() {
                    // The id of a spoken answer, which is kept at its provider.
                    self.losses.drop_feature(Feature::NativeParts);
                }
                self.calls(message, &mut parts)?;
                self.push(role, message.text("name")?, parts);
            }
            _ => self.push(role, message.text("name")?, parts),
        }
        Ok(())
    }

    fn calls(&mut self, message: &Object<'j>, parts: &mut Vec<Part<'j>>) -> Result<(), Malformed> {
        message.each("tool_calls", |json| {
            let call = call(json)?;
            self.calls.insert(call.id.clone(), (call.name.clone(), call.custom));
            parts.push(Part::ToolCall(call));
            Ok(())
        })?;
        if let Some(function) = message.object("function_call")? {
            let mut read = || -> Result<(), Malformed> {
                let name = function.need_text("name")?;
                let id = format!("call_{}", self.read);
                self.unnamed.insert(name, id.clone());
                parts.push(Part::ToolCall(ToolCall {
                    id: id.into(),
                    name: name.into(),
                    arguments: arguments(function.text("arguments")?),
                    custom: false,
                    signature: None,
                    cache: None,
                }));
                Ok(())
            };
            read().map_err(|error| error.under("function_call"))?;
        }
        Ok(())
    }

    fn result(&mut self, message: &Object<'j>, parts: Vec<Part<'j>>) -> Result<ToolResult<'j>, Malformed> {
        let cache = content::cache_mark(message)?;
        let mut result = ToolResult { id: "".into(), name: None, parts, error: false, custom: false, cache };
        if let Some(Part::Text(text)) = result.parts.last_mut() {
            // One mark at the end of the result says it; two would use up two of the provider's few.
            result.cache = text.cache.take().or(cache);
        }
        if message.need_text("role")? == "function" {
            let name = message.need_text("name")?;
            let id = self.unnamed.remove(name).unwrap_or_else(|| format!("call_{}", self.read));
            result.id = id.into();
            result.name = Some(name.into());
            return Ok(result);
        }
        let id = message.need_text("tool_call_id")?;
        result.id = id.into();
        if let Some((name, custom)) = self.calls.get(id) {
            result.name = Some(name.clone());
            result.custom = *custom;
        }
        Ok(result)
    }

    /// Adds a turn, or joins it to the one before if that has the same role.
    fn push(&mut self, role: Role, name: Option<&'j str>, parts: Vec<Part<'j>>) {
        if parts.is_empty() {
            return;
        }
        match self.messages.last_mut() {
            Some(last) if last.role == role => {
                if last.name.as_deref() != name {
                    last.name = None;
                    self.losses.drop_feature(Feature::MessageName);
                }
                last.parts.extend(parts);
            }
            _ => self.messages.push(Message { role, name: name.map(Cow::Borrowed), parts }),
        }
    }
}

fn mark_last(parts: &mut [Part<'_>], mark: crate::conversation::CacheMark) {
    match parts.last_mut() {
        Some(Part::Text(text)) => text.cache = text.cache.or(Some(mark)),
        Some(Part::Image(image)) => image.cache = image.cache.or(Some(mark)),
        Some(Part::File(file)) => file.cache = file.cache.or(Some(mark)),
        _ => {}
    }
}

fn call<'j>(json: &'j Json<'j>) -> Result<ToolCall<'j>, Malformed> {
    let object = Object::of(json)?;
    let custom = match object.text("type")? {
        None | Some("function") => false,
        Some("custom") => true,
        Some(_) => return Err(Malformed::at("type", "must be `function` or `custom`")),
    };
    let (key, text) = if custom { ("custom", "input") } else { ("function", "arguments") };
    let inner = object.need_object(key)?;
    let read = || -> Result<(&'j str, Option<&'j str>), Malformed> {
        Ok((inner.need_text("name")?, inner.text(text)?))
    };
    let (name, text) = read().map_err(|error| error.under(key))?;
    Ok(ToolCall {
        id: object.need_text("id")?.into(),
        name: name.into(),
        arguments: if custom { text.unwrap_or_default().into() } else { arguments(text) },
        custom,
        signature: call_signature(json),
        cache: content::cache_mark(&object)?,
    })
}

/// A call without arguments has an empty object of them.
pub(super) fn arguments(text: Option<&str>) -> Cow<'_, str> {
    Cow::Borrowed(text.filter(|text| !text.is_empty()).unwrap_or("{}"))
}
