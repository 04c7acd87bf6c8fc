//! Reading a request.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{block, tool};
use crate::conversation::{Effort, Format, Message, Part, Request, Role, Sampling, Thinking, ToolChoice};
use crate::feature::Losses;
use crate::json::Json;
use crate::shape::{Malformed, Object};

/// What we read; anything else is named in the losses.
const FIELDS: &[&str] = &[
    "cache_control",
    "max_tokens",
    "mcp_servers",
    "messages",
    "metadata",
    "model",
    "output_config",
    "output_format",
    "service_tier",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "thread",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];

pub fn decode_request<'j>(json: &'j Json<'_>, losses: &mut Losses) -> Result<Request<'j>, Malformed> {
    let object = Object::of(json)?;
    for (key, _) in object.others(FIELDS) {
        losses.unknown(key);
    }
    if object.array("mcp_servers")?.is_some_and(|servers| !servers.is_empty()) {
        return Err(Malformed::at(
            "mcp_servers",
            "cannot be translated: their tools run at Anthropic only. Send the request to a model of that provider, or \
             define function tools",
        ));
    }
    if object.get(super::error::THREAD).is_some() {
        return Err(Malformed::at(
            super::error::THREAD,
            "cannot be translated: the conversation is held at Anthropic only. Send all its messages without `thread`",
        ));
    }
    let mut turns = Turns::default();
    object.inside("system", |system| {
        for part in block::texts(system)? {
            turns.add(Role::System, part);
        }
        Ok(())
    })?;
    object.need_array("messages")?;
    object.each("messages", |message| read_message(message, &mut turns, losses))?;
    if let Some(mark) = block::cache_mark(&object)? {
        turns.mark_last(mark);
    }
    let (tool_choice, parallel_tool_calls) = read_tool_choice(&object)?;
    let (thinking, format) = read_output(&object, losses)?;
    let mut tools = Vec::new();
    object.each("tools", |item| {
        tools.push(tool::read(item, losses)?);
        Ok(())
    })?;
    Ok(Request {
        messages: turns.messages,
        tools,
        tool_choice,
        parallel_tool_calls,
        format,
        thinking,
        sampling: Sampling {
            temperature: object.number("temperature")?.cloned(),
            top_p: object.number("top_p")?.cloned(),
            top_k: object.number("top_k")?.cloned(),
            ..Sampling::default()
        },
        max_tokens: object.count("max_tokens")?,
        stop: object.texts("stop_sequences")?.into_iter().map(Cow::Borrowed).collect(),
        stream: object.flag("stream")?.unwrap_or(false),
        include_usage: true,
        user: read_user(&object, losses)?,
        service_tier: object.text("service_tier")?.map(Cow::Borrowed),
        ..Request::default()
    })
}

fn read_message<'j>(json: &'j Json<'_>, turns: &mut Turns<'j>, losses: &mut Losses) -> Result<(), Malformed> {
    let message = Object::of(json)?;
    let role = match message.need_text("role")? {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => return Err(Malformed::at("role", "must be one of user, assistant, system")),
    };
    let content = message.get("content").ok_or_else(|| Malformed::at("content", "is missing"))?;
    read_content(content, role, turns, losses).map_err(|error| error.under("content"))
}

fn read_content<'j>(
    content: &'j Json<'j>,
    role: Role,
    turns: &mut Turns<'j>,
    losses: &mut Losses,
) -> Result<(), Malformed> {
    let mut parts = Vec::new();
    match content {
        content if role == Role::System => parts = block::texts(content)?,
        Json::String(text) => parts.push(block::plain(text)),
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                block::read(item, role, &mut parts, losses).map_err(|error| error.index(index))?;
            }
        }
        other => {
            let message = format!("must be a string or an array of blocks, not {}", other.kind());
            return Err(Malformed::here(message));
        }
    }
    for part in parts {
        turns.add(role, part);
    }
    Ok(())
}

/// The conversation as it grows, in the order that the model of conversations demands.
#[derive(Default)]
struct Turns<'j> {
    messages: Vec<Message<'j>>,
    /// Names of the tools called so far, for the results, which do not say them.
    calls: HashMap<Cow<'j, str>, Cow<'j, str>>,
}

impl<'j> Turns<'j> {
    fn add(&mut self, role: Role, mut part: Part<'j>) {
        match &mut part {
            Part::ToolCall(call) => {
                self.calls.insert(call.id.clone(), call.name.clone());
            }
            Part::ToolResult(result) => {
                result.name = self.calls.get(&result.id).cloned();
                self.results().parts.push(part);
                return;
            }
            _ => {}
        }
        match self.messages.last_mut() {
            Some(last) if last.role == role => last.parts.push(part),
            _ => self.messages.push(Message { role, name: None, parts: vec![part] }),
        }
    }

