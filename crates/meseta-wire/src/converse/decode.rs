//! Reads a request.

use std::borrow::Cow;
use std::collections::HashMap;

use super::content::{self, Block};
use crate::conversation::{
    CacheMark, Effort, Format, Function, Message, Part, Request, Role, Thinking, Tool, ToolChoice,
};
use crate::feature::{Feature, Losses};
use crate::json::Json;
use crate::shape::{Malformed, Object};

/// `modelId` stands in the address, but some clients repeat it.
const KNOWN: &[&str] = &[
    "modelId",
    "messages",
    "system",
    "inferenceConfig",
    "toolConfig",
    "additionalModelRequestFields",
    "requestMetadata",
    "serviceTier",
    "outputConfig",
];

pub fn decode_request<'j>(json: &'j Json<'_>, losses: &mut Losses) -> Result<Request<'j>, Malformed> {
    let object = Object::of(json)?;
    let mut request = Request::default();
    system(&object, &mut request, losses)?;
    messages(&object, &mut request, losses)?;
    object.inside("inferenceConfig", |json| inference(json, &mut request, losses))?;
    object.inside("toolConfig", |json| tools(json, &mut request))?;
    object.inside("additionalModelRequestFields", |json| additional(json, &mut request, losses))?;
    object.inside("outputConfig", |json| output(json, &mut request, losses))?;
    object.inside("requestMetadata", |json| {
        for (key, value) in Object::of(json)?.iter() {
            let value = value.as_str().ok_or_else(|| Malformed::at(key, "must be a string"))?;
            request.metadata.push((key.into(), value.into()));
        }
        Ok(())
    })?;
    request.service_tier =
        object.inside("serviceTier", |json| Object::of(json)?.need_text("type"))?.map(Cow::from);
    for (key, _) in object.others(KNOWN) {
        losses.unknown(key);
    }
    Ok(request)
}

fn system<'j>(object: &Object<'j>, request: &mut Request<'j>, losses: &mut Losses) -> Result<(), Malformed> {
    let mut parts = Vec::new();
    object.each("system", |json| {
        match content::block(json, losses)? {
            Block::Part(part @ Part::Text(_)) => parts.push(part),
            Block::Mark(mark) => content::set_mark(&mut parts, mark, losses),
            Block::Part(_) => losses.drop_feature(Feature::NativeParts),
            Block::Left => {}
        }
        Ok(())
    })?;
    if !parts.is_empty() {
        request.messages.push(Message { role: Role::System, name: None, parts });
    }
    Ok(())
}

fn messages<'j>(
    object: &Object<'j>,
    request: &mut Request<'j>,
    losses: &mut Losses,
) -> Result<(), Malformed> {
    let mut names: HashMap<Cow<'j, str>, Cow<'j, str>> = HashMap::new();
    object.need_array("messages")?;
    object.each("messages", |json| {
        let message = Object::of(json)?;
        let role = match message.need_text("role")? {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => return Err(Malformed::at("role", "must be user, assistant or system")),
        };
        message.need_array("content")?;
        let (mut results, mut parts) = (Vec::new(), Vec::new());
        let mut result_was_last = false;
        message.each("content", |json| {
            match content::block(json, losses)? {
                Block::Part(Part::ToolResult(mut result)) if role == Role::User => {
                    result.name = names.get(&result.id).cloned();
                    results.push(Part::ToolResult(result));
                    result_was_last = true;
                }
                Block::Part(Part::ToolResult(_)) => {
                    return Err(Malformed::at("toolResult", "belongs into a message of the user"));
                }
                Block::Part(Part::ToolCall(_)) if role != Role::Assistant => {
                    return Err(Malformed::at("toolUse", "belongs into a message of the assistant"));
                }
                Block::Part(part) => {
                    if let Part::ToolCall(call) = &part {
                        names.insert(call.id.clone(), call.name.clone());
                    }
                    parts.push(part);
                    result_was_last = false;
                }
                Block::Mark(mark) if result_was_last => content::set_mark(&mut results, mark, losses),
                Block::Mark(mark) => content::set_mark(&mut parts, mark, losses),
                Block::Left => {}
            }
            Ok(())
        })?;
        push(&mut request.messages, Role::Tool, results);
        push(&mut request.messages, role, parts);
        Ok(())
    })
}

/// Neighbouring turns of one role are one message.
fn push<'j>(messages: &mut Vec<Message<'j>>, role: Role, parts: Vec<Part<'j>>) {
    if parts.is_empty() {
        return;
    }
    match messages.last_mut() {
        Some(last) if last.role == role => last.parts.extend(parts),
        _ => messages.push(Message { role, name: None, parts }),
    }
}

fn inference<'j>(
    json: &'j Json<'_>,
    request: &mut Request<'j>,
    losses: &mut Losses,
) -> Result<(), Malformed> {
    let object = Object::of(json)?;
    request.max_tokens = object.count("maxTokens")?;
    request.sampling.temperature = object.number("temperature")?.cloned();
    request.sampling.top_p = object.number("topP")?.cloned();
    // One string alone is no list here.
    object.array("stopSequences")?;
    request.stop = object.texts("stopSequences")?.into_iter().map(Cow::from).collect();
    for (key, _) in object.others(&["maxTokens", "temperature", "topP", "stopSequences"]) {
        losses.unknown(&format!("inferenceConfig.{key}"));
    }
    Ok(())
}

