//! Tools and the choice among them.

use std::borrow::Cow;
use std::collections::HashSet;

use super::model::Model;
use super::turns::{Conversation, Writer};
use crate::conversation::{Function, Request, Tool, ToolChoice};
use crate::feature::{Feature, Losses, Refused};
use crate::json::{Fields, Json};
use crate::object;

/// The tools that may be called, before the choice among them.
pub fn tools<'a>(request: &'a Request<'_>, writer: &mut Writer<'_>) -> Result<Vec<Json<'a>>, Refused> {
    let allowed = match &request.tool_choice {
        Some(ToolChoice::Allowed { names, .. }) => {
            writer.losses().meet(Feature::ToolChoiceAllowed)?;
            Some(names.iter().map(AsRef::as_ref).collect::<HashSet<&str>>())
        }
        _ => None,
    };
    let mut tools = Vec::with_capacity(request.tools.len());
    for tool in &request.tools {
        let is_allowed = |name: &str| allowed.as_ref().is_none_or(|names| names.contains(name));
        match tool {
            Tool::Function(function) if is_allowed(&function.name) => {
                tools.push(self::function(function, writer));
                // Nova has no cache points among its tools.
                if writer.model().claude().is_some() {
                    writer.mark(function.cache, &mut tools);
                } else if function.cache.is_some() {
                    writer.losses().drop_feature(Feature::CacheMarks);
                }
            }
            Tool::Custom { name, description, format } if is_allowed(name) => {
                writer.losses().meet(Feature::CustomTools)?;
                tools.push(custom(name, description.as_deref(), format.as_deref()));
            }
            Tool::WebSearch(_) => writer.losses().meet(Feature::WebSearch)?,
            Tool::Function(_) | Tool::Custom { .. } => {}
        }
    }
    Ok(tools)
}

fn function<'a>(function: &'a Function<'_>, writer: &mut Writer<'_>) -> Json<'a> {
    let mut spec = Fields::new();
    spec.put("name", &function.name);
    spec.put_some("description", function.description.as_ref().filter(|text| !text.is_empty()));
    let schema = match function.parameters.as_deref() {
        Some(schema) => schema.clone(),
        None => object! { "type" => "object", "properties" => object! {} },
    };
    spec.put("inputSchema", object! { "json" => schema });
    if function.strict == Some(true) {
        if writer.model().has_schemas() {
            spec.put("strict", true);
        } else {
            writer.losses().drop_feature(Feature::StrictTools);
        }
    }
    object! { "toolSpec" => spec }
}

/// A tool that takes free text, as a function of one text.
fn custom<'a>(name: &'a str, description: Option<&'a str>, format: Option<&Json<'_>>) -> Json<'a> {
    let description = match (description.filter(|text| !text.is_empty()), format) {
        (Some(text), None) => Cow::Borrowed(text),
        (None, None) => Cow::Borrowed("Takes one text."),
        (text, Some(format)) => Cow::Owned(format!(
            "{}\nThe input has this format: {}",
            text.unwrap_or_default(),
            format.to_text()
        )),
    };
    let schema = object! {
        "type" => "object",
        "properties" => object! { "input" => object! { "type" => "string" } },
        "required" => vec!["input"],
    };
    object! {
        "toolSpec" => object! {
            "name" => name,
            "description" => description,
            "inputSchema" => object! { "json" => schema },
        }
    }
}

/// `toolConfig`, and the choice where only Claude's own words can say it: those replace `toolChoice`, never join it.
pub fn tool_config<'a>(
    request: &'a Request<'_>,
    model: Model<'_>,
    mut tools: Vec<Json<'a>>,
    conversation: &Conversation<'a>,
    losses: &mut Losses,
) -> Result<(Option<Json<'a>>, Option<Json<'a>>), Refused> {
    let has_called = !conversation.called.is_empty();
    let none = matches!(request.tool_choice, Some(ToolChoice::None));
    if none {
        losses.meet(Feature::ToolChoiceNone)?;
    }
    if tools.is_empty() || none {
        if !has_called {
            return Ok((None, None));
        }
        if tools.is_empty() {
            // A conversation with calls is refused without tools.
            tools = past_tools(&conversation.called);
        }
        let choice = model.claude().map(|_| object! { "type" => "none" });
        return Ok((Some(object! { "tools" => tools }), choice));
    }
    let mut config = Fields::new();
    config.put("tools", tools);
    let choice = match &request.tool_choice {
        Some(ToolChoice::Required | ToolChoice::Allowed { required: true, .. }) => Choice::Any,
        Some(ToolChoice::Named(name)) => Choice::Tool(name),
        // What every model does unasked; some refuse to be asked.
        None | Some(ToolChoice::Auto | ToolChoice::None | ToolChoice::Allowed { required: false, .. }) => {
            Choice::Auto
        }
    };
    if request.parallel_tool_calls == Some(false) {
        if model.claude().is_some() {
            let mut own = Fields::new();
            own.put("type", choice.word());
            if let Choice::Tool(name) = choice {
                own.put("name", name);
            }
            own.put("disable_parallel_tool_use", true);
            return Ok((Some(config.into()), Some(own.into())));
        }
        losses.meet(Feature::ParallelToolCalls)?;
    }
    match choice {
        Choice::Auto => {}
        Choice::Any => {
            config.put("toolChoice", object! { "any" => object! {} });
        }
        Choice::Tool(name) => {
            config.put("toolChoice", object! { "tool" => object! { "name" => name } });
        }
    }
    Ok((Some(config.into()), None))
}

#[derive(Clone, Copy)]
enum Choice<'a> {
    Auto,
    Any,
    Tool(&'a str),
}

impl Choice<'_> {
    fn word(self) -> &'static str {
        match self {
            Choice::Auto => "auto",
            Choice::Any => "any",
            Choice::Tool(_) => "tool",
        }
    }
}

fn past_tools<'a>(called: &[&'a str]) -> Vec<Json<'a>> {
    let mut known = HashSet::new();
    called
        .iter()
        .filter(|name| known.insert(**name))
        .map(|name| {
            let schema = object! { "type" => "object", "properties" => object! {} };
            object! {
                "toolSpec" => object! {
                    "name" => *name,
                    "description" => "Was called before in this conversation and can be called no more.",
                    "inputSchema" => object! { "json" => schema },
                }
            }
        })
        .collect()
}
