//! Tools and the choice among them, both ways.

use std::borrow::Cow;

use crate::conversation::{Function, Request, Tool, ToolChoice, WebSearch};
use crate::dialect::Dialect;
use crate::feature::{Feature, Losses, Refused};
use crate::json::{Fields, Json};
use crate::object;
use crate::shape::{Malformed, Object};

/// The name that stands for web search in a choice of tools.
const WEB_SEARCH: &str = "web_search";

fn is_web_search(kind: &str) -> bool {
    matches!(
        kind,
        "web_search" | "web_search_2025_08_26" | "web_search_preview" | "web_search_preview_2025_03_11"
    )
}

fn native() -> Malformed {
    Malformed::at(
        "type",
        format!("names a tool that runs at one provider only. {}", Feature::NativeTools.note()),
    )
}

pub(super) fn tools<'j>(request: Object<'j>, losses: &mut Losses) -> Result<Vec<Tool<'j>>, Malformed> {
    let most_uses = request.count("max_tool_calls")?;
    let mut tools = Vec::new();
    request.each("tools", |item| {
        let tool = Object::of(item)?;
        let kind = tool.need_text("type")?;
        let known: &'static [&'static str] = match kind {
            "function" => {
                tools.push(Tool::Function(Function {
                    name: Cow::Borrowed(tool.need_text("name")?),
                    description: tool.text("description")?.map(Cow::Borrowed),
                    parameters: tool
                        .inside("parameters", |schema| Object::of(schema).map(|_| schema))?
                        .map(Cow::Borrowed),
                    strict: tool.flag("strict")?,
                    cache: None,
                }));
                &["type", "name", "description", "parameters", "strict"]
            }
            "custom" => {
                tools.push(Tool::Custom {
                    name: Cow::Borrowed(tool.need_text("name")?),
                    description: tool.text("description")?.map(Cow::Borrowed),
                    format: tool
                        .inside("format", |format| Object::of(format).map(|_| format))?
                        .map(Cow::Borrowed),
                });
                &["type", "name", "description", "format"]
            }
            kind if is_web_search(kind) => {
                let mut search = WebSearch { max_uses: most_uses, ..WebSearch::default() };
                if let Some(filters) = tool.object("filters")? {
                    let domains = |key: &str| -> Result<Vec<Cow<'j, str>>, Malformed> {
                        let texts = filters.texts(key).map_err(|error| error.under("filters"))?;
                        Ok(texts.into_iter().map(Cow::Borrowed).collect())
                    };
                    search.allowed_domains = domains("allowed_domains")?;
                    search.blocked_domains = domains("blocked_domains")?;
                }
                tools.push(Tool::WebSearch(search));
                &["type", "filters"]
            }
            _ => return Err(native()),
        };
        for (key, _) in tool.others(known) {
            losses.unknown(&format!("tools[].{key}"));
        }
        Ok(())
    })?;
    if most_uses.is_some() && !tools.iter().any(|tool| matches!(tool, Tool::WebSearch(_))) {
        losses.unknown("max_tool_calls");
    }
    Ok(tools)
}

pub(super) fn choice<'j>(value: &'j Json<'j>) -> Result<ToolChoice<'j>, Malformed> {
    if let Json::String(word) = value {
        return match word.as_ref() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(Malformed::here("must be one of auto, none and required, or an object")),
        };
    }
    let choice = Object::of(value)?;
    match choice.need_text("type")? {
        "function" | "custom" => Ok(ToolChoice::Named(Cow::Borrowed(choice.need_text("name")?))),
        "allowed_tools" => {
            let required = match choice.text("mode")? {
                None | Some("auto") => false,
                Some("required") => true,
                Some(_) => return Err(Malformed::at("mode", "must be auto or required")),
            };
            let mut names = Vec::new();
            choice.need_array("tools")?;
            choice.each("tools", |tool| {
                let tool = Object::of(tool)?;
                match tool.need_text("type")? {
                    "function" | "custom" => names.push(Cow::Borrowed(tool.need_text("name")?)),
                    kind if is_web_search(kind) => names.push(Cow::Borrowed(WEB_SEARCH)),
                    _ => return Err(native()),
                }
                Ok(())
            })?;
            Ok(ToolChoice::Allowed { names, required })
        }
        kind if is_web_search(kind) => Ok(ToolChoice::Named(Cow::Borrowed(WEB_SEARCH))),
        _ => Err(native()),
    }
}