fn tools<'j>(json: &'j Json<'_>, request: &mut Request<'j>) -> Result<(), Malformed> {
    let object = Object::of(json)?;
    object.each("tools", |json| {
        let tool = Object::of(json)?;
        if let Some(function) = tool.inside("toolSpec", function)? {
            request.tools.push(Tool::Function(function));
        } else if let Some(mark) = tool.inside("cachePoint", content::mark)? {
            set_tool_mark(&mut request.tools, mark);
        } else {
            let key = tool.iter().next().map_or("toolSpec", |(key, _)| key);
            return Err(Malformed::at(
                key,
                format!("cannot be translated. {}", Feature::NativeTools.note().trim_end_matches('.')),
            ));
        }
        Ok(())
    })?;
    request.tool_choice = object.inside("toolChoice", |json| {
        let choice = Object::of(json)?;
        if let Some(name) = choice.inside("tool", |json| Object::of(json)?.need_text("name"))? {
            return Ok(ToolChoice::Named(name.into()));
        }
        if choice.object("any")?.is_some() {
            return Ok(ToolChoice::Required);
        }
        if choice.object("auto")?.is_some() {
            return Ok(ToolChoice::Auto);
        }
        Err(Malformed::here("must have auto, any or tool"))
    })?;
    Ok(())
}

fn set_tool_mark(tools: &mut [Tool<'_>], mark: CacheMark) {
    if let Some(Tool::Function(function)) = tools.last_mut() {
        function.cache = Some(mark);
    }
}

fn function<'j>(json: &'j Json<'_>) -> Result<Function<'j>, Malformed> {
    let object = Object::of(json)?;
    let schema = object.need_object("inputSchema")?;
    Ok(Function {
        name: object.need_text("name")?.into(),
        description: object.text("description")?.map(Cow::from),
        parameters: schema.get("json").map(Cow::Borrowed),
        strict: object.flag("strict")?,
        cache: None,
    })
}

/// What only some models know: how Claude, Nova and OpenAI's models think, and top k.
fn additional<'j>(
    json: &'j Json<'_>,
    request: &mut Request<'j>,
    losses: &mut Losses,
) -> Result<(), Malformed> {
    let object = Object::of(json)?;
    request.sampling.top_k = object.number("top_k")?.cloned();
    object.inside("inferenceConfig", |json| {
        if let Some(top_k) = Object::of(json)?.number("topK")? {
            request.sampling.top_k = Some(top_k.clone());
        }
        Ok(())
    })?;
    if let Some(thinking) = object.inside("thinking", claude_thinking)? {
        request.thinking = Some(thinking);
    }
    if let Some(thinking) = object.inside("reasoningConfig", nova_thinking)? {
        request.thinking = Some(thinking);
    }
    if let Some(word) = object.text("reasoning_effort")? {
        let effort =
            effort(word).ok_or_else(|| Malformed::at("reasoning_effort", "must be low, medium or high"))?;
        request.thinking = Some(Thinking { effort: Some(effort), ..Thinking::default() });
    }
    for (key, _) in
        object.others(&["top_k", "inferenceConfig", "thinking", "reasoningConfig", "reasoning_effort"])
    {
        losses.unknown(&format!("additionalModelRequestFields.{key}"));
    }
    Ok(())
}

fn claude_thinking(json: &Json<'_>) -> Result<Thinking, Malformed> {
    let object = Object::of(json)?;
    let enabled = match object.need_text("type")? {
        "enabled" | "adaptive" => true,
        "disabled" | "between_tools" => false,
        _ => return Err(Malformed::at("type", "must be enabled, adaptive or disabled")),
    };
    let shown = object.text("display")?.map(|display| display != "omitted");
    Ok(Thinking { enabled: Some(enabled), effort: None, budget: object.count("budget_tokens")?, shown })
}

fn nova_thinking(json: &Json<'_>) -> Result<Thinking, Malformed> {
    let object = Object::of(json)?;
    let enabled = match object.need_text("type")? {
        "enabled" => true,
        "disabled" => false,
        _ => return Err(Malformed::at("type", "must be enabled or disabled")),
    };
    let effort = object
        .text("maxReasoningEffort")?
        .map(|word| {
            effort(word).ok_or_else(|| Malformed::at("maxReasoningEffort", "must be low, medium or high"))
        })
        .transpose()?;
    Ok(Thinking { enabled: Some(enabled), effort, ..Thinking::default() })
}

fn effort(word: &str) -> Option<Effort> {
    Some(match word {
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" | "max" => Effort::Highest,
        _ => return None,
    })
}

fn output<'j>(json: &'j Json<'_>, request: &mut Request<'j>, losses: &mut Losses) -> Result<(), Malformed> {
    let object = Object::of(json)?;
    if let Some(word) = object.text("effort")? {
        let effort =
            effort(word).ok_or_else(|| Malformed::at("effort", "must be low, medium, high, xhigh or max"))?;
        request.thinking.get_or_insert_default().effort = Some(effort);
    }
    request.format = object.inside("textFormat", |json| {
        let format = Object::of(json)?;
        if format.need_text("type")? != "json_schema" {
            return Err(Malformed::at("type", "must be json_schema"));
        }
        let structure = format.need_object("structure")?;
        structure
            .inside("jsonSchema", schema)
            .and_then(|schema| schema.ok_or_else(|| Malformed::at("jsonSchema", "is missing")))
            .map_err(|error| error.under("structure"))
    })?;
    for (key, _) in object.others(&["effort", "textFormat"]) {
        losses.unknown(&format!("outputConfig.{key}"));
    }
    Ok(())
}

/// The schema is JSON in a string.
fn schema<'j>(json: &'j Json<'_>) -> Result<Format<'j>, Malformed> {
    let object = Object::of(json)?;
    let text = object.need_text("schema")?;
    let schema = Json::parse(text)
        .map_err(|error| Malformed::at("schema", format!("must be JSON, and is not: {error}")))?;
    Ok(Format::Schema {
        name: object.text("name")?.map(Cow::from),
        description: object.text("description")?.map(Cow::from),
        schema: Cow::Owned(schema),
        strict: None,
    })
}