    /// The message for results of the present turn; it stands before the user's words.
    fn results(&mut self) -> &mut Message<'j> {
        let before = match self.messages.as_slice() {
            [.., Message { role: Role::Tool, .. }, Message { role: Role::User, .. }] => 2,
            [.., Message { role: Role::Tool, .. }] => 1,
            other => {
                let words = usize::from(other.last().is_some_and(|last| last.role == Role::User));
                let at = other.len() - words;
                self.messages.insert(at, Message { role: Role::Tool, name: None, parts: Vec::new() });
                words + 1
            }
        };
        let at = self.messages.len() - before;
        &mut self.messages[at]
    }

    /// What a mark on the whole request means: the last block that may carry a mark has one.
    fn mark_last(&mut self, mark: crate::conversation::CacheMark) {
        let mut parts = self.messages.iter_mut().rev().flat_map(|message| message.parts.iter_mut().rev());
        let place = parts.find_map(Part::cache_mark);
        if let Some(place) = place {
            place.get_or_insert(mark);
        }
    }
}

fn read_tool_choice<'j>(object: &Object<'j>) -> Result<(Option<ToolChoice<'j>>, Option<bool>), Malformed> {
    let choice = object.inside("tool_choice", |json| {
        let choice = Object::of(json)?;
        let kind = match choice.need_text("type")? {
            "auto" => ToolChoice::Auto,
            "any" => ToolChoice::Required,
            "none" => ToolChoice::None,
            "tool" => ToolChoice::Named(Cow::Borrowed(choice.need_text("name")?)),
            _ => return Err(Malformed::at("type", "must be one of auto, any, tool, none")),
        };
        Ok((kind, choice.flag("disable_parallel_tool_use")?.map(|disabled| !disabled)))
    })?;
    Ok(choice.map_or((None, None), |(kind, parallel)| (Some(kind), parallel)))
}

fn read_output<'j>(
    object: &Object<'j>,
    losses: &mut Losses,
) -> Result<(Option<Thinking>, Option<Format<'j>>), Malformed> {
    let mut thinking = object.inside("thinking", read_thinking)?.unwrap_or_default();
    // The name that the beta had, on the top level.
    let mut format = object.inside("output_format", read_format)?;
    if let Some(config) = object.object("output_config")? {
        for (key, _) in config.others(&["effort", "format"]) {
            losses.unknown(&format!("output_config.{key}"));
        }
        let within = |error: Malformed| error.under("output_config");
        thinking.effort = match config.text("effort").map_err(within)? {
            None => None,
            Some("low") => Some(Effort::Low),
            Some("medium") => Some(Effort::Medium),
            Some("high") => Some(Effort::High),
            Some("xhigh" | "max") => Some(Effort::Highest),
            Some(_) => {
                return Err(within(Malformed::at("effort", "must be one of low, medium, high, xhigh, max")));
            }
        };
        format = config.inside("format", read_format).map_err(within)?.or(format);
    }
    Ok(((thinking != Thinking::default()).then_some(thinking), format))
}

fn read_thinking(json: &Json<'_>) -> Result<Thinking, Malformed> {
    let object = Object::of(json)?;
    let (enabled, budget) = match object.need_text("type")? {
        "enabled" => {
            let budget = object.count("budget_tokens")?;
            (true, Some(budget.ok_or_else(|| Malformed::at("budget_tokens", "is missing"))?))
        }
        "adaptive" => (true, None),
        // Thinking is off, but for short notes between calls of tools.
        "disabled" | "between_tools" => (false, None),
        _ => return Err(Malformed::at("type", "must be one of enabled, adaptive, between_tools, disabled")),
    };
    let shown = match object.text("display")? {
        None => None,
        Some("summarized") => Some(true),
        Some("omitted") => Some(false),
        Some(_) => return Err(Malformed::at("display", "must be summarized or omitted")),
    };
    Ok(Thinking { enabled: Some(enabled), effort: None, budget, shown })
}

fn read_format<'j>(json: &'j Json<'j>) -> Result<Format<'j>, Malformed> {
    let object = Object::of(json)?;
    if object.need_text("type")? != "json_schema" {
        return Err(Malformed::at("type", "must be json_schema"));
    }
    let schema = object.get("schema").ok_or_else(|| Malformed::at("schema", "is missing"))?;
    Object::of(schema).map_err(|error| error.under("schema"))?;
    Ok(Format::Schema { name: None, description: None, schema: Cow::Borrowed(schema), strict: Some(true) })
}

fn read_user<'j>(object: &Object<'j>, losses: &mut Losses) -> Result<Option<Cow<'j, str>>, Malformed> {
    let Some(metadata) = object.object("metadata")? else { return Ok(None) };
    for (key, _) in metadata.others(&["user_id"]) {
        losses.unknown(&format!("metadata.{key}"));
    }
    let user = metadata.text("user_id").map_err(|error| error.under("metadata"))?;
    Ok(user.map(Cow::Borrowed))
}