/// Writes `tools`, `tool_choice`, `parallel_tool_calls` and `max_tool_calls`.
pub(super) fn write<'r>(
    fields: &mut Fields<'r>,
    request: &'r Request<'_>,
    losses: &mut Losses,
) -> Result<(), Refused> {
    // Without tools the others mean nothing, and the API refuses some of them.
    if request.tools.is_empty() {
        return Ok(());
    }
    let mut most_uses = None;
    let mut tools = Vec::with_capacity(request.tools.len());
    for tool in &request.tools {
        tools.push(match tool {
            Tool::Function(function) => write_function(function, losses)?,
            Tool::Custom { name, description, format } => {
                losses.meet(Feature::CustomTools)?;
                let mut tool = Fields::new();
                tool.put("type", "custom").put("name", name);
                tool.put_some("description", description.as_ref());
                tool.put_some("format", format.as_deref().map(flat_format));
                tool.into()
            }
            Tool::WebSearch(search) => {
                losses.meet(Feature::WebSearch)?;
                most_uses = most_uses.max(search.max_uses);
                if !search.blocked_domains.is_empty() {
                    losses.drop_feature(Feature::WebSearch);
                }
                let mut tool = Fields::new();
                tool.put("type", WEB_SEARCH);
                if !search.allowed_domains.is_empty() {
                    let domains: Vec<Json<'_>> = search.allowed_domains.iter().map(Json::from).collect();
                    tool.put("filters", object! { "allowed_domains" => domains });
                }
                tool.into()
            }
        });
    }
    fields.put("tools", tools);
    if let Some(choice) = &request.tool_choice {
        fields.put("tool_choice", write_choice(choice, request, losses)?);
    }
    if let Some(parallel) = request.parallel_tool_calls {
        losses.meet(Feature::ParallelToolCalls)?;
        fields.put("parallel_tool_calls", parallel);
    }
    // The tool that searches is the only one at the provider, so its limit is that of all of them.
    fields.put_some("max_tool_calls", most_uses.filter(|uses| *uses > 0));
    Ok(())
}

fn write_function<'r>(function: &'r Function<'_>, losses: &mut Losses) -> Result<Json<'r>, Refused> {
    losses.meet(Feature::FunctionTools)?;
    if function.cache.is_some() {
        losses.meet(Feature::CacheMarks)?;
    }
    let mut tool = Fields::new();
    tool.put("type", "function").put("name", &function.name);
    tool.put_some("description", function.description.as_ref());
    match function.parameters.as_deref() {
        Some(schema) => tool.put("parameters", schema.clone()),
        None => {
            tool.put("parameters", object! { "type" => "object", "properties" => Json::Object(Vec::new()) })
        }
    };
    // Unlike everywhere else, a schema is strict here unless the request says that it is not.
    match function.strict {
        Some(strict) => {
            losses.meet(Feature::StrictTools)?;
            tool.put("strict", strict);
        }
        None if losses.client() == Dialect::OpenaiResponses => {}
        None => {
            tool.put("strict", false);
        }
    }
    Ok(tool.into())
}

/// Chat completions put a grammar into an object of its own; here its fields stand beside the type.
fn flat_format<'r>(format: &'r Json<'_>) -> Json<'r> {
    match format.get("grammar") {
        Some(Json::Object(grammar)) => {
            let mut flat = vec![(Cow::Borrowed("type"), Json::from("grammar"))];
            flat.extend(grammar.iter().filter(|(key, _)| key != "type").cloned());
            Json::Object(flat)
        }
        _ => format.clone(),
    }
}

fn write_choice<'r>(
    choice: &'r ToolChoice<'_>,
    request: &'r Request<'_>,
    losses: &mut Losses,
) -> Result<Json<'r>, Refused> {
    Ok(match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => {
            losses.meet(Feature::ToolChoiceNone)?;
            "none".into()
        }
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => match reference(name, request) {
            // A hosted tool cannot be named; that it is the only one that is allowed says the same.
            Some(Reference::Hosted) => allowed(vec![Reference::Hosted.write()], true),
            Some(named) => named.write(),
            None => object! { "type" => "function", "name" => name },
        },
        ToolChoice::Allowed { names, required } => {
            losses.meet(Feature::ToolChoiceAllowed)?;
            let tools: Vec<Json<'_>> =
                names.iter().filter_map(|name| reference(name, request)).map(Reference::write).collect();
            match (tools.is_empty(), *required) {
                (false, required) => allowed(tools, required),
                // None of the tools that are there may be used.
                (true, _) => "none".into(),
            }
        }
    })
}

fn allowed(tools: Vec<Json<'_>>, required: bool) -> Json<'_> {
    object! {
        "type" => "allowed_tools",
        "mode" => if required { "required" } else { "auto" },
        "tools" => tools,
    }
}

enum Reference<'r> {
    Function(&'r str),
    Custom(&'r str),
    Hosted,
}

impl<'r> Reference<'r> {
    fn write(self) -> Json<'r> {
        match self {
            Reference::Function(name) => object! { "type" => "function", "name" => name },
            Reference::Custom(name) => object! { "type" => "custom", "name" => name },
            Reference::Hosted => object! { "type" => WEB_SEARCH },
        }
    }
}

fn reference<'r>(name: &'r str, request: &'r Request<'_>) -> Option<Reference<'r>> {
    request.tools.iter().find_map(|tool| match tool {
        Tool::Function(function) if function.name == name => Some(Reference::Function(name)),
        Tool::Custom { name: custom, .. } if custom == name => Some(Reference::Custom(name)),
        Tool::WebSearch(_) if name == WEB_SEARCH => Some(Reference::Hosted),
        _ => None,
    })
}
